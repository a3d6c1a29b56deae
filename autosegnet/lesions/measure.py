"""Measures every lesion of a mask, and the whole body, on the PET's own grid."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from autosegnet.errors import InputError
from autosegnet.geometry import Grid, is_same_grid, view_voxels
from autosegnet.lesions.components import CONNECTIVITY, compute_voxel_volume_ml
from autosegnet.lesions.context import BodySize, Context
from autosegnet.lesions.distance import find_line_ends, measure_largest_distance_mm
from autosegnet.lesions.figures import BodyFigures, Lesion
from autosegnet.lesions.lesion_table import LesionTable
from autosegnet.lesions.numbering import make_anatomical_keys, number_lesions
from autosegnet.lesions.peak import compute_sphere_means, make_peak_sphere
from autosegnet.lesions.position import Position
from autosegnet.lesions.references import measure_references
from autosegnet.lesions.sites import Locator

if TYPE_CHECKING:
    import SimpleITK as sitk

# Fixed thresholds of the literature: 4.0 (Barrington et al. 2021, J Nucl Med 62:332), 2.5 and 41 % of the maximum
# (Ilyas et al. 2018, doi:10.1007/s00259-018-3953-z).
_SUV_4: Final = 4.0
_SUV_2_5: Final = 2.5
_SHARE_41: Final = 0.41


def measure_lesions(
    mask: sitk.Image, suv: sitk.Image, context: Context | None = None, *, labelled: bool = False
) -> LesionTable:
    """Return the figures of a mask's lesions.

    Args:
        mask: integer, lesion where it is not 0.
        suv: PET in SUV (g/ml), on the same grid.
        context: what else is known of the study; without it, lesions have no site, reference or confidence.
        labelled: whether each label of the mask is one lesion.

    Raises:
        InputError: mask and PET, or a map of the context and the PET, are on different grids.
    """
    grid, context = Grid.from_image(suv), context or Context()
    _check_grids(mask, grid, context)
    labels, n = number_lesions(mask, labelled=labelled)
    parts = _Parts.from_labels(labels, n, suv)
    locator = Locator(grid, context)
    lesions = tuple(
        replace(
            _measure_lesion(number, *parts.select_lesion(number), grid=grid),
            **_describe_context(parts.find_index(number), mask, context, locator, labelled=labelled),
        )
        for number in range(1, n + 1)
    )
    references = measure_references(suv, labels > 0, organs=locator.organs, landmarks=locator.landmarks, ct=context.ct)
    return LesionTable(
        lesions,
        _measure_body(lesions, parts.index, grid, context.size),
        CONNECTIVITY,
        compute_voxel_volume_ml(grid.spacing_mm),
        make_peak_sphere(grid).voxels,
        references,
        context.size,
        context.is_fdg,
        labelled,
    )


def _check_grids(mask: sitk.Image, grid: Grid, context: Context) -> None:
    if not is_same_grid(Grid.from_image(mask), grid):
        raise InputError(
            f"mask of {mask.GetSize()} voxels is not on the grid of the PET of {grid.size} voxels; "
            "lesions are measured on the PET's own grid"
        )
    for name, image in (("probability", context.probability), ("uncertainty", context.disagreement)):
        if image is not None and not is_same_grid(Grid.from_image(image), grid):
            raise InputError(
                f"the map of {name} of {image.GetSize()} voxels is not on the grid of the PET of {grid.size} voxels"
            )


@dataclass(frozen=True, slots=True)
class _Parts:
    """Hold the voxels of all lesions, lesion by lesion.

    Args:
        index: (N, 3) voxel indices (x, y, z).
        suv: (N,) their SUV.
        means: (N,) the means of the spheres around them.
        starts: index of each lesion's first voxel, and at the end N.
    """

    index: NDArray[np.int64]
    suv: NDArray[np.float64]
    means: NDArray[np.float64]
    starts: NDArray[np.int64]

    @classmethod
    def from_labels(cls, labels: NDArray[Any], n: int, suv: sitk.Image) -> _Parts:
        pet = view_voxels(suv)
        at = np.flatnonzero(labels)
        # Voxels come in storage order; a stable sort keeps it within each lesion.
        at = at[np.argsort(labels.reshape(-1)[at], kind="stable")]
        counts = np.bincount(labels.reshape(-1)[at], minlength=n + 1)[1:]
        index = np.stack(np.unravel_index(at, labels.shape)[::-1], axis=1)
        means = compute_sphere_means(pet, index, make_peak_sphere(Grid.from_image(suv)))
        return cls(index, pet.reshape(-1)[at].astype(np.float64), means, np.append(0, np.cumsum(counts)))

    def find_index(self, number: int) -> NDArray[np.int64]:
        return self.index[self.starts[number - 1] : self.starts[number]]

    def select_lesion(self, number: int) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        part = slice(self.starts[number - 1], self.starts[number])
        return self.index[part], self.suv[part], self.means[part]


def _describe_context(
    index: NDArray[np.int64], mask: sitk.Image, context: Context, locator: Locator, *, labelled: bool
) -> dict[str, Any]:
    """Return what is known of a lesion besides its uptake: confidence, site, label."""
    x, y, z = index.T
    maps = {"probability": context.probability, "disagreement": context.disagreement}
    known: dict[str, Any] = {
        name: float(view_voxels(image)[z, y, x].mean(dtype=np.float64))
        for name, image in maps.items()
        if image is not None
    }
    known["site"] = locator.locate(index)
    if labelled:
        known["label"] = int(view_voxels(mask)[z[0], y[0], x[0]])
    return known


def _measure_lesion(
    number: int, index: NDArray[np.int64], suv: NDArray[np.float64], means: NDArray[np.float64], *, grid: Grid
) -> Lesion:
    volume_ml = compute_voxel_volume_ml(grid.spacing_mm)
    highest, mean = float(suv.max()), float(suv.mean())
    hottest = _find_hottest(index, suv, means, grid)
    x, y, z = zip(index.min(axis=0).tolist(), (index.max(axis=0) + 1).tolist(), strict=True)
    centres_mm = index @ grid.steps_mm.T + grid.origin_mm
    half_mm = np.abs(grid.steps_mm).sum(axis=1) / 2  # a whole voxel reaches this far from its centre
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
        suv_max_mm=_find_position(index[hottest], grid),
        tlg_g=len(suv) * volume_ml * mean,
        centroid_mm=_find_position(index.mean(axis=0), grid),
        box=(x, y, z),
        box_mm=(left, posterior, superior),
        suv_4_ml=int((suv >= _SUV_4).sum()) * volume_ml,
        suv_2_5_ml=int((suv >= _SUV_2_5).sum()) * volume_ml,
        percent_41_ml=int((suv >= _SHARE_41 * highest).sum()) * volume_ml,
        diameter_mm=measure_largest_distance_mm(find_line_ends(index[np.lexsort(index.T)]), grid.steps_mm),
        touches_border=bool(((index == 0) | (index == np.array(grid.size) - 1)).any()),
    )


def _find_hottest(index: NDArray[np.int64], suv: NDArray[np.float64], means: NDArray[np.float64], grid: Grid) -> int:
    """Return which voxel is the hottest, whatever the order in which voxels of the same SUV are stored."""
    tied = np.flatnonzero(suv == suv.max())
    tied = tied[np.isclose(means[tied], means[tied].max(), rtol=1e-9, atol=0.0)]
    positions_mm = index[tied] @ grid.steps_mm.T + grid.origin_mm
    return int(tied[np.lexsort(make_anatomical_keys(positions_mm))[0]])


def _find_position(index: NDArray[Any], grid: Grid) -> Position:
    return grid.find_position_mm((float(index[0]), float(index[1]), float(index[2])))


def _measure_body(lesions: tuple[Lesion, ...], index: NDArray[np.int64], grid: Grid, size: BodySize) -> BodyFigures:
    centroids_mm = np.array([lesion.centroid_mm for lesion in lesions])
    in_storage_order = index[np.lexsort(index.T)]  # by z, then y, then x
    apart_mm = measure_largest_distance_mm(centroids_mm, np.eye(3)) if lesions else None
    return BodyFigures(
        lesions=len(lesions),
        tmtv_ml=math.fsum(lesion.volume_ml for lesion in lesions),
        tlg_g=math.fsum(lesion.tlg_g for lesion in lesions),
        suv_max=max((lesion.suv_max for lesion in lesions), default=None),
        suv_peak=max((lesion.suv_peak for lesion in lesions), default=None),
        dmax_centroids_mm=apart_mm,
        dmax_voxels_mm=measure_largest_distance_mm(find_line_ends(in_storage_order), grid.steps_mm)
        if lesions
        else None,
        suv_4_ml=math.fsum(lesion.suv_4_ml for lesion in lesions),
        suv_2_5_ml=math.fsum(lesion.suv_2_5_ml for lesion in lesions),
        percent_41_ml=math.fsum(lesion.percent_41_ml for lesion in lesions),
        sdmax_per_m=apart_mm / 1000 / size.surface_m2 if apart_mm is not None and size.surface_m2 else None,
        bulk_mm=max((lesion.diameter_mm for lesion in lesions), default=None),
    )
