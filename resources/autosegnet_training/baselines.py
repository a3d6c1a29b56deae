"""Thresholds on SUV as segmentations, which a trained network must beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

THRESHOLDS_SUV = np.round(np.arange(0.5, 15.01, 0.25), 2)
"""Candidates for the best fixed threshold."""

FRACTION_OF_MAXIMUM = 0.41


def segment_above(suv: NDArray[np.float32], threshold: float) -> NDArray[np.bool_]:
    """Return the voxels whose SUV is above a threshold."""
    return np.asarray(suv > threshold)


def segment_above_fraction(suv: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return the voxels whose SUV is at least 41 % of the study's maximum."""
    return np.asarray(suv >= FRACTION_OF_MAXIMUM * suv.max())


@dataclass(frozen=True, slots=True)
class Counts:
    """Voxels of a case at every candidate threshold.

    Args:
        above: above the threshold.
        hit: of these, in lesions.
        lesion: in lesions, at any SUV.
    """

    above: NDArray[np.int64]
    hit: NDArray[np.int64]
    lesion: int


def count(suv: NDArray[np.float32], truth: NDArray[np.bool_]) -> Counts:
    """Return the counts of a case."""
    return Counts(_find_above(suv), _find_above(suv[truth]), int(np.count_nonzero(truth)))


def _find_above(suv: NDArray[np.float32]) -> NDArray[np.int64]:
    # digitize(right=True) gives how many thresholds lie below the value, for values strictly above them.
    passed = np.bincount(np.digitize(suv.ravel(), THRESHOLDS_SUV, right=True), minlength=THRESHOLDS_SUV.size + 1)
    return passed[::-1].cumsum()[::-1][1:].astype(np.int64)


def find_best_threshold(cases: Sequence[Counts]) -> float:
    """Return the candidate with the highest mean DSC over the cases with lesions, on which it is then used."""
    curves = [2 * c.hit / (c.above + c.lesion) for c in cases if c.lesion]
    return float(THRESHOLDS_SUV[int(np.argmax(np.mean(curves, axis=0)))]) if curves else float(THRESHOLDS_SUV[-1])
