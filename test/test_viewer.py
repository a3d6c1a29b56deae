"""The viewer's page: volumes lie where the files have them, the table is the report's, nothing is loaded."""

import base64
import gzip
import hashlib
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from phantoms import all_orders, phantom, rotation, stored_as

from autosegnet.geometry import Grid, make_image, resample, view_voxels
from autosegnet.lesions import measure_lesions
from autosegnet.report import Provenance, report_files
from autosegnet.study import AIR_HU, Study
from autosegnet.viewer import make_viewer_page, shown_volumes
from autosegnet.viewer.viewer_page import NIIVUE_VERSION

ROOT = Path(__file__).resolve().parents[1]
MADE_BY = Provenance("autosegnet 0.0", "none", "0" * 12, "none", ("As given.",), (), datetime(2026, 1, 2, tzinfo=UTC))


def find_lesions(study: Study) -> sitk.Image:
    return make_image((view_voxels(study.pet) > 4.0).astype(np.uint8), Grid.from_image(study.pet))


def make_page(study: Study, **options: Any) -> str:
    mask = find_lesions(study)
    return make_viewer_page(study, mask, measure_lesions(mask, study.pet), MADE_BY, **options)


def read_volume(page: str, name: str) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return the voxels of a volume, scaled, and its affine."""
    packed = re.search(rf'id="volume-{name}">([^<]*)<', page)
    assert packed is not None
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(packed[1])))
    return np.asarray(image.dataobj), image.affine


def read_facts(page: str) -> Any:
    found = re.search(r'id="study">(.*?)</script>', page)
    assert found is not None
    return json.loads(found[1])


def look_up(image: sitk.Image, affine: NDArray[np.float64], index: tuple[int, int, int]) -> float:
    """Return what an image holds where a volume of the page has a voxel."""
    ras = affine @ (*index, 1)
    return float(image.GetPixel(image.TransformPhysicalPointToIndex((-ras[0], -ras[1], ras[2]))))


@pytest.mark.parametrize(
    "stored", [next(all_orders()), ((2, 0, 1), (True, False, True)), ((1, 0, 2), (False, True, True))]
)
@pytest.mark.parametrize("degrees", [(0, 0, 0), (12, -20, 8)])
def test_suv_and_lesions_lie_where_the_files_have_them(stored, degrees) -> None:
    plain = phantom(direction=rotation(degrees=degrees))
    study = Study(stored_as(plain.pet, *stored), plain.ct)
    page, mask = make_page(study), find_lesions(study)
    (suv, affine), (labels, _) = read_volume(page, "pet"), read_volume(page, "labels")
    assert (np.diag(affine)[:3] > 0).all()  # axes run to Right, Anterior and Superior
    assert int((labels > 0).sum()) == int(view_voxels(mask).sum())
    for index in np.random.default_rng(0).integers(0, suv.shape, (50, 3)):
        assert suv[tuple(index)] == pytest.approx(look_up(study.pet, affine, tuple(index)), abs=0.00501)
        assert (labels[tuple(index)] > 0) == look_up(mask, affine, tuple(index))


def test_voxels_of_the_pet_are_found_from_the_facts() -> None:
    study = phantom(direction=rotation(degrees=(0, 0, 30)))
    facts, grid = read_facts(make_page(study)), Grid.from_image(study.pet)
    pet = facts["pet"]
    position = np.array(pet["origin"]) + np.array(pet["steps"]) @ [3, 7, 5]
    np.testing.assert_allclose(position, grid.find_position_mm((3, 7, 5)))
    np.testing.assert_allclose(np.array(pet["inverse"]) @ (position - pet["origin"]), [3, 7, 5], atol=1e-9)


def test_the_ct_is_resampled_onto_the_grid_that_is_shown() -> None:
    study = phantom()
    finer = Grid.from_image(study.ct)
    finer = Grid((90, 80, 70), (2.1, 2.0, 2.5), finer.origin_mm, finer.direction)
    page = make_page(Study(study.pet, resample(study.ct, finer, outside=AIR_HU)))
    hu, affine = read_volume(page, "ct")
    assert hu.shape == read_volume(page, "pet")[0].shape
    inside = tuple(n // 2 for n in hu.shape)
    assert hu[inside] == pytest.approx(look_up(study.ct, affine, inside), abs=3)


def test_every_lesion_is_shown_at_its_hottest_voxel() -> None:
    study = phantom()
    table = measure_lesions(find_lesions(study), study.pet)
    lesions = read_facts(make_page(study))["lesions"]
    assert [lesion["number"] for lesion in lesions] == [1, 2]
    assert [tuple(lesion["position_mm"]) for lesion in lesions] == [lesion.suv_max_mm for lesion in table.lesions]


def test_air_around_the_body_is_left_out_but_no_lesion() -> None:
    study = phantom(size=(80, 70, 60))
    mask = np.zeros(Grid.from_image(study.pet).shape, np.uint8)
    mask[0, 0, 0] = 1  # in the air, at the corner
    image = make_image(mask, Grid.from_image(study.pet))
    page = make_viewer_page(study, image, measure_lesions(image, study.pet), MADE_BY)
    assert read_volume(page, "labels")[0].sum() == 1
    assert read_volume(make_page(study), "pet")[0].size < 0.5 * mask.size


def test_a_pet_that_is_too_large_is_shown_coarser_and_the_page_says_so(monkeypatch) -> None:
    study = phantom()
    whole = make_page(study)
    own, before = read_volume(whole, "pet")
    monkeypatch.setattr(shown_volumes, "_MOST_VOXELS", own.size // 4)
    page = make_page(study)
    coarse, after = read_volume(page, "pet")
    assert coarse.size <= own.size // 4
    edges = [affine @ (-0.5, -0.5, -0.5, 1) for affine in (before, after)]
    np.testing.assert_allclose(*edges, atol=1e-3)
    ends = [a @ (*(np.array(v.shape) - 0.5), 1) for a, v in ((before, own), (after, coarse))]
    np.testing.assert_allclose(*ends, atol=1e-3)
    assert "coarser grid than its own" in page
    assert "coarser grid than its own" not in whole


def test_negative_and_very_high_suv_are_kept() -> None:
    study = phantom()
    suv = view_voxels(study.pet).copy()
    suv[18, 20, 24], suv[18, 20, 25] = -3.25, 900.0
    page = make_page(Study(make_image(suv, Grid.from_image(study.pet)), study.ct))
    shown, _ = read_volume(page, "pet")
    assert shown.min() == pytest.approx(-3.25, abs=0.01)
    assert shown.max() == pytest.approx(900, abs=0.02)


def test_the_table_has_the_reports_numbers() -> None:
    study = phantom()
    mask = find_lesions(study)
    table = measure_lesions(mask, study.pet)
    report = str(report_files(study, mask, table, MADE_BY)["report.html"])
    cells = [re.findall(r"<td[^>]*>([^<]*)</td>", text.split("<tbody>")[1]) for text in (report, make_page(study))]
    assert len(cells[1]) > 6
    assert cells[0][: len(cells[1])] == cells[1]


def test_the_page_runs_its_own_scripts_alone_and_loads_nothing() -> None:
    page = make_page(phantom())
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'")
    assert "unsafe" not in policy[1]
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    hashes = ["sha256-" + base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    assert re.findall(r"sha256-[^']*", policy[1].split("script-src")[1]) == hashes
    markup = page
    for script in scripts:
        markup = markup.replace(script, "")
    assert not re.search(r'(src|href)="', markup)


def test_the_page_names_nobody_but_by_its_title() -> None:
    assert "<title>PET/CT viewer</title>" in make_page(phantom())
    assert "<h1>&lt;b&gt; &amp; co</h1>" in make_page(phantom(), title="<b> & co")


def test_without_a_ct_the_page_has_none() -> None:
    assert set(read_facts(make_page(phantom(), with_ct=False))["volumes"]) == {"pet", "labels"}


def test_the_probability_is_shown_if_there_is_one() -> None:
    study = phantom()
    chance = make_image((view_voxels(study.pet) / 20).astype(np.float32), Grid.from_image(study.pet))
    shown, affine = read_volume(make_page(study, probability=chance), "probability")
    hottest = np.unravel_index(shown.argmax(), shown.shape)
    assert shown.max() == pytest.approx(look_up(chance, affine, tuple(int(i) for i in hottest)), abs=0.003)


def test_clicks_that_corrected_the_mask_are_in_the_page() -> None:
    page = make_page(phantom(), clicks={"tumor": ((1, 2, 3),), "background": ()})
    assert read_facts(page)["clicks"] == {"tumor": [[1, 2, 3]], "background": []}


def test_niivue_is_the_pinned_file_and_its_licence_is_in_the_page() -> None:
    """`npm pack @niivue/niivue@0.69.0`, dist/niivue.umd.js."""
    file = ROOT / "autosegnet" / "viewer" / "niivue" / "niivue.umd.js"
    assert hashlib.sha256(file.read_bytes()).hexdigest() == NIIVUE_SHA256
    page = make_page(phantom())
    assert f"NiiVue {NIIVUE_VERSION}" in page
    assert "BSD 2-Clause License" in page


NIIVUE_SHA256 = "47b896b77ec4a5be3ef1949c33ad393b6f45629921f326c279000bcf51bdb4af"
