"""How good a folder of weights is on what none of its folds was trained on. Writes a CSV row per case.

    python -m benchmarks.judge real --weights W --cases sts.csv --output real.csv
    python -m benchmarks.judge stability --weights W --cases sts.csv --output stability.csv
    python -m benchmarks.judge body --weights W --study FOLDER --output body.csv
    python -m benchmarks.judge simulated --weights W --anatomy MAPS --output simulated.csv

`real`: every case by the one fold that never saw its patient, cut to the box of the table and as a whole. `stability`:
the same folds on whole cases, against themselves after the study was changed. `body`: all folds on one study (SUV,
CTres, SEG). `simulated`: all folds on bodies of the organ maps kept for judging, by the fitted simulator. Means with
their intervals: `python -m benchmarks.judge_tables`.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from autosegnet.evaluation import measure_masks
from autosegnet.geometry import Grid, make_image, resample, view_voxels
from autosegnet.io import read_image, read_mask, write_text
from autosegnet.lesions import label_lesions
from autosegnet.model.devices import PRECISIONS, choose_precision, open_engine
from autosegnet.model.engine import Engine
from autosegnet.model.recipe import Recipe
from autosegnet.model.weights import Weights, open_weights
from autosegnet.pipeline import segment_study
from autosegnet.study import Study
from autosegnet_training.cases import Case, read_cases
from autosegnet_training.studies import Labelled, read_labelled
from petct_simulator.bodies import open_anatomy
from petct_simulator.label_volume import is_held_out
from petct_simulator.protocol import Protocol
from petct_simulator.simulate_command import derive_study_seed, list_organ_maps, map_name
from petct_simulator.tissue import Tissue
from petct_simulator.whole_study import SimulatedStudy, simulate_study

Row = dict[str, Any]
_AIR_VOXELS, _SMOOTHING_MM, _FWHM = 8, 4.0, 2.3548
LARGE_ML = 2.0
THRESHOLD_SUV = 1.75  # the best of all for the 41 boxes, chosen on them
_DEALT = ("melanoma", "lung_cancer", "lymphoma", "negative") * 2 + ("negative",)


@dataclass(frozen=True, slots=True)
class Folds:
    """An ensemble, or one of its folds, ready to run."""

    engine: Engine
    recipe: Recipe

    def segment(self, study: Study) -> sitk.Image:
        """Return the mask of a study."""
        return segment_study(study, self.engine, self.recipe).mask


def open_folds(weights: Weights, fold: int | None = None) -> Folds:
    """Return all folds of an ensemble, or one."""
    if fold is not None:
        weights = replace(weights, recipe=replace(weights.recipe, folds=(weights.recipe.folds[fold],)))
    return Folds(open_engine(weights, device="cpu"), weights.recipe)


def judge_real(weights: Weights, cases: Sequence[Case]) -> Iterator[Row]:
    """Yield two rows per case: cut to its box, and whole."""
    for folds, case in _by_fold(weights, cases):
        for view, seen in (("box", case), ("whole", replace(case, box=None))):
            labelled = read_labelled(seen)
            yield {"view": view, "case": case.name, "fold": case.fold} | _measure_case(folds, labelled)


def _by_fold(weights: Weights, cases: Sequence[Case]) -> Iterator[tuple[Folds, Case]]:
    for fold in sorted({case.fold for case in cases if case.fold is not None}):
        folds = open_folds(weights, fold)
        for case in cases:
            if case.fold == fold:
                yield folds, case


def _measure_case(folds: Folds, labelled: Labelled) -> Row:
    suv, truth = view_voxels(labelled.study.pet), view_voxels(labelled.truth) > 0
    found = view_voxels(folds.segment(labelled.study)) > 0
    spacing = Grid.from_image(labelled.truth).spacing_mm[::-1]
    simple = _dice(suv > THRESHOLD_SUV, truth)
    row = {"median_suv": round(float(np.median(suv[truth])), 3), "threshold_dsc": round(simple, 4)}
    return row | _measure(found, truth, spacing)


def _measure(found: NDArray[np.bool_], truth: NDArray[np.bool_], spacing_mm: tuple[float, ...]) -> Row:
    metrics = measure_masks(found, truth, spacing_mm=spacing_mm, convention="autopet3")
    return {
        "dsc": round(metrics.dsc, 4),
        "fpv_ml": round(metrics.fpv_ml, 3),
        "fnv_ml": round(metrics.fnv_ml, 3),
        "truth_ml": round(metrics.truth_volume_ml, 3),
        "found_ml": round(metrics.prediction_volume_ml, 3),
    }


def judge_stability(weights: Weights, cases: Sequence[Case]) -> Iterator[Row]:
    """Yield a row per case: Dice of its mask with that of the study changed in four ways."""
    for folds, case in _by_fold(weights, cases):
        study = read_labelled(replace(case, box=None)).study
        expected = folds.segment(study)
        row: Row = {"case": case.name, "fold": case.fold, "found_ml": round(_volume_ml(expected), 3)}
        for name, change in CHANGES.items():
            changed = change(study)
            whole = segment_study(changed, folds.engine, folds.recipe, maps="probability").probability
            assert whole is not None, "it was asked for"
            # Where both were seen, on the grid of the unchanged study; a probability, so that no mask is interpolated.
            here = view_voxels(resample(whole, Grid.from_image(expected), outside=0.0)) > 0.5
            seen = view_voxels(resample(_ones(whole), Grid.from_image(expected), outside=0.0)) > 0.5
            row[name] = round(_dice((view_voxels(expected) > 0) & seen, here & seen), 4)
        yield row


def pad(study: Study) -> Study:
    """Return a study with eight voxels of air around it."""
    around = [_AIR_VOXELS] * 3
    return Study(sitk.ConstantPad(study.pet, around, around, 0.0), sitk.ConstantPad(study.ct, around, around, -1024.0))


def crop(study: Study) -> Study:
    """Return a study with one voxel less on each side."""
    return Study(sitk.Crop(study.pet, [1] * 3, [1] * 3), sitk.Crop(study.ct, [1] * 3, [1] * 3))


def shift(study: Study) -> Study:
    """Return a study on a grid moved by half a voxel along each axis."""
    grid = Grid.from_image(study.pet)
    moved = replace(
        grid,
        origin_mm=grid.find_position_mm((0.5, 0.5, 0.5)),
        size=(grid.size[0] - 1, grid.size[1] - 1, grid.size[2] - 1),
    )
    return Study(resample(study.pet, moved, outside=None), resample(study.ct, moved, outside=None))


def smooth(study: Study) -> Study:
    """Return a study whose PET is blurred by 4 mm (full width at half maximum)."""
    return Study(sitk.SmoothingRecursiveGaussian(study.pet, _SMOOTHING_MM / _FWHM), study.ct)


CHANGES: dict[str, Callable[[Study], Study]] = {
    "padded": pad,
    "cropped": crop,
    "shifted": shift,
    "smoothed": smooth,
}


def _ones(image: sitk.Image) -> sitk.Image:
    ones: sitk.Image = sitk.Cast(image >= 0, sitk.sitkFloat32)
    return ones


def _dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    total = int(a.sum() + b.sum())
    return 2.0 * int((a & b).sum()) / total if total else 1.0


def _volume_ml(mask: sitk.Image) -> float:
    return float((view_voxels(mask) > 0).sum()) * float(np.prod(mask.GetSpacing())) / 1000


def judge_body(weights: Weights, folder: Path) -> Iterator[Row]:
    """Yield a row for one study, then one per false component: volume, uptake, CT number, where it lies."""
    paths = {name: next(folder.glob(f"{name}.*")) for name in ("SUV", "CTres", "SEG")}
    study, truth = Study(read_image(paths["SUV"]), read_image(paths["CTres"])), read_mask(paths["SEG"])
    found, meant = view_voxels(open_folds(weights).segment(study)) > 0, view_voxels(truth) > 0
    grid = Grid.from_image(truth)
    yield {"what": folder.name} | _measure(found, meant, grid.spacing_mm[::-1])
    suv, hu = view_voxels(study.pet), view_voxels(resample(study.ct, grid, outside=-1024.0))
    labels, count = _false_components(found, meant)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    for k in sorted(range(1, count + 1), key=lambda k: -sizes[k]):
        if sizes[k]:
            z, y, x = ndimage.center_of_mass(labels == k)
            yield {
                "what": "false component",
                "found_ml": round(float(sizes[k] * np.prod(grid.spacing_mm) / 1000), 3),
                "suv_mean": round(float(suv[labels == k].mean()), 2),
                "hu_mean": round(float(hu[labels == k].mean())),
                "voxel": f"{x:.0f} {y:.0f} {z:.0f}",
            }


def _false_components(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> tuple[NDArray[Any], int]:
    """Return what FPV counts, numbered: components of the mask that touch no lesion."""
    labels, count = label_lesions(found)
    labels = np.where(np.isin(labels, np.unique(labels[truth])), 0, labels)
    return labels, count


def judge_simulated(weights: Weights, maps: Sequence[Path], *, seed: int) -> Iterator[Row]:
    """Yield a row per organ map kept for judging: metrics, lesions found, and false volume by tissue."""
    folds = open_folds(weights)
    for number, organ_map in enumerate(m for m in maps if is_held_out(map_name(m))):
        cohort = _DEALT[number % len(_DEALT)]
        study = simulate_study(
            derive_study_seed(seed, number), anatomy=open_anatomy(organ_map), protocol=Protocol(cohort=cohort)
        )
        found = view_voxels(folds.segment(_make_study(study))) > 0
        yield {"case": map_name(organ_map), "cohort": cohort} | _measure_simulated(found, study)


def _make_study(simulated: SimulatedStudy) -> Study:
    return Study(make_image(simulated.suv, simulated.grid), make_image(simulated.ct.astype(np.float32), simulated.grid))


def _measure_simulated(found: NDArray[np.bool_], study: SimulatedStudy) -> Row:
    truth = study.truth > 0
    voxel_ml = float(np.prod(study.grid.spacing_mm)) / 1000
    row = _measure(found, truth, study.grid.spacing_mm[::-1])
    lesions, count = label_lesions(truth)
    large = np.flatnonzero(np.bincount(lesions.ravel(), minlength=count + 1)[1:] * voxel_ml > LARGE_ML) + 1
    row |= {"large": len(large), "large_found": len(set(large.tolist()) & set(np.unique(lesions[found]).tolist()))}
    false = _false_components(found, truth)[0] > 0
    by_tissue = np.bincount(study.tissue[false], minlength=len(Tissue)) * voxel_ml
    worst = sorted(Tissue, key=lambda tissue: -by_tissue[tissue])[:4]
    row["false_in"] = "; ".join(f"{t.name.lower()} {by_tissue[t]:.1f}" for t in worst if by_tissue[t] >= 0.05)
    return row


def write_rows(rows: Iterator[Row], path: Path) -> None:
    """Write rows as they come, so that a run that was cut off has not been in vain."""
    kept: list[Row] = []
    for row in rows:
        kept.append(row)
        names = list(dict.fromkeys(name for one in kept for name in one))
        text = io.StringIO()
        table = csv.DictWriter(text, names, lineterminator="\n")
        table.writeheader()
        table.writerows(kept)
        write_text(text.getvalue(), path)
        sys.stderr.write(", ".join(f"{k} {v}" for k, v in row.items()) + "\n")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="what")
    for name in ("real", "stability", "body", "simulated"):
        command = commands.add_parser(name)
        command.add_argument("--weights", type=Path, required=True)
        command.add_argument("--output", type=Path, required=True)
        command.add_argument("--fast", action="store_true", help="in slabs instead of windows")
        command.add_argument("--precision", choices=PRECISIONS, default="float32", help="default: %(default)s")
        command.add_argument("--number", type=int, help="the first so many cases or maps")
        if name in ("real", "stability"):
            command.add_argument("--cases", type=Path, required=True, help="table of cases with folds and boxes")
        elif name == "body":
            command.add_argument("--study", type=Path, required=True, help="folder with SUV, CTres and SEG")
        else:
            command.add_argument("--anatomy", type=Path, required=True, help="folder of organ maps")
            command.add_argument("--seed", type=int, default=2026)
    args = parser.parse_args()
    weights = open_weights(args.weights).use_precision(choose_precision(args.precision))
    weights = weights.use_fast_mode() if args.fast else weights
    write_rows(_judge(args, weights), args.output)


def _judge(args: argparse.Namespace, weights: Weights) -> Iterator[Row]:
    if args.what == "body":
        return judge_body(weights, args.study)
    if args.what == "simulated":
        maps = [m for m in list_organ_maps(str(args.anatomy)) if is_held_out(map_name(m))]
        return judge_simulated(weights, maps[: args.number], seed=args.seed)
    cases = read_cases(args.cases)[: args.number]
    return judge_real(weights, cases) if args.what == "real" else judge_stability(weights, cases)


if __name__ == "__main__":
    main()
