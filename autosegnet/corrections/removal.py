"""Background clicks: which part of a lesion they take away."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from autosegnet.corrections.geodesic import find_nearer
from autosegnet.corrections.growth import BEYOND
from autosegnet.corrections.strokes import Voxels
from autosegnet.lesions import label_lesions

_OF_PEAK = 0.41  # of SUVmax: the usual outline of a hot spot (EANM procedure guidelines for FDG, 2015)
_LEAST_HOT_SPOT_ML = 0.5
# Chosen with benchmarks/clicks.py:
_DEEP = 0.75  # of the largest depth below the border: a click this deep means the hot spot
_INNER = 0.5  # of the same: so does one this deep, if it is hot; the hottest voxels of a tumour often lie at its rim
_HOT = 0.75  # of SUVmax


def find_removed(
    lesion: NDArray[np.bool_],
    suv: NDArray[np.float32],
    chance: NDArray[np.float32],
    background: Voxels,
    tumor: Voxels,
    *,
    spacing_mm: tuple[float, ...],
) -> NDArray[np.bool_]:
    """Return the part of one lesion that its background clicks take away.

    A click in the middle of a lesion takes the hot spot that it lies in, which usually is all of the lesion. On its
    hottest part, a click half as deep as the deepest voxel is enough. Any other click moves the border: round it,
    voxels that the folds find no more likely go. What is nearer to a tumour click stays.

    Args:
        lesion: (z, y, x), one connected component.
        suv: of the same shape.
        chance: probability of lesion, of the same shape.
        background: voxels of the background clicks in the lesion, at least one.
        tumor: those of the tumour clicks.
        spacing_mm: along (z, y, x).
    """
    from scipy import ndimage

    depth_mm = ndimage.distance_transform_edt(np.pad(lesion, 1), spacing_mm)[1:-1, 1:-1, 1:-1]
    at_clicks = tuple(background.T)
    depth = depth_mm[at_clicks] / depth_mm.max()
    is_hot = suv[at_clicks] >= _HOT * float(suv[lesion].max())
    is_central = (depth >= _DEEP) | (is_hot & (depth >= _INNER))
    removed = np.zeros_like(lesion)
    if is_central.any():
        removed |= _find_spots(lesion, suv, depth_mm, background[is_central], spacing_mm)
    for voxel in background[~is_central]:
        ball = _find_ball(lesion, voxel, float(depth_mm[tuple(voxel)]), spacing_mm)
        removed |= ball & (chance <= chance[tuple(voxel)])
    if len(tumor):
        removed &= find_nearer(lesion, suv, background, tumor, spacing_mm=spacing_mm)
    return removed


def _find_ball(
    lesion: NDArray[np.bool_], centre: Voxels, depth_mm: float, spacing_mm: tuple[float, ...]
) -> NDArray[np.bool_]:
    z, y, x = (
        ((np.arange(n) - at) * mm) ** 2 for n, at, mm in zip(lesion.shape, centre.tolist(), spacing_mm, strict=True)
    )
    squared = z[:, None, None] + y[None, :, None] + x[None, None, :]
    ball: NDArray[np.bool_] = lesion & (squared <= (depth_mm * BEYOND) ** 2)
    return ball


def _find_spots(
    lesion: NDArray[np.bool_],
    suv: NDArray[np.float32],
    depth_mm: NDArray[np.float64],
    clicks: Voxels,
    spacing_mm: tuple[float, ...],
) -> NDArray[np.bool_]:
    """Return the hot spots of a lesion with a click, and all that is nearer to them than to another hot spot."""
    from scipy import ndimage

    at_clicks = tuple(clicks.T)
    labels, count = label_lesions(lesion & (suv >= _OF_PEAK * float(suv[at_clicks].max())))
    is_clicked = np.zeros(count + 1, dtype=bool)
    is_clicked[labels[at_clicks]] = True
    is_clicked[0] = False
    clicked = is_clicked[labels]
    clicked[at_clicks] = True
    least = _LEAST_HOT_SPOT_ML * 1000 / float(np.prod(spacing_mm))
    is_other = ~is_clicked & (np.bincount(labels.ravel(), minlength=count + 1) >= least)
    is_other[0] = False
    others = is_other[labels]
    if depth_mm[clicked].max() < _DEEP * depth_mm.max():
        others |= depth_mm >= _DEEP * depth_mm.max()
    if not others.any():
        return lesion
    to_clicked, to_others = (ndimage.distance_transform_edt(~spots, spacing_mm) for spots in (clicked, others))
    nearer: NDArray[np.bool_] = lesion & (to_clicked < to_others)
    return nearer
