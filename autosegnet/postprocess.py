"""Brings the probability from the network's grid back to the PET's own, as the mask and as maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
    return place(view_voxels(resample(make_image(probability, grid), region, outside=None)) > 0.5, region, whole)


def restore_map(values: NDArray[np.float32], *, grid: Grid, region: Grid, whole: Grid) -> sitk.Image:
    """Return a map on the PET's grid: float32, interpolated as for `restore`, 0 outside the region.

    The mask is 1 exactly where the map of the same probability is above 0.5.

    Args:
        values: (X, Y, Z) float32 on `grid`: a probability, or the disagreement of the folds.
        grid: as in `preprocess.Prepared`.
        region: as in `preprocess.Prepared`.
        whole: the PET's grid.
    """
    return place(view_voxels(resample(make_image(values, grid), region, outside=None)), region, whole)


def place(inside: NDArray[Any], region: Grid, whole: Grid) -> sitk.Image:
    """Return an image on the PET's grid of an array (z, y, x) on the region, 0 elsewhere; uint8 if it is of booleans.

    Args:
        inside: a mask or a map.
        region: as in `preprocess.Prepared`.
        whole: the PET's grid.
    """
    values = inside.view(np.uint8) if inside.dtype == np.bool_ else inside
    array = np.zeros(whole.shape, dtype=values.dtype)
    x, y, z = (slice(*bounds) for bounds in whole.find_box(region))
    array[z, y, x] = values
    return make_image(array, whole)
