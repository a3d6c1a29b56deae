"""What 8 bits cost: Dice between the masks of one set of folds stored in two ways, each case by its unseen fold.

autosegnet-train export … --storage int8 --output W8
python -m benchmarks.storage --weights W --other W8 --cases sts.csv
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from autosegnet.geometry import view_voxels
from autosegnet.model.weights import open_weights
from autosegnet_training.cases import read_cases
from autosegnet_training.studies import read_labelled
from benchmarks.judge import open_folds


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--other", type=Path, required=True, help="the same folds, stored otherwise")
    parser.add_argument("--cases", type=Path, required=True, help="table of cases with folds and boxes")
    parser.add_argument("--number", type=int, help="the first so many cases")
    args = parser.parse_args()
    sets = [open_weights(folder).use_fast_mode() for folder in (args.weights, args.other)]
    agreement, scores = [], []
    for fold in range(len(sets[0].recipe.folds)):
        first, second = (open_folds(weights, fold) for weights in sets)
        for case in read_cases(args.cases)[: args.number]:
            if case.fold == fold:
                labelled = read_labelled(case)
                truth = view_voxels(labelled.truth) > 0
                a, b = (view_voxels(folds.segment(labelled.study)) > 0 for folds in (first, second))
                agreement.append(_dice(a, b))
                scores.append((_dice(a, truth), _dice(b, truth)))
    (mean_a, mean_b), n = np.mean(scores, axis=0), len(scores)
    sys.stdout.write(
        f"{n} cases: Dice between the two {np.mean(agreement):.5f} on average, {np.median(agreement):.5f} in the "
        f"middle, {min(agreement):.5f} at least; mean Dice with the truth {mean_a:.4f} and {mean_b:.4f}\n"
    )


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    total = int(a.sum() + b.sum())
    return 2.0 * int((a & b).sum()) / total if total else 1.0


if __name__ == "__main__":
    main()
