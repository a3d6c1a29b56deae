"""Regions in which reference uptake is measured: their voxels, their depth, and the figures over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from autosegnet.geometry import Grid, view_voxels
from autosegnet.lesions.peak import compute_sphere_means, make_peak_sphere
from autosegnet.lesions.position import Position

if TYPE_CHECKING:
    import SimpleITK as sitk


@dataclass(frozen=True, slots=True)
class Reference:
    """The uptake of a reference region, in SUV (g/ml).

    Args:
        organ: 'liver' or 'blood pool'.
        suv_mean, suv_sd, suv_max, suv_peak: over its voxels.
        voxels: how many.
        centre_mm: LPS.
        radius_mm: of the region, across the body.
        source: how it was found, for a reader.
        sure: whether it comes from an organ map.
    """

    organ: str
    suv_mean: float
    suv_sd: float
    suv_max: float
    suv_peak: float
    voxels: int
    centre_mm: Position
    radius_mm: float
    source: str
    sure: bool


def measure_depth_mm(inside: NDArray[np.bool_], grid: Grid) -> tuple[tuple[slice, ...], NDArray[np.float64]]:
    """Return the box of a region and, in it, how far its voxels are from the nearest voxel outside the region."""
    from scipy import ndimage

    box = ndimage.find_objects(inside.astype(np.uint8))[0]
    # The padding makes the border of the PET count as the region's border.
    padded = np.pad(inside[box], 1)
    depth = ndimage.distance_transform_edt(padded, sampling=grid.spacing_mm[::-1])[1:-1, 1:-1, 1:-1]
    return box, depth


def find_around(grid: Grid, centre_mm: Position, half_mm: float) -> tuple[tuple[slice, ...], NDArray[np.float64]]:
    """Return the box of voxels around a place, and their positions relative to it: (z, y, x, 3) mm."""
    middle = np.linalg.solve(grid.steps_mm, np.asarray(centre_mm) - grid.origin_mm)
    reach = half_mm * np.linalg.norm(np.linalg.inv(grid.steps_mm), axis=1)
    low = np.maximum(np.floor(middle - reach), 0).astype(int)
    high = np.minimum(np.ceil(middle + reach) + 1, grid.size).astype(int)
    box = tuple(slice(int(a), max(int(a), int(b))) for a, b in zip(low[::-1], high[::-1], strict=True))
    z, y, x = np.meshgrid(*(np.arange(part.start, part.stop) for part in box), indexing="ij")
    offsets = np.stack([x, y, z], axis=-1) @ grid.steps_mm.T + np.asarray(grid.origin_mm) - np.asarray(centre_mm)
    return box, offsets


def measure_region(  # noqa: PLR0913
    suv: sitk.Image,
    box: tuple[slice, ...],
    inside: NDArray[np.bool_],
    organ: str,
    centre_mm: Position,
    radius_mm: float,
    source: str,
    sure: bool,
) -> Reference:
    """Return the figures over a region.

    Args:
        suv: PET in SUV.
        box: of voxels, (z, y, x).
        inside: of the box, which are measured.
        organ, centre_mm, radius_mm, source, sure: as in `Reference`.
    """
    pet = view_voxels(suv)
    values = pet[box][inside].astype(np.float64)
    centres = (np.argwhere(inside) + [part.start for part in box])[:, ::-1]
    peaks = compute_sphere_means(pet, centres, make_peak_sphere(Grid.from_image(suv)))
    return Reference(
        organ,
        float(values.mean()),
        float(values.std()),
        float(values.max()),
        float(peaks.max()),
        len(values),
        centre_mm,
        radius_mm,
        source,
        sure,
    )
