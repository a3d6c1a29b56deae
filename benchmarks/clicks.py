"""Do clicks help? The interactive challenge's rounds on cases with known truth. Writes a CSV row per case and round.

    python -m benchmarks.clicks --weights W --cases sts.csv --output sts_clicks.csv
    python -m benchmarks.clicks --weights W --cases simulated.csv --by errors --output errors.csv

`--cases` is a table of `autosegnet-train index`. A case with a fold is segmented by that fold alone, which has not seen
it, and cut to its box; one without, or with `--all-folds`, by all folds. `--by generator` draws ten clicks on tumour
and ten on background ahead, by the rules of autoPET IV, and gives one more of each per round. `--by errors` gives one
click per round, at the middle of the largest error that is left, as in the loop of autoPET V, which draws a scribble
there. With folds that take clicks the network runs again in every round, and its time counts; the first round's does
not.

Source: github.com/lab-midas/autoPETCTIV, clicks/simulate_clicks.py (rules, written anew) and evaluation_metrics.py.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import cc3d
import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from autosegnet.corrections import Clicks, correct_mask
from autosegnet.evaluation import measure_masks
from autosegnet.geometry import Grid, view_voxels
from autosegnet.io import write_text
from autosegnet.lesions import label_lesions
from autosegnet.model.devices import open_engine
from autosegnet.model.engine import Engine
from autosegnet.model.recipe import Recipe
from autosegnet.model.weights import Weights, open_weights
from autosegnet.pipeline import segment_study
from autosegnet_training.cases import Case, read_cases
from autosegnet_training.simulated_clicks import find_middle
from autosegnet_training.studies import Labelled, read_labelled

ROUNDS = 10
_SEED = 42
_HOT_PERCENTILE = 99.75
Row = dict[str, Any]
Point = tuple[float, float, float]
Mask = NDArray[np.bool_]


def draw_clicks(suv: NDArray[np.float32], truth: Mask, *, count: int = ROUNDS) -> Clicks:
    """Return the clicks of the public generator: middles of components first, then their rims.

    Args:
        suv: (x, y, z).
        truth: of the same shape.
        count: of clicks on tumour, and of those on background.
    """
    random = np.random.RandomState(_SEED)  # noqa: NPY002 (the generator's own)
    tumor = _draw(truth, count, random, is_rim_inside=True) if truth.any() else []
    hot = (suv > np.percentile(suv[~truth], _HOT_PERCENTILE)) & ~truth
    return Clicks(tuple(tumor), tuple(_draw(hot, count, random, is_rim_inside=False)))


def _draw(mask: Mask, count: int, random: np.random.RandomState, *, is_rim_inside: bool) -> list[Point]:
    labels = cc3d.connected_components(mask, connectivity=26)
    present = np.unique(labels)[1:]
    if not len(present):
        return []
    chosen = random.choice(present, size=min(count, len(present)), replace=False)
    points = [_find_middle(labels == label) for label in chosen]
    while len(points) < count:
        for label in chosen[: count - len(points)]:
            part = labels == label
            depth = ndimage.distance_transform_edt(part)
            inverted = (depth.max() - depth) * (depth > 0)
            rim = (inverted == inverted.max()) & (part if is_rim_inside else ~part)
            places = np.argwhere(rim if rim.any() else part)
            points.append(tuple(places[random.choice(len(places))].tolist()))
    return points


def _find_middle(part: Mask) -> Point:
    box = ndimage.find_objects(part.astype(np.uint8))[0]
    x, y, z = (int(at) + side.start for at, side in zip(find_middle(part[box]), box, strict=True))
    return (x, y, z)


def add_error_click(clicks: Clicks, mask: Mask, truth: Mask) -> Clicks:
    """Return the clicks and one more, at the middle of the largest error of a mask (x, y, z)."""
    labels, count = label_lesions(mask & ~truth)
    more, more_count = label_lesions(truth & ~mask)
    sizes = [np.bincount(found.ravel(), minlength=n + 1)[1:] for found, n in ((labels, count), (more, more_count))]
    largest = [int(size.max(initial=0)) for size in sizes]
    if not any(largest):
        return clicks
    if largest[0] > largest[1]:
        point = _find_middle(labels == int(np.argmax(sizes[0])) + 1)
        return replace(clicks, background=(*clicks.background, point))
    return replace(clicks, tumor=(*clicks.tumor, _find_middle(more == int(np.argmax(sizes[1])) + 1)))


def run_rounds(labelled: Labelled, find_chance: Callable[[Clicks], sitk.Image], *, by: str) -> Iterator[Row]:
    """Yield a row per round, the first without clicks.

    Args:
        labelled: a study and its truth.
        find_chance: returns the probability of lesion that the folds give with clicks.
        by: "generator" or "errors".
    """
    suv, truth = view_voxels(labelled.study.pet).T, view_voxels(labelled.truth).T > 0
    drawn = draw_clicks(suv, truth) if by == "generator" else Clicks()
    given = Clicks()
    mask = view_voxels(find_chance(given)).T > 0.5
    yield _measure(mask, truth, labelled, given, 0.0)
    for number in range(1, ROUNDS + 1):
        if by == "generator":
            given = Clicks(drawn.tumor[:number], drawn.background[:number])
        else:
            given = add_error_click(given, mask, truth)
        begun = time.perf_counter()
        mask = view_voxels(correct_mask(find_chance(given), labelled.study, given)).T > 0
        yield {**_measure(mask, truth, labelled, given, time.perf_counter() - begun), "round": number}


def _measure(mask: Mask, truth: Mask, labelled: Labelled, given: Clicks, seconds: float) -> Row:
    found = measure_masks(mask, truth, spacing_mm=Grid.from_image(labelled.truth).spacing_mm, convention="autopet3")
    return {
        "round": 0,
        "tumor": len(given.tumor),
        "background": len(given.background),
        "dsc": round(found.dsc, 4),
        "fpv_ml": round(found.fpv_ml, 3),
        "fnv_ml": round(found.fnv_ml, 3),
        "seconds": round(seconds, 3),
    }


def run_case(case: Case, weights: Weights, *, by: str) -> Iterator[Row]:
    """Yield the rows of one case."""
    labelled = read_labelled(case)
    if case.fold is not None:
        weights = replace(weights, recipe=replace(weights.recipe, folds=(weights.recipe.folds[case.fold],)))
    engine = open_engine(weights, device="cpu")
    segment = partial(_segment, labelled, engine, weights.recipe)
    first = segment(Clicks())
    takes_clicks = weights.recipe.click_channels is not None
    for row in run_rounds(labelled, lambda clicks: segment(clicks) if takes_clicks and clicks else first, by=by):
        yield {"case": case.name, "by": by, **row}


def _segment(labelled: Labelled, engine: Engine, recipe: Recipe, clicks: Clicks) -> sitk.Image:
    chance = segment_study(labelled.study, engine, recipe, clicks=clicks, maps="probability").probability
    assert chance is not None, "it was asked for"
    return chance


def summarise(rows: Sequence[Row]) -> str:
    """Return the means per round as a table, and the areas under their curves."""
    names = ("dsc", "fpv_ml", "fnv_ml")
    means = [[_mean([row[name] for row in rows if row["round"] == k]) for name in names] for k in range(ROUNDS + 1)]
    lines = ["| round | DSC | FPV (ml) | FNV (ml) |", "|---:|---:|---:|---:|"]
    lines += [f"| {k} | {dsc:.3f} | {fpv:.2f} | {fnv:.2f} |" for k, (dsc, fpv, fnv) in enumerate(means)]
    areas = np.trapezoid(np.array(means), axis=0)
    lines.append(f"| area | {areas[0]:.2f} | {areas[1]:.1f} | {areas[2]:.1f} |")
    slowest = max(row["seconds"] for row in rows)
    cases = len({row["case"] for row in rows})
    left, (low, high) = measure_share_left(rows)
    lines.append(f"\nleft of FPV + FNV: {left:.2f} [{low:.2f}, {high:.2f}]")
    return "\n".join([f"{cases} cases; slowest round {slowest:.1f} s", *lines]) + "\n"


def measure_share_left(rows: Sequence[Row]) -> tuple[float, tuple[float, float]]:
    """Return the share of the mean FPV + mean FNV that the last round leaves, and its bootstrap 95 % interval."""
    at = {(row["case"], row["round"]): (row["fpv_ml"], row["fnv_ml"]) for row in rows}
    names = sorted({row["case"] for row in rows})
    found = np.array([[at[name, number] for number in (0, ROUNDS)] for name in names], dtype=np.float64)
    drawn = np.random.default_rng(0).integers(0, len(names), (2000, len(names)))
    shares = np.array([_find_share(found[one]) for one in (np.arange(len(names)), *drawn)])
    low, high = np.nanpercentile(shares[1:], [2.5, 97.5]).tolist()
    return float(shares[0]), (low, high)


def _find_share(found: NDArray[np.float64]) -> float:
    """Return the share left, from (case, first or last round, FPV or FNV); FNV is NaN without a lesion."""
    sums = [sum(_mean(found[:, number, which].tolist()) for which in (0, 1)) for number in (0, 1)]
    return sums[1] / sums[0] if sums[0] else float("nan")


def _mean(values: list[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return fmean(known) if known else float("nan")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--cases", type=Path, required=True, metavar="CSV")
    parser.add_argument("--by", choices=["generator", "errors"], default="generator")
    parser.add_argument("--all-folds", action="store_true", help="whatever the table says; for cases that no fold saw")
    parser.add_argument("--first", type=int, metavar="N", help="only the first N cases of every fold")
    parser.add_argument("--skip", type=int, default=0, metavar="N", help="without the first N cases of every fold")
    parser.add_argument("--output", type=Path, required=True, metavar="CSV")
    args = parser.parse_args()
    weights, cases = open_weights(args.weights), read_cases(args.cases)
    if args.all_folds:
        cases = [replace(case, fold=None) for case in cases]
    folds = {case.fold for case in cases}
    chosen = [case for fold in folds for case in [c for c in cases if c.fold == fold][args.skip : args.first]]
    rows: list[Row] = []
    for case in chosen:
        rows += run_case(case, weights, by=args.by)
        sys.stderr.write(f"{case.name}\n")
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]))
    table.writeheader()
    table.writerows(rows)
    write_text(text.getvalue(), args.output)
    sys.stdout.write(summarise(rows))


if __name__ == "__main__":
    main()
