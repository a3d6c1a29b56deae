"""PQ, SQ and RQ of this project beside those of panoptica, on random masks.

    python -m venv --system-site-packages VENV && VENV/bin/pip install panoptica==2.1.7
    PYTHONPATH=. VENV/bin/python benchmarks/panoptica_agreement.py --number 300

panoptica 2.1.7 asks for numpy below 2.3, pandas below 3 and connected-components-3d below 4, which the pins exceed; so
it is compared from an environment of its own. Its components are 26-connected, so ours, 18-connected, are given to it.
It counts an IoU of exactly 0.5 as a match, and Kirillov et al. do not; so the next larger number is its threshold.
"""

import argparse
import sys
from collections import Counter

import numpy as np
from numpy.typing import NDArray
from panoptica import InputType, NaiveThresholdMatching, Panoptica_Evaluator
from scipy import ndimage

from autosegnet.evaluation.detection import match_lesions
from autosegnet.lesions.components import label_lesions

FIGURES = ("sq", "rq", "pq")


def make_pair(rng: np.random.Generator) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return a prediction and a truth with several lesions each, most of them alike."""
    truth = ndimage.gaussian_filter(rng.normal(size=(24, 24, 24)), 1.5) > rng.uniform(0.12, 0.25)
    shifted = np.roll(truth, rng.integers(-1, 2, 3), (0, 1, 2))
    other = ndimage.gaussian_filter(rng.normal(size=truth.shape), 1.5) > 0.25
    return (shifted ^ (other & (rng.random(truth.shape) < 0.8))), truth


def main() -> None:
    """Print how many pairs were compared, and the largest difference of each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--number", type=int, default=300)
    number = parser.parse_args().number
    evaluator = Panoptica_Evaluator(
        expected_input=InputType.UNMATCHED_INSTANCE,
        instance_matcher=NaiveThresholdMatching(matching_threshold=float(np.nextafter(0.5, 1))),
    )
    rng = np.random.default_rng(1)
    largest = dict.fromkeys(FIGURES, 0.0)
    lesions: Counter[str] = Counter()
    for _ in range(number):
        prediction, truth = make_pair(rng)
        ours = match_lesions(prediction, truth)
        (theirs,) = evaluator.evaluate(
            *(label_lesions(mask)[0] for mask in (prediction, truth)), verbose=False
        ).values()
        lesions["true"] += ours.overlap.true_lesions
        lesions["predicted"] += ours.overlap.predicted_lesions
        lesions["pairs"] += round(ours.rq * (ours.overlap.true_lesions + ours.overlap.predicted_lesions) / 2)
        counts = (theirs.n_ref_instances, theirs.n_pred_instances)
        assert counts == (ours.overlap.true_lesions, ours.overlap.predicted_lesions), counts
        for name in FIGURES:
            a, b = getattr(ours, name), getattr(theirs, name)
            if not (np.isnan(a) and (np.isnan(b) or b == 0)):  # SQ without a pair: NaN here, 0 there
                largest[name] = max(largest[name], abs(a - b))
    sys.stdout.write(f"{number} pairs, {dict(lesions)} lesions; largest differences {largest}\n")


if __name__ == "__main__":
    main()
