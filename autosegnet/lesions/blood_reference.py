"""The blood pool's reference uptake: the descending thoracic aorta, by an organ map or by a rule that may abstain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from autosegnet.geometry import Grid, make_image, resample_labels, view_voxels
from autosegnet.lesions.aorta_search import find_descending_aorta
from autosegnet.lesions.landmarks import Landmarks
from autosegnet.lesions.organ_labels import Organs
from autosegnet.lesions.position import Position
from autosegnet.lesions.reference_regions import Reference, find_around, measure_depth_mm, measure_region

if TYPE_CHECKING:
    import SimpleITK as sitk

_AORTA_RADIUS_MM, _AORTA_HALF_MM = 5.0, 10.0
_BOTH_AORTAS_MM = 50.0  # mm from front to back: a longer piece is cut through both parts of the aorta
_MOST_VARIATION = 0.30  # SD over mean without an organ map, as for the liver
_UNMAPPED = "no organ map with an aorta"
_AWAY_FROM_LESIONS = 2  # voxels of the landmarks' grid, 8 mm


def find_blood_by_map(suv: sitk.Image, organs: Organs, lesions: NDArray[np.bool_]) -> Reference | str:
    """Measure the descending aorta: in each slice between arch and diaphragm, the part at the back."""
    grid = Grid.from_image(suv)
    aorta = organs.make_mask("aorta") & ~lesions
    if not aorta.any():
        return "the aorta of the organ map lies inside lesions"
    box, depth = measure_depth_mm(aorta, grid)
    index = (np.argwhere(aorta[box]) + [part.start for part in box])[:, ::-1]
    places = index @ grid.steps_mm.T + np.asarray(grid.origin_mm)
    heights = places[:, 2]
    # The arch is the top; from 4 to 10 cm below it the aorta descends in the chest, whatever the patient's height.
    top_mm = float(heights.max())
    level = (heights < top_mm - 40.0) & (heights > top_mm - 100.0)
    if not level.any():
        return "the aorta of the organ map does not reach 4 cm below its arch"
    behind = level & (places[:, 1] >= _estimate_front_mm(places[level, 1]))
    deep = depth[aorta[box]]
    if float(deep[behind].max()) < _AORTA_RADIUS_MM:
        return "the descending aorta has no room for a circle of 1 cm"
    axis = behind & (deep >= 0.8 * deep[behind].max())
    middle_mm = _find_middle_mm(heights[axis])
    core = places[axis & (np.abs(heights - middle_mm) <= _AORTA_HALF_MM)]
    centre = core.mean(axis=0)
    centre_mm = (float(centre[0]), float(centre[1]), middle_mm)
    around, inside = _find_cylinder(grid, centre_mm)
    inside &= aorta[around]
    if int(inside.sum()) < 3:
        return "the descending aorta has too few voxels outside lesions"
    source = "descending thoracic aorta of the organ map, 1 cm wide, 2 cm high"
    return measure_region(suv, around, inside, "blood pool", centre_mm, _AORTA_RADIUS_MM, source, True)


def find_blood_by_rule(
    suv: sitk.Image, ct: sitk.Image, landmarks: Landmarks, lesions: NDArray[np.bool_]
) -> Reference | str:
    """Measure the clearest stretch of the descending aorta that the CT shows; abstain if there is none.

    Args:
        suv: PET in SUV.
        ct: in HU.
        landmarks: of the body.
        lesions: (z, y, x) on the PET's grid.
    """
    from scipy import ndimage

    grid = Grid.from_image(suv)
    placed = view_voxels(resample_labels(make_image(lesions.astype(np.uint8), grid), landmarks.grid)) > 0
    if placed.any():
        placed = ndimage.binary_dilation(placed, iterations=_AWAY_FROM_LESIONS)
    tube = find_descending_aorta(ct, landmarks, placed)
    if isinstance(tube, str):
        return f"{_UNMAPPED}; {tube}"
    around, inside = _find_cylinder(grid, tube.centre_mm)
    if int(inside.sum()) < 3:
        return f"{_UNMAPPED}; the aorta in the CT lies outside the PET"
    source = "tube beside the spine in the CT, 1 cm wide, 2 cm high; no organ map"
    found = measure_region(suv, around, inside, "blood pool", tube.centre_mm, _AORTA_RADIUS_MM, source, False)
    if found.suv_mean <= 0 or found.suv_sd > _MOST_VARIATION * found.suv_mean:
        return f"{_UNMAPPED}; the tube beside the spine is too uneven in the PET"
    return found


def _find_cylinder(grid: Grid, centre_mm: Position) -> tuple[tuple[slice, ...], NDArray[np.bool_]]:
    """Return the box around an upright cylinder of 1 x 2 cm, and which of its voxels lie inside."""
    around, offsets = find_around(grid, centre_mm, float(np.hypot(_AORTA_RADIUS_MM, _AORTA_HALF_MM)))
    inside = np.linalg.norm(offsets[..., :2], axis=-1) <= _AORTA_RADIUS_MM
    return around, inside & (np.abs(offsets[..., 2]) <= _AORTA_HALF_MM)


def _find_middle_mm(heights_mm: NDArray[np.float64]) -> float:
    """Return the median height, or the height nearest to it if two wide parts leave the median in a narrow one."""
    middle_mm = float(np.median(heights_mm))
    away_mm = np.abs(heights_mm - middle_mm)
    return middle_mm if away_mm.min() <= _AORTA_HALF_MM else float(heights_mm[away_mm.argmin()])


def _estimate_front_mm(back_mm: NDArray[np.float64]) -> float:
    """Return the front end of the descending aorta: behind the ascending one if a level shows both."""
    front, back = float(back_mm.min()), float(back_mm.max())
    return (front + back) / 2 if back - front > _BOTH_AORTAS_MM else front
