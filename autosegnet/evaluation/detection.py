"""How well lesions are found, one by one: sensitivity, precision, F1 and panoptic quality of a case.

By overlap: a lesion of the truth is found if a voxel of it is predicted; a predicted lesion is right if a voxel of it
is true. By IoU: lesions are matched one to one so that as many pairs as possible reach the threshold, and among these
the sum of their IoU is largest; above 0.5 a lesion has one possible partner. With TP pairs, FP and FN:

    sensitivity = TP / (TP + FN)    precision = TP / (TP + FP)    F1 = RQ = 2 TP / (2 TP + FP + FN)
    SQ = mean IoU of the pairs      PQ = SQ RQ

The detection-matching metric of autoPET V is an F1 whose pairs need not be one to one: a true lesion is found if its
IoU with any predicted lesion is at least 0.1, a predicted one is right likewise. With TP found lesions:

    DMM = 2 TP / (2 TP + FP + FN), NaN without lesions in the truth

Without lesions in the truth, sensitivity is NaN; without predicted ones, precision; without either, F1 and PQ.
Source: Kirillov et al. 2019, arXiv:1801.00868; Maier-Hein et al. 2024 (Metrics reloaded),
    doi:10.1038/s41592-023-02151-z; DMM: metrics.py of the organisers (J. Dexl, Apache-2.0), in the repository autoPETV.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from autosegnet.lesions.components import count_lesion_voxels, label_lesions

IOU_THRESHOLDS: Final = (0.1, 0.5)
"""Usual ones: 0.1 for detection, 0.5 for panoptic quality."""

_PQ_IOU: Final = 0.5
_DMM_IOU: Final = 0.1


@dataclass(frozen=True, slots=True)
class Matching:
    """Count what was matched under one rule.

    Args:
        true_lesions, predicted_lesions: in all.
        found: true lesions that were found.
        right: predicted lesions that are right; equal to `found` if lesions are matched one to one.
    """

    true_lesions: int
    predicted_lesions: int
    found: int
    right: int

    @property
    def sensitivity(self) -> float:
        """Share of the true lesions that were found."""
        return _divide(self.found, self.true_lesions)

    @property
    def precision(self) -> float:
        """Share of the predicted lesions that are right."""
        return _divide(self.right, self.predicted_lesions)

    @property
    def f1(self) -> float:
        """Return the harmonic mean of both; 0 if both are 0, NaN if neither mask holds a lesion."""
        if self.true_lesions + self.predicted_lesions == 0:
            return float("nan")
        if self.found == 0 or self.right == 0:
            return 0.0
        return 2 / (1 / self.sensitivity + 1 / self.precision)


@dataclass(frozen=True, slots=True)
class Detection:
    """Hold the matchings of a case.

    Args:
        overlap: by any shared voxel.
        iou: by IoU, for each threshold.
        dmm: detection-matching metric of autoPET V; NaN without a true lesion.
        sq, rq, pq: panoptic quality at IoU above 0.5; NaN if there is no lesion at all, sq also without a pair.
    """

    overlap: Matching
    iou: dict[float, Matching]
    dmm: float
    sq: float
    rq: float
    pq: float


def match_lesions(
    prediction: NDArray[np.bool_], truth: NDArray[np.bool_], *, thresholds: Sequence[float] = IOU_THRESHOLDS
) -> Detection:
    """Return the matchings of the lesions of two masks of one shape."""
    p, n_p = label_lesions(prediction)
    g, n_g = label_lesions(truth)
    iou = _find_iou(p, n_p, g, n_g)
    touched = iou > 0
    overlap = Matching(n_g, n_p, int(touched.any(axis=1).sum()), int(touched.any(axis=0).sum()))
    by_iou = {}
    for threshold in thresholds:
        pairs = len(_match(iou, threshold)[0])
        by_iou[threshold] = Matching(n_g, n_p, pairs, pairs)
    rows, columns = _match(iou, _PQ_IOU)
    matched = Matching(n_g, n_p, len(rows), len(rows))
    sq = float(iou[rows, columns].mean()) if len(rows) else float("nan")
    pq = sq * matched.f1 if len(rows) else matched.f1
    return Detection(overlap, by_iou, _find_dmm(iou), sq, matched.f1, pq)


def _find_iou(p: NDArray[Any], n_p: int, g: NDArray[Any], n_g: int) -> NDArray[np.float64]:
    """Return the IoU of every true with every predicted lesion, (true, predicted)."""
    both = (p > 0) & (g > 0)
    pairs = (g[both].astype(np.int64) - 1) * n_p + p[both] - 1
    shared = np.bincount(pairs, minlength=n_g * n_p).reshape(n_g, n_p).astype(float)
    union = count_lesion_voxels(g, n_g)[:, None] + count_lesion_voxels(p, n_p)[None] - shared
    iou: NDArray[np.float64] = shared / union
    return iou


def _find_dmm(iou: NDArray[np.float64]) -> float:
    """Return the detection-matching metric for the IoU of every true with every predicted lesion."""
    n_g, n_p = iou.shape
    near = iou >= _DMM_IOU
    found, right = int(near.any(axis=1).sum()), int(near.any(axis=0).sum())
    return float("nan") if n_g == 0 else _divide(2 * found, 2 * found + (n_p - right) + (n_g - found))


def _match(iou: NDArray[np.float64], threshold: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return pairs whose IoU is above the threshold: as many as possible, of these the best."""
    from scipy.optimize import linear_sum_assignment

    allowed = iou > threshold
    if not allowed.any():
        return np.array([], int), np.array([], int)
    # One more pair outweighs any gain in IoU.
    rows, columns = linear_sum_assignment(np.where(allowed, 1 + iou / (1 + min(iou.shape)), 0.0), maximize=True)
    kept = allowed[rows, columns]
    return rows[kept], columns[kept]


def _divide(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
