"""Lesions as the connected components of a mask: the one definition of their connectivity, count and volume.

Convention: 18-connectivity (voxels that share a face or an edge), as in the evaluation of the autoPET challenge
(github.com/lab-midas/autoPET, val_script.py). It is symmetric in the axes, so arrays may come in any axis order.
"""

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

CONNECTIVITY: Final = 18


def label_lesions(mask: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """Return the lesions of a mask, numbered, and how many there are.

    Args:
        mask: three axes in any order; bool or integer, lesion where it is not 0
    Returns:
        labels of the mask's shape, unsigned: 0 outside, 1 … n inside the n lesions; and n
    """
    assert mask.ndim == 3, "a mask has three axes"
    assert mask.dtype.kind in "biu", "a mask is not a probability"
    import cc3d  # so that training needs only torch, numpy and scipy

    if mask.size == 0:  # cc3d would hand back labels of type bool
        return np.zeros(mask.shape, np.uint32), 0
    labels, n = cc3d.connected_components(mask.astype(bool, copy=False), connectivity=CONNECTIVITY, return_N=True)
    return labels, int(n)


def compact_labels(mask: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """Return the labels of a mask as 1 … n in their order, and n.

    Args:
        mask: integer, 0 outside.
    """
    assert mask.dtype.kind in "biu", "a mask is not a probability"
    values = np.unique(mask)
    values = values[values != 0]
    compact = np.zeros(mask.shape, np.uint32)
    inside = mask != 0
    compact[inside] = 1 + np.searchsorted(values, mask[inside])
    return compact, len(values)


def count_lesion_voxels(labels: NDArray[Any], n: int) -> NDArray[np.int64]:
    """Return the number of voxels of the lesions 1 … n, in this order.

    Args:
        labels, n: as `label_lesions` returns them
    """
    return np.bincount(labels[labels > 0], minlength=n + 1)[1:].astype(np.int64, copy=False)


def compute_voxel_volume_ml(spacing_mm: tuple[float, ...]) -> float:
    """Return the volume of one voxel.

    The factors are multiplied in ascending order, so that the last digit does not depend on the order of the axes.
    """
    assert len(spacing_mm) == 3, "three spacings make a volume"
    assert all(math.isfinite(edge) and edge > 0 for edge in spacing_mm), "a spacing is positive"
    return math.prod(sorted(map(float, spacing_mm))) / 1000


def measure_volumes_ml(labels: NDArray[Any], n: int, *, spacing_mm: tuple[float, ...]) -> NDArray[np.float64]:
    """Return the volumes of the lesions 1 … n, in this order: number of voxels x voxel volume.

    Args:
        labels, n: as `label_lesions` returns them
        spacing_mm: of the voxels, in any axis order
    """
    return count_lesion_voxels(labels, n).astype(np.float64) * compute_voxel_volume_ml(spacing_mm)
