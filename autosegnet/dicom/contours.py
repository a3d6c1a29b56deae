"""Outlines of a mask's slices along the edges of its voxels.

Every outline is a simple closed polygon without a hole, so that any rule of filling (even-odd, winding, union of
several) gives the same voxels: filling by voxel centres gives the mask again, exactly. A region with holes becomes
several polygons that touch along straight cuts and do not overlap.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_FOUR = ndimage.generate_binary_structure(2, 1)

Corner = tuple[int, int]
"""(column, row) of a voxel's corner nearest to the first voxel: voxel (0, 0) has the corners 0 and 1 on each axis."""


def trace_outlines(mask: NDArray[Any]) -> Iterator[list[Corner]]:
    """Yield the outlines of a slice.

    Args:
        mask: (rows, columns), region where it is not 0.

    Yields:
        corners of a polygon in order, without those in the middle of a straight edge.
    """
    labels, _ = ndimage.label(mask, _FOUR)
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        row, column = box[0].start, box[1].start
        for whole in _cut_open(labels[box] == number):
            yield [(column + x, row + y) for x, y in _follow_corners(whole)]


def _cut_open(region: NDArray[np.bool_]) -> Iterator[NDArray[np.bool_]]:
    """Return a connected region in parts without holes: cut through the first hole, as often as there is one."""
    background, count = ndimage.label(~np.pad(region, 1), _FOUR)
    if count == 1:
        yield region
        return
    hole = ndimage.find_objects(background)[1]  # the first label is that of the outside, where the scan begins
    cut = hole[1].start  # in padded columns: between region columns cut - 1 and cut
    for part in (np.arange(region.shape[1]) < cut, np.arange(region.shape[1]) >= cut):
        labels, parts = ndimage.label(region & part[None, :], _FOUR)
        for number in range(1, parts + 1):
            yield from _cut_open(labels == number)


def _follow_corners(region: NDArray[np.bool_]) -> list[Corner]:
    """Return the corners of the one outline of a connected region without holes."""
    after = _link_corners(region)
    first = min(after)
    path, corner = [first], after[first]
    while corner != first:
        path.append(corner)
        corner = after[corner]
    assert len(path) == len(after), "a connected region without holes has one outline"
    points = np.array(path)
    straight = np.all(np.roll(points, 1, axis=0) + np.roll(points, -1, axis=0) == 2 * points, axis=1)
    return [(int(x), int(y)) for x, y in points[~straight]]


def _link_corners(region: NDArray[np.bool_]) -> dict[Corner, Corner]:
    """From each corner on the outline to the next, the region on the right hand (rows grow downwards)."""
    inside = np.pad(region, 1)
    after: dict[Corner, Corner] = {}
    # (shift to the neighbour in rows, columns), then begin and end of the shared edge as (column, row) of the voxel
    sides = (
        ((-1, 0), (0, 0), (1, 0)),
        ((0, 1), (1, 0), (1, 1)),
        ((1, 0), (1, 1), (0, 1)),
        ((0, -1), (0, 1), (0, 0)),
    )
    for (down, right), begin, end in sides:
        open_side = inside & ~np.roll(inside, (-down, -right), axis=(0, 1))
        for row, column in np.argwhere(open_side) - 1:
            after[(int(column) + begin[0], int(row) + begin[1])] = (int(column) + end[0], int(row) + end[1])
    return after
