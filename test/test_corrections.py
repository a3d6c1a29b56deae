"""Clicks: how they are read, and that a corrected mask holds every tumour click and no background click."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from phantoms import phantom, rotation, stored_as

from autosegnet.corrections import Clicks, correct_mask, parse_clicks, read_clicks
from autosegnet.corrections.strokes import group_strokes
from autosegnet.errors import InputError
from autosegnet.geometry import Grid, make_image, view_voxels
from autosegnet.study import Study

LARGE, SMALL = (31, 17, 21), (15, 23, 11)
"""Voxels in the middle of the phantom's two lesions."""


@pytest.fixture(scope="module")
def study() -> Study:
    return phantom()


def chance_of(study: Study, *, missed: bool = False) -> sitk.Image:
    """Return a probability that finds both lesions, or only the large one."""
    suv = view_voxels(study.pet)
    chance = 1 / (1 + np.exp(4.0 - suv, dtype=np.float32))
    if missed:
        chance[:16] = np.minimum(chance[:16], 0.02)
    return make_image(chance.astype(np.float32), Grid.from_image(study.pet))


def at(mask: sitk.Image, point: tuple[int, int, int]) -> int:
    return int(view_voxels(mask)[point[::-1]])


def test_the_platforms_points_are_voxels() -> None:
    value = {
        "version": {"major": 1, "minor": 0},
        "type": "Multiple points",
        "points": [{"point": [1, 2, 3], "name": "tumor"}, {"point": [4.0, 5, 6], "name": "background"}],
    }
    assert parse_clicks(value) == Clicks(((1, 2, 3),), ((4, 5, 6),), "voxel")


def test_the_generators_own_form_is_read() -> None:
    assert parse_clicks({"tumor": [[1, 2, 3]], "background": []}) == Clicks(((1, 2, 3),))


@pytest.mark.parametrize("text", ["", "[]", '{"points": []}', '{"tumor": []}'])
def test_no_clicks_are_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "clicks.json").write_text(text)
    assert not read_clicks(tmp_path / "clicks.json")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (5, "expected"),
        ({}, "missing"),
        ({"points": 5}, "no list"),
        ({"points": [5]}, "not an object"),
        ({"type": "Polygon", "points": []}, "Polygon"),
        ({"points": [{"point": [1, 2, 3], "name": "lesion"}]}, "'lesion'"),
        ({"points": [{"point": [1, 2], "name": "tumor"}]}, "three finite numbers"),
        ({"points": [{"point": [1, 2, True], "name": "tumor"}]}, "three finite numbers"),
        ({"points": [{"point": [1, 2, float("nan")], "name": "tumor"}]}, "three finite numbers"),
        ({"points": [{"point": [1, 2, 1e300], "name": "tumor"}]}, "three finite numbers"),
        ({"points": [{"point": [1.5, 2, 3], "name": "tumor"}]}, "no whole voxel"),
        ({"points": [], "space": "cm"}, "'cm'"),
        ({"tumor": [[1, 2, 3]] * 100_001}, "more than 100000"),
    ],
)
def test_other_shapes_are_refused(value: Any, reason: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=reason):
        parse_clicks(value)


@pytest.mark.parametrize("data", [b'{"points": [', b"\xff\xfe", b"[" * 100_000, b" " * (9 << 20)])
def test_damaged_files_are_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "clicks.json").write_bytes(data)
    with pytest.raises(InputError, match="clicks"):
        read_clicks(tmp_path / "clicks.json")


def test_positions_in_mm_find_the_voxel_on_any_grid(study: Study) -> None:
    turned = phantom(direction=rotation(degrees=(10, 20, 30)))
    for pet in (study.pet, turned.pet, stored_as(study.pet, (2, 0, 1), (True, False, True))):
        grid = Grid.from_image(pet)
        position = grid.find_position_mm((3.3, 4.6, 5.0))
        assert Clicks((position,), space="mm").find_voxels(grid) == (((3, 5, 5),), ())


def test_a_click_outside_the_pet_is_refused(study: Study) -> None:
    with pytest.raises(InputError, match=r'outside the PET of 48 x 40 x 36 voxels.*"space": "mm"'):
        Clicks(((48, 0, 0),)).find_voxels(Grid.from_image(study.pet))


def test_a_voxel_that_is_both_is_refused(study: Study) -> None:
    with pytest.raises(InputError, match=r"\(1, 2, 3\)"):
        Clicks(((1, 2, 3),), ((1, 2, 3),)).find_voxels(Grid.from_image(study.pet))


def test_touching_points_are_one_stroke() -> None:
    strokes = group_strokes([(0, 0, 0), (1, 1, 0), (5, 5, 5), (2, 1, 1)])
    assert [len(stroke) for stroke in strokes] == [3, 1]


def test_no_clicks_leave_the_mask_of_the_folds(study: Study) -> None:
    chance = chance_of(study)
    corrected = correct_mask(chance, study, Clicks())
    np.testing.assert_array_equal(view_voxels(corrected), view_voxels(chance) > 0.5)
    assert Grid.from_image(corrected) == Grid.from_image(study.pet)


def test_a_tumour_click_grows_the_missed_lesion(study: Study) -> None:
    whole = view_voxels(chance_of(study)) > 0.5
    corrected = view_voxels(correct_mask(chance_of(study, missed=True), study, Clicks((SMALL,)))) > 0
    missed = whole & ~(view_voxels(chance_of(study, missed=True)) > 0.5)
    assert missed.sum() > 50
    found = corrected & ~(whole & ~missed)
    assert 2 * (found & missed).sum() / (found.sum() + missed.sum()) > 0.8


def test_a_background_click_in_the_middle_removes_that_lesion_alone(study: Study) -> None:
    chance = chance_of(study)
    corrected = correct_mask(chance, study, Clicks((), (SMALL,)))
    before = view_voxels(chance) > 0.5
    assert not view_voxels(corrected)[:16].any()
    np.testing.assert_array_equal(view_voxels(corrected)[16:], before[16:])


def test_a_background_click_at_the_rim_moves_the_border_only(study: Study) -> None:
    chance = chance_of(study)
    before = view_voxels(chance) > 0.5
    row = np.flatnonzero(before[LARGE[2], LARGE[1]])
    rim = (int(row[-1]), LARGE[1], LARGE[2])
    corrected = correct_mask(chance, study, Clicks((), (rim,)))
    assert at(corrected, rim) == 0
    assert at(corrected, LARGE) == 1
    assert view_voxels(corrected).sum() > 0.9 * before.sum()


def test_a_background_click_on_a_hot_rim_leaves_the_lesion(study: Study) -> None:
    chance = chance_of(study)
    lesion = view_voxels(chance) > 0.5
    row = np.flatnonzero(lesion[LARGE[2], LARGE[1]])
    rim = (int(row[-1]), LARGE[1], LARGE[2])
    suv = np.array(view_voxels(study.pet))
    near = np.linalg.norm(np.indices(suv.shape).T - rim[::-1], axis=-1).T < 2.5
    suv[near & lesion] = 1.5 * suv[lesion].max()
    hot = Study(make_image(suv, Grid.from_image(study.pet)), study.ct)
    corrected = correct_mask(chance, hot, Clicks((), (rim,)))
    assert at(corrected, rim) == 0
    assert at(corrected, LARGE) == 1
    assert view_voxels(corrected).sum() > 0.7 * lesion.sum()


def test_a_tumour_click_keeps_its_side_of_a_lesion(study: Study) -> None:
    """Both in one component: a bridge joins the lesions."""
    chance = np.array(view_voxels(chance_of(study)))
    for step in np.linspace(0, 1, 200):
        x, y, z = np.rint(np.array(LARGE) + step * (np.array(SMALL) - LARGE)).astype(int)
        chance[z, y, x] = 0.9
        chance[z + 1, y, x] = 0.9
    image = make_image(chance, Grid.from_image(study.pet))
    corrected = correct_mask(image, study, Clicks((LARGE,), (SMALL,)))
    assert (at(corrected, LARGE), at(corrected, SMALL)) == (1, 0)
    assert view_voxels(corrected)[LARGE[2]].sum() == (chance[LARGE[2]] > 0.5).sum()


def test_the_order_of_clicks_does_not_matter(study: Study) -> None:
    chance = chance_of(study, missed=True)
    points = [SMALL, (16, 22, 11), (20, 20, 20)]
    masks = [
        view_voxels(correct_mask(chance, study, Clicks(tuple(tumor), ((30, 18, 24), (5, 5, 5)))))
        for tumor in (points, points[::-1])
    ]
    np.testing.assert_array_equal(*masks)


indices = st.tuples(st.integers(0, 47), st.integers(0, 39), st.integers(0, 35))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    points=st.dictionaries(indices, st.sampled_from(["tumor", "background"]), max_size=8),
    missed=st.booleans(),
)
def test_a_corrected_mask_holds_every_tumour_click_and_no_background_click(
    points: dict[tuple[int, int, int], str], missed: bool, study: Study
) -> None:
    tumor, background = ([p for p, name in points.items() if name == which] for which in ("tumor", "background"))
    mask = correct_mask(chance_of(study, missed=missed), study, Clicks(tuple(tumor), tuple(background)))
    array: NDArray[Any] = view_voxels(mask)
    assert array.dtype == np.uint8
    assert set(np.unique(array)) <= {0, 1}
    assert all(at(mask, point) == 1 for point in tumor)
    assert all(at(mask, point) == 0 for point in background)


def test_a_ct_on_another_grid_will_do(study: Study) -> None:
    other = Study(study.pet, sitk.Shrink(study.ct, [2, 2, 1]))
    assert at(correct_mask(chance_of(study, missed=True), other, Clicks((SMALL,))), SMALL) == 1


def test_a_segmenter_corrects_the_mask_and_the_report_says_so(
    study: Study, tmp_path: Path, tiny_weights: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from autosegnet.segmenter import Segmenter

    segmenter = Segmenter(tiny_weights.folder, device="cpu")
    first = segmenter(study.pet, study.ct)
    clicks = {"points": [{"point": list(SMALL), "name": "tumor"}, {"point": [2, 2, 2], "name": "background"}]}
    (tmp_path / "clicks.json").write_text(json.dumps(clicks))
    at_once = segmenter(study.pet, study.ct, clicks=tmp_path / "clicks.json")
    np.testing.assert_array_equal(view_voxels(at_once.mask), view_voxels(first.correct(clicks).mask))
    assert at(at_once.mask, SMALL) == 1
    assert "1 on tumour, 1 on background" in str(
        at_once.save(tmp_path / "out", report=True).joinpath("report.html").read_text()
    )
    np.testing.assert_array_equal(
        view_voxels(segmenter(study.pet, study.ct, clicks={"points": []}).mask), view_voxels(first.mask)
    )
