"""Two questions about a set of folds: does float16 storage change masks, and do fold weights?

    python -m benchmarks.shipped_folds --weights weights --runs RUNS --prepared PREPARED --cases HELD_OUT.csv

`--runs` and `--prepared` are those of the training (`autosegnet-train`): every fold as it was trained, float32, against
the stored one, float16, on the fold's own validation cases. `--cases` is a table of studies that no fold has seen: the
ensemble with the recipe's weights against the plain mean.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean

import numpy as np

from autosegnet.evaluation import CaseMetrics, measure_masks, measure_pair
from autosegnet.model.folded import fold_batch_norm, load_folded
from autosegnet.model.network import read_pth
from autosegnet.model.openvino_engine import OpenvinoEngine
from autosegnet.model.sliding_window import predict_probability
from autosegnet.model.weights import Weights, open_weights
from autosegnet.pipeline import segment_study
from autosegnet_training.arrays import load
from autosegnet_training.cases import read_cases
from autosegnet_training.runs import open_trained
from autosegnet_training.studies import read_labelled
from autosegnet_training.validation import make_one_fold


def compare_precisions(weights: Weights, runs: Path, prepared: Path) -> None:
    """Print DSC in float32 and float16, the Dice between their masks and the largest difference of probabilities."""
    rows = []
    for k, fold in enumerate(weights.recipe.folds):
        trained = open_trained(runs, k)
        state = {key: tensor.numpy() for key, tensor in read_pth(trained.best).items()}
        recipe = make_one_fold(weights.recipe)
        stored = partial(load_folded, weights.find_path(fold), fold, recipe)
        engine = OpenvinoEngine([partial(fold_batch_norm, state, recipe, where=str(trained.best)), stored])
        for name in trained.description["validation"]:
            case = load(prepared, name)
            array, truth = np.asarray(case.array, dtype=np.float32), case.read_truth()
            chances = [predict_probability(array, OneFold(engine, which), recipe) for which in (0, 1)]
            masks = [chance > 0.5 for chance in chances]
            found = [measure_masks(m, truth, spacing_mm=recipe.spacing_mm) for m in masks]
            both = measure_overlap(measure_masks(masks[1], masks[0], spacing_mm=recipe.spacing_mm))
            if found[0].is_positive:
                rows.append((found[0].dsc, found[1].dsc, both, float(np.abs(chances[0] - chances[1]).max())))
    float32, float16, between, apart = zip(*rows, strict=True)
    sys.stdout.write(
        f"float32 against float16, {len(rows)} validation cases: mean DSC {fmean(float32):.5f} and "
        f"{fmean(float16):.5f}; "
        f"Dice between their masks: mean {fmean(between):.5f}, least {min(between):.5f}; "
        f"largest difference of probabilities {max(apart):.4f}\n"
    )


def measure_overlap(both: CaseMetrics) -> float:
    """Return the Dice between two masks; two empty ones are equal."""
    return both.dsc if both.truth_volume_ml or both.prediction_volume_ml else 1.0


class OneFold:
    """One of an engine's folds as an engine."""

    folds = 1

    def __init__(self, engine: OpenvinoEngine, fold: int) -> None:
        self._engine, self._fold = engine, fold
        self.name = engine.name

    def compute_logits(self, window: np.ndarray, fold: int) -> np.ndarray:
        """As `Engine.compute_logits`."""
        assert fold == 0
        return self._engine.compute_logits(window, self._fold)


def compare_weights(weights: Weights, cases: Path) -> None:
    """Print DSC and FPV of the weighted and the plain mean of the folds, and the Dice between their masks."""
    engine = OpenvinoEngine.from_weights(weights)
    plain = replace(weights.recipe, folds=tuple(replace(fold, weight=1.0) for fold in weights.recipe.folds))
    rows = []
    for case in read_cases(cases):
        labelled = read_labelled(case)
        masks = [segment_study(labelled.study, engine, recipe).mask for recipe in (weights.recipe, plain)]
        found = [measure_pair(mask, labelled.truth) for mask in masks]
        rows.append((found, measure_overlap(measure_pair(masks[0], masks[1]))))
    for which, name in enumerate(("weighted", "plain mean")):
        positive = [found[which].dsc for found, _ in rows if found[which].is_positive]
        false_ml = fmean(found[which].fpv_ml for found, _ in rows)
        sys.stdout.write(
            f"{name}: mean DSC {fmean(positive):.4f} of {len(positive)} positives, FPV {false_ml:.2f} ml\n"
        )
    between = [dice for found, dice in rows if found[0].is_positive]
    sys.stdout.write(f"Dice between them, positives: mean {fmean(between):.5f}, least {min(between):.5f}\n")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--prepared", type=Path)
    parser.add_argument("--cases", type=Path, metavar="CSV")
    args = parser.parse_args()
    weights = open_weights(args.weights)
    if args.runs and args.prepared:
        compare_precisions(weights, args.runs, args.prepared)
    if args.cases:
        compare_weights(weights, args.cases)


if __name__ == "__main__":
    main()
