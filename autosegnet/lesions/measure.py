"""The figures of every lesion of a mask, and of the whole body, on the PET's own grid."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from autosegnet.errors import InputError
from autosegnet.geometry import Grid, same_grid, voxels
from autosegnet.lesions.components import CONNECTIVITY, voxel_volume_ml
from autosegnet.lesions.distance import largest_distance_mm, line_ends
from autosegnet.lesions.figures import BodyFigures, Lesion, LesionTable, Position
from autosegnet.lesions.numbering import anatomical_keys, number_lesions
from autosegnet.lesions.peak import peak_sphere, sphere_means

if TYPE_CHECKING:
    import SimpleITK as sitk

# Fixed thresholds of the literature: 4.0 (Barrington et al. 2021, J Nucl Med 62:332), 2.5 and 41 % of the maximum
# (Ilyas et al. 2018, doi:10.1007/s00259-018-3953-z).
_SUV_4: Final = 4.0
_SUV_2_5: Final = 2.5
_SHARE_41: Final = 0.41


def measure_lesions(mask: sitk.Image, suv: sitk.Image) -> LesionTable:
    """The figures of a mask's lesions.

    Args:
        mask: integer, lesion where it is not 0.
        suv: PET in SUV (g/ml), on the same grid.

    Raises:
        InputError: mask and PET are on different grids.
    """
    if not same_grid(Grid.of(mask), Grid.of(suv)):
        raise InputError(
            f"mask of {mask.GetSize()} voxels is not on the grid of the PET of {suv.GetSize()} voxels; "
            "lesions are measured on the PET's own grid"
        )
    grid, pet = Grid.of(suv), voxels(suv)
    labels, n = number_lesions(mask)
    at = np.flatnonzero(labels)
    # Voxels come in storage order; a stable sort keeps it within each lesion.
    at = at[np.argsort(labels.reshape(-1)[at], kind="stable")]
    counts = np.bincount(labels.reshape(-1)[at], minlength=n + 1)[1:]
    index = np.stack(np.unravel_index(at, labels.shape)[::-1], axis=1)
    sphere, volume_ml = peak_sphere(grid), voxel_volume_ml(grid.spacing_mm)
    means = sphere_means(pet, index, sphere)
    values = pet.reshape(-1)[at].astype(np.float64)
    parts = np.split(np.arange(len(at)), np.cumsum(counts)[:-1]) if n else []
    lesions = tuple(
        _lesion(number, index[part], values[part], means[part], grid=grid) for number, part in enumerate(parts, start=1)
    )
    return LesionTable(lesions, _body(lesions, index, grid), CONNECTIVITY, volume_ml, sphere.voxels)


def _lesion(
    number: int, index: NDArray[np.int64], suv: NDArray[np.float64], means: NDArray[np.float64], *, grid: Grid
) -> Lesion:
    volume_ml = voxel_volume_ml(grid.spacing_mm)
    highest, mean = float(suv.max()), float(suv.mean())
    hottest = _hottest(index, suv, means, grid)
    x, y, z = zip(index.min(axis=0).tolist(), (index.max(axis=0) + 1).tolist(), strict=True)
    centres_mm = index @ grid.steps_mm.T + grid.origin_mm
    half_mm = np.abs(grid.steps_mm).sum(axis=1) / 2  # a voxel's body reaches this far from its centre
    reach_mm = (centres_mm.min(axis=0) - half_mm, centres_mm.max(axis=0) + half_mm)
    left, posterior, superior = zip(*(ends.tolist() for ends in reach_mm), strict=True)
    return Lesion(
        number=number,
        voxels=len(suv),
        volume_ml=len(suv) * volume_ml,
        suv_max=highest,
        suv_mean=mean,
        suv_peak=float(means.max()),
        suv_peak_at_max=float(means[suv == highest].max()),
        suv_max_mm=_position(index[hottest], grid),
        tlg_g=len(suv) * volume_ml * mean,
        centroid_mm=_position(index.mean(axis=0), grid),
        box=(x, y, z),
        box_mm=(left, posterior, superior),
        suv_4_ml=int((suv >= _SUV_4).sum()) * volume_ml,
        suv_2_5_ml=int((suv >= _SUV_2_5).sum()) * volume_ml,
        percent_41_ml=int((suv >= _SHARE_41 * highest).sum()) * volume_ml,
    )


def _hottest(index: NDArray[np.int64], suv: NDArray[np.float64], means: NDArray[np.float64], grid: Grid) -> int:
    """Which voxel is the hottest, whatever the order in which voxels of the same SUV are stored."""
    tied = np.flatnonzero(suv == suv.max())
    tied = tied[np.isclose(means[tied], means[tied].max(), rtol=1e-9, atol=0.0)]
    positions_mm = index[tied] @ grid.steps_mm.T + grid.origin_mm
    return int(tied[np.lexsort(anatomical_keys(positions_mm))[0]])


def _position(index: NDArray[Any], grid: Grid) -> Position:
    return grid.position_mm((float(index[0]), float(index[1]), float(index[2])))


def _body(lesions: tuple[Lesion, ...], index: NDArray[np.int64], grid: Grid) -> BodyFigures:
    centroids_mm = np.array([lesion.centroid_mm for lesion in lesions])
    in_storage_order = index[np.lexsort(index.T)]  # by z, then y, then x
    return BodyFigures(
        lesions=len(lesions),
        tmtv_ml=math.fsum(lesion.volume_ml for lesion in lesions),
        tlg_g=math.fsum(lesion.tlg_g for lesion in lesions),
        suv_max=max((lesion.suv_max for lesion in lesions), default=None),
        suv_peak=max((lesion.suv_peak for lesion in lesions), default=None),
        dmax_centroids_mm=largest_distance_mm(centroids_mm, np.eye(3)) if lesions else None,
        dmax_voxels_mm=largest_distance_mm(line_ends(in_storage_order), grid.steps_mm) if lesions else None,
        suv_4_ml=math.fsum(lesion.suv_4_ml for lesion in lesions),
        suv_2_5_ml=math.fsum(lesion.suv_2_5_ml for lesion in lesions),
        percent_41_ml=math.fsum(lesion.percent_41_ml for lesion in lesions),
    )
