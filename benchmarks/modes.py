"""What the engines and modes find with real folds: against the exact mode, and against the truth.

    python -m benchmarks.modes --weights weights --cases CASES.csv [...] --methods exact reference fast bf16 fast-bf16

Every study of the tables of cases (`autosegnet-train`'s) is segmented by every method; the first one is what the
others are held against. For each method a line: Dice with the first method's mask, DSC and false volume against the
truth, and how long the network took.

Methods: `exact`, OpenVINO in float32 as `--device cpu` runs it; `reference`, MONAI's network in torch; `one-thread`,
exact on a single thread; `fast`, `--fast`; `bf16` and `fast-bf16`, `--precision bfloat16` without and with `--fast`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from autosegnet.evaluation import CaseMetrics, measure_pair
from autosegnet.io import write_text
from autosegnet.model.engine import Engine
from autosegnet.model.openvino_engine import OpenvinoEngine
from autosegnet.model.recipe import Precision
from autosegnet.model.torch_engine import ReferenceEngine
from autosegnet.model.weights import Weights, open_weights
from autosegnet.pipeline import segment_study
from autosegnet_training.cases import Case, read_cases
from autosegnet_training.studies import read_labelled

METHODS = ("exact", "reference", "one-thread", "fast", "bf16", "fast-bf16")
HEAD = (
    "| method | Dice with the first: mean, median, least | same to the last voxel | DSC of positives: mean, median "
    "| FPV of negatives, ml: mean, median | network, s: median |\n|---|---|---|---|---|---:|\n"
)


@dataclass(frozen=True, slots=True)
class Found:
    """One study by one method: against the truth, against the first method, and seconds of the network."""

    truth: CaseMetrics
    first: float
    network_s: float


def measure_overlap(both: CaseMetrics) -> float:
    """Return the Dice between two masks; two empty ones are equal."""
    return both.dsc if both.truth_volume_ml or both.prediction_volume_ml else 1.0


def open_method(method: str, weights: Weights) -> tuple[Engine, Weights]:
    """Return the engine of a method, and the weights in its mode."""
    chosen = weights.use_fast_mode() if method.startswith("fast") else weights
    if method == "reference":
        return ReferenceEngine(weights), chosen
    precision: Precision = "bfloat16" if method.endswith("bf16") else "float32"
    return OpenvinoEngine.from_weights(weights.use_precision(precision)), chosen


@contextmanager
def list_threads(method: str) -> Iterator[None]:
    """Return the number of threads that a method compiles its folds for."""
    before = os.environ.get("OMP_NUM_THREADS")
    if method == "one-thread":
        os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        os.environ.pop("OMP_NUM_THREADS", None)
        if before is not None:
            os.environ["OMP_NUM_THREADS"] = before


def compare(cases: list[Case], methods: list[str], weights: Weights) -> dict[str, list[Found]]:
    """Segment every study by every method, one engine in memory at a time."""
    found: dict[str, list[Found]] = {}
    masks: list[sitk.Image] = []
    for method in methods:
        with list_threads(method):
            engine, chosen = open_method(method, weights)
            rows = []
            for k, case in enumerate(cases):
                labelled = read_labelled(case)
                done = segment_study(labelled.study, engine, chosen.recipe)
                if method == methods[0]:
                    masks.append(done.mask)
                first = measure_overlap(measure_pair(done.mask, masks[k]))
                rows.append(Found(measure_pair(done.mask, labelled.truth), first, done.seconds["network"]))
                sys.stderr.write(f"{method} {case.name}: Dice {first:.5f}, DSC {rows[-1].truth.dsc:.4f}\n")
        found[method] = rows
    return found


def format_row(method: str, rows: list[Found]) -> str:
    """Return a line of the table."""
    between = [r.first for r in rows]
    dsc = [r.truth.dsc for r in rows if r.truth.is_positive]
    false_ml = [r.truth.fpv_ml for r in rows if not r.truth.is_positive]
    seconds = median(r.network_s for r in rows)
    same = sum(value == 1.0 for value in between)
    return (
        f"| {method} | {fmean(between):.4f}, {median(between):.4f}, {min(between):.4f} | {same} of {len(rows)} "
        f"| {_two(dsc, 3)} | {_two(false_ml, 1)} | {seconds:.1f} |"
    )


def _two(values: list[float], digits: int) -> str:
    return f"{fmean(values):.{digits}f}, {median(values):.{digits}f}" if values else "–"


def compare_logits(weights: Weights, window: NDArray[np.float32]) -> float:
    """Return the largest difference of the logit differences of OpenVINO and of the plain network, over all folds."""
    engines = [open_method(method, weights)[0] for method in ("exact", "reference")]
    return max(
        float(np.abs(np.subtract(*(engine.compute_logits(window, fold) for engine in engines))).max())
        for fold in range(len(weights.recipe.folds))
    )


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--cases", type=Path, nargs="+", required=True, metavar="CSV")
    parser.add_argument("--number", type=int, help="of the studies of each table (default: all)")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=["exact", "reference", "fast"])
    parser.add_argument("--output", type=Path, help="Markdown")
    args = parser.parse_args()
    weights = open_weights(args.weights)
    parts = []
    for table in args.cases:
        cases = read_cases(table)[: args.number]
        found = compare(cases, args.methods, weights)
        lines = "\n".join(format_row(method, rows) for method, rows in found.items())
        parts.append(f"{len(cases)} studies of {table.name}\n\n{HEAD}{lines}\n")
    if "reference" in args.methods:
        from autosegnet.preprocess import prepare

        array = prepare(read_labelled(cases[0]).study, weights.recipe).array
        window = np.zeros((2, *weights.recipe.patch), np.float32)
        x, y, z = (slice(0, min(n, p)) for n, p in zip(array.shape[1:], weights.recipe.patch, strict=True))
        window[:, x, y, z] = array[:, x, y, z]
        apart = compare_logits(weights, window)
        parts.append(
            f"Largest difference of logits between OpenVINO and torch, a window of {cases[0].name}: {apart:.2g}\n"
        )
    text = "\n".join(parts)
    sys.stdout.write(text)
    if args.output:
        write_text(text, args.output)


if __name__ == "__main__":
    main()
