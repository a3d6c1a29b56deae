"""The cases with the lowest DSC: what was found and what was meant, in three planes.

    python -m benchmarks.worst_cases --weights weights --table docs/evidence/judged_real.csv --cases cases.csv \
        --output worst.png

`--table` is the output of `python -m benchmarks.judge real` for the same folds: each case is segmented by the fold that
never saw it. The planes are those through the slice in which most voxels are wrong. Without `--with-pet`
outlines alone are drawn, so that the picture holds no patient's image.
"""

from __future__ import annotations

import argparse
import csv
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from autosegnet.evaluation import measure_pair
from autosegnet.geometry import Grid, view_voxels
from autosegnet.model.devices import open_engine
from autosegnet.model.weights import Weights, open_weights
from autosegnet.pipeline import segment_study
from autosegnet_training.cases import read_cases
from autosegnet_training.studies import Labelled, read_labelled

_PLANES = ("axial", "coronal", "sagittal")  # of a (z, y, x) array in the patient's axes


def list_lowest(table: Path, number: int) -> list[tuple[str, int]]:
    """Return the names and folds of the boxes of lowest DSC, the lowest first."""
    with table.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["view"] == "box"]
    rows.sort(key=lambda row: float(row["dsc"]))
    return [(row["case"], int(row["fold"])) for row in rows[:number]]


def keep_one_fold(weights: Weights, fold: int) -> Weights:
    """Return the weights with one of their folds alone."""
    return replace(weights, recipe=replace(weights.recipe, folds=(weights.recipe.folds[fold],)))


def find_worst_slices(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> list[int]:
    """Return along z, y and x the slice with most voxels in one mask alone."""
    wrong = found ^ truth
    return [int(np.argmax(wrong.sum(axis=tuple(a for a in range(3) if a != axis)))) for axis in range(3)]


def draw(axes: Any, labelled: Labelled, mask: sitk.Image, *, title: str, with_pet: bool) -> None:
    """Draw one case in a row of three axes."""
    found, truth, suv = view_voxels(mask) > 0, view_voxels(labelled.truth) > 0, view_voxels(labelled.study.pet)
    steps = Grid.from_image(mask).spacing_mm[::-1]
    for axis, (plot, index) in enumerate(zip(axes, find_worst_slices(found, truth), strict=True)):
        down, across = (step for a, step in enumerate(steps) if a != axis)
        image = np.take(suv, index, axis=axis)
        extent = (0.0, image.shape[1] * across, 0.0, image.shape[0] * down)
        plot.imshow(image if with_pet else 0 * image, cmap="gray_r", vmin=0, vmax=6, extent=extent, origin="lower")
        for of, colour in ((truth, "tab:green"), (found, "tab:red")):
            outline = np.take(of, index, axis=axis)
            if outline.any() and not outline.all():
                plot.contour(outline, levels=[0.5], colors=colour, linewidths=1.2, extent=extent, origin="lower")
        plot.set_title(f"{title}, {_PLANES[axis]}" if axis == 0 else _PLANES[axis], fontsize=8)
        plot.tick_params(labelsize=6)


def main() -> None:
    """Segment the cases, draw them and print what helps to explain them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--cases", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--number", type=int, default=5)
    parser.add_argument("--with-pet", action="store_true")
    args = parser.parse_args()
    weights = open_weights(args.weights)
    cases = {case.name: case for case in read_cases(args.cases)}
    chosen = list_lowest(args.table, args.number)
    figure, axes = plt.subplots(len(chosen), 3, figsize=(7, 2.2 * len(chosen)), squeeze=False, layout="constrained")
    for row, (name, fold) in zip(axes, chosen, strict=True):
        labelled, own = read_labelled(cases[name]), keep_one_fold(weights, fold)
        mask = segment_study(labelled.study, open_engine(own, device="cpu"), own.recipe).mask
        figures = measure_pair(mask, labelled.truth)
        suv, truth, found = view_voxels(labelled.study.pet), view_voxels(labelled.truth) > 0, view_voxels(mask) > 0
        sys.stdout.write(
            f"{name} fold {fold}: DSC {figures.dsc:.3f}, truth {figures.truth_volume_ml:.0f} ml of median SUV "
            f"{np.median(suv[truth]):.2f}, found {figures.prediction_volume_ml:.0f} ml, missed voxels of median SUV "
            f"{format_median(suv[truth & ~found])}, false voxels of median SUV {format_median(suv[found & ~truth])}\n"
        )
        title = f"{name}: DSC {figures.dsc:.2f}, {figures.truth_volume_ml:.0f} ml"
        draw(row, labelled, mask, title=title, with_pet=args.with_pet)
    figure.savefig(args.output, dpi=110, metadata={"Software": None})


def format_median(values: NDArray[Any]) -> str:
    """Return the median with two decimals, or a dash if there are no values."""
    return f"{np.median(values):.2f}" if values.size else "–"


if __name__ == "__main__":
    main()
