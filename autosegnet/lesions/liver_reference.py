"""The liver's reference uptake: a sphere of 3 cm in the right lobe, by an organ map or by a rule that may abstain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from autosegnet.geometry import Grid, make_image, resample, resample_labels, view_voxels
from autosegnet.lesions.landmarks import LANDMARK_SPACING_MM, Landmarks
from autosegnet.lesions.organ_labels import Organs
from autosegnet.lesions.position import Position
from autosegnet.lesions.reference_regions import Reference, find_around, measure_depth_mm, measure_region

if TYPE_CHECKING:
    import SimpleITK as sitk

LIVER_RADIUS_MM: Final = 15.0
# Limits of the rule without an organ map.
_SOFT_HU = (20.0, 160.0)
_LEAST_RADIUS_MM = 22.0
_MOST_VARIATION = 0.30  # SD over mean in the sphere; noise alone reaches 0.25
_BELOW_LUNG_MM = 120.0


def find_liver_by_map(suv: sitk.Image, organs: Organs, lesions: NDArray[np.bool_]) -> Reference | str:
    """Measure the right half of the organ map's liver, where it is deepest."""
    grid = Grid.from_image(suv)
    liver = organs.make_mask("liver") & ~lesions
    if int(liver.sum()) < 50:
        return "the organ map shows too little of the liver"
    box, depth = measure_depth_mm(liver, grid)
    left_mm = _find_left_mm(grid, box)
    middle = float(np.median(left_mm[liver[box]]))
    depth = np.where(left_mm <= middle, depth, 0.0)  # the right half of the liver lies in its larger, right lobe
    place = _find_deepest(depth, grid, box)
    if float(depth.max()) < LIVER_RADIUS_MM:
        return "the right lobe has no room for a sphere of 3 cm"
    return _measure_sphere(suv, place, "3 cm sphere in the right lobe of the organ map", sure=True)


def find_liver_by_rule(
    suv: sitk.Image, ct: sitk.Image, landmarks: Landmarks, lesions: NDArray[np.bool_]
) -> Reference | str:
    """Find the largest ball of soft tissue below the right lung that the PET covers, and abstain unless it is even."""
    from scipy import ndimage

    grid = landmarks.grid
    hu = view_voxels(resample(ct, grid, outside=-1024.0))
    smooth = ndimage.uniform_filter(hu, 3)
    x, z = (grid.origin_mm[k] + LANDMARK_SPACING_MM * np.arange(grid.size[k]) for k in (0, 2))
    under = ndimage.binary_dilation(landmarks.lungs.any(axis=0), iterations=3) & (x < landmarks.midline_mm)
    below_mm = landmarks.lung_floor_mm - z[:, None, None]
    soft = (smooth > _SOFT_HU[0]) & (smooth < _SOFT_HU[1]) & under & (below_mm > 0) & (below_mm < _BELOW_LUNG_MM)
    # Outside the PET the free voxels are 0, so a ball that fits lies in the PET, even if that is oblique.
    free = make_image((~lesions).astype(np.uint8), Grid.from_image(suv))
    soft &= view_voxels(resample_labels(free, grid)) > 0
    if not soft.any():
        return "no soft tissue below the right lung in the PET"
    box, depth = measure_depth_mm(soft, grid)
    if float(depth.max()) < _LEAST_RADIUS_MM:
        return f"no ball of soft tissue of {2 * _LEAST_RADIUS_MM / 10:.1f} cm below the right lung in the PET"
    source = "3 cm sphere in the largest ball of soft tissue below the right lung; no organ map"
    found = _measure_sphere(suv, _find_deepest(depth, grid, box), source, sure=False)
    if found.suv_mean <= 0 or found.suv_sd > _MOST_VARIATION * found.suv_mean:
        return "what lies below the right lung is too uneven to be a liver"
    return found


def _find_left_mm(grid: Grid, box: tuple[slice, ...]) -> NDArray[np.float64]:
    """Return L of every voxel of a box, (z, y, x)."""
    z, y, x = (np.arange(part.start, part.stop) for part in box)
    steps = grid.steps_mm[0]
    left: NDArray[np.float64] = (
        grid.origin_mm[0] + steps[2] * z[:, None, None] + steps[1] * y[None, :, None] + steps[0] * x[None, None, :]
    )
    return left


def _find_deepest(depth: NDArray[np.float64], grid: Grid, box: tuple[slice, ...]) -> Position:
    """Return the place of the deepest voxel; of several, the one nearest to their middle."""
    at = np.argwhere(depth >= depth.max() - 1e-6)
    index = (at + [part.start for part in box])[:, ::-1]
    places = index @ grid.steps_mm.T + np.asarray(grid.origin_mm)
    chosen = places[int(np.linalg.norm(places - places.mean(axis=0), axis=1).argmin())]
    return float(chosen[0]), float(chosen[1]), float(chosen[2])


def _measure_sphere(suv: sitk.Image, centre_mm: Position, source: str, *, sure: bool) -> Reference:
    box, offsets = find_around(Grid.from_image(suv), centre_mm, LIVER_RADIUS_MM)
    inside = np.linalg.norm(offsets, axis=-1) <= LIVER_RADIUS_MM
    return measure_region(suv, box, inside, "liver", centre_mm, LIVER_RADIUS_MM, source, sure)
