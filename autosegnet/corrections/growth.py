"""Tumour clicks: the lesion that grows from one.

A click near the mask moves its border: round it, voxels that the folds find at least as likely join. A click on its own
starts a lesion: a voxel belongs to it if its uptake is like that round the click, if the folds find it about as likely
a lesion, and if a way through such voxels leads to the click. The outline is the lowest that does not run away.
`benchmarks/clicks.py` measures both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autosegnet.corrections.geodesic import find_nearer
from autosegnet.corrections.strokes import Voxels
from autosegnet.lesions import label_lesions

REACH_MM = 60.0
"""How far from a click its lesion may reach."""

BEYOND = 3.0
"""A click moves a border within so many times its distance from it."""

_PEAK_MM = 6.0  # the uptake of a click is the hottest this near: readers and generators miss the hottest voxel
_SHELL = 0.6  # of the reach: uptake beyond it is that around the lesion
_OF_PEAK = 0.42  # of the uptake above that around
_HOTTER = 2.0  # times the uptake of the click: another thing, such as a bladder beside a cold lesion
_AIR_HU = -900.0
_PER_LOGIT = 0.1  # a tenfold chance weighs as much as a quarter of the uptake
_LOGITS = (-4.0, 2.0)
_LEVELS = 8
_HIGHEST = 0.5  # of the score; the hottest voxel of a click that the folds agree on has 0.58
_BALL_MM = 12.0  # if its outline runs away, the lesion is at least what is this near
_NEAR_MM = 20.0  # a click this near to the mask moves its border; one farther away starts a lesion


@dataclass(frozen=True, slots=True)
class Surroundings:
    """A box around a stroke; arrays are (z, y, x) of one shape.

    Args:
        suv: float32, g/ml.
        hu: float32.
        chance: float32 probability of lesion.
        is_free: where the lesion may grow.
        mask: what is marked already.
        stroke: voxels of the tumour clicks.
        background: voxels of the background clicks in the box.
        spacing_mm: along (z, y, x).
    """

    suv: NDArray[np.float32]
    hu: NDArray[np.float32]
    chance: NDArray[np.float32]
    is_free: NDArray[np.bool_]
    mask: NDArray[np.bool_]
    stroke: Voxels
    background: Voxels
    spacing_mm: tuple[float, ...]


def grow_lesion(around: Surroundings) -> NDArray[np.bool_]:
    """Return what a stroke on tumour adds, the stroke's voxels among it and no background click."""
    from scipy import ndimage

    at_stroke = tuple(around.stroke.T)
    outside = np.ones(around.suv.shape, dtype=bool)
    outside[at_stroke] = False
    distance_mm = ndimage.distance_transform_edt(outside, around.spacing_mm)
    score, peak = _score(around, distance_mm)
    is_open = around.is_free & (distance_mm <= REACH_MM) & (around.suv <= _HOTTER * peak)
    is_open &= around.hu > min(_AIR_HU, float(around.hu[at_stroke].min()) - 1)
    is_open[at_stroke] = True
    gap_mm = _measure_gap(around)
    if gap_mm <= _NEAR_MM:
        is_like = around.chance >= np.median(around.chance[at_stroke])
        return _leave_background(
            _find_connected(is_open & is_like & (distance_mm <= BEYOND * gap_mm), around.stroke), around
        )
    return _leave_background(_start_lesion(around, is_open, score, distance_mm), around)


def _start_lesion(
    around: Surroundings,
    is_open: NDArray[np.bool_],
    score: NDArray[np.float32],
    distance_mm: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Return the component around the stroke at the lowest score at which it stays within reach."""
    edge = distance_mm > REACH_MM - 2 * max(around.spacing_mm)
    lowest = min(0.0, float(np.median(score[tuple(around.stroke.T)])))
    widest = _find_connected(is_open & (score >= lowest), around.stroke)
    for level in np.linspace(lowest, _HIGHEST, _LEVELS).tolist():
        found = _find_connected(is_open & (score >= level), around.stroke)
        if not (found & edge).any():
            return found | (widest & (distance_mm <= _BALL_MM))
    return widest & (distance_mm <= _BALL_MM)


def _measure_gap(around: Surroundings) -> float:
    """Return how far the stroke is from the mask, in mm; infinity if no mask is in the box."""
    from scipy import ndimage

    if not around.mask.any():
        return float("inf")
    return float(ndimage.distance_transform_edt(~around.mask, around.spacing_mm)[tuple(around.stroke.T)].min())


def _score(around: Surroundings, distance_mm: NDArray[np.float64]) -> tuple[NDArray[np.float32], float]:
    """Return how much each voxel is like the stroke, above 0 if it is one with it, and the uptake of the stroke."""
    near = distance_mm <= _PEAK_MM
    shell = (distance_mm > _SHELL * REACH_MM) & (distance_mm <= REACH_MM) & (around.hu > _AIR_HU)
    peak = float(around.suv[near].max())
    background = float(np.median(around.suv[shell])) if shell.any() else 0.0
    uptake = (around.suv - background) / max(peak - background, 0.25 * peak, 0.1)
    logit = _compute_logit(around.chance)
    doubt = np.clip(logit - _compute_logit(around.chance[near].max()), *_LOGITS)
    return (uptake - _OF_PEAK + _PER_LOGIT * doubt).astype(np.float32), peak


def _compute_logit(chance: NDArray[np.float32]) -> NDArray[np.float32]:
    inside = np.clip(chance, 1e-3, 1 - 1e-3)
    result: NDArray[np.float32] = np.log(inside / (1 - inside))
    return result


def _find_connected(part: NDArray[np.bool_], stroke: Voxels) -> NDArray[np.bool_]:
    """Return the components of a part that hold a voxel of the stroke, and the stroke."""
    part[tuple(stroke.T)] = True
    labels, count = label_lesions(part)
    is_held = np.zeros(count + 1, dtype=bool)
    is_held[labels[tuple(stroke.T)]] = True
    is_held[0] = False
    held: NDArray[np.bool_] = is_held[labels]
    return held


def _leave_background(grown: NDArray[np.bool_], around: Surroundings) -> NDArray[np.bool_]:
    """Return what is nearer to the stroke than to the background clicks in it."""
    inside = grown[tuple(around.background.T)]
    if not inside.any():
        return grown
    return find_nearer(grown, around.suv, around.stroke, around.background[inside], spacing_mm=around.spacing_mm)
