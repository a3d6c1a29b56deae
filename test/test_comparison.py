"""Two dates of one patient: registered, lesions matched, changes told, the wrong patient refused."""

import csv
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from body_phantom import GRID, body_phantom, positions
from scipy import ndimage

from autosegnet.comparison import Comparison, Visit, VisitFiles, compare_studies, compare_visits, save_comparison
from autosegnet.comparison.change_table import CHANGE_COLUMNS, format_changes_csv, format_comparison_json
from autosegnet.comparison.changes import BodyChange, DateFigures, LesionChange, find_changes, find_percent
from autosegnet.comparison.comparison_files import COMPARISON_PAGE
from autosegnet.comparison.first_shift import find_shift
from autosegnet.comparison.identity import check_identity
from autosegnet.comparison.likeness import measure_likeness
from autosegnet.comparison.matching import Matched, NumberedMask, link_lesions
from autosegnet.comparison.percist import suggest_percist
from autosegnet.comparison.registration_check import LEAST_LIKENESS, RegistrationCheck, measure_overlap
from autosegnet.comparison.result_folder import StudyFiles, format_study_file, list_other_files, read_study_file
from autosegnet.comparison.scan_doubts import list_doubts
from autosegnet.comparison.warp import Warp, make_rigid_warp
from autosegnet.errors import InputError
from autosegnet.geometry import Grid, make_image, view_voxels
from autosegnet.io import write_image
from autosegnet.lesions import BodySize, Context, LesionTable, measure_lesions, number_lesions
from autosegnet.lesions.reference_regions import Reference
from autosegnet.lesions.references import References
from autosegnet.loading import InputOptions, LoadedStudy
from autosegnet.scan import ScanFacts
from autosegnet.study import Study

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
SMALL = Grid((40, 30, 50), (4.0, 4.0, 4.0), (0.0, 0.0, 0.0), IDENTITY)
Ball = tuple[tuple[float, float, float], float, float]
"""Centre in mm, radius in mm, SUV."""


def ball_mask(grid: Grid, centre_mm: tuple[float, float, float], radius_mm: float) -> np.ndarray:
    z, y, x = np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij")
    places = [grid.origin_mm[k] + grid.spacing_mm[k] * index for k, index in enumerate((x, y, z))]
    return np.asarray(sum((p - c) ** 2 for p, c in zip(places, centre_mm, strict=True)) <= radius_mm**2)


def small_visit(*balls: Ball, grid: Grid = SMALL, size: BodySize | None = None, scan: ScanFacts | None = None) -> Visit:
    """Return a visit with balls of uptake in a cold box, without an anatomy."""
    suv, mask = np.full(grid.shape, 0.5, np.float32), np.zeros(grid.shape, np.uint8)
    for centre, radius, uptake in balls:
        inside = ball_mask(grid, centre, radius)
        suv[inside], mask[inside] = uptake, 1
    pet, image = make_image(suv, grid), make_image(mask, grid)
    size = size or BodySize(80.0, 180.0, "M")
    liver = Reference("liver", 2.0, 0.2, 2.6, 2.4, 100, (0.0, 0.0, 0.0), 15.0, "", True)
    table = replace(measure_lesions(image, pet, Context(size=size)), references=References(liver=liver))
    return Visit(LoadedStudy(Study(pet, pet), scan=scan or ScanFacts()), image, table, size=size)


def shift_warp(shift_mm: tuple[float, float, float], grid: Grid = SMALL) -> Warp:
    """Return a warp whose baseline lies off the follow-up by a shift."""
    return make_rigid_warp(sitk.TranslationTransform(3, shift_mm), grid)


def match(baseline: Visit, followup: Visit, warp: Warp | None = None) -> tuple[LesionChange, ...]:
    masks = []
    for visit in (baseline, followup):
        labels, n = number_lesions(visit.mask)
        masks.append(NumberedMask(labels, n, Grid.from_image(visit.mask)))
    return find_changes(baseline.table, followup.table, link_lesions(*masks, warp or shift_warp((0.0, 0.0, 0.0))))


A, B, C = (40.0, 60.0, 60.0), (110.0, 60.0, 60.0), (80.0, 60.0, 150.0)


def test_a_lesion_at_the_same_place_is_matched() -> None:
    (change,) = match(small_visit((A, 14, 6.0)), small_visit((A, 10, 3.0)))
    assert change.fate == "matched"
    assert find_percent(change.baseline.suv_max, change.followup.suv_max) == pytest.approx(-50)


def test_a_warp_is_followed() -> None:
    moved = (A[0] - 20.0, A[1] - 20.0, A[2] - 16.0)
    warp = shift_warp((20.0, 20.0, 16.0))
    (change,) = match(small_visit((A, 10, 6.0)), small_visit((moved, 10, 6.0)), warp)
    assert change.fate == "matched"
    assert change.overlap_ml == pytest.approx(change.baseline.volume_ml)


def test_one_lesion_that_became_two_is_split_and_the_reverse_is_merged() -> None:
    one = small_visit((A, 20, 6.0))
    two = small_visit(((26.0, 60.0, 60.0), 7, 6.0), ((54.0, 60.0, 60.0), 7, 6.0))
    (split,) = match(one, two)
    (merged,) = match(two, one)
    assert (split.fate, split.followup.lesions) == ("split", (1, 2))
    assert (merged.fate, merged.baseline.lesions) == ("merged", (1, 2))
    assert split.followup.volume_ml == pytest.approx(sum(lesion.volume_ml for lesion in two.table.lesions))


def test_lesions_far_apart_are_vanished_and_new() -> None:
    assert [c.fate for c in match(small_visit((A, 12, 6.0)), small_visit((B, 10, 6.0)))] == ["vanished", "new"]


def test_lesions_that_do_not_overlap_are_one_if_they_lie_near() -> None:
    near = small_visit(((A[0], A[1], A[2] + 24.0), 6, 6.0))
    far = small_visit(((A[0], A[1], A[2] + 44.0), 6, 6.0))
    assert [c.fate for c in match(small_visit((A, 10, 6.0)), near)] == ["matched"]
    assert [c.fate for c in match(small_visit((A, 10, 6.0)), far)] == ["vanished", "new"]


def test_a_large_lesion_that_begins_beside_another_is_new_and_not_the_other() -> None:
    changes = match(small_visit(((40.0, 60.0, 60.0), 26, 6.0)), small_visit(((104.0, 60.0, 60.0), 30, 6.0)))
    assert sorted(change.fate for change in changes) == ["new", "vanished"]
    (small,) = match(small_visit(((40.0, 60.0, 60.0), 26, 6.0)), small_visit(((76.0, 60.0, 60.0), 6, 6.0)))
    assert small.fate == "matched"


def test_a_lesion_outside_the_other_field_is_not_imaged() -> None:
    short = replace(SMALL, size=(40, 30, 30))
    below = small_visit((A, 12, 6.0), grid=short)
    changes = match(small_visit((A, 12, 6.0), (C, 10, 6.0)), below)
    assert [c.fate for c in changes] == ["matched", "not imaged at follow-up"]
    assert [c.fate for c in match(below, small_visit((A, 12, 6.0), (C, 10, 6.0)))][1] == "not imaged at baseline"


def test_two_empty_masks_have_no_change() -> None:
    assert match(small_visit(), small_visit()) == ()


def test_the_same_study_twice_has_no_change() -> None:
    visit = small_visit((A, 12, 6.0), (B, 8, 4.0))
    for change in match(visit, visit):
        assert change.baseline == change.followup


def test_a_warp_is_undone_by_its_inverse() -> None:
    rng = np.random.default_rng(1)
    rigid = sitk.Euler3DTransform()
    rigid.SetRotation(0.1, -0.05, 0.2)
    rigid.SetTranslation((12.0, -7.0, 30.0))
    z, y, x = np.meshgrid(*(np.arange(n) for n in SMALL.shape), indexing="ij")
    bent = np.stack([6.0 * np.sin(z / 9.0), 5.0 * np.cos(x / 8.0), 4.0 * np.sin(y / 7.0)], axis=-1)
    warp = replace(make_rigid_warp(rigid, SMALL), displacement_mm=bent)
    places = rng.uniform(20.0, 100.0, (50, 3))
    np.testing.assert_allclose(warp.to_followup(warp.to_baseline(places)), places, atol=0.05)


def lesion_change(before: float | None, after: float | None, *, number: int = 1, tlg: tuple[float, float] = (10, 10),
                  fate: str = "matched", flag: str = "") -> LesionChange:  # fmt: skip
    figures = [
        DateFigures(() if peak is None else (number,), 1.0, one, peak, peak, peak, flag=flag, is_doubtful=bool(flag))
        for peak, one in zip((before, after), tlg, strict=True)
    ]
    return LesionChange(number, fate, figures[0], figures[1])  # type: ignore[arg-type]


def suggest(*changes: LesionChange) -> tuple[str, str]:
    visit = small_visit((A, 12, 6.0))
    found = suggest_percist(changes, visit.table, visit.table)
    return found.response, " ".join(found.reasons)


@pytest.mark.parametrize(
    ("before", "after", "response"),
    [
        (6.0, 4.2, "PMR"),  # -30 %
        (6.0, 4.3, "SMD"),  # -28 %
        (6.0, 7.8, "PMD"),  # +30 %
        (6.0, 7.7, "SMD"),
        (2.65, 1.852, "SMD"),  # -30.1 % and -0.798
        (2.65, 1.849, "PMR"),  # -30.2 % and -0.801
    ],
)
def test_percist_needs_thirty_percent_and_0_8(before: float, after: float, response: str) -> None:
    assert suggest(lesion_change(before, after))[0] == response


def test_percist_calls_a_new_lesion_progression_unless_it_may_be_physiological() -> None:
    new = lesion_change(None, 5.0, number=2, fate="new")
    assert suggest(lesion_change(6.0, 3.0), new)[0] == "PMD"
    assert (
        suggest(lesion_change(6.0, 3.0), replace(new, followup=replace(new.followup, flag="kidney", is_doubtful=True)))[
            0
        ]
        == "PMR"
    )


def test_percist_counts_a_group_of_which_only_a_part_may_be_physiological() -> None:
    hot = lesion_change(8.0, 2.0)
    split = replace(hot, fate="split", followup=replace(hot.followup, lesions=(1, 2), flag="kidney", is_doubtful=False))
    assert suggest(split)[0] == "PMR"


def test_percist_names_what_it_does_not_count() -> None:
    response, reasons = suggest(
        lesion_change(8.0, 4.0), *(lesion_change(9.0, 9.0, number=k, flag="kidney") for k in (2, 3))
    )
    assert response == "PMR"
    assert "physiological: lesions 2 and 3." in reasons


def test_percist_says_how_large_a_new_lesion_is() -> None:
    new = lesion_change(None, 5.0, number=2, fate="new")
    tiny = replace(new, followup=replace(new.followup, volume_ml=0.064))
    assert "New: 2 (0.064 ml)" in suggest(lesion_change(6.0, 3.0), tiny)[1]


def test_percist_calls_it_complete_only_if_everything_was_imaged_again() -> None:
    gone = lesion_change(6.0, None, fate="vanished")
    unseen = lesion_change(5.0, None, number=2, fate="not imaged at follow-up")
    assert suggest(gone)[0] == "CMR"
    assert suggest(gone, unseen)[0] == ""


def test_percist_measures_no_lesion_below_its_threshold() -> None:
    response, reason = suggest(lesion_change(1.5, 0.5))
    assert response == ""
    assert "not measurable" in reason


def test_percist_tells_a_rise_of_another_lesion() -> None:
    assert suggest(lesion_change(8.0, 4.0), lesion_change(3.0, 4.5, number=2))[0] == "PMD"
    assert suggest(lesion_change(8.0, 7.0), lesion_change(3.0, 3.0, number=2, tlg=(10, 18)))[0] == "PMD"


def test_percist_says_nothing_without_sul_or_of_another_tracer() -> None:
    change = lesion_change(6.0, 3.0)
    without = [replace(one, sul_peak=None) for one in (change.baseline, change.followup)]
    assert suggest(replace(change, baseline=without[0], followup=without[1]))[0] == ""
    table = replace(small_visit((A, 12, 6.0)).table, is_fdg=False)
    assert suggest_percist([change], table, table).response == ""


def doubts(first: ScanFacts, second: ScanFacts, *, livers: tuple[float, float] = (2.0, 2.0)) -> str:
    tables = []
    for mean in livers:
        table = small_visit((A, 12, 6.0)).table
        assert table.references.liver is not None
        liver = replace(table.references.liver, suv_mean=mean)
        tables.append(replace(table, references=References(liver=liver)))
    return " ".join(list_doubts(first, second, *tables))


KNOWN = ScanFacts(uptake_min=60.0, dose_mbq=300.0, scanner="A", reconstruction="B", tracer="FDG", weight_kg=80.0)


def test_equal_scans_raise_no_doubt() -> None:
    assert doubts(KNOWN, KNOWN) == ""


@pytest.mark.parametrize(
    ("other", "word"),
    [
        (replace(KNOWN, uptake_min=76.0), "Uptake time"),
        (replace(KNOWN, dose_mbq=380.0), "Dose"),
        (replace(KNOWN, scanner="C"), "Scanner"),
        (replace(KNOWN, reconstruction="C"), "Reconstruction"),
        (replace(KNOWN, tracer="PSMA"), "Tracer"),
        (replace(KNOWN, weight_kg=90.0), "Weight"),
        (replace(KNOWN, uptake_min=None), "Not known of both dates: uptake time"),
    ],
)
def test_scans_that_differ_raise_a_doubt(other: ScanFacts, word: str) -> None:
    assert word in doubts(KNOWN, other)
    assert word in doubts(other, KNOWN)


def test_a_liver_that_differs_raises_a_doubt() -> None:
    assert "Liver" in doubts(KNOWN, KNOWN, livers=(2.0, 2.6))
    assert "Liver" not in doubts(KNOWN, KNOWN, livers=(2.0, 2.2))


def comparison(baseline: Visit, followup: Visit, **more: object) -> Comparison:
    """Return a comparison whose registration is known."""
    labels = [NumberedMask(*number_lesions(visit.mask), Grid.from_image(visit.mask)) for visit in (baseline, followup)]
    warp = shift_warp((0.0, 0.0, 0.0))
    matched = link_lesions(*labels, warp)
    changes = find_changes(baseline.table, followup.table, matched)
    check = RegistrationCheck(200.0, 0.98, 0.92, 0.95, 0.85, 0.05, (0.8, 1.2), ())
    percist = suggest_percist(changes, baseline.table, followup.table)
    body = (BodyChange("tmtv_ml", baseline.table.body.tmtv_ml, followup.table.body.tmtv_ml),)
    found = Comparison(baseline, followup, warp, check, matched, changes, body, percist, ("4", "3"), (), (), 63)
    return replace(found, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def found() -> Comparison:
    return comparison(small_visit((A, 14, 6.0), (B, 10, 5.0)), small_visit((A, 10, 3.0), (C, 8, 7.0)))


def test_the_table_has_a_row_per_change_and_units_in_its_names(found: Comparison) -> None:
    rows = list(csv.DictReader(io.StringIO(format_changes_csv(found))))
    assert tuple(rows[0]) == CHANGE_COLUMNS
    assert [row["fate"] for row in rows] == ["matched", "vanished", "new"]
    assert float(rows[0]["change_suv_max_percent"]) == pytest.approx(-50)
    assert rows[1]["change_suv_max_percent"] == rows[1]["followup_volume_ml"] == ""


def test_the_json_is_strict_and_holds_rules_links_and_changes(found: Comparison) -> None:
    content = json.loads(format_comparison_json(found))
    assert content["links"][0]["baseline"] == 1
    assert [change["number"] for change in content["changes"]] == [1, 2, 3]
    assert content["suggestions"]["percist"] == "PMD"
    assert content["days"] == 63


def test_a_folder_gets_all_files_and_loses_those_of_an_earlier_comparison(found: Comparison, tmp_path: Path) -> None:
    save_comparison(found, tmp_path, aligned=True)
    assert (tmp_path / "baseline_suv.nii.gz").is_file()
    save_comparison(found, tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert {"comparison.html", "changes.csv", "comparison.json", "transform.tfm"} <= names
    assert "baseline_suv.nii.gz" not in names
    transform = sitk.ReadTransform(str(tmp_path / "transform.tfm"))
    assert transform.TransformPoint((1.0, 2.0, 3.0)) == pytest.approx((1, 2, 3))


def test_the_parquet_file_has_the_columns_of_the_csv(found: Comparison, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    save_comparison(found, tmp_path)
    table = parquet.read_table(tmp_path / "changes.parquet")
    assert tuple(table.column_names) == CHANGE_COLUMNS
    assert table.num_rows == 3


def test_the_aligned_baseline_has_the_numbers_of_the_changes(found: Comparison) -> None:
    aligned = found.align_baseline()
    assert sorted(np.unique(view_voxels(aligned["baseline_lesions"]))) == [0, 1, 2]
    assert view_voxels(aligned["baseline_suv"]).max() == pytest.approx(6.0)


def test_the_page_runs_nothing_loads_nothing_and_escapes_its_title(found: Comparison, tmp_path: Path) -> None:
    save_comparison(found, tmp_path, title="<script>alert(1)</script>")
    page = (tmp_path / COMPARISON_PAGE).read_text(encoding="utf-8")
    assert "<script" not in page
    assert "default-src 'none'; img-src data:; style-src 'sha256-" in page
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)


def test_tables_of_the_page_have_captions_and_scopes_and_pictures_have_words(found: Comparison, tmp_path: Path) -> None:
    save_comparison(found, tmp_path)
    page = (tmp_path / COMPARISON_PAGE).read_text(encoding="utf-8")
    assert page.count("<table") == page.count("<caption") > 1
    assert "<th>" not in page
    assert page.count("<img") == page.count(" alt=")
    assert "Projection" in page
    assert "follow-up 63 days after baseline" in page


def test_a_comparison_without_lesions_says_so(tmp_path: Path) -> None:
    nothing = comparison(small_visit(), small_visit())
    save_comparison(nothing, tmp_path)
    assert "No lesion was found on either date." in (tmp_path / COMPARISON_PAGE).read_text(encoding="utf-8")


# ---- whole bodies


def body_visit(
    *, lesion: Callable[[], np.ndarray] | None = None, shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
) -> Visit:
    """Return a visit of the body of ellipses, moved as a whole."""
    phantom = body_phantom()
    mask = np.zeros(GRID.shape, np.uint8) if lesion is None else lesion().astype(np.uint8)
    suv = np.where(mask > 0, 8.0, view_voxels(phantom.pet)).astype(np.float32)
    grid = replace(GRID, origin_mm=tuple(o + s for o, s in zip(GRID.origin_mm, shift_mm, strict=True)))  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    ct = (view_voxels(phantom.ct) + rng.normal(0.0, 8.0, GRID.shape)).astype(np.float32)
    pet, image = make_image(suv, grid), make_image(mask, grid)
    loaded = LoadedStudy(Study(pet, make_image(ct, grid)))
    return Visit(loaded, image, measure_lesions(image, pet))


def lesion_at(x: float, y: float, z: float, radius_mm: float) -> np.ndarray:
    places = positions()
    return np.asarray(sum((p - c) ** 2 for p, c in zip(places, (x, y, z), strict=True)) <= radius_mm**2)


def test_a_moved_body_is_found_and_its_lesions_are_matched() -> None:
    first = body_visit(lesion=partial(lesion_at, -85.0, 0.0, 700.0, 20.0))
    second = body_visit(lesion=partial(lesion_at, -85.0, 0.0, 700.0, 14.0), shift_mm=(20.0, -12.0, -300.0))
    found = compare_visits(first, second)
    place = np.array([[-85.0, 0.0, 700.0]])
    np.testing.assert_allclose(found.warp.to_followup(place), place + (20.0, -12.0, -300.0), atol=3.0)
    assert [change.fate for change in found.changes] == ["matched"]
    assert found.check.landmark_mm is not None
    assert found.check.landmark_mm < 6.0
    assert found.check.faults == ()


@pytest.mark.slow
@pytest.mark.parametrize(("stored", "fates"), [("flipped", {"matched"}), ("without legs and head", {"matched"}),
                                               ("without chest", {"matched", "not imaged at follow-up"})])  # fmt: skip
def test_a_study_stored_or_cut_otherwise_is_compared_all_the_same(stored: str, fates: set[str]) -> None:
    lesions = lesion_at(-85.0, 0.0, 700.0, 20.0) | lesion_at(0.0, 60.0, 350.0, 18.0)
    first = body_visit(lesion=lambda: lesions)
    everything = slice(None)
    parts = {
        "flipped": (slice(None, None, -1),) * 3,
        "without legs and head": (everything, everything, slice(40, 150)),
        "without chest": (everything, everything, slice(0, 105)),
    }
    part = parts[stored]
    pet, ct, mask = (image[part] for image in (first.loaded.study.pet, first.loaded.study.ct, first.mask))
    second = Visit(LoadedStudy(Study(pet, ct)), mask, measure_lesions(mask, pet))
    found = compare_visits(first, second)
    assert {change.fate for change in found.changes} == fates
    assert all(
        find_percent(change.baseline.volume_ml, change.followup.volume_ml) == pytest.approx(0.0, abs=1e-6)
        for change in found.changes
        if change.is_imaged_twice
    )
    assert next(one for one in found.body if one.name == "tmtv_ml").percent == pytest.approx(0.0, abs=1e-6)


def make_other_body(first: Visit) -> Visit:
    """Return a visit whose CT is upside down and denser."""
    voxels = view_voxels(first.loaded.study.ct)
    other = np.clip(voxels[::-1] * 1.0 + 300.0 * (voxels > -300), -1000, 900)
    study = Study(first.loaded.study.pet, make_image(np.ascontiguousarray(other), GRID))
    return replace(first, loaded=LoadedStudy(study))


def test_another_body_is_refused_with_the_reason() -> None:
    first = body_visit()
    with pytest.raises(InputError, match="do not register"):
        compare_visits(first, make_other_body(first))


@pytest.mark.slow
def test_a_doubtful_registration_is_shown_on_request_and_told() -> None:
    first = body_visit()
    found = compare_visits(first, make_other_body(first), accept_doubtful=True)
    assert any("--accept-doubtful" in line for line in found.warnings)


def test_a_shift_is_found_though_one_image_ends_early() -> None:
    ct = body_visit().loaded.study.ct
    part = ct[:, :, 40:140]
    moved = sitk.Image(part)
    moved.SetOrigin([o + s for o, s in zip(part.GetOrigin(), (12.0, 24.0, 240.0), strict=True)])
    shift, correlation = find_shift(ct, moved)
    np.testing.assert_allclose(shift, (12.0, 24.0, 240.0), atol=7.0)
    assert correlation > 0.9


def make_blobs(seed: int) -> np.ndarray:
    """Return smooth HU between fat and bone, (z, y, x) at 8 mm."""
    values = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((60, 36, 44)), 1.2)
    return np.asarray(100.0 * values / values.std())


def test_contrast_medium_makes_no_other_patient_of_one() -> None:
    body, organ = make_blobs(0), np.zeros((60, 36, 44), bool)
    organ[10:40, 8:28, 10:34] = True
    everywhere = np.ones(organ.shape, bool)
    assert measure_likeness(body, body + 150.0 * organ, everywhere, everywhere) > LEAST_LIKENESS
    assert measure_likeness(body, make_blobs(1), everywhere, everywhere) < 0.3


def test_arms_that_lie_elsewhere_do_not_count() -> None:
    body, other = make_blobs(0), make_blobs(0)
    trunk = np.zeros(body.shape, bool)
    trunk[:, :, 10:34] = True
    up, down = trunk.copy(), trunk.copy()
    up[50:, :, 4:10], down[10:30, :, 34:40] = True, True
    other[10:30, :, 33:36] = -400.0  # what the arm pulls along
    assert measure_likeness(body, other, down, up) > 0.95
    other[:, :, 10:34] = make_blobs(1)[:, :, 10:34]
    assert measure_likeness(body, other, down, up) < 0.3


def test_two_ct_of_nothing_but_flat_tissue_are_not_alike() -> None:
    flat, everywhere = np.full((20, 20, 20), 40.0), np.ones((20, 20, 20), bool)
    assert measure_likeness(flat, flat, everywhere, everywhere) == 0.0


def test_overlap_of_nothing_with_nothing_is_whole() -> None:
    assert measure_overlap(np.zeros(3, bool), np.zeros(3, bool)) == 1.0


# ---- identity and folders


class Headers:
    """A stand-in for a PET's DICOM headers."""

    def __init__(self, **texts: str) -> None:
        self.headers = [self]
        self.texts = texts

    def read_text(self, name: str) -> str:
        return self.texts.get(name, "")


def dated(visit: Visit, **texts: str) -> Visit:
    return replace(visit, loaded=replace(visit.loaded, source=Headers(**texts)))  # type: ignore[arg-type]


def test_two_patients_are_refused_and_no_message_repeats_an_identity() -> None:
    visit = small_visit((A, 12, 6.0))
    with pytest.raises(InputError, match="PatientID") as error:
        compare_visits(dated(visit, PatientID="SECRET1"), dated(visit, PatientID="SECRET2"))
    assert "SECRET" not in str(error.value)


def test_dates_in_the_wrong_order_are_refused() -> None:
    visit = small_visit((A, 12, 6.0))
    with pytest.raises(InputError, match="31 days before the baseline; swap the two"):
        compare_visits(dated(visit, StudyDate="20200201"), dated(visit, StudyDate="20200101"))


def test_the_same_pet_twice_is_told_without_any_header() -> None:
    first = small_visit((A, 12, 6.0))
    assert check_identity(first, first) == ["Baseline and follow-up are the same study."]
    assert check_identity(first, small_visit((A, 12, 6.1))) == []


def test_two_sexes_are_refused() -> None:
    visits = [small_visit((A, 12, 6.0), scan=ScanFacts(sex=sex)) for sex in ("M", "F")]
    with pytest.raises(InputError, match="PatientSex"):
        compare_visits(*visits)


def test_a_folder_that_is_no_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found no study"):
        compare_studies(tmp_path, tmp_path)
    with pytest.raises(InputError, match="found no folder"):
        compare_studies(tmp_path / "missing", tmp_path)


def test_a_result_folder_finds_its_study_wherever_it_is_moved_with_it(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "result").mkdir()
    for name in ("pet.nii.gz", "ct.nii.gz"):
        (tmp_path / "data" / name).write_bytes(b"")
    files = StudyFiles(tmp_path / "data/pet.nii.gz", tmp_path / "data/ct.nii.gz", InputOptions(nonfinite="air"))
    (tmp_path / "result" / "study.json").write_text(format_study_file(tmp_path / "result", files), encoding="utf-8")
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    found = read_study_file(moved / "result")
    assert found is not None
    assert found.pet.resolve() == (moved / "data/pet.nii.gz").resolve()
    assert found.options.nonfinite == "air"
    assert (found.size, found.organs) == (None, None)
    (moved / "data/ct.nii.gz").unlink()
    with pytest.raises(InputError, match="says that the CT is at"):
        read_study_file(moved / "result")


def test_a_result_folder_remembers_the_patients_size_and_the_organ_map(tmp_path: Path) -> None:
    for name in ("pet.nii.gz", "ct.nii.gz", "organs.nii.gz"):
        (tmp_path / name).write_bytes(b"")
    size = BodySize(75.0, 172.0, "F")
    files = StudyFiles(
        tmp_path / "pet.nii.gz", tmp_path / "ct.nii.gz", InputOptions(), size, tmp_path / "organs.nii.gz", "moose"
    )
    folder = tmp_path / "result"
    folder.mkdir()
    (folder / "study.json").write_text(format_study_file(folder, files, others=["seg.dcm"]), encoding="utf-8")
    found = read_study_file(folder)
    assert found is not None
    assert found.organs is not None
    assert (found.size, found.organs.resolve(), found.organ_table) == (size, files.organs, "moose")
    assert list_other_files(folder) == {"seg.dcm"}
    (folder / "study.json").write_text('{"others": ["../pet.nii.gz", "seg.dcm", 3]}', encoding="utf-8")
    assert list_other_files(folder) == frozenset()
    (tmp_path / "organs.nii.gz").unlink()
    (folder / "study.json").write_text(format_study_file(folder, files), encoding="utf-8")
    with pytest.raises(InputError, match="says that the organ map is at"):
        read_study_file(folder)


@pytest.mark.slow
def test_folders_of_files_are_compared_by_their_masks(tmp_path: Path) -> None:
    visits = {
        "first": body_visit(lesion=partial(lesion_at, -85.0, 0.0, 700.0, 20.0)),
        "second": body_visit(lesion=partial(lesion_at, 85.0, 0.0, 700.0, 20.0), shift_mm=(6.0, 6.0, 60.0)),
    }
    for name, visit in visits.items():
        study = visit.loaded.study
        for image, file in ((study.pet, "SUV"), (study.ct, "CTres"), (visit.mask, "SEG")):
            write_image(image, tmp_path / name / f"{file}.nii.gz")
    files = [VisitFiles(folder=tmp_path / name, mask=tmp_path / name / "SEG.nii.gz") for name in visits]
    found = compare_studies(*files)
    assert sorted(change.fate for change in found.changes) == ["new", "vanished"]
    assert (save_comparison(found, tmp_path / "out") / COMPARISON_PAGE).is_file()


def test_no_change_of_nothing_is_a_percentage() -> None:
    assert find_percent(0.0, 3.0) is None
    assert {find_percent(0.1 * k, 0.0) for k in range(1, 2000)} == {-100.0}
    assert find_percent(None, 3.0) is None


def test_links_without_lesions_are_none() -> None:
    table: LesionTable = small_visit().table
    assert find_changes(table, table, Matched((), (), ())) == ()


def test_a_change_beyond_999_percent_is_told_as_more() -> None:
    from autosegnet.comparison.comparison_words import summarise

    nearly_nothing = small_visit((A, 3, 6.0))
    assert "(> +999 %)" in summarise(comparison(nearly_nothing, small_visit((A, 20, 6.0))))
