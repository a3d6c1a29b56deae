"""Brings the probability from the network's grid back to the PET's own, as the mask and as maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from autosegnet.geometry import Grid, make_image, resample, view_voxels

if TYPE_CHECKING:
    import SimpleITK as sitk


def restore(probability: NDArray[np.float32], *, grid: Grid, region: Grid, whole: Grid) -> sitk.Image:
    """Return the lesion mask on the PET's grid: uint8, 1 where the linearly interpolated probability is above 0.5.

    Probabilities are interpolated and then thresholded, never the mask. Outside the region there is no lesion.

    Args:
        probability: (X, Y, Z) float32 on `grid`.
        grid: as in `preprocess.Prepared`.
        region: as in `preprocess.Prepared`.
        whole: the PET's grid.
    """
    inside = view_voxels(resample(make_image(probability, grid), region, outside=None))
    mask = np.zeros(whole.size[::-1], dtype=np.uint8)
    np.greater(inside, 0.5, out=mask[_part(whole, region)].view(np.bool_))
    return make_image(mask, whole)


def restore_map(values: NDArray[np.float32], *, grid: Grid, region: Grid, whole: Grid) -> sitk.Image:
    """Return a map on the PET's grid: float32, interpolated as for `restore`, 0 outside the region.

    The mask is 1 exactly where the map of the same probability is above 0.5.

    Args:
        values: (X, Y, Z) float32 on `grid`: a probability, or the disagreement of the folds.
        grid: as in `preprocess.Prepared`.
        region: as in `preprocess.Prepared`.
        whole: the PET's grid.
    """
    array = np.zeros(whole.size[::-1], dtype=np.float32)
    array[_part(whole, region)] = view_voxels(resample(make_image(values, grid), region, outside=None))
    return make_image(array, whole)


def _part(whole: Grid, region: Grid) -> tuple[slice, slice, slice]:
    x, y, z = (slice(*bounds) for bounds in whole.find_box(region))
    return z, y, x
