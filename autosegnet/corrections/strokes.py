"""Clicks as strokes: voxels that touch each other, as those of a scribble do, are one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

Voxels = NDArray[np.int64]
"""(n, 3) indices of an array (z, y, x)."""

_AROUND = [step for step in product((-1, 0, 1), repeat=3) if any(step)]


def group_strokes(found: Sequence[tuple[int, int, int]]) -> list[Voxels]:
    """Return the strokes of voxels, in the order of their first voxels.

    Args:
        found: voxel indices (x, y, z), as `Clicks.find_voxels` returns them.
    Returns:
        of each stroke its voxels, axes reversed to (z, y, x), as arrays of images have them.
    """
    left = dict.fromkeys(index[::-1] for index in found)
    strokes = []
    while left:
        stroke, new = [], [next(iter(left))]
        del left[new[0]]
        while new:
            z, y, x = new.pop()
            stroke.append((z, y, x))
            near = [(z + dz, y + dy, x + dx) for dz, dy, dx in _AROUND]
            for voxel in near:
                if voxel in left:
                    del left[voxel]
                    new.append(voxel)
        strokes.append(np.array(sorted(stroke), dtype=np.int64))
    return strokes
