"""Where a place of the follow-up lies in the baseline, and the way back: a rigid motion after a smooth deformation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autosegnet.geometry import Grid, view_voxels

if TYPE_CHECKING:
    import SimpleITK as sitk

PlacesMm = NDArray[np.float64]
"""(N, 3), LPS, mm."""

_ROUNDS = 30  # of the fixed point; the deformation is a contraction, so that each round gains a digit or so
_EXACT_MM = 0.01


@dataclass(frozen=True, slots=True)
class Warp:
    """The map from follow-up to baseline, x -> rigid(x + displacement(x)).

    Args:
        rigid: Euler3DTransform.
        spline: BSplineTransform; the identity beyond its region.
        displacement_mm: (z, y, x, 3) of the spline on `grid`; beyond, the nearest one counts.
        grid: upright, of the displacement.
    """

    rigid: sitk.Transform
    spline: sitk.Transform
    displacement_mm: NDArray[np.float64]
    grid: Grid

    @property
    def transform(self) -> sitk.Transform:
        """Return the map as SimpleITK has it: the last transform of a composite is applied first."""
        import SimpleITK as sitk

        return sitk.CompositeTransform([self.rigid, self.spline])

    def to_baseline(self, followup_mm: PlacesMm) -> PlacesMm:
        """Return where places of the follow-up lie in the baseline."""
        return _apply(self.rigid, followup_mm + self._displace(followup_mm))

    def to_followup(self, baseline_mm: PlacesMm) -> PlacesMm:
        """Return where places of the baseline lie in the follow-up: the inverse of `to_baseline`."""
        straight = _apply(self.rigid.GetInverse(), baseline_mm)
        found = straight.copy()
        for _ in range(_ROUNDS):
            last, found = found, straight - self._displace(found)
            if len(found) == 0 or float(np.abs(found - last).max()) < _EXACT_MM:
                break
        return found

    def _displace(self, places_mm: PlacesMm) -> PlacesMm:
        from scipy import ndimage

        index = (places_mm - np.array(self.grid.origin_mm)) / np.array(self.grid.spacing_mm)
        at = np.clip(index, 0, np.array(self.grid.size) - 1.0).T[::-1]
        shifts = [ndimage.map_coordinates(self.displacement_mm[..., k], at, order=1) for k in range(3)]
        return np.stack(shifts, axis=1)


def make_warp(rigid: sitk.Transform, spline: sitk.Transform, grid: Grid) -> Warp:
    """Return a warp, its displacement sampled on a grid."""
    import SimpleITK as sitk

    field = sitk.TransformToDisplacementField(
        spline, sitk.sitkVectorFloat64, grid.size, grid.origin_mm, grid.spacing_mm, grid.direction
    )
    return Warp(rigid, spline, np.array(view_voxels(field)), grid)


def make_rigid_warp(rigid: sitk.Transform, grid: Grid) -> Warp:
    """Return a warp that only moves."""
    import SimpleITK as sitk

    return Warp(rigid, sitk.Transform(3, sitk.sitkIdentity), np.zeros((*grid.shape, 3)), grid)


def _apply(transform: sitk.Transform, places_mm: PlacesMm) -> PlacesMm:
    """Return places after a rigid transform, which is a matrix: three points tell it."""
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    columns: list[Any] = [np.array(transform.TransformPoint(tuple(axis))) - origin for axis in np.eye(3)]
    return np.asarray(places_mm @ np.stack(columns) + origin)
