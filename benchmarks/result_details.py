"""What lies behind the means of `docs/evidence/results.md`.

    python -m benchmarks.result_details real --table docs/evidence/results_sts.csv --cases sts.csv
    python -m benchmarks.result_details simulated --studies heldout --anatomy MAPS --masks masks

`real`: the network against the best threshold, case by case (Wilcoxon's signed-rank test), and apart for lesions that
take up little. `simulated`: in which tissue the false volume lies, which lesions are missed, and what SUV > 4 scores on
the same studies. The tissues are known because every study is made again from its seed.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from autosegnet.evaluation import measure_masks, measure_pair
from autosegnet.geometry import Grid, view_voxels
from autosegnet.io import read_image, read_mask
from autosegnet.lesions import label_lesions
from autosegnet_training.baselines import segment_above
from autosegnet_training.cases import read_cases
from autosegnet_training.studies import read_labelled
from petct_simulator.bodies import open_anatomy
from petct_simulator.protocol import SPACING_MM
from petct_simulator.tissue import Tissue

_COLD_SUV = 1.5  # median of a lesion; its surroundings, muscle, measure 0.8
_MUCH_ML = 5.0


def describe_real(table: Path, cases: Path) -> Iterator[str]:
    """Yield lines on the cross-validated real cases."""
    dsc: dict[str, dict[str, float]] = {}
    for row in csv.DictReader(table.open(newline="")):
        dsc.setdefault(row["method"], {})[row["case"]] = float(row["dsc"])
    best = next(name for name in dsc if "best" in name)
    names = sorted(dsc["network"])
    ours, theirs = ([dsc[method][name] for name in names] for method in ("network", best))
    wins = sum(a > b for a, b in zip(ours, theirs, strict=True))
    p = float(stats.wilcoxon(ours, theirs).pvalue)
    yield f"network better than {best} in {wins} of {len(names)}; Wilcoxon signed-rank p = {p:.3g}"
    studies = {case.name: case for case in read_cases(cases)}
    cold = {name for name in names if _median_suv(studies[name]) < _COLD_SUV}
    for what, group in (("below", sorted(cold)), ("at or above", [n for n in names if n not in cold])):
        cells = ", ".join(
            f"{method} {fmean(dsc[method][n] for n in group):.3f} (median {median(dsc[method][n] for n in group):.3f})"
            for method in ("network", best)
        )
        yield f"{len(group)} lesions of median SUV {what} {_COLD_SUV}: DSC {cells}"


def _median_suv(case: Any) -> float:
    labelled = read_labelled(case)
    return float(np.median(view_voxels(labelled.study.pet)[view_voxels(labelled.truth) > 0]))


def describe_simulated(studies: Path, anatomy: Path, masks: Path) -> Iterator[str]:
    """Yield lines on simulated studies of organ label maps, segmented by `autosegnet batch`."""
    tissues: list[dict[str, float]] = []
    lesions: list[tuple[float, bool]] = []
    thresholds = []
    for note in sorted(studies.glob("*/*/study.json")):
        folder = note.parent
        found = _mask_of(masks, folder)
        truth, suv = read_mask(folder / "SEG.nii.gz"), read_image(folder / "SUV.nii.gz")
        grid = Grid.from_image(truth)
        voxel_ml = float(np.prod(grid.spacing_mm)) / 1000
        false = _false(view_voxels(found) > 0, view_voxels(truth) > 0)
        tissue = _tissue(json.loads(note.read_text())["seed"], anatomy, folder.parent.name, grid)
        volumes = np.bincount(tissue[false], minlength=len(Tissue)) * voxel_ml
        tissues.append({t.name.lower().replace("_", " "): float(volumes[t]) for t in Tissue})
        labels, _ = label_lesions(view_voxels(truth))
        touched = set(np.unique(labels[view_voxels(found) > 0]).tolist())
        sizes = np.bincount(labels.ravel()) * voxel_ml
        lesions += [(float(sizes[k]), k in touched) for k in range(1, len(sizes))]
        by_threshold = measure_masks(
            segment_above(view_voxels(suv), 4.0),
            view_voxels(truth) > 0,
            spacing_mm=grid.spacing_mm[::-1],
            convention="autopet3",
        )
        thresholds.append((by_threshold, measure_pair(found, truth, convention="autopet3")))
    for which, name in enumerate(("SUV > 4", "network")):
        scores = [pair[which] for pair in thresholds]
        dsc = [s.dsc for s in scores if s.is_positive]
        negatives = [s.fpv_ml for s in scores if not s.is_positive]
        yield (
            f"{name}: DSC {fmean(dsc):.3f} ± {np.std(dsc):.3f}, median {median(dsc):.3f} ({len(dsc)} positives); "
            f"FPV of {len(negatives)} negatives {fmean(negatives):.1f} ± {np.std(negatives):.1f} ml, "
            f"median {median(negatives):.1f}"
        )
    missed = [size for size, hit in lesions if not hit]
    if missed:
        share = sum(missed) / sum(size for size, _ in lesions)
        yield f"{len(missed)} of {len(lesions)} lesions missed: median {median(missed):.1f} ml, {share:.1%} of all ml"
    yield "| false volume in | mean, ml | studies above 5 ml | largest, ml |\n|---|---:|---:|---:|"
    by_mean = sorted(tissues[0], key=lambda name: -fmean(t[name] for t in tissues))
    for name in by_mean[:12]:
        each = [t[name] for t in tissues]
        yield f"| {name} | {fmean(each):.1f} | {sum(v > _MUCH_ML for v in each)} | {max(each):.0f} |"


def _mask_of(masks: Path, folder: Path) -> Any:
    (path,) = masks.glob(f"{folder.parent.name}_{folder.name}*.nii.gz")
    return read_mask(path)


def _false(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return what FPV counts: components of the mask that touch no lesion."""
    labels, _ = label_lesions(found)
    true = np.unique(labels[truth])
    return np.asarray((labels > 0) & ~np.isin(labels, true))


def _tissue(seed: int, anatomy: Path, patient: str, grid: Grid) -> NDArray[np.uint8]:
    """Return the tissue of every voxel of a study, which its seed makes again."""
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed).spawn(5)[0]))
    made = open_anatomy(anatomy / f"{patient.removeprefix('sim_')}.nii.gz")(rng, SPACING_MM)
    lattice = made.lattice
    x, y, z = (round((lattice.origin_mm[d] - grid.origin_mm[d]) / grid.spacing_mm[d]) for d in range(3))
    whole = np.zeros(grid.size[::-1], dtype=np.uint8)
    depth, height, width = lattice.shape
    whole[z : z + depth, y : y + height, x : x + width] = made.canvas.tissue
    return whole


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="which")
    of_real = commands.add_parser("real")
    of_real.add_argument("--table", type=Path, required=True, help="cross_validation.csv")
    of_real.add_argument("--cases", type=Path, required=True, help="table of the same cases")
    of_simulated = commands.add_parser("simulated")
    of_simulated.add_argument("--studies", type=Path, required=True, help="folder that simulate wrote")
    of_simulated.add_argument("--anatomy", type=Path, required=True, help="its label maps")
    of_simulated.add_argument("--masks", type=Path, required=True, help="folder that batch wrote")
    args = parser.parse_args()
    lines = (
        describe_real(args.table, args.cases)
        if args.which == "real"
        else describe_simulated(args.studies, args.anatomy, args.masks)
    )
    sys.stdout.writelines(f"{line}\n" for line in lines)


if __name__ == "__main__":
    main()
