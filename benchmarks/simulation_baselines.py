"""How simple thresholds score on simulated whole-body studies, and how simulated tissues compare with measured ones.

Writes two Markdown tables. Figures from simulated studies say how hard the simulation is, nothing about patients.

    python benchmarks/simulation_baselines.py --number 50 --seed 1 --output simulation.md [--anatomy DIR_OF_ORGAN_MAPS]
"""

import argparse
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from autosegnet.evaluation.metrics import CaseMetrics, measure_masks
from petct_simulator.bodies import open_anatomy
from petct_simulator.protocol import Protocol
from petct_simulator.shapes import PointMm
from petct_simulator.simulate_command import derive_study_seed, list_organ_maps
from petct_simulator.tissue import Tissue
from petct_simulator.whole_study import SimulatedStudy, simulate_study

Mask = NDArray[np.bool_]
METHODS = ("SUV > 4", "SUV > 2.5", "41 % of maximum")
BRAIN = (Tissue.GREY_MATTER, Tissue.WHITE_MATTER, Tissue.CEREBELLUM, Tissue.DEEP_GREY)
# Name, labels, voxels eroded, SUV and HU of one real whole-body study: docs/explanation/simulation.md.
TISSUES: tuple[tuple[str, tuple[Tissue, ...], int, str, str], ...] = (
    ("liver", (Tissue.LIVER,), 2, "2.8 ± 0.4", "55 ± 10"),
    ("lung", (Tissue.LUNG,), 2, "0.54 ± 0.14", "−794"),
    ("fat", (Tissue.FAT,), 1, "0.32 ± 0.17", "−106"),
    ("muscle", (Tissue.MUSCLE,), 1, "0.79 ± 0.15", "49"),
    ("bone", (Tissue.CORTEX, Tissue.RED_MARROW), 0, "1.0 ± 0.6", "530"),
    ("brain", BRAIN, 0, "9.7 ± 3.2", ""),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """One study. tissues: per row of TISSUES (SUV mean, SUV SD, HU mean, HU SD), NaN where absent."""

    cohort: str
    scores: tuple[CaseMetrics, ...]
    tissues: NDArray[np.float64]
    normal: tuple[float, float, float]
    """Volume in ml, components, and components above 1 ml of SUV > 4 outside lesions."""
    truth_ml: float
    lesions: int


def predict(suv: NDArray[np.float32], method: str) -> Mask:
    """Return what a threshold calls lesion.

    41 % of maximum: in every 18-connected component of SUV > 2.5, the voxels above 41 % of its maximum.
    """
    if method == "SUV > 4":
        return suv > 4.0
    warm = suv > 2.5
    if method == "SUV > 2.5":
        return warm
    labels = cc3d.connected_components(warm, connectivity=18)
    highest = ndimage.maximum(suv, labels, np.arange(labels.max() + 1))
    return warm & (suv > 0.41 * np.asarray(highest)[labels])


def measure(task: tuple[int, Path | None, PointMm]) -> Measured:
    """Simulate one study and measure it."""
    seed, organ_map, spacing_mm = task
    study = simulate_study(seed, anatomy=open_anatomy(organ_map), protocol=Protocol(spacing_mm))
    truth = study.truth.astype(bool)
    scores = tuple(
        measure_masks(predict(study.suv, method), truth, spacing_mm=study.grid.spacing_mm[::-1], convention="autopet3")
        for method in METHODS
    )
    voxel_ml = float(np.prod(study.grid.spacing_mm)) / 1000
    sizes = np.bincount(cc3d.connected_components((study.suv > 4) & ~truth, connectivity=18).ravel())[1:] * voxel_ml
    normal = (float(sizes.sum()), float(len(sizes)), float((sizes > 1).sum()))
    tissues = np.array(list(yield_tissue_figures(study)))
    return Measured(study.cohort, scores, tissues, normal, scores[0].truth_volume_ml, scores[0].n_truth_lesions)


def yield_tissue_figures(study: SimulatedStudy) -> Iterator[tuple[float, ...]]:
    """Yield SUV and HU (mean, SD over voxels) per row of TISSUES, lesions left out."""
    suv, hu, truth = study.suv, study.ct, study.truth
    for _, labels, depth, _, _ in TISSUES:
        inside = np.isin(study.tissue, labels) & (truth == 0)
        inside = ndimage.binary_erosion(inside, iterations=depth) if depth else inside
        if inside.sum() < 50:
            yield (np.nan,) * 4
        else:
            yield suv[inside].mean(), suv[inside].std(), hu[inside].mean(), hu[inside].std()


def score_table(studies: list[Measured]) -> str:
    """Return the thresholds' scores as Markdown."""
    positive = [s for s in studies if s.lesions]
    negative = [s for s in studies if not s.lesions]
    lines = [
        f"Positives: {len(positive)} (lesions: median {np.median([s.lesions for s in positive]):.0f}, volume: median "
        f"{np.median([s.truth_ml for s in positive]):.0f} ml); negatives: {len(negative)}.",
        "",
        "| method | DSC (positives), mean ± SD; median | FNV ml, mean; median | FPV ml (positives), mean; median | "
        "FPV ml (negatives), mean; median |",
        "|---|---|---|---|---|",
    ]
    for i, method in enumerate(METHODS):
        dsc = np.array([s.scores[i].dsc for s in positive])
        fnv = np.array([s.scores[i].fnv_ml for s in positive])
        fpv, healthy = (np.array([s.scores[i].fpv_ml for s in group]) for group in (positive, negative))
        cells = [f"{dsc.mean():.3f} ± {dsc.std():.3f}; {np.median(dsc):.3f}"]
        cells += [f"{v.mean():.1f}; {np.median(v):.1f}" if v.size else "–" for v in (fnv, fpv, healthy)]
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def format_tissue_table(studies: list[Measured]) -> str:
    """Return the tissues beside the measured ones as Markdown."""
    figures = np.stack([s.tissues for s in studies])
    lines = [
        "| tissue | SUV simulated: mean ± SD in a study (SD between) | SUV measured | HU simulated | HU measured |"
    ]
    lines.append("|---|---|---|---|---|")
    for i, (name, _, _, suv, hu) in enumerate(TISSUES):
        mean, between = np.nanmean(figures[:, i], axis=0), np.nanstd(figures[:, i], axis=0)
        simulated = f"{mean[0]:.2f} ± {mean[1]:.2f} ({between[0]:.2f})"
        lines.append(f"| {name} | {simulated} | {suv} | {mean[2]:.0f} ± {mean[3]:.0f} ({between[2]:.0f}) | {hu} |")
    volume, components, large = np.median([s.normal for s in studies], axis=0)
    lines.append("")
    lines.append(
        f"SUV > 4 outside lesions, median of the studies: {volume / 1000:.2f} l in {components:.0f} components, "
        f"{large:.0f} above 1 ml (measured: 1.7 l, 38, 14)."
    )
    return "\n".join(lines)


def main() -> None:
    """Simulate, measure, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--number", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--anatomy", default="procedural", help="'procedural', or a folder of organ label maps")
    parser.add_argument("--spacing", type=float, nargs=3, default=(4.07, 4.07, 3.0), metavar=("X", "Y", "Z"))
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True, help="Markdown file")
    arguments = parser.parse_args()
    maps = list_organ_maps(arguments.anatomy)
    tasks = [
        (derive_study_seed(arguments.seed, i), maps[i % len(maps)] if maps else None, tuple(arguments.spacing))
        for i in range(arguments.number)
    ]
    if arguments.processes == 1:
        studies = [measure(task) for task in tasks]
    else:
        with ProcessPoolExecutor(arguments.processes, mp_context=get_context("spawn")) as pool:
            studies = list(pool.map(measure, tasks))
    arguments.output.write_text(format_tissue_table(studies) + "\n\n" + score_table(studies) + "\n")


if __name__ == "__main__":
    main()
