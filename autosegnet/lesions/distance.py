"""The largest distance within a set of voxels, exact, in time that hardly grows with their number."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_BLOCK = 1024  # rows of the distance matrix held at once


def measure_largest_distance_mm(points: NDArray[Any], steps_mm: NDArray[np.float64]) -> float:
    """Return the distance of the two points that are farthest apart; 0 for a single point.

    The two are corners of the convex hull, and an affine map keeps the hull's corners: it is taken among the indices.

    Args:
        points: (N, 3) voxel indices (x, y, z), whole or not; N > 0.
        steps_mm: as `Grid.steps_mm`.
    """
    corners = _find_corners(points) @ steps_mm.T
    squared = 0.0
    for start in range(0, len(corners), _BLOCK):
        apart = corners[start : start + _BLOCK, None] - corners[None]
        squared = max(squared, float((apart**2).sum(axis=2).max()))
    return float(np.sqrt(squared))


def find_line_ends(points: NDArray[np.int64]) -> NDArray[Any]:
    """Return the first and last of the voxels on each line along x: all corners of their convex hull are among them.

    Args:
        points: (N, 3) whole voxel indices (x, y, z), sorted by z, then y, then x.
    """
    starts = np.flatnonzero((np.diff(points[:, 1:], axis=0, prepend=-1) != 0).any(axis=1))
    ends = np.append(starts[1:], len(points)) - 1
    kept: NDArray[Any] = points[np.union1d(starts, ends)]
    return kept


def _find_corners(points: NDArray[Any]) -> NDArray[Any]:
    """Return the corners of the convex hull, in as many dimensions as the points span."""
    from scipy.spatial import ConvexHull

    centred = points - points[0]
    _, sizes, axes = np.linalg.svd(centred.T @ centred)
    # Voxels off a line or plane are off it by far more than rounding: squares are compared, hence 1e-12.
    dimensions = int((sizes > 1e-12 * max(1.0, sizes[0])).sum())
    if dimensions == 0:
        return points[:1]
    along = centred @ axes[:dimensions].T
    if dimensions == 1:
        return points[[int(along.argmin()), int(along.argmax())]]
    corners: NDArray[Any] = points[ConvexHull(along).vertices]
    return corners
