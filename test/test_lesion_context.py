"""Sites, references, flags and suggestions of lesions in a body whose organs are known."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from body_phantom import BLOOD_SUV, GRID, LIVER_SUV, ball, body_phantom

from autosegnet.errors import InputError
from autosegnet.geometry import Grid, make_image, resample, resample_labels, view_voxels
from autosegnet.io import read_image, read_mask
from autosegnet.lesions import (
    ORGAN_TABLES,
    BodySize,
    Context,
    OrganLabels,
    Selection,
    format_lesions_csv,
    format_lesions_json,
    measure_lesions,
    measure_selected,
)
from autosegnet.lesions.organ_names import describe_label
from autosegnet.lesions.references import warn_of_liver
from autosegnet.lesions.response import count_measurable, find_percist_threshold_suv, suggest_deauville
from autosegnet.loading import LoadedStudy
from autosegnet.outputs import make_context
from autosegnet.scan import ScanFacts
from autosegnet.study import Study

# Where a ball of 15 mm lies, its region and side by landmarks, and its organ if the map has one there.
PLACES = {
    "head": ((0, 0, 1000), "head", "midline"),
    "neck": ((-30, 0, 880), "neck", "right"),
    "between the lungs": ((0, 0, 700), "chest, between the lungs", "midline"),
    "lung": ((85, 0, 700), "lung", "left"),
    "chest wall": ((-152, 0, 700), "chest wall or armpit", "right"),
    "abdomen": ((60, -40, 500), "abdomen", "left"),
    "pelvis": ((90, 0, 260), "pelvis", "left"),
    "leg": ((-80, 0, 100), "leg", "right"),
}


@pytest.fixture(scope="module")
def body():
    return body_phantom()


def union(*masks: sitk.Image) -> sitk.Image:
    return make_image(np.maximum.reduce([view_voxels(m) for m in masks]), GRID)


def hot(body, mask: sitk.Image, suv: float = 9.0) -> sitk.Image:
    return make_image(np.where(view_voxels(mask) > 0, suv, view_voxels(body.pet)).astype(np.float32), GRID)


# --- names -----------------------------------------------------------------------------------------------------------


def test_the_tables_have_as_many_labels_as_their_programs() -> None:
    assert {name: len(table) for name, table in ORGAN_TABLES.items()} == {
        "totalsegmentator": 117, "totalsegmentator-v1": 104, "moose": 19, "autopet3": 10,
    }  # fmt: skip
    assert (ORGAN_TABLES["totalsegmentator"][5], ORGAN_TABLES["totalsegmentator"][52]) == ("liver", "aorta")
    assert ORGAN_TABLES["totalsegmentator-v1"][7] == "aorta"
    assert ORGAN_TABLES["moose"][8] == ORGAN_TABLES["autopet3"][3] == "liver"


@pytest.mark.parametrize(
    ("name", "organ"),
    [
        ("kidney_left", ("kidney", "left")),
        ("kidneys", ("kidney", "")),
        ("lung_upper_lobe_right", ("lung", "right")),
        ("Left Lung", ("lung", "left")),
        ("heart_ventricle_left", ("heart", "left")),
        ("bladder", ("urinary bladder", "")),
        ("vertebrae_L5", ("vertebra L5", "")),
        ("rib_left_4", ("rib 4", "left")),
        ("something new", ("something new", "")),
    ],
)
def test_names_of_every_program_become_one_organ_and_a_side(name, organ) -> None:
    assert describe_label(name) == organ


# --- sites -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["ct", "organs"])
def test_every_region_is_named_by_landmarks(body, source) -> None:
    context = Context(ct=body.ct) if source == "ct" else Context(organs=body.organs)
    mask = union(*(ball(place, 12.0) for place, _, _ in PLACES.values()))
    found = {}
    for lesion in measure_lesions(mask, body.pet, context).lesions:
        name = min(PLACES, key=lambda n: float(np.linalg.norm(np.subtract(PLACES[n][0], lesion.centroid_mm))))
        found[name] = (lesion.site.name, lesion.site.side)
    expected = {name: (region, side) for name, (_, region, side) in PLACES.items()}
    if source == "organs":
        expected["head"] = ("brain", "")
    assert found == expected


def test_a_lesion_mostly_inside_an_organ_is_there_and_doubtful_if_the_organ_is_hot_in_health(body) -> None:
    mask = union(ball((70, 50, 480), 18.0), ball((-75, 0, 520), 18.0))
    kidney, liver = sorted(
        measure_lesions(mask, body.pet, Context(organs=body.organs)).lesions, key=lambda m: -m.centroid_mm[0]
    )
    assert (kidney.site.name, kidney.site.side, kidney.site.flag) == ("kidney", "left", "kidney (100% inside)")
    assert (liver.site.name, liver.site.flag) == ("liver", "")


def test_a_lesion_less_than_half_inside_a_hot_organ_is_not_doubtful(body) -> None:
    (lesion,) = measure_lesions(ball((100, 50, 480), 14.0), body.pet, Context(organs=body.organs)).lesions
    assert (lesion.site.name, lesion.site.flag) == ("abdomen", "")


def test_sites_do_not_depend_on_the_grid_of_the_organ_map(body) -> None:
    finer = Grid((120, 80, 360), (3.6, 3.4, 3.0), (-215.0, -137.0, 1.0), GRID.direction)
    moved = OrganLabels(resample_labels(body.organs.labels, finer), body.organs.names)
    flipped = OrganLabels(sitk.Flip(body.organs.labels, (True, False, True)), body.organs.names)
    mask = union(*(ball(place, 12.0) for place, _, _ in PLACES.values()))
    sites = [
        [lesion.site.name for lesion in measure_lesions(mask, body.pet, Context(organs=organs)).lesions]
        for organs in (body.organs, moved, flipped)
    ]
    assert sites[0] == sites[1] == sites[2]


def test_without_ct_or_organs_nothing_is_said_of_the_site(body) -> None:
    (lesion,) = measure_lesions(ball((0, 0, 700), 12.0), body.pet).lesions
    assert (lesion.site.name, lesion.site.side, lesion.site.flag) == ("", "", "")


def test_an_organ_map_without_names_or_elsewhere_is_refused(body) -> None:
    mask = ball((0, 0, 700), 12.0)
    with pytest.raises(InputError, match="none of which has a name"):
        measure_lesions(mask, body.pet, Context(organs=OrganLabels(body.organs.labels, {99: "liver"})))
    far = make_image(view_voxels(body.organs.labels), replace(GRID, origin_mm=(5000.0, 0.0, 0.0)))
    with pytest.raises(InputError, match="no organ of the organ map lies inside the PET"):
        measure_lesions(mask, body.pet, Context(organs=OrganLabels(far, body.organs.names)))


# --- references ------------------------------------------------------------------------------------------------------


def test_liver_and_blood_pool_are_measured_where_the_organ_map_has_them(body) -> None:
    lesion = ball((-75, 0, 520), 18.0)
    found = measure_lesions(lesion, hot(body, lesion), Context(organs=body.organs)).references
    assert found.liver is not None
    assert found.blood is not None
    assert (found.liver.suv_mean, found.liver.suv_sd) == (pytest.approx(LIVER_SUV), pytest.approx(0.0, abs=1e-6))
    assert found.blood.suv_mean == pytest.approx(BLOOD_SUV)
    assert found.liver.sure
    assert found.liver.centre_mm[0] < 0
    away = np.linalg.norm(np.subtract(found.liver.centre_mm, (-75, 0, 520)))
    assert away >= 15.0 + 18.0 - 6.0  # the sphere keeps out of the lesion, to a voxel


def test_the_liver_sphere_has_the_volume_of_3_cm(body) -> None:
    liver = measure_lesions(ball((0, 0, 700), 12.0), body.pet, Context(organs=body.organs)).references.liver
    assert liver is not None
    assert liver.voxels * 0.216 == pytest.approx(14.14, rel=0.25)


def test_without_an_organ_map_the_liver_is_found_by_the_ct_and_marked_as_less_sure(body) -> None:
    found = measure_lesions(ball((0, 0, 700), 12.0), body.pet, Context(ct=body.ct)).references
    assert found.liver is not None
    assert found.liver.suv_mean == pytest.approx(LIVER_SUV)
    assert not found.liver.sure
    assert (found.blood, found.without_blood) == (None, "no organ map with an aorta; no clear tube beside the spine")


def test_the_rule_abstains_where_the_tissue_below_the_lung_is_uneven_or_no_lung_is_seen(body) -> None:
    rng = np.random.default_rng(1)
    uneven = make_image(
        (view_voxels(body.pet) * rng.gamma(2.0, 0.5, view_voxels(body.pet).shape)).astype(np.float32), GRID
    )
    mask = ball((0, 0, 700), 12.0)
    found = measure_lesions(mask, uneven, Context(ct=body.ct)).references
    assert (found.liver, found.without_liver) == (
        None, "what lies below the right lung is too uneven to be a liver",
    )  # fmt: skip
    legs = Grid((72, 46, 30), GRID.spacing_mm, GRID.origin_mm, GRID.direction)
    parts = [sitk.RegionOfInterest(image, legs.size, (0, 0, 0)) for image in (mask, body.pet, body.ct)]
    found = measure_lesions(parts[0], parts[1], Context(ct=parts[2])).references
    assert (found.liver, found.without_liver) == (None, "no organ map, and no lungs found in the CT")


def test_an_aorta_with_two_equal_bulges_is_measured_in_one_of_them() -> None:
    """The median height of their deep voxels lies between them, where no voxel is deep."""
    grid = Grid((40, 40, 60), (4.0, 4.0, 4.0), (-78.0, -78.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    z, y, x = (4.0 * np.indices(grid.shape).T + (0.0, -78.0, -78.0)).T
    is_wide = (z > 180) | (np.abs(z - 160) <= 6) | (np.abs(z - 136) <= 6)
    aorta = (np.hypot(x, y) < np.where(is_wide, 14, 9)) & (z > 40) & (z <= 220)
    mask = np.zeros(grid.shape, np.uint8)
    mask[2:4, 2:4, 2:4] = 1
    suv = make_image(np.where(aorta, BLOOD_SUV, 0.5).astype(np.float32), grid)
    organs = OrganLabels(make_image(aorta.astype(np.uint8), grid), {1: "aorta"})
    blood = measure_lesions(make_image(mask, grid), suv, Context(organs=organs)).references.blood
    assert blood is not None
    assert blood.suv_mean == pytest.approx(BLOOD_SUV)
    assert min(abs(blood.centre_mm[2] - bulge) for bulge in (136, 160)) <= 6


@pytest.mark.parametrize("height_mm", [540.0, 570.0, 590.0])
def test_an_oblique_pet_gives_a_whole_sphere_of_liver_or_none(body, height_mm) -> None:
    """At 570 mm the largest ball below the lung lay outside the PET, at 590 mm it shared one voxel with it."""
    cos, sin = np.cos(np.radians(20.0)), np.sin(np.radians(20.0))
    turned = np.array([[1.0, 0.0, 0.0], [0.0, cos, -sin], [0.0, sin, cos]])
    size = (72, 46, 60)
    origin = np.array([0.0, 0.0, height_mm]) - turned @ [(size[0] - 1) * 3.0, (size[1] - 1) * 3.0, 0.0]
    grid = Grid(size, (6.0, 6.0, 6.0), tuple(origin.tolist()), tuple(turned.ravel().tolist()))
    mask = np.zeros(grid.shape, np.uint8)
    mask[30:33, 20:23, 30:33] = 1
    pet = resample(body.pet, grid, outside=0.0)
    found = measure_lesions(make_image(mask, grid), pet, Context(ct=body.ct)).references
    if found.liver is None:
        assert found.without_liver == "no ball of soft tissue of 4.4 cm below the right lung in the PET"
    else:
        assert found.liver.voxels * 0.216 == pytest.approx(14.14, rel=0.25)
    assert (found.liver is None) == (height_mm > 580.0)


@pytest.mark.parametrize(("suv", "warned"), [(0.9, True), (1.4, False), (2.9, False), (4.4, True)])
def test_a_liver_outside_1_3_to_3_is_a_warning(suv, warned) -> None:
    body = body_phantom(liver_suv=suv)
    found = measure_lesions(ball((0, 0, 700), 12.0), body.pet, Context(organs=body.organs)).references
    assert (f"liver SUVmean is {suv:.2f}" in warn_of_liver(found.liver)) == warned


# --- suggestions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("suv", "score"), [(1.5, "2"), (2.0, "3"), (3.0, "4"), (9.0, "5")])
def test_the_deauville_suggestion_compares_with_blood_pool_and_liver(body, suv, score) -> None:
    mask = ball((0, 0, 700), 12.0)
    table = measure_lesions(mask, hot(body, mask, suv), Context(organs=body.organs))
    assert suggest_deauville(table.lesions[0], table.fdg_references) == score
    other_tracer = measure_lesions(mask, body.pet, Context(organs=body.organs, tracer="PSMA-1007"))
    assert suggest_deauville(other_tracer.lesions[0], other_tracer.fdg_references) == ""


@pytest.mark.parametrize(
    ("size", "formulas"),
    [((70, 170, "M"), {"janma", "james"}), ((200, 165, "F"), {"janma"}), ((250, 160, "O"), {"janma"})],
)
def test_a_lean_mass_that_is_not_above_0_gives_no_sul(size, formulas) -> None:
    """James, for 200 kg and 165 cm: 1.07 x 200 - 148 x (200 / 165)^2 = -3.4 kg."""
    factors = BodySize(*size).compute_lean_factors()
    assert factors.keys() == formulas
    assert min(factors.values()) > 0


@pytest.mark.parametrize(
    ("tracer", "nuclide", "is_fdg"),
    [
        ("", "", True), ("", "F-18", True), ("FDG", "F-18", True), ("FDG", "", True), ("Fluorodeoxyglucose", "", True),
        ("", "Ga-68", False), ("FDG", "Ga-68", False), ("PSMA", "F-18", False), ("another", "", False),
    ],
)  # fmt: skip
def test_rules_for_fdg_need_a_tracer_and_a_nuclide_that_may_be_fdg(tracer, nuclide, is_fdg) -> None:
    assert Context(tracer=tracer, nuclide=nuclide).is_fdg == is_fdg


def test_the_nuclide_of_a_study_decides_whether_rules_for_fdg_apply(body) -> None:
    study = Study(body.pet, body.ct)
    assert make_context(LoadedStudy(study, scan=ScanFacts(nuclide="F-18"))).is_fdg
    assert not make_context(LoadedStudy(study, scan=ScanFacts(nuclide="Ga-68"))).is_fdg


def test_percist_asks_for_one_and_a_half_times_the_liver_and_two_sd(body) -> None:
    mask = ball((0, 0, 700), 12.0)
    table = measure_lesions(mask, hot(body, mask, 3.5), Context(organs=body.organs))
    assert find_percist_threshold_suv(table.fdg_references) == pytest.approx(1.5 * LIVER_SUV, abs=1e-4)
    assert count_measurable(table.lesions, table.fdg_references) == 1
    faint = measure_lesions(mask, hot(body, mask, 3.2), Context(organs=body.organs))
    assert count_measurable(faint.lesions, faint.fdg_references) == 0


# --- body size, border, confidence -----------------------------------------------------------------------------------


def test_sul_and_sdmax_follow_from_weight_height_and_sex(body) -> None:
    mask = union(ball((0, 0, 700), 12.0), ball((0, 0, 500), 12.0))
    table = measure_lesions(mask, hot(body, mask), Context(size=BodySize(80.0, 175.0, "M")))
    bmi = 80.0 / 1.75**2
    assert table.lean_factors["janma"] == pytest.approx(9270 / (6680 + 216 * bmi))
    assert table.lean_factors["james"] == pytest.approx(1.10 - 128 * 80.0 / 175.0**2)
    surface = 0.007184 * 175.0**0.725 * 80.0**0.425
    assert table.body.sdmax_per_m == pytest.approx(table.body.dmax_centroids_mm / 1000 / surface)
    row = next(csv.DictReader(io.StringIO(format_lesions_csv(table))))
    assert float(row["sul_janma_max_g_per_ml"]) == pytest.approx(9.0 * table.lean_factors["janma"])


def test_without_a_height_there_is_neither_sul_nor_sdmax(body) -> None:
    table = measure_lesions(ball((0, 0, 700), 12.0), body.pet, Context(size=BodySize(80.0)))
    assert (dict(table.lean_factors), table.body.sdmax_per_m) == ({}, None)


def test_a_lesion_in_the_outermost_layer_touches_the_border(body) -> None:
    mask = union(ball((-80, 0, 0), 14.0), ball((0, 0, 700), 14.0))
    assert [m.touches_border for m in measure_lesions(mask, body.pet).lesions] == [False, True]


def test_the_diameter_of_a_lesion_is_its_largest_distance(body) -> None:
    (lesion,) = measure_lesions(ball((0, 0, 700), 24.5), body.pet).lesions
    assert lesion.diameter_mm == pytest.approx(48.0, abs=3.0)
    assert measure_lesions(ball((0, 0, 700), 24.5), body.pet).body.bulk_mm == lesion.diameter_mm


def test_confidence_is_the_mean_of_the_maps_over_the_lesion(body) -> None:
    mask = ball((0, 0, 700), 12.0)
    values = np.where(view_voxels(mask) > 0, 0.75, 0.0).astype(np.float32)
    maps = {"probability": make_image(values, GRID), "disagreement": make_image(values / 4, GRID)}
    (lesion,) = measure_lesions(mask, body.pet, Context(**maps)).lesions
    assert (lesion.probability, lesion.disagreement) == (pytest.approx(0.75), pytest.approx(0.1875))


def test_a_map_on_another_grid_is_refused(body) -> None:
    mask = ball((0, 0, 700), 12.0)
    with pytest.raises(InputError, match="map of probability"):
        measure_lesions(mask, body.pet, Context(probability=sitk.Crop(body.pet, (1, 0, 0), (0, 0, 0))))


# --- selection -------------------------------------------------------------------------------------------------------


def test_nothing_is_left_out_unless_asked(body) -> None:
    mask = union(ball((70, 50, 480), 18.0), ball((0, 0, 700), 7.0))
    kept, table = measure_selected(mask, body.pet, Context(organs=body.organs), Selection())
    assert kept is mask
    assert (len(table.lesions), table.left_out) == (2, ())


def test_small_and_doubtful_lesions_are_left_out_of_mask_and_table_and_told(body) -> None:
    mask = union(ball((70, 50, 480), 18.0), ball((0, 0, 700), 7.0), ball((0, 0, 780), 18.0))
    selection = Selection(min_volume_ml=3.0, drop_flagged=True)
    kept, table = measure_selected(mask, body.pet, Context(organs=body.organs), selection)
    (lesion,) = table.lesions
    assert lesion.centroid_mm[2] == pytest.approx(780, abs=3)
    assert int(view_voxels(kept).sum()) == lesion.voxels
    small, doubtful = table.left_out
    assert (small.lesions, doubtful.lesions) == (1, 1)
    assert "3 ml" in small.reason
    assert "physiological" in doubtful.reason
    told = json.loads(format_lesions_json(table))["left_out"]
    assert sum(left["volume_ml"] for left in told) + lesion.volume_ml == pytest.approx(
        float(view_voxels(mask).sum()) * 0.216
    )


def test_each_label_is_one_lesion_on_request(body) -> None:
    values = np.zeros(GRID.size[::-1], np.uint8)
    values[view_voxels(ball((0, 0, 700), 12.0)) > 0] = 3
    values[view_voxels(ball((0, 0, 500), 12.0)) > 0] = 3
    values[view_voxels(ball((12, 0, 500), 8.0)) > 0] = 7
    mask = make_image(values, GRID)
    assert len(measure_lesions(mask, body.pet).lesions) == 2
    table = measure_lesions(mask, body.pet, labelled=True)
    assert [(m.label, m.voxels) for m in table.lesions] == [
        (3, int((values == 3).sum())),
        (7, int((values == 7).sum())),
    ]
    assert json.loads(format_lesions_json(table))["lesion_definition"] == "label of the mask"


# --- real data -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_real_organ_maps_name_the_site_of_real_lesions(real_data) -> None:
    """Four lesions of a lymphoma patient: two organs' neighbours, no lesion in the brain or a leg."""
    folder = real_data / "autopet_label"
    if not folder.is_dir():
        pytest.skip("no autopet_label in the real data")
    mask, labels = read_mask(folder / "SEG.nii.gz"), read_image(folder / "organs.nii.gz")
    flat = sitk.Cast(mask, sitk.sitkFloat32)
    table = measure_lesions(mask, flat, Context(organs=OrganLabels(labels, ORGAN_TABLES["autopet3"])))
    assert len(table.lesions) == 4
    assert all(lesion.site.name for lesion in table.lesions)
    assert table.references.liver is not None
    assert table.references.liver.suv_mean == 0.0  # no lesion inside
