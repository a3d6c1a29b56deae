"""Shows clicks to the network: a distance map per kind of click, on the network's own grid.

A voxel's value is max(0, 1 - d / reach). Here d is the distance in mm from its centre to that of the nearest clicked
voxel. So it is 1 at a click and does not depend on the spacing. Without clicks it is 0 everywhere, as beyond a study,
so that the same network runs before the first click. Inference and training both draw it here.

Source: distance maps did better than Gaussians in autoPET IV (Rokuss et al. 2025, arXiv:2508.21680). Which reach does
best was not measured.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from autosegnet.model.recipe import ClickChannels


def draw_clicks(
    channel: NDArray[np.float32], voxels: NDArray[np.int64], how: ClickChannels, *, spacing_mm: tuple[float, ...]
) -> None:
    """Draw clicks into a channel, in place.

    Args:
        channel: (X, Y, Z) float32; 0, or with earlier clicks in it.
        voxels: (n, 3) indices of the channel. One that lies outside shows only in voxels within its reach.
        how: as the recipe says.
        spacing_mm: of the channel's voxels along its axes.
    """
    bump = _make_bump(how.reach_mm, spacing_mm)
    reach = np.array(bump.shape) // 2
    for voxel in np.unique(voxels, axis=0):
        first, stop = np.maximum(voxel - reach, 0), np.minimum(voxel + reach + 1, channel.shape)
        if (first >= stop).any():
            continue
        part = channel[tuple(map(slice, first, stop))]
        np.maximum(part, bump[tuple(map(slice, first - voxel + reach, stop - voxel + reach))], out=part)


def _make_bump(reach_mm: float, spacing_mm: tuple[float, ...]) -> NDArray[np.float32]:
    """Return the channel around one click."""
    counts = [int(reach_mm / step) for step in spacing_mm]
    axes = [np.arange(-count, count + 1) * step for count, step in zip(counts, spacing_mm, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    distance_mm: NDArray[np.float64] = np.sqrt(x**2 + y**2 + z**2)
    return np.maximum(1.0 - distance_mm / reach_mm, 0.0).astype(np.float32)
