"""The order in which lesions are numbered, the same in tables, pictures and files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autosegnet.geometry import Grid, view_voxels
from autosegnet.lesions.components import compact_labels, label_lesions

if TYPE_CHECKING:
    import SimpleITK as sitk

_TIE_MM = 1e-6  # far above rounding, far below a voxel, so that the order does not depend on how a study is stored


def number_lesions(mask: sitk.Image, *, labelled: bool = False) -> tuple[NDArray[Any], int]:
    """Return the lesions of a mask, numbered from the largest volume to the smallest, and how many there are.

    Lesions of the same volume are numbered from head to foot, then from back to front, then from left to right.

    Args:
        labelled: whether each label of the mask is one lesion, connected or not.

    Returns:
        labels (z, y, x), unsigned: 0 outside, 1 … n inside the n lesions; and n
    """
    labels, n = compact_labels(view_voxels(mask)) if labelled else label_lesions(view_voxels(mask))
    flat = labels.reshape(-1)
    at = np.flatnonzero(flat)
    if n > 1:
        found = flat[at] - 1
        index = np.stack(np.unravel_index(at, labels.shape)[::-1], axis=1)
        count = np.bincount(found, minlength=n)
        centre = np.stack([np.bincount(found, weights=index[:, axis]) / count for axis in range(3)], axis=1)
        grid = Grid.from_image(mask)
        positions_mm = centre @ grid.steps_mm.T + grid.origin_mm
        number = np.empty(n, flat.dtype)
        number[np.lexsort((*make_anatomical_keys(positions_mm), -count))] = np.arange(1, n + 1)
        flat[at] = number[found]
    return labels, n


def make_anatomical_keys(positions_mm: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Return keys for `numpy.lexsort` that sort from head to foot, then from back to front, then from left to right.

    Args:
        positions_mm: (N, 3), LPS.
    """
    x, y, z = np.rint(positions_mm / _TIE_MM).T
    return -x, -y, -z
