"""Finds where the voxels of one grid lie along the axes of another, if both have the same axes in some order.

Then linear interpolation in space is one along each axis. A region and the network's grid always share their axes, as
do the PET and the CT of nearly every scanner.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autosegnet.geometry import Box, Grid

_TOLERANCE = 1e-6  # voxels by which an axis may lean over the length of a grid: float64 leans by 1e-10


@dataclass(frozen=True, slots=True)
class SharedAxes:
    """Where the voxels of a target grid lie in a source grid.

    Args:
        order: along each axis of the target's array (z, y, x), the axis of the source's array that is parallel to it.
        positions: along each axis of the target's array, float64 voxel positions along that axis of the source.
    """

    order: tuple[int, int, int]
    positions: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]

    def find_box(self, source: Grid) -> Box:
        """Return the part of the source that interpolation reads, one voxel at least.

        Where it ends before the source does, it reaches to the farthest position or beyond.
        """
        bounds = [(0, 0)] * 3
        for axis, positions in zip(self.order, self.positions, strict=True):
            count = source.shape[axis]
            first = min(max(0, math.floor(positions.min())), count - 1)
            stop = min(count, math.floor(positions.max()) + 2)
            bounds[axis] = (first, max(stop, first + 1))
        z, y, x = bounds
        return x, y, z


def find_shared_axes(source: Grid, target: Grid) -> SharedAxes | None:
    """Return where the voxels of a target lie in a source; None if an axis of one is parallel to none of the other."""
    steps = np.linalg.solve(source.steps_mm, target.steps_mm)  # column k: source voxels per voxel of the target along k
    start = source.find_index(target.origin_mm)
    along = np.argmax(np.abs(steps), axis=0)
    lean = np.abs(steps)
    lean[along, range(3)] = 0
    if sorted(along) != [0, 1, 2] or (lean @ np.asarray(target.size)).max() > _TOLERANCE:
        return None
    x, y, z = (start[s] + steps[s, k] * np.arange(target.size[k]) for k, s in enumerate(along.tolist()))
    i, j, k = (2 - int(s) for s in along)  # arrays list their axes in reverse
    return SharedAxes((k, j, i), (z, y, x))
