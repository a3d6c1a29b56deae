"""Detection, surfaces, uptake and intervals against their definitions written out; the command with several rules."""

import argparse
import csv
import itertools
import json
import math
from io import StringIO

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from autosegnet.cli.evaluate_command import add_evaluate_arguments, run_evaluate
from autosegnet.errors import InputError, UsageError
from autosegnet.evaluation import (
    EvaluationOptions,
    evaluate_cases,
    match_lesions,
    measure_masks,
    measure_pair,
    rank_teams,
)
from autosegnet.evaluation.agreement import find_agreement, find_auc, find_interval
from autosegnet.evaluation.surface import measure_surfaces
from autosegnet.evaluation.uptake import measure_uptake

FACES_AND_EDGES = ndimage.generate_binary_structure(3, 2)
NAN = float("nan")


def blobs(rng, shape=(14, 13, 12)):
    field = ndimage.gaussian_filter(rng.random(shape), 1)
    return field > np.quantile(field, 1 - rng.choice([0.0, 0.02, 0.06, 0.15]))


def lesions_of(mask):
    labels, n = ndimage.label(mask, structure=FACES_AND_EDGES)
    return [labels == k for k in range(1, n + 1)]


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


# --- detection -------------------------------------------------------------------------------------------------------


def best_matching(p, g, threshold):
    """Try all one-to-one pairings: the most pairs, then the largest sum of IoU."""
    allowed = [(i, j, iou(a, b)) for i, a in enumerate(g) for j, b in enumerate(p) if iou(a, b) > threshold]
    for count in range(min(len(p), len(g)), 0, -1):
        sums = [
            [x[2] for x in pairs]
            for pairs in itertools.combinations(allowed, count)
            if len({x[0] for x in pairs}) == len({x[1] for x in pairs}) == count
        ]
        if sums:
            return count, max(map(sum, sums))
    return 0, 0.0


def test_matchings_agree_with_all_pairings_tried() -> None:
    rng = np.random.default_rng(5)
    tried = 0
    while tried < 60:
        p, g = blobs(rng), blobs(rng)
        if rng.random() < 0.7:
            g = np.roll(p, rng.integers(0, 3, 3), (0, 1, 2)) ^ (rng.random(p.shape) < 0.01)
        predicted, true = lesions_of(p), lesions_of(g)
        pairs = sum(iou(a, b) > 0 for a in predicted for b in true)
        if pairs > 12:
            continue
        tried += 1
        found = match_lesions(p, g, thresholds=(0.0, 0.1, 0.5))
        for threshold in (0.0, 0.1, 0.5):
            count, total = best_matching(predicted, true, threshold)
            assert found.iou[threshold].found == found.iou[threshold].right == count
            if threshold == 0.5 and count:
                assert found.sq == pytest.approx(total / count)
                assert found.pq == pytest.approx(total / (count + (len(predicted) - count + len(true) - count) / 2))
        assert found.overlap.found == sum(bool((a & p).any()) for a in true)
        assert found.overlap.right == sum(bool((b & g).any()) for b in predicted)


def test_the_detection_matching_metric_counts_lesions_with_any_partner_of_iou_0_1() -> None:
    rng = np.random.default_rng(7)
    for _ in range(60):
        p, g = blobs(rng), blobs(rng)
        if rng.random() < 0.7:
            g = np.roll(p, rng.integers(0, 2, 3), (0, 1, 2)) ^ (rng.random(p.shape) < 0.02)
        predicted, true = lesions_of(p), lesions_of(g)
        found = sum(any(iou(a, b) >= 0.1 for b in predicted) for a in true)
        wrong = sum(not any(iou(a, b) >= 0.1 for a in true) for b in predicted)
        expected = 2 * found / (2 * found + wrong + len(true) - found) if true else NAN
        np.testing.assert_equal(match_lesions(p, g).dmm, expected)


def test_two_halves_of_one_lesion_are_no_mistake_of_the_detection_matching_metric() -> None:
    truth = np.zeros((9, 5, 5), bool)
    truth[1:8] = True
    halves = truth.copy()
    halves[4] = False
    found = match_lesions(halves, truth)
    assert found.dmm == 1.0
    assert found.iou[0.1].f1 == pytest.approx(2 / 3)


def test_counts_by_overlap_are_those_of_the_challenge() -> None:
    rng = np.random.default_rng(6)
    for _ in range(50):
        p, g = blobs(rng), blobs(rng)
        overlap, metrics = match_lesions(p, g).overlap, measure_masks(p, g, spacing_mm=(1.0, 1.0, 1.0))
        assert overlap.true_lesions - overlap.found == metrics.n_missed
        assert overlap.predicted_lesions - overlap.right == metrics.n_false


def test_without_lesions_ratios_are_nan_and_f1_only_if_both_are_empty() -> None:
    empty, one = np.zeros((3, 3, 3), bool), np.ones((3, 3, 3), bool)
    both = match_lesions(empty, empty)
    assert all(math.isnan(v) for v in (both.overlap.f1, both.pq, both.sq, both.rq, both.overlap.sensitivity))
    missed = match_lesions(empty, one)
    assert (missed.overlap.sensitivity, missed.overlap.f1, missed.pq) == (0.0, 0.0, 0.0)
    assert math.isnan(missed.overlap.precision)


# --- surfaces --------------------------------------------------------------------------------------------------------


def test_surface_metrics_agree_with_all_distances() -> None:
    rng = np.random.default_rng(8)
    for _ in range(25):
        p, g = np.pad(blobs(rng), 1), np.pad(blobs(rng), 1)
        spacing = rng.uniform(1.0, 5.0, 3)
        found = measure_surfaces(p, g, spacing_mm=tuple(spacing), tolerance_mm=4.0)
        if not p.any() or not g.any():
            assert math.isnan(found.hd95_mm)
            assert found.nsd == 0.0 if p.any() or g.any() else math.isnan(found.nsd)
            continue
        sides = [np.roll(np.eye(3, dtype=int)[k] * s, 0) for k in range(3) for s in (-1, 1)]
        surfaces = []
        for mask in (p, g):
            at = np.argwhere(mask)
            surfaces.append(np.array([v for v in at if any(not mask[tuple(v + s)] for s in sides)]) * spacing)
        apart = np.linalg.norm(surfaces[0][:, None] - surfaces[1][None], axis=2)
        to_g, to_p = apart.min(axis=1), apart.min(axis=0)
        assert found.nsd == pytest.approx(((to_g <= 4.0).sum() + (to_p <= 4.0).sum()) / (len(to_g) + len(to_p)))
        assert found.hd95_mm == pytest.approx(max(np.percentile(to_g, 95), np.percentile(to_p, 95)))


def test_a_mask_moved_by_one_voxel_has_that_surface_distance() -> None:
    mask = np.zeros((20, 20, 20), bool)
    mask[5:12, 5:12, 5:12] = True
    found = measure_surfaces(np.roll(mask, 1, 0), mask, spacing_mm=(3.0, 2.0, 2.0), tolerance_mm=2.9)
    assert found.hd95_mm == 3.0
    assert found.nsd < 1.0
    assert measure_surfaces(np.roll(mask, 1, 0), mask, spacing_mm=(3.0, 2.0, 2.0), tolerance_mm=3.0).nsd == 1.0


# --- uptake, intervals, areas ----------------------------------------------------------------------------------------


def test_uptake_is_summed_over_each_mask() -> None:
    suv = np.arange(27.0).reshape(3, 3, 3)
    found = measure_uptake(suv > 24, suv > 20, suv, spacing_mm=(10.0, 10.0, 10.0))
    assert found.truth_tlg_g == sum(range(21, 27))
    assert (found.prediction_tlg_g, found.prediction_suv_max_g_per_ml) == (25 + 26, 26)
    assert math.isnan(measure_uptake(suv > 99, suv > 20, suv, spacing_mm=(1.0,) * 3).prediction_suv_max_g_per_ml)


def test_a_bootstrap_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    hits = 0
    for k in range(60):
        interval = find_interval(rng.normal(2.0, 1.0, 50), seed=k)
        hits += interval.low <= 2.0 <= interval.high
    assert 51 <= hits <= 60


def test_an_interval_leaves_nan_out_and_needs_two_values() -> None:
    assert find_interval([NAN, 2.0]).mean == 2.0
    assert math.isnan(find_interval([2.0]).low)
    assert math.isnan(find_interval([]).mean)


def test_limits_of_agreement_are_196_sd_from_the_bias() -> None:
    found = find_agreement([1.0, 2.0, 6.0, NAN], [0.0, 2.0, 4.0, 1.0])
    assert (found.bias.n, found.bias.mean) == (3, 1.0)
    assert (found.lower, found.upper) == (pytest.approx(1 - 1.96), pytest.approx(1 + 1.96))


def test_the_area_of_a_metric_that_stays_is_its_value() -> None:
    assert find_auc([0.7] * 11) == pytest.approx(0.7)
    assert find_auc([0.0, 1.0]) == 0.5
    assert find_auc([0.0, 1.0, 1.0]) == 0.75
    assert find_auc([0.3]) == 0.3


# --- grids and conventions -------------------------------------------------------------------------------------------


def image_of(mask, spacing=(2.0, 3.0, 4.0)):
    image = sitk.GetImageFromArray(np.asarray(mask))
    image.SetSpacing(spacing)
    image.SetOrigin((-40.0, 7.0, 100.0))
    return image


def test_flips_and_axis_orders_of_a_grid_change_nothing() -> None:
    rng = np.random.default_rng(9)
    p, g = (image_of((rng.random((5, 6, 7)) < 0.2).astype(np.uint8)) for _ in range(2))
    expected = measure_pair(p, g)
    for order in itertools.permutations(range(3)):
        for flips in itertools.product((False, True), repeat=3):
            assert measure_pair(sitk.Flip(sitk.PermuteAxes(p, order), flips), g) == expected


def test_autopet5_scores_an_empty_truth_by_whether_anything_is_predicted() -> None:
    empty, one = np.zeros((3, 3, 3), bool), np.ones((3, 3, 3), bool)
    options = {"spacing_mm": (10.0, 10.0, 10.0), "convention": "autopet5"}
    right, false = measure_masks(empty, empty, **options), measure_masks(one, empty, **options)
    assert (right.dsc, right.fpv_ml, false.dsc, false.fpv_ml) == (1.0, 0.0, 0.0, 27.0)
    assert math.isnan(right.fnv_ml)
    assert measure_masks(empty, one, **options).fnv_ml == 27.0


@pytest.mark.parametrize("convention", ["nnunet", "valscript"])
def test_dsc_of_two_empty_masks_is_nan_and_of_a_false_one_0(convention) -> None:
    empty, one = np.zeros((3, 3, 3), bool), np.ones((3, 3, 3), bool)
    options = {"spacing_mm": (10.0, 10.0, 10.0), "convention": convention}
    both, false = measure_masks(empty, empty, **options), measure_masks(one, empty, **options)
    assert math.isnan(both.dsc)
    assert (both.fpv_ml, both.fnv_ml) == (0.0, 0.0)
    assert (false.dsc, false.fpv_ml, false.fnv_ml) == (0.0, 27.0, 0.0)


# --- folders and the command -----------------------------------------------------------------------------------------


def write(path, mask) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image_of(mask), str(path))


def run(*words):
    parser = argparse.ArgumentParser()
    add_evaluate_arguments(parser)
    run_evaluate(parser.parse_args([str(word) for word in words]))


def rows_of(path):
    return {row["case"]: row for row in csv.DictReader(StringIO(path.read_text()))}


@pytest.fixture
def folders(tmp_path):
    rng = np.random.default_rng(2)
    for case in "abcd":
        truth = np.pad(blobs(rng, (8, 8, 8)), 2).astype(np.uint8)
        truth[4:6, 4:6, 4:6] = 1
        write(tmp_path / "t" / f"{case}.mha", truth)
        write(tmp_path / "p" / f"{case}.mha", np.roll(truth, 1, 0))
        write(tmp_path / "suv" / f"{case}.mha", (rng.random(truth.shape) * 9).astype(np.float32))
    return tmp_path


def test_a_bad_case_costs_its_row_and_the_run_ends_as_an_input_error(folders, capsys) -> None:
    write(folders / "p" / "b.mha", np.full((3, 3, 3), 1, np.uint8))
    (folders / "p" / "c.mha").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"2 of 4 cases could not be measured \(b, c\); the others are in the CSV"):
        run("--prediction", folders / "p", "--truth", folders / "t", "--output", folders / "m.csv")
    rows = rows_of(folders / "m.csv")
    assert [case for case, row in rows.items() if row["error"]] == ["b", "c"]
    assert "expected the same grid" in rows["b"]["error"]
    assert float(rows["a"]["dsc"]) > 0
    assert rows["b"]["dsc"] == "nan"
    assert "2 cases: 2 positive" in capsys.readouterr().out
    with pytest.raises(InputError, match="2 cases could not be measured"):
        rank_teams({"x": folders / "m.csv"})


def test_the_table_is_the_same_from_two_processes(folders) -> None:
    words = ("--prediction", folders / "p", "--truth", folders / "t", "--pet", folders / "suv")
    run(*words, "--output", folders / "one.csv")
    run(*words, "--output", folders / "two.csv", "--jobs", 2)
    assert (folders / "one.csv").read_text() == (folders / "two.csv").read_text()
    row = rows_of(folders / "one.csv")["a"]
    assert float(row["tlg_error_g"]) == pytest.approx(float(row["prediction_tlg_g"]) - float(row["truth_tlg_g"]))
    assert {"f1_overlap", "f1_iou_0.1", "f1_iou_0.5", "pq", "nsd", "hd95_mm", "volume_error_ml"} <= row.keys()


def test_a_pet_that_cannot_be_in_suv_costs_its_row(folders) -> None:
    bqml = 5000 * np.random.default_rng(0).random((12, 12, 12)).astype(np.float32)
    write(folders / "suv" / "a.mha", bqml)
    words = ("--prediction", folders / "p", "--truth", folders / "t", "--pet", folders / "suv")
    with pytest.raises(InputError, match="1 of 4 cases could not be measured"):
        run(*words, "--output", folders / "m.csv")
    assert "looks like Bq/ml" in rows_of(folders / "m.csv")["a"]["error"]


def test_two_pets_for_one_case_are_refused(folders) -> None:
    write(folders / "suv" / "a.nii.gz", np.ones((12, 12, 12), np.float32))
    with pytest.raises(InputError, match=r"two PETs for case a, expected one: .*a\.mha and .*a\.nii\.gz"):
        evaluate_cases([folders / "p"], folders / "t", pet=folders / "suv")


def test_the_summary_has_intervals_and_limits_of_agreement(folders, capsys) -> None:
    run(
        "--prediction", folders / "p", "--truth", folders / "t", "--pet", folders / "suv", "--output", folders / "m.csv"
    )
    printed = capsys.readouterr().out
    for words in ("95 % interval", "Limits of agreement", "lesion F1, any overlap", "TLG (g)", "bootstrap over cases"):
        assert words in printed


def test_interactions_give_areas_and_the_last_one_is_the_result(folders) -> None:
    for case in "abcd":
        write(folders / "start" / f"{case}.mha", np.zeros((12, 12, 12), np.uint8))
    steps = [folders / "start", folders / "p", folders / "t"]
    run("--prediction", *steps, "--truth", folders / "t", "--output", folders / "m.csv")
    middle = evaluate_cases([folders / "p"], folders / "t")["a"].metrics
    row = rows_of(folders / "m.csv")["a"]
    assert float(row["dsc"]) == 1.0
    assert float(row["auc_dsc"]) == pytest.approx((0 + 2 * middle.dsc + 1) / 4)


@pytest.mark.parametrize(("label", "dsc"), [("2", 1.0), ("any", 1.0), ("3", 0.0)])
def test_a_label_chooses_the_lesions_of_a_mask_with_several(tmp_path, label, dsc) -> None:
    mask = np.zeros((6, 6, 6), np.uint8)
    mask[1:3, 1:3, 1:3] = 2
    write(tmp_path / "p" / "a.mha", mask)
    write(tmp_path / "t" / "a.mha", mask)
    result = evaluate_cases([tmp_path / "p"], tmp_path / "t", options=EvaluationOptions(label=label))["a"]
    assert result.metrics.dsc == dsc
    assert "expected only 0 and 1" in evaluate_cases([tmp_path / "p"], tmp_path / "t")["a"].error


def test_a_value_beside_1_is_shown_with_its_digits_and_the_option_that_chooses_labels(tmp_path) -> None:
    mask = np.zeros((6, 6, 6), np.float32)
    mask[1:3] = 0.99999994
    write(tmp_path / "p" / "a.mha", mask)
    write(tmp_path / "t" / "a.mha", (mask > 0).astype(np.uint8))
    error = evaluate_cases([tmp_path / "p"], tmp_path / "t")["a"].error
    assert "holds the values 0.99999994, expected only 0 and 1" in error
    assert "--label any" in error


@pytest.mark.parametrize("label", ["", "1", "any"])
def test_nan_in_a_mask_is_no_lesion_if_asked(tmp_path, label) -> None:
    truth = np.zeros((6, 6, 6), np.float32)
    truth[2:4] = 1
    prediction = truth.copy()
    prediction[0] = np.nan
    write(tmp_path / "p" / "a.nii.gz", prediction)
    write(tmp_path / "t" / "a.nii.gz", truth)
    refused = evaluate_cases([tmp_path / "p"], tmp_path / "t", options=EvaluationOptions(label=label))["a"]
    assert "--nonfinite air" in refused.error
    options = EvaluationOptions(label=label, nonfinite="air")
    assert evaluate_cases([tmp_path / "p"], tmp_path / "t", options=options)["a"].metrics.dsc == 1.0


def test_the_form_of_nifti_masks_is_chosen_by_the_option(folders) -> None:
    for name in ("p", "t"):
        image = nibabel.Nifti1Image(np.ones((4, 4, 4), np.uint8), np.diag([2.0, 2, 2, 1]))
        moved = image.affine.copy()
        moved[0, 3] += 9
        image.set_sform(moved, code=2)
        image.set_qform(np.diag([2.0, 2, 2, 1]), code=1)
        (folders / f"n{name}").mkdir()
        nibabel.save(image, folders / f"n{name}" / "a.nii.gz")
    words = ("--prediction", folders / "np", "--truth", folders / "nt", "--output", folders / "m.csv")
    with pytest.raises(InputError, match="voxels apart"):
        run(*words)
    run(*words, "--nifti-form", "sform")
    assert float(rows_of(folders / "m.csv")["a"]["dsc"]) == 1.0


@pytest.mark.parametrize("words", [("--label", "x"), ("--label", "0"), ("--iou", "1.5"), ("--nsd-tolerance", "-1")])
def test_options_out_of_range_are_refused(folders, words) -> None:
    with pytest.raises(UsageError):
        run("--prediction", folders / "p", "--truth", folders / "t", "--output", folders / "m.csv", *words)


# --- ranking of autoPET III ------------------------------------------------------------------------------------------


def test_teams_that_do_not_differ_significantly_share_a_rank(tmp_path) -> None:
    rng = np.random.default_rng(4)
    hard = rng.normal(0.6, 0.15, 40)
    teams = {"good": 0.1, "same": 0.1005, "poor": 0.0}
    for team, gain in teams.items():
        dsc = np.clip(hard + gain + rng.normal(0, 0.02, 40), 0, 1)
        lines = [f"case{k},{v},{10 - 10 * v},{10 - 10 * v}" for k, v in enumerate(dsc)]
        (tmp_path / f"{team}.csv").write_text("\n".join(["case,dsc,fpv_ml,fnv_ml", *lines]) + "\n")
    files = {team: tmp_path / f"{team}.csv" for team in teams}
    by_means = {s.team: s.rank_dsc for s in rank_teams(files)}
    by_tests = {s.team: s.rank_dsc for s in rank_teams(files, edition="autopet3-tukey")}
    assert sorted(by_means.values()) == [1, 2, 3]
    assert by_tests == {"good": 1, "same": 1, "poor": 3}


def test_metrics_are_plain_numbers(folders) -> None:
    result = evaluate_cases([folders / "p"], folders / "t")["a"]
    json.dumps([result.metrics.n_missed, result.detection.overlap.found, result.surface.nsd, result.detection.pq])
