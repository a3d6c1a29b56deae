"""SUVpeak: the mean over a sphere of 1 cm3 around a voxel.

Source: Image Biomarker Standardisation Initiative, reference manual, sections "Local intensity peak" (VJGA) and "Global
    intensity peak" (0F91); Wahl et al. 2009 (PERCIST), doi:10.2967/jnumed.108.057307.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from autosegnet.geometry import Grid

PEAK_RADIUS_MM: Final = 10.0 * (3.0 / (4.0 * math.pi)) ** (1.0 / 3.0)
"""Radius of a sphere of 1 cm3: 6.2035 mm."""

_CHUNK = 1 << 16  # voxels per chunk, so that their sums stay in the processor's cache


@dataclass(frozen=True, slots=True)
class PeakSphere:
    """Hold the voxels that represent the sphere of 1 cm3 on a grid.

    A voxel counts fully if its centre lies within the radius, else not at all (IBSI). On coarse grids the volume of
    these voxels differs from 1 ml.

    Args:
        offsets: (K, 3) voxel steps (x, y, z) from the centre, itself included.
    """

    offsets: NDArray[np.int64]

    @property
    def voxels(self) -> int:
        """Number of voxels, far from the border of the image."""
        return len(self.offsets)


def make_peak_sphere(grid: Grid) -> PeakSphere:
    """Return the sphere of 1 cm3 on a grid of any spacing and direction, measured in mm."""
    # Distance between neighbouring planes of voxels, per axis; the radius divided by it bounds the steps.
    planes_mm = 1.0 / np.linalg.norm(np.linalg.inv(grid.steps_mm), axis=1)
    reach = np.floor(PEAK_RADIUS_MM / planes_mm + 1e-9).astype(int)
    steps = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij"), axis=-1).reshape(-1, 3)
    distance_mm = np.linalg.norm(steps @ grid.steps_mm.T, axis=1)
    return PeakSphere(steps[distance_mm <= PEAK_RADIUS_MM])


def compute_sphere_means(suv: NDArray[Any], centres: NDArray[np.int64], sphere: PeakSphere) -> NDArray[np.float64]:
    """Return the mean SUV of the sphere around each centre, over the sphere's voxels that lie in the image.

    All voxels of the image count, in a lesion or not. Nothing is assumed about voxels beyond its border.

    Args:
        suv: (z, y, x), contiguous.
        centres: (N, 3) voxel indices (x, y, z).
        sphere: on the image's grid.
    """
    size = np.array(suv.shape[::-1])
    strides = np.array([1, size[0], size[0] * size[1]])
    reach = np.abs(sphere.offsets).max(axis=0)
    within = ((centres >= reach) & (centres < size - reach)).all(axis=1)
    means = np.empty(len(centres))
    flat, shifts = suv.reshape(-1), sphere.offsets @ strides
    for chunk in _split_chunks(np.flatnonzero(within)):
        at = centres[chunk] @ strides
        total = np.zeros(len(chunk))
        for shift in shifts:
            total += flat[at + shift]
        means[chunk] = total / sphere.voxels
    for chunk in _split_chunks(np.flatnonzero(~within)):
        total, count = np.zeros(len(chunk)), np.zeros(len(chunk))
        for offset in sphere.offsets:
            moved = centres[chunk] + offset
            there = ((moved >= 0) & (moved < size)).all(axis=1)
            total[there] += flat[moved[there] @ strides]
            count += there
        means[chunk] = total / count
    return means


def _split_chunks(indices: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return [indices[start : start + _CHUNK] for start in range(0, len(indices), _CHUNK)]
