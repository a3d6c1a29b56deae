"""Landmarks of a body: lungs, skull base, pelvis and midline, from an organ map or from the CT.

Everything lies on one coarse upright grid (LPS). A landmark that cannot be found is None; sites are then less precise.
From the CT, the rules are (docs/reference/lesions.md):

- lungs: voxels of lung density (-950 to -500 HU) inside the body, in pieces of at least 60 ml, 300 ml in all;
- skull base: the lowest of the slices above the lungs in which bone encloses at least 40 cm2 of soft tissue;
- pelvis: from 220 mm above the perineum, the highest slice below the lungs that parts into two legs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from autosegnet.geometry import Grid, make_upright_grid, resample, view_voxels
from autosegnet.lesions.organ_labels import OrganLabels, Organs, place_organs

if TYPE_CHECKING:
    import SimpleITK as sitk

LANDMARK_SPACING_MM: Final = 4.0
_AIR_HU = -1024.0
_LUNG_HU = (-950.0, -500.0)
_BODY_HU = -300.0
_BONE_HU = 200.0
_LEAST_LUNG_ML, _LEAST_LUNGS_ML = 60.0, 300.0  # of a small child
_LEAST_BRAIN_CM2 = 40.0
_LEAST_LEG_CM2 = 40.0
_PELVIS_MM = 220.0  # from the perineum to the iliac crest of an adult
_LUNG_TO_LEGS_MM = 200.0  # nobody's legs begin nearer to the lungs
_GAP_MM = 4.0  # half the width of the gap between two legs
_INNER_LUNG_MM = 25.0  # distance of the domes of the diaphragm from the lungs' outline, seen from above
_BLADDER_TO_FLOOR_MM = 55.0  # from the lowest urine to the ischial tuberosity


@dataclass(frozen=True, slots=True)
class Landmarks:
    """Where the parts of a body begin. Heights are S in mm.

    Args:
        grid: upright, of the arrays.
        lungs: (z, y, x), where the lungs lie.
        lung_floor_mm: (y, x), S of the lower end of the chest at every place, the diaphragm over the liver.
        lung_top_mm: height of the highest lung voxel.
        midline_mm: L of the middle between the outer borders of the lungs.
        skull_base_mm: lowest height of the brain's cavity; None if it was not found.
        pelvis_mm: lowest and highest height of the pelvis; None if it was not found.
    """

    grid: Grid
    lungs: NDArray[np.bool_]
    lung_floor_mm: NDArray[np.float64]
    lung_top_mm: float
    midline_mm: float
    skull_base_mm: float | None
    pelvis_mm: tuple[float, float] | None

    def floor_at(self, position_mm: tuple[float, float, float]) -> float:
        """Return the height of the lungs' lower border near a position."""
        x, y = (
            min(max(round((position_mm[k] - self.grid.origin_mm[k]) / LANDMARK_SPACING_MM), 0), self.grid.size[k] - 1)
            for k in (0, 1)
        )
        return float(self.lung_floor_mm[y, x])


def find_landmarks(pet: Grid, *, ct: sitk.Image | None, organs: OrganLabels | None) -> Landmarks | None:
    """Return the landmarks of a body, None if its lungs are not found.

    Args:
        pet: the PET's grid, which the landmarks cover.
        ct: in HU; used for what the organ map lacks.
        organs: the organ map.
    """
    grid = make_upright_grid(pet, spacing_mm=LANDMARK_SPACING_MM)
    placed = place_organs(organs, grid) if organs is not None else None
    hu = view_voxels(resample(ct, grid, outside=_AIR_HU)) if ct is not None else None
    body = find_body(hu) if hu is not None else None
    lungs = placed.make_mask("lung") if placed is not None else None
    if (lungs is None or not lungs.any()) and hu is not None and body is not None:
        lungs = _find_lungs(hu, body)
    if lungs is None or not lungs.any():
        return None
    heights = np.flatnonzero(lungs.any(axis=(1, 2)))
    columns = np.flatnonzero(lungs.any(axis=(0, 1)))
    midline = (columns[0] + columns[-1]) / 2
    skull = _find_skull_base(placed, hu, int(heights[-1]))
    pelvis = _find_pelvis(placed, grid)
    if pelvis is None and hu is not None and body is not None:
        floor = _find_perineum(body & (hu > _BODY_HU), int(heights[0]), midline)
        pelvis = None if floor is None else (_find_height(grid, floor), _find_height(grid, floor) + _PELVIS_MM)
    return Landmarks(
        grid=grid,
        lungs=lungs,
        lung_floor_mm=_floor(lungs) * LANDMARK_SPACING_MM + grid.origin_mm[2],
        lung_top_mm=_find_height(grid, int(heights[-1])),
        midline_mm=float(grid.origin_mm[0] + LANDMARK_SPACING_MM * midline),
        skull_base_mm=None if skull is None else _find_height(grid, skull),
        pelvis_mm=pelvis,
    )


def _find_height(grid: Grid, z: float) -> float:
    return float(grid.origin_mm[2] + LANDMARK_SPACING_MM * z)


def find_body(hu: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return the largest piece of tissue; its holes are filled slice by slice."""
    from scipy import ndimage

    tissue = ndimage.binary_opening(hu > _BODY_HU, iterations=1)
    labels, n = ndimage.label(tissue)
    if n == 0:
        return np.zeros(hu.shape, bool)
    body = labels == 1 + int(np.bincount(labels.ravel())[1:].argmax())
    for plane in body:
        plane[:] = ndimage.binary_fill_holes(plane)
    found: NDArray[np.bool_] = body
    return found


def _find_lungs(hu: NDArray[np.float32], body: NDArray[np.bool_]) -> NDArray[np.bool_]:
    from scipy import ndimage

    dense = body & (hu > _LUNG_HU[0]) & (hu < _LUNG_HU[1])
    dense = ndimage.binary_opening(dense, iterations=1)
    labels, n = ndimage.label(dense)
    voxel_ml = LANDMARK_SPACING_MM**3 / 1000
    sizes_ml = np.bincount(labels.ravel(), minlength=n + 1) * voxel_ml
    sizes_ml[0] = 0.0
    kept = sizes_ml >= _LEAST_LUNG_ML
    if sizes_ml[kept].sum() < _LEAST_LUNGS_ML:
        return np.zeros(hu.shape, bool)
    return np.asarray(kept[labels])


def _floor(lungs: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the slice in which the chest ends above every place, (y, x).

    It is the lowest lung within 10 mm of the nearest place with lung, but at most the height of the dome, because a
    place beside the lungs may be near only their top.
    """
    from scipy import ndimage

    present = lungs.any(axis=0)
    lowest = np.where(present, lungs.argmax(axis=0), len(lungs)).astype(float)
    away, (y, x) = ndimage.distance_transform_edt(~present, return_indices=True)
    near = ndimage.grey_erosion(lowest, size=(5, 5))[y, x]
    inner = ndimage.distance_transform_edt(present) * LANDMARK_SPACING_MM >= _INNER_LUNG_MM
    dome = float(lowest[inner].max()) if inner.any() else float(near[away == 0].max())
    floor: NDArray[np.float64] = np.minimum(near, dome)
    return floor


def _find_skull_base(organs: Organs | None, hu: NDArray[np.float32] | None, lung_top: int) -> int | None:
    """Return the lowest slice of the brain, from the organ map, else from the bone that encloses it."""
    from scipy import ndimage

    if organs is not None and organs.has("brain"):
        return int(np.flatnonzero(organs.make_mask("brain").any(axis=(1, 2)))[0])
    if hu is None:
        return None
    enclosed = np.zeros(len(hu), bool)
    for z in range(lung_top + 1, len(hu)):
        bone = ndimage.binary_closing(hu[z] > _BONE_HU, iterations=1)
        inside = ndimage.binary_fill_holes(bone) & (hu[z] > -50) & (hu[z] < _BONE_HU)
        enclosed[z] = inside.sum() * (LANDMARK_SPACING_MM / 10) ** 2 >= _LEAST_BRAIN_CM2
    runs, n = ndimage.label(enclosed)
    if n == 0:
        return None
    longest = 1 + int(np.bincount(runs)[1:].argmax())
    first = np.flatnonzero(runs == longest)
    return int(first[0]) if len(first) >= 3 else None


def _find_pelvis(organs: Organs | None, grid: Grid) -> tuple[float, float] | None:
    """Return the lowest and highest hip bone, else an estimate from the bladder."""
    if organs is None:
        return None
    for organ in ("hip bone", "urinary bladder"):
        if not organs.has(organ):
            continue
        heights = np.flatnonzero(organs.make_mask(organ).any(axis=(1, 2)))
        if organ == "hip bone":
            return _find_height(grid, heights[0]), _find_height(grid, heights[-1])
        floor_mm = _find_height(grid, heights[0]) - _BLADDER_TO_FLOOR_MM
        return floor_mm, floor_mm + _PELVIS_MM
    return None


def _find_perineum(body: NDArray[np.bool_], lung_bottom: int, midline: float) -> int | None:
    """Return the highest slice below the lungs in which the midline is free between two legs."""
    from scipy import ndimage

    area_cm2 = (LANDMARK_SPACING_MM / 10) ** 2
    gap, reach = _GAP_MM / LANDMARK_SPACING_MM, 200.0 / LANDMARK_SPACING_MM
    columns = np.arange(body.shape[2]) - midline
    left, right = (columns > gap) & (columns < reach), (columns < -gap) & (columns > -reach)
    between = np.abs(columns) <= gap
    for z in range(lung_bottom - round(_LUNG_TO_LEGS_MM / LANDMARK_SPACING_MM), -1, -1):
        plane = ndimage.binary_opening(body[z], iterations=2)  # a table is thinner
        legs = min(plane[:, left].sum(), plane[:, right].sum()) * area_cm2 >= _LEAST_LEG_CM2
        if legs and not plane[:, between].any():
            return z
    return None
