"""Divides a part of an image between clicks: each voxel goes to the click that it is nearest to, inside the part.

The way from voxel to voxel is longer where the SUV changes, so that a border lies in the valley between two hot spots
rather than half way between two clicks.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from autosegnet.corrections.strokes import Voxels

# Neighbours that share a face or an edge, as lesions are connected; one of each pair of opposite ones.
_STEPS = [step for step in product((-1, 0, 1), repeat=3) if 0 < np.abs(step).sum() <= 2 and step > (0, 0, 0)]
_MM_PER_RELATIVE_CHANGE = 20.0  # a change of SUV by the hottest of the part counts as so many mm


def find_nearer(
    part: NDArray[np.bool_], suv: NDArray[np.float32], own: Voxels, other: Voxels, *, spacing_mm: tuple[float, ...]
) -> NDArray[np.bool_]:
    """Return the voxels of a part that are nearer to some clicks than to others; on a tie, they are not.

    Args:
        part: (z, y, x).
        suv: of the same shape.
        own: voxels of the clicks in the part.
        other: those of the others in the part.
        spacing_mm: along (z, y, x).
    """
    from scipy.sparse.csgraph import dijkstra

    number = np.full(part.shape, -1, dtype=np.int64)
    number[part] = np.arange(int(part.sum()))
    graph = _connect(number, suv, spacing_mm)
    to_own, to_other = (
        dijkstra(graph, directed=False, indices=number[tuple(seeds.T)], min_only=True) for seeds in (own, other)
    )
    nearer = np.zeros(part.shape, dtype=bool)
    nearer[part] = to_own < to_other
    return nearer


def _connect(number: NDArray[np.int64], suv: NDArray[np.float32], spacing_mm: tuple[float, ...]) -> object:
    from scipy.sparse import coo_array

    scale = _MM_PER_RELATIVE_CHANGE / max(float(suv[number >= 0].max(initial=0.0)), 1e-3)
    rows, columns, lengths = [], [], []
    for step in _STEPS:
        here, there = _shift(step)
        both = (number[here] >= 0) & (number[there] >= 0)
        mm = float(np.linalg.norm(np.multiply(step, spacing_mm)))
        change = np.abs(suv[here][both].astype(np.float64) - suv[there][both])
        rows.append(number[here][both])
        columns.append(number[there][both])
        lengths.append(mm + scale * change)
    count = int(number.max(initial=-1)) + 1
    pairs = (np.concatenate(rows), np.concatenate(columns))
    return coo_array((np.concatenate(lengths), pairs), shape=(count, count)).tocsr()


def _shift(step: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return the voxels that have a neighbour at a step, and those neighbours."""
    here = tuple(slice(max(-s, 0), -s if s > 0 else None) for s in step)
    there = tuple(slice(max(s, 0), s if s < 0 else None) for s in step)
    return here, there
