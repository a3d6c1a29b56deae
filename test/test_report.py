"""Pictures lie where the lesions are, whatever the storage; the page needs nothing but itself and says what it must."""

import base64
import csv
import hashlib
import io
import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import numpy as np
import pytest
import SimpleITK as sitk
from body_phantom import ball, body_phantom
from hypothesis import given
from hypothesis import strategies as st
from phantoms import all_orders, phantom, rotation, stored_as
from PIL import Image
from scipy import ndimage

from autosegnet.geometry import Grid, make_image, view_voxels
from autosegnet.lesions import (
    BodySize,
    Context,
    Selection,
    format_lesions_csv,
    format_lesions_json,
    measure_lesions,
    measure_selected,
    number_lesions,
)
from autosegnet.report import Provenance, report_files
from autosegnet.report.annotate import spread_levels
from autosegnet.report.draw import CYAN, find_rim, paint_hot, paint_inverted_grey
from autosegnet.report.fusion import make_axial_pictures
from autosegnet.report.projection import find_body_grid, project_maxima
from autosegnet.report.report_files import SHOWN
from autosegnet.report.rotation import turn_around
from autosegnet.report.view import View, project_labels
from autosegnet.study import Study

PROVENANCE = Provenance(
    software="autosegnet 0.0",
    engine="torch, CPU",
    weights="0123456789abcdef" * 4,
    description="Trained on <nothing> & no one.",
    suv=("The PET was given in SUV.",),
    warnings=("CT covers 61 % of the body",),
    made=datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
)


def thresholded(study: Study, suv: float = 4.0) -> sitk.Image:
    return make_image((view_voxels(study.pet) > suv).astype(np.uint8), Grid.from_image(study.pet))


def files_of(study: Study, mask: sitk.Image) -> dict[str, bytes | str]:
    return report_files(study, mask, measure_lesions(mask, study.pet), PROVENANCE)


@pytest.fixture(scope="module")
def study() -> Study:
    return phantom()


@pytest.fixture(scope="module")
def files(study) -> dict[str, bytes | str]:
    return files_of(study, thresholded(study))


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


# --- projections -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("degrees", [(0, 0, 0), (4, -7, 10), (0, 0, 180), (90, 0, 0)])
def test_projections_show_hot_spots_where_they_are_in_the_patient(degrees) -> None:
    """The phantom's hot spots: L 30, A 10, S 20, the hotter; and R 35, P 15, I 30."""
    study = phantom(size=(56, 52, 48), direction=rotation(degrees=degrees))
    lesions = measure_lesions(thresholded(study), study.pet).lesions
    grid = find_body_grid(study.pet, lesions)
    coronal, sagittal = project_maxima(study.pet, grid)
    low_mm, step = np.array(grid.origin_mm), grid.spacing_mm[0]
    top_mm = low_mm[2] + (grid.size[2] - 1) * step
    for picture, across, hottest, upper in ((coronal, 0, 30.0, 20.0), (sagittal, 1, -10.0, 20.0)):
        row, column = np.unravel_index(picture.argmax(), picture.shape)
        assert low_mm[across] + column * step == pytest.approx(hottest, abs=4)
        assert top_mm - row * step == pytest.approx(upper, abs=4)
    # The other spot is in the half below, on the patient's right, towards the back.
    below = coronal[coronal.shape[0] // 2 :]
    assert np.unravel_index(below.argmax(), below.shape)[1] < coronal.shape[1] / 2


def test_the_report_does_not_depend_on_how_the_study_is_stored(study, files) -> None:
    orders = list(all_orders())
    for order, flips in (orders[3], orders[21], orders[46]):
        stored = Study(stored_as(study.pet, order, flips), study.ct)
        other = files_of(stored, stored_as(thresholded(study), order, flips))
        assert set(other) == set(files)
        for name in files:
            if name.endswith(".png"):
                a, b = pixels(files[name]), pixels(other[name])
                assert a.shape == b.shape
                assert (np.abs(a - b).max(axis=2) > 8).mean() < 2e-3  # rounding moves single pixels of an outline


def test_projections_hold_the_maximum_along_the_line_of_sight() -> None:
    rng = np.random.default_rng(0)
    grid = Grid((20, 18, 150), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    suv = rng.gamma(2.0, 2.0, (150, 18, 20)).astype(np.float32)
    coronal, sagittal = project_maxima(make_image(suv, grid), grid)
    np.testing.assert_allclose(coronal, suv.max(axis=1)[::-1], rtol=1e-6)
    np.testing.assert_allclose(sagittal, suv.max(axis=2)[::-1], rtol=1e-6)


def test_the_upright_grid_leaves_air_out_and_no_lesion() -> None:
    suv = np.zeros((60, 60, 60), np.float32)
    suv[20:40, 25:35, 22:42] = 1.0
    mask = np.zeros_like(suv, np.uint8)
    mask[50, 30, 30] = 1  # cold, outside of the body
    grid = Grid((60, 60, 60), (4.0, 4.0, 4.0), (-100.0, 0.0, 50.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    pet = make_image(suv, grid)
    upright = find_body_grid(pet, measure_lesions(make_image(mask, grid), pet).lesions)
    low = np.array(upright.origin_mm)
    high = low + 2.0 * (np.array(upright.size) - 1)
    assert (low <= np.array([-100 + 22 * 4, 25 * 4, 50 + 20 * 4])).all()
    assert (high >= np.array([-100 + 41 * 4, 34 * 4, 50 + 50 * 4])).all()
    assert (high - low < 60 * 4 - 60)[:2].all()


@pytest.mark.parametrize("spacing", [(1.0, 4.0, 2.5), (3.0, 3.0, 5.0)])
def test_the_shadow_of_a_sphere_is_a_disc_of_its_size(spacing) -> None:
    grid = Grid((60, 24, 30), spacing, (0.0, 0.0, 0.0), rotation(degrees=(10, 20, 30)))
    z, y, x = np.meshgrid(*(np.arange(n) for n in grid.size[::-1]), indexing="ij")
    at_mm = np.stack([x, y, z], -1) @ grid.steps_mm.T
    centre = np.array(grid.find_position_mm((29.0, 12.0, 14.0)))
    labels = (np.linalg.norm(at_mm - centre, axis=-1) < 25).astype(np.uint32)
    for across in (0, 1):
        view = View(across, centre[across] - 50, centre[2] + 50, 0.5, (200, 200))
        flat = project_labels(labels, grid, view)
        assert flat.sum() * 0.25 == pytest.approx(np.pi * (25 + min(spacing) / 2) ** 2, rel=0.12)
        rows, columns = np.nonzero(flat)
        assert abs(np.ptp(rows) - np.ptp(columns)) * 0.5 <= max(spacing)
        assert (rows.mean(), columns.mean()) == pytest.approx((100, 100), abs=3)
        np.testing.assert_array_equal(flat > 0, ndimage.binary_fill_holes(flat > 0))


def test_a_single_voxel_has_a_shadow_as_large_as_it_is() -> None:
    grid = Grid((9, 9, 9), (5.0, 5.0, 3.0), (0.0, 0.0, 0.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    labels = np.zeros((9, 9, 9), np.uint32)
    labels[4, 4, 4] = 1
    flat = project_labels(labels, grid, View(0, -2.5, 27.0, 0.5, (90, 60)))
    rows, columns = np.nonzero(flat)
    assert (rows.min(), rows.max() + 1) == pytest.approx((27, 33), abs=2)  # S 10.5 to 13.5
    assert (columns.min(), columns.max() + 1) == pytest.approx((40, 50), abs=2)  # L 17.5 to 22.5


def test_the_smaller_lesion_is_drawn_over_the_larger() -> None:
    grid = Grid((10, 10, 10), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    mask = np.zeros((10, 10, 10), np.uint8)
    mask[2:8, 0:4, 2:8] = 1
    mask[4:6, 7:9, 4:6] = 1  # behind
    labels, _ = number_lesions(make_image(mask, grid))
    flat = project_labels(labels, grid, View(0, -1.0, 19.0, 1.0, (20, 20)))
    assert flat[10, 10] == 2
    assert flat[6, 6] == 1
    assert flat[1, 1] == 0


@given(st.lists(st.floats(-50, 900), max_size=60), st.floats(1, 40))
def test_numbers_keep_their_order_and_their_distance_where_there_is_room(wanted: list[float], pitch: float) -> None:
    levels = spread_levels(sorted(wanted), pitch=pitch, low=40.0, high=800.0)
    assert len(levels) == len(wanted)
    assert all(40.0 - 1e-6 <= level <= 800.0 + 1e-6 for level in levels)
    room = min(pitch, 760.0 / max(1, len(wanted) - 1))
    assert all(b - a >= room - 1e-6 for a, b in zip(levels, levels[1:], strict=False))


def test_numbers_stay_where_they_are_wanted_if_they_do_not_collide() -> None:
    assert spread_levels([50.0, 100.0, 300.0], pitch=20.0, low=0.0, high=400.0) == [50.0, 100.0, 300.0]


# --- fusion ----------------------------------------------------------------------------------------------------------


def test_fusion_shows_the_right_on_the_left_and_the_front_at_the_top() -> None:
    grid = Grid((80, 80, 5), (3.0, 3.0, 4.0), (-120.0, -120.0, 0.0), rotation(degrees=(0, 0, 0)))
    suv, hu = np.zeros((5, 80, 80), np.float32), np.full((5, 80, 80), 40.0, np.float32)
    suv[2, 38:42, 38:42] = 8.0  # the lesion, in the middle
    suv[2, 38:42, 15:19] = 9.0  # 70 mm to the right (lower L)
    suv[2, 12:16, 38:42] = 9.0  # 80 mm to the front (lower P)
    hu[2, 38:42, 60:64] = 1000.0  # bone on the left
    mask = np.zeros_like(suv, np.uint8)
    mask[2, 38:42, 38:42] = 1
    study = Study(make_image(suv, grid), make_image(hu, grid))
    table = measure_lesions(make_image(mask, grid), study.pet)
    labels, _ = number_lesions(make_image(mask, grid))
    (axial,) = make_axial_pictures(study, labels, table.lesions)
    seen = np.asarray(axial.fusion).astype(int)
    side = seen.shape[0]
    colour = seen[..., 0] - seen[..., 2]  # hot is red to yellow, CT is grey
    colour[seen[..., 2] > seen[..., 0]] = 0
    assert colour[:, : side // 3].max() > 150
    assert colour[: side // 4].max() > 150
    assert colour[:, 2 * side // 3 :].max() < 30
    assert seen[side // 2 + 20 : side // 2 + 24].min() >= 0
    assert (seen[:, 2 * side // 3 : side - 25].min(axis=2) > 240).sum() > 50  # bone, white
    # The contour goes around the lesion's 12 mm, in the middle.
    rows, columns = np.nonzero((seen == CYAN).all(axis=2))
    assert (rows.mean(), columns.mean()) == pytest.approx((side / 2 - 0.5, side / 2 - 0.5), abs=1)
    step = 260 / side
    assert np.ptp(rows) * step == pytest.approx(12 + 4 * step, abs=2 * step)


def test_a_rim_is_two_pixels_wide_and_leaves_the_region_free() -> None:
    inside = np.zeros((9, 9), bool)
    inside[4, 4] = True
    assert find_rim(inside).sum() == 12  # the pixels at a distance of 1 and 2
    assert not find_rim(inside)[4, 4]
    assert inside.sum() == 1


def test_scales_end_where_they_should() -> None:
    np.testing.assert_array_equal(paint_inverted_grey(np.array([0.0, 1.0], np.float32)), [[1, 1, 1], [0, 0, 0]])
    np.testing.assert_allclose(
        paint_hot(np.array([0, 1 / 3, 2 / 3, 1], np.float32)), [[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1]], atol=1e-6
    )


# --- the page --------------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Collects what a page asks for, and whether every element is closed."""

    VOID = {"meta", "img", "br", "link", "input"}
    FORBIDDEN = {"link", "iframe", "object", "embed", "form"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.links, self.ids, self.images, self.words = [], [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag not in self.VOID:
            self.open.append(tag)
        if "href" in values:
            self.links.append(values["href"])
        if "src" in values:
            self.images.append(values["src"])
        if "id" in values:
            self.ids.append(values["id"])
        assert tag not in self.FORBIDDEN
        assert not {"style", "srcset"} & values.keys()
        assert not [name for name in values if name.startswith("on")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_the_page_needs_nothing_from_outside(files) -> None:
    page = Page(files["report.html"])
    assert page.images
    assert all(source.startswith("data:image/png;base64,") for source in page.images)
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert "http:" not in files["report.html"]
    assert "https:" not in files["report.html"]
    assert set(re.findall(r"url\(([^)]*)\)", files["report.html"])) == {"#window"}


def test_the_page_says_what_it_must(files) -> None:
    text = Page(files["report.html"]).text
    for words in (
        "not for clinical use",
        "autosegnet 0.0",
        "torch, CPU",
        "0123456789ab",
        "Trained on <nothing> & no one.",
        "The PET was given in SUV.",
        "CT covers 61 % of the body",
        "18-connectivity",
        "2026-01-02 03:04 UTC",
    ):
        assert words in text


def test_the_policy_names_the_only_style_and_script_by_their_hash(files) -> None:
    page = files["report.html"]
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy.startswith("default-src 'none'; img-src data:; ")
    for tag in ("style", "script"):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy


def test_a_title_is_shown_as_text_and_nothing_names_the_case_without_one(study) -> None:
    mask = thresholded(study)
    table = measure_lesions(mask, study.pet)
    page = report_files(study, mask, table, PROVENANCE, title="A <b> & C")["report.html"]
    assert "A <b> & C" in Page(page).text
    assert "<title>A &lt;b&gt; &amp; C</title>" in page
    assert "<title>PET/CT lesion report</title>" in files_of(study, mask)["report.html"]


def test_tables_name_their_rows_and_columns_for_a_screen_reader(files) -> None:
    page = files["report.html"]
    assert page.count("<caption>") == page.count("<table>") == 2
    assert page.count('<th scope="row">') == 4
    assert not re.search(r"<th\b(?![^>]*scope)", page)
    assert not re.search(r"<img(?![^>]*alt=)", page)


def test_scan_references_flags_and_what_was_left_out_are_told() -> None:
    body = body_phantom()
    mask = make_image(
        np.maximum(*(view_voxels(ball(at, 18.0)) for at in ((70, 50, 480), (0, 0, 700)))), Grid.from_image(body.pet)
    )
    small = make_image(np.maximum(view_voxels(mask), view_voxels(ball((0, 0, 300), 7.0))), Grid.from_image(body.pet))
    context = Context(organs=body.organs, size=BodySize(70.0, 170.0, "F"))
    kept, table = measure_selected(small, body.pet, context, Selection(min_volume_ml=3.0))
    made_by = replace(PROVENANCE, scan=(("Uptake time", "64 min"),))
    text = Page(report_files(Study(body.pet, body.ct), kept, table, made_by)["report.html"]).text
    for words in (
        "Uptake time 64 min", "Liver, mean ± SD 2.20 ± 0.00", "Blood pool, max 1.60", "SULpeak",
        "physiological? kidney (100% inside)", "Left out on request: 1 lesion, ",
        "Deauville", "PERCIST, SUVpeak needed 3.30", "SDmax",
    ):  # fmt: skip
        assert words in text


@pytest.mark.parametrize("lesions", [0, 1])
def test_reference_regions_are_shown_with_their_outline_whether_or_not_there_is_a_lesion(lesions) -> None:
    body = body_phantom()
    mask = make_image(view_voxels(ball((0, 0, 700), 12.0)) * np.uint8(lesions), Grid.from_image(body.pet))
    table = measure_lesions(mask, body.pet, Context(organs=body.organs))
    files = report_files(Study(body.pet, body.ct), mask, table, PROVENANCE)
    for name, radius_mm in (("liver", 15.0), ("blood_pool", 5.0)):
        seen = np.asarray(Image.open(io.BytesIO(files[f"reference_{name}.png"])))
        rows, columns = np.nonzero((seen == CYAN).all(axis=2))
        assert (rows.mean(), columns.mean()) == pytest.approx((seen.shape[0] / 2 - 0.5,) * 2, abs=0.5)
        assert np.ptp(rows) * 260 / seen.shape[0] == pytest.approx(2 * radius_mm, abs=4)
    page = files["report.html"]
    assert "Liver SUVmean 2.20" in Page(page).text
    assert page.count('for="show-ct"') == 1


def test_the_warning_of_physiological_uptake_gives_the_volume_without_it() -> None:
    body = body_phantom()
    grid = Grid.from_image(body.pet)
    other = view_voxels(ball((0, 0, 700), 18.0))
    one, two = [(70, 50, 480)], [(70, 50, 465), (70, 50, 505)]
    for places, words in (
        (one, "lesion 2. All figures include it; without it"),
        (two, "lesions 2, 3. All figures include them; without them"),
    ):
        hot = np.maximum.reduce([view_voxels(ball(place, 12.0)) for place in places])
        mask = make_image(np.maximum(other, hot), grid)
        table = measure_lesions(mask, body.pet, Context(organs=body.organs))
        text = Page(report_files(Study(body.pet, body.ct), mask, table, PROVENANCE)["report.html"]).text
        assert f"{words} TMTV is {other.sum() * 0.216:.1f} ml." in text


def test_distances_between_lesions_are_shown_if_there_are_two(study) -> None:
    size = BodySize(70.0, 170.0, "F")
    for threshold, shown in ((4.0, True), (12.0, False)):
        mask = thresholded(study, threshold)
        table = measure_lesions(mask, study.pet, Context(size=size))
        assert (len(table.lesions) > 1) == shown
        text = Page(report_files(study, mask, table, PROVENANCE)["report.html"]).text
        assert ("Dmax, centroids" in text) == ("SDmax 0" in text or "SDmax 1" in text) == shown
        assert "Weight 70 kg Height 170 cm Sex female" in " ".join(text.split())


def test_every_lesion_has_a_row_and_a_picture_that_lead_to_each_other(study, files) -> None:
    table = measure_lesions(thresholded(study), study.pet)
    page = Page(files["report.html"])
    assert len(table.lesions) == 2
    for lesion in table.lesions:
        for name in ("row", "lesion"):
            assert f"{name}-{lesion.number}" in page.ids
            assert f"#{name}-{lesion.number}" in page.links
        assert f"{lesion.suv_max:.2f}" in page.text
        assert f"{lesion.suv_peak:.2f}" in page.text


def test_the_pictures_in_the_page_are_the_files(files) -> None:
    pictures = {name: content for name, content in files.items() if name.endswith(".png")}
    assert set(pictures) == {"mip_coronal.png", "mip_sagittal.png", "lesion_1.png", "lesion_2.png"}
    images = [base64.b64decode(source.split(",")[1]) for source in Page(files["report.html"]).images]
    base, overlay = images[0], Image.open(io.BytesIO(images[1]))
    # Black at SUV 20 in the page's layer, at 10 in the file; away from numbers, marks and the scale both show the PET.
    wide = 255 - pixels(base)[10:-60, 60:-60]
    narrow = 255 - pixels(files["mip_coronal.png"])[10:-60, 60:-60]
    bare = np.asarray(overlay)[10:-60, 60:-60, 3] == 0
    assert np.abs(np.minimum(2 * wide, 255) - narrow)[bare].max() <= 2


def test_views_from_all_around_keep_the_height_of_what_they_show(study, files) -> None:
    labels, _ = number_lesions(thresholded(study))
    views = turn_around(study.pet, labels, measure_lesions(thresholded(study), study.pet).lesions)
    assert [view.degrees for view in views] == list(range(0, 180, 15))
    coronal, side = (np.asarray(views[k].base).astype(int) for k in (0, 6))
    # The hottest spot is at L 30, A 10, S 20: right of the middle from the front, left of it from the patient's left.
    row, column = np.unravel_index(coronal.argmin(), coronal.shape)
    row_side, column_side = np.unravel_index(side.argmin(), side.shape)
    assert row == pytest.approx(row_side, abs=3)
    assert column > coronal.shape[1] / 2 + 10
    assert column_side < side.shape[1] / 2 - 2


def test_the_tables_beside_the_page_hold_all_lesions(study, files) -> None:
    table = measure_lesions(thresholded(study), study.pet)
    assert files["lesions.csv"] == format_lesions_csv(table)
    assert files["lesions.json"] == format_lesions_json(table)


def test_both_projections_have_one_height(files) -> None:
    assert pixels(files["mip_coronal.png"]).shape[0] == pixels(files["mip_sagittal.png"]).shape[0]


def test_an_empty_mask_gives_a_report_that_says_so(study) -> None:
    files = files_of(study, thresholded(study, suv=1e6))
    assert sorted(files) == ["lesions.csv", "lesions.json", "mip_coronal.png", "mip_sagittal.png", "report.html"]
    page = Page(files["report.html"])
    assert "No lesion was found." in page.text
    assert "TMTV 0.00 ml" in page.text
    assert "SUVmax –" in page.text
    assert not re.search(r'id="lesion-', files["report.html"])


def test_of_many_lesions_the_largest_are_shown_and_all_are_listed() -> None:
    study = phantom()
    mask = np.zeros(study.pet.GetSize()[::-1], np.uint8)
    mask[4:-4:5, 4:-4:6, 4:-4:6] = 1
    mask[8, 8, 8:20] = 1
    mask = make_image(mask, Grid.from_image(study.pet))
    count = len(measure_lesions(mask, study.pet).lesions)
    files = files_of(study, mask)
    page = Page(files["report.html"])
    assert count > SHOWN
    assert sum(name.startswith("lesion_") for name in files) == SHOWN
    assert sum(bool(re.fullmatch(r"row-\d+", name)) for name in page.ids) == SHOWN
    assert f"and {count - SHOWN} smaller lesions" in page.text
    assert len(list(csv.reader(io.StringIO(files["lesions.csv"])))) == count + 1


def test_the_same_study_gives_the_same_files(study, files) -> None:
    assert files_of(study, thresholded(study)) == files
