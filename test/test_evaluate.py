"""Metrics of one case, against the paper's equations written out; their summary and table."""

import itertools
import math
import subprocess
import sys
from dataclasses import astuple, replace

import numpy as np
import pytest
import SimpleITK
from scipy import ndimage

from autosegnet.errors import InputError
from autosegnet.evaluation import CaseMetrics, find_spread, format_summary, format_table, measure_masks, measure_pair

NAN = float("nan")
SHARED_FACE_OR_EDGE = ndimage.generate_binary_structure(3, 2)  # 18 neighbours and the voxel itself


def lesions_of(mask):
    labels, n = ndimage.label(mask, structure=SHARED_FACE_OR_EDGE)
    return [labels == number for number in range(1, n + 1)]


def delta(x):
    return 1 if x == 0 else 0


def equations(p, g, *, spacing_mm, convention):
    """Equations (3) to (5) as the paper writes them; sums over lesions, times v."""
    a, b, c = sorted(spacing_mm)
    v = a * b * c / 1000
    fpv = v * sum(int(p_l.sum()) * delta((p_l & g).sum()) for p_l in lesions_of(p))
    if not g.any():
        return (0.0, fpv, 0.0) if convention == "autopet2" else (NAN, fpv, NAN)
    dsc = 2 * int((g & p).sum()) / (int(g.sum()) + int(p.sum()))
    fnv = v * sum(int(g_l.sum()) * delta((g_l & p).sum()) for g_l in lesions_of(g))
    return dsc, fpv, fnv


def random_mask(rng, shape):
    """Voxels at random or a few blobs, on anything from nothing to a quarter of the grid."""
    density = rng.choice([0, 0.002, 0.01, 0.03, 0.08, 0.25])
    if rng.random() < 0.5:
        return rng.random(shape) < density
    field = ndimage.gaussian_filter(rng.random(shape), 1)
    return field > np.quantile(field, 1 - density)


def test_a_thousand_random_cases_agree_with_the_equations_to_the_last_digit():
    rng = np.random.default_rng(2023)
    seen = {"untouched both ways": 0, "empty truth": 0, "empty prediction": 0}
    for _ in range(1000):
        shape = tuple(rng.integers(3, 13, 3))
        p, g = random_mask(rng, shape), random_mask(rng, shape)
        spacing_mm = tuple(rng.uniform(0.7, 6.0, 3))
        for convention in ("autopet2", "autopet3"):
            expected = equations(p, g, spacing_mm=spacing_mm, convention=convention)
            found = measure_masks(p, g, spacing_mm=spacing_mm, convention=convention)
            np.testing.assert_array_equal((found.dsc, found.fpv_ml, found.fnv_ml), expected)
        seen["untouched both ways"] += expected[1] > 0 and expected[2] > 0
        seen["empty truth"] += not g.any()
        seen["empty prediction"] += not p.any()
    assert min(seen.values()) > 100, seen


def test_counts_agree_with_lesions_counted_one_by_one():
    rng = np.random.default_rng(7)
    for _ in range(100):
        p, g = random_mask(rng, (8, 9, 10)), random_mask(rng, (8, 9, 10))
        found = measure_masks(p, g, spacing_mm=(1.0, 1.0, 1.0))
        assert found.n_predicted_lesions == len(lesions_of(p))
        assert found.n_truth_lesions == len(lesions_of(g))
        assert found.n_false == sum(not (lesion & g).any() for lesion in lesions_of(p))
        assert found.n_missed == sum(not (lesion & p).any() for lesion in lesions_of(g))
        assert found.is_positive == bool(g.any())


def two_lesions():
    """Return a truth of 8 and 3 voxels; a prediction that finds half of the first and adds 5 voxels elsewhere."""
    truth, prediction = np.zeros((10, 11, 12), np.uint8), np.zeros((10, 11, 12), np.uint8)
    truth[1:3, 1:3, 1:3] = 1
    truth[8, 8, 2:5] = 1
    prediction[1, 1:3, 1:3] = 1
    prediction[5, 5, 5:10] = 1
    return prediction, truth


def test_metrics_of_a_case_counted_by_hand():
    prediction, truth = two_lesions()
    v = 2.0 * 2.0 * 3.0 / 1000
    assert measure_masks(prediction, truth, spacing_mm=(3.0, 2.0, 2.0)) == CaseMetrics(
        dsc=2 * 4 / (11 + 9),
        fpv_ml=v * 5,
        fnv_ml=v * 3,
        truth_volume_ml=v * 11,
        prediction_volume_ml=v * 9,
        n_truth_lesions=2,
        n_predicted_lesions=2,
        n_missed=1,
        n_false=1,
    )


def test_a_touch_by_a_corner_only_is_no_overlap_and_no_union():
    prediction, truth = np.zeros((4, 4, 4), bool), np.zeros((4, 4, 4), bool)
    prediction[1, 1, 1] = truth[2, 2, 2] = prediction[2, 2, 3] = True
    found = measure_masks(prediction, truth, spacing_mm=(10.0, 10.0, 10.0))
    assert (found.n_predicted_lesions, found.n_false, found.fpv_ml, found.fnv_ml) == (2, 2, 2.0, 1.0)


def test_metrics_do_not_depend_on_the_order_of_the_axes():
    rng = np.random.default_rng(3)
    prediction, truth = rng.random((6, 9, 12)) < 0.05, rng.random((6, 9, 12)) < 0.05
    spacing_mm = (3.0, 2.0364, 2.0364001)
    expected = measure_masks(prediction, truth, spacing_mm=spacing_mm)
    for axes in itertools.permutations(range(3)):
        turned = tuple(spacing_mm[axis] for axis in axes)
        assert measure_masks(prediction.transpose(axes), truth.transpose(axes), spacing_mm=turned) == expected


@pytest.mark.parametrize(
    ("convention", "predicted", "expected"),
    [
        ("autopet2", False, (0.0, 0.0, 0.0)),
        ("autopet2", True, (0.0, 2.0, 0.0)),
        ("autopet3", False, (NAN, 0.0, NAN)),
        ("autopet3", True, (NAN, 2.0, NAN)),
    ],
)
def test_an_empty_truth_scores_by_convention(convention, predicted, expected):
    prediction = np.zeros((3, 3, 3), np.uint8)
    prediction[1, 1, 1:] = predicted
    found = measure_masks(prediction, np.zeros_like(prediction), spacing_mm=(10.0, 10.0, 10.0), convention=convention)
    np.testing.assert_array_equal((found.dsc, found.fpv_ml, found.fnv_ml), expected)
    assert not found.is_positive


@pytest.mark.parametrize("convention", ["autopet2", "autopet3"])
def test_an_empty_prediction_misses_the_whole_truth(convention):
    _, truth = two_lesions()
    found = measure_masks(np.zeros_like(truth), truth, spacing_mm=(10.0, 10.0, 10.0), convention=convention)
    assert (found.dsc, found.fpv_ml, found.fnv_ml, found.n_missed) == (0.0, 0.0, 11.0, 2)
    assert found.fnv_ml == found.truth_volume_ml


def test_a_perfect_prediction_scores_one():
    _, truth = two_lesions()
    found = measure_masks(truth, truth, spacing_mm=(1.0, 1.0, 1.0))
    assert (found.dsc, found.fpv_ml, found.fnv_ml, found.n_false, found.n_missed) == (1.0, 0.0, 0.0, 0, 0)


def test_a_probability_is_not_taken_for_a_mask():
    with pytest.raises(AssertionError, match="not a probability"):
        measure_masks(np.full((2, 2, 2), 0.4), np.ones((2, 2, 2), bool), spacing_mm=(1.0, 1.0, 1.0))


def image_of(mask, *, spacing=(2.0, 3.0, 4.0), origin=(-400.0, -300.0, 5.0), turn_rad=0.0):
    image = SimpleITK.GetImageFromArray(mask)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    c, s = math.cos(turn_rad), math.sin(turn_rad)
    image.SetDirection((c, -s, 0, s, c, 0, 0, 0, 1))
    return image


def test_images_are_measured_with_the_spacing_of_the_truth():
    prediction, truth = two_lesions()
    found = measure_pair(image_of(prediction), image_of(truth))
    assert found == measure_masks(prediction, truth, spacing_mm=(4.0, 3.0, 2.0))
    assert found.truth_volume_ml == 11 * 0.024


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"spacing": (2.0, 3.0, 4.01)}, r"differ in spacing \(mm\) by 0.01;"),
        ({"origin": (-400.0, -299.0, 5.0)}, r"differ in origin \(mm\) by 1;"),
        ({"turn_rad": 0.01}, r"differ in direction \(cosine\) by 0.01;"),
        ({"spacing": (3.0, 3.0, 4.0), "origin": (0.0, -300.0, 5.0)}, r"spacing \(mm\) by 1, origin \(mm\) by 400;"),
        ({"origin": (NAN, -300.0, 5.0)}, r"origin \(mm\) by nan"),
    ],
)
def test_grids_that_differ_are_refused_and_the_difference_is_told(other, message):
    prediction, truth = two_lesions()
    with pytest.raises(InputError, match=message):
        measure_pair(image_of(prediction, **other), image_of(truth))


def test_sizes_that_differ_are_told():
    prediction, truth = two_lesions()
    with pytest.raises(InputError, match="prediction has 12x11x9 voxels, truth 12x11x10; expected the same grid"):
        measure_pair(image_of(prediction[1:]), image_of(truth))


def test_a_header_of_six_digits_or_float32_is_the_same_grid():
    shape = (326, 400, 400)
    spacing, origin = (2.0364201, 2.0364201, 3.0), (-407.1234567, -398.7654321, -1012.3456789)
    truth = image_of(np.zeros(shape, np.uint8), spacing=spacing, origin=origin, turn_rad=1e-7)
    short = {"spacing": [float(f"{s:.6g}") for s in spacing], "origin": [float(f"{o:.6g}") for o in origin]}
    single = {"spacing": np.float32(spacing).tolist(), "origin": np.float32(origin).tolist()}
    for written in (short, single):
        assert measure_pair(image_of(np.zeros(shape, np.uint8), **written), truth).dsc == 0


CASE = CaseMetrics(
    dsc=0.5,
    fpv_ml=1.0,
    fnv_ml=2.0,
    truth_volume_ml=10.0,
    prediction_volume_ml=9.0,
    n_truth_lesions=1,
    n_predicted_lesions=1,
    n_missed=0,
    n_false=0,
)
HEALTHY = replace(CASE, dsc=0.0, fnv_ml=0.0, truth_volume_ml=0.0, n_truth_lesions=0)


def test_spread_has_the_sd_of_a_sample_and_linear_quartiles():
    found = find_spread([4.0, 1.0, 3.0, 2.0])
    assert found.sd == pytest.approx(math.sqrt((2.25 + 0.25 + 0.25 + 2.25) / 3), rel=1e-15)
    assert (found.n, found.mean, found.median, found.q1, found.q3) == (4, 2.5, 2.5, 1.75, 3.25)


def test_spread_leaves_nan_out():
    assert find_spread([NAN, 1.0, 2.0, NAN]) == find_spread([1.0, 2.0])


def test_one_value_has_no_sd_and_none_has_nothing():
    assert find_spread([3.0]).mean == 3.0
    assert math.isnan(find_spread([3.0]).sd)
    assert all(math.isnan(figure) for figure in astuple(find_spread([NAN]))[1:])


def test_the_table_has_a_row_per_fold_in_the_form_of_the_paper():
    folds = {"0": [CASE, replace(CASE, dsc=0.7, fpv_ml=0.0)], "1": [CASE]}
    lines = format_table(folds).splitlines()
    assert [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:1] + lines[2:]] == [
        ["Validation fold", "Cases"]
        + ["DSC mean ± SD", "DSC median [IQR]"]
        + ["FPV (ml) mean ± SD", "FPV (ml) median [IQR]"]
        + ["FNV (ml) mean ± SD", "FNV (ml) median [IQR]"],
        ["0", "2", "0.60 ± 0.14", "0.60 [0.55, 0.65]"]
        + ["0.50 ± 0.71", "0.50 [0.25, 0.75]", "2.00 ± 0.00", "2.00 [2.00, 2.00]"],
        ["1", "1", "0.50 ± -", "0.50 [0.50, 0.50]", "1.00 ± -", "1.00 [1.00, 1.00]", "2.00 ± -", "2.00 [2.00, 2.00]"],
    ]
    assert set(lines[1]) == set("|-: ")
    assert len({len(line) for line in lines}) == 1


def test_the_summary_tells_positives_from_all():
    summary = format_summary({"a": CASE, "b": CASE, "c": HEALTHY})
    assert summary.startswith("3 cases: 2 positive, 1 negative\n\n")
    rows = {line.split("|")[1].strip(): line.split("|")[3].strip() for line in summary.splitlines()[2:]}
    assert rows["all"] == "0.33 ± 0.29"
    assert rows["positives"] == "0.50 ± 0.00"


def test_a_bar_in_a_name_does_not_break_the_table():
    lines = format_table({"a|b": [CASE]}).splitlines()
    assert lines[2].startswith("| a\\|b ")


def test_metrics_of_arrays_need_no_simpleitk():
    code = "import sys, autosegnet.evaluation; sys.exit('SimpleITK' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
