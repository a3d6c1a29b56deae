"""Reference uptake: the liver and the blood pool, from an organ map or, for the liver, by a rule that may abstain.

Liver: a sphere of 3 cm in the right lobe, at the place farthest from the liver's border and from lesions (EANM 2.0,
Boellaard et al. 2015, doi:10.1007/s00259-014-2961-x; PERCIST, Wahl et al. 2009, doi:10.2967/jnumed.108.057307).
Blood pool: the descending thoracic aorta, 1 cm wide and 2 cm high (PERCIST), in the middle of its length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from autosegnet.geometry import Grid, make_image, resample, resample_labels, view_voxels
from autosegnet.lesions.landmarks import LANDMARK_SPACING_MM, Landmarks
from autosegnet.lesions.organ_labels import Organs
from autosegnet.lesions.peak import compute_sphere_means, make_peak_sphere
from autosegnet.lesions.position import Position

if TYPE_CHECKING:
    import SimpleITK as sitk

LIVER_RADIUS_MM: Final = 15.0
LIVER_SUV: Final = (1.3, 3.0)
"""Where the liver's SUVmean is expected (EANM, doi:10.1007/s00259-022-05977-5)."""

_AORTA_RADIUS_MM, _AORTA_HALF_MM = 5.0, 10.0
_BOTH_AORTAS_MM = 50.0  # from front to back, more than one cut through the aorta
# The rule without an organ map: what a liver's sphere looks like.
_SOFT_HU = (20.0, 160.0)
_LEAST_RADIUS_MM = 22.0
_MOST_VARIATION = 0.30  # SD over mean in the sphere; noise alone reaches 0.25
_BELOW_LUNG_MM = 120.0


@dataclass(frozen=True, slots=True)
class Reference:
    """The uptake of a reference region, in SUV (g/ml).

    Args:
        organ: 'liver' or 'blood pool'.
        suv_mean, suv_sd, suv_max, suv_peak: over its voxels.
        voxels: how many.
        centre_mm: LPS.
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
    source: str
    sure: bool


@dataclass(frozen=True, slots=True)
class References:
    """Both references; each is None with a reason if it was not measured.

    Args:
        liver, blood: the references.
        without_liver, without_blood: why there is none; '' if there is one.
    """

    liver: Reference | None = None
    blood: Reference | None = None
    without_liver: str = ""
    without_blood: str = ""


def measure_references(
    suv: sitk.Image,
    lesions: NDArray[np.bool_],
    *,
    organs: Organs | None,
    landmarks: Landmarks | None,
    ct: sitk.Image | None,
) -> References:
    """Return the reference uptake of liver and blood pool.

    Args:
        suv: PET in SUV.
        lesions: (z, y, x) on its grid; references keep away from them.
        organs: on the PET's grid.
        landmarks: of the body, for the rule without an organ map.
        ct: in HU, for the same.
    """
    if organs is not None and organs.has("liver"):
        found: Reference | str = _find_liver_by_map(suv, organs, lesions)
    elif ct is not None and landmarks is not None:
        found = _find_liver_by_rule(suv, ct, landmarks, lesions)
    else:
        found = "no organ map, and no lungs found in the CT" if ct is not None else "no organ map"
    blood: Reference | str = "no organ map with an aorta"
    if organs is not None and organs.has("aorta"):
        blood = _find_blood_by_map(suv, organs, lesions)
    return References(
        liver=None if isinstance(found, str) else found,
        blood=None if isinstance(blood, str) else blood,
        without_liver=found if isinstance(found, str) else "",
        without_blood=blood if isinstance(blood, str) else "",
    )


def _measure_depth_mm(inside: NDArray[np.bool_], grid: Grid) -> tuple[tuple[slice, ...], NDArray[np.float64]]:
    """Return the box of a region and, in it, how far its voxels are from the nearest voxel outside the region."""
    from scipy import ndimage

    box = ndimage.find_objects(inside.astype(np.uint8))[0]
    # A region that ends at the border of the PET ends there: hence the padding.
    padded = np.pad(inside[box], 1)
    depth = ndimage.distance_transform_edt(padded, sampling=grid.spacing_mm[::-1])[1:-1, 1:-1, 1:-1]
    return box, depth


def _find_liver_by_map(suv: sitk.Image, organs: Organs, lesions: NDArray[np.bool_]) -> Reference | str:
    grid = Grid.from_image(suv)
    liver = organs.make_mask("liver") & ~lesions
    if int(liver.sum()) < 50:
        return "the organ map shows too little of the liver"
    box, depth = _measure_depth_mm(liver, grid)
    left_mm = _find_left_mm(grid, box)
    middle = float(np.median(left_mm[liver[box]]))
    depth = np.where(left_mm <= middle, depth, 0.0)  # the right lobe is the larger: it holds the right half
    place = _find_deepest(depth, grid, box)
    if float(depth.max()) < LIVER_RADIUS_MM:
        return "the right lobe has no room for a sphere of 3 cm"
    return _measure_sphere(suv, place, "3 cm sphere in the right lobe of the organ map", sure=True)


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


def _find_around(grid: Grid, centre_mm: Position, half_mm: float) -> tuple[tuple[slice, ...], NDArray[np.float64]]:
    """Return the box of voxels around a place, and where they lie relative to it: (z, y, x, 3) mm."""
    middle = np.linalg.solve(grid.steps_mm, np.asarray(centre_mm) - grid.origin_mm)
    reach = half_mm * np.linalg.norm(np.linalg.inv(grid.steps_mm), axis=1)
    low = np.maximum(np.floor(middle - reach), 0).astype(int)
    high = np.minimum(np.ceil(middle + reach) + 1, grid.size).astype(int)
    box = tuple(slice(int(a), max(int(a), int(b))) for a, b in zip(low[::-1], high[::-1], strict=True))
    z, y, x = np.meshgrid(*(np.arange(part.start, part.stop) for part in box), indexing="ij")
    offsets = np.stack([x, y, z], axis=-1) @ grid.steps_mm.T + np.asarray(grid.origin_mm) - np.asarray(centre_mm)
    return box, offsets


def _measure_sphere(suv: sitk.Image, centre_mm: Position, source: str, *, sure: bool) -> Reference:
    box, offsets = _find_around(Grid.from_image(suv), centre_mm, LIVER_RADIUS_MM)
    inside = np.linalg.norm(offsets, axis=-1) <= LIVER_RADIUS_MM
    return _measure(suv, box, inside, "liver", centre_mm, source, sure)


def _measure(  # noqa: PLR0913
    suv: sitk.Image,
    box: tuple[slice, ...],
    inside: NDArray[np.bool_],
    organ: str,
    centre_mm: Position,
    source: str,
    sure: bool,
) -> Reference:
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
        source,
        sure,
    )


def _find_blood_by_map(suv: sitk.Image, organs: Organs, lesions: NDArray[np.bool_]) -> Reference | str:
    """Measure the descending aorta: of each slice between the arch and the diaphragm, the piece behind."""
    grid = Grid.from_image(suv)
    aorta = organs.make_mask("aorta") & ~lesions
    if not aorta.any():
        return "the aorta of the organ map lies inside lesions"
    box, depth = _measure_depth_mm(aorta, grid)
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
    middle_mm = float(np.median(places[axis, 2]))
    core = places[axis & (np.abs(heights - middle_mm) <= _AORTA_HALF_MM)]
    centre = core.mean(axis=0)
    centre_mm = (float(centre[0]), float(centre[1]), middle_mm)
    around, offsets = _find_around(grid, centre_mm, float(np.hypot(_AORTA_RADIUS_MM, _AORTA_HALF_MM)))
    inside = np.linalg.norm(offsets[..., :2], axis=-1) <= _AORTA_RADIUS_MM
    inside &= (np.abs(offsets[..., 2]) <= _AORTA_HALF_MM) & aorta[around]
    if int(inside.sum()) < 3:
        return "the descending aorta has too few voxels outside lesions"
    source = "descending thoracic aorta of the organ map, 1 cm wide, 2 cm high"
    return _measure(suv, around, inside, "blood pool", centre_mm, source, True)


def _estimate_front_mm(back_mm: NDArray[np.float64]) -> float:
    """Return how far in front the descending aorta begins: behind the ascending one if a level shows both."""
    front, back = float(back_mm.min()), float(back_mm.max())
    return (front + back) / 2 if back - front > _BOTH_AORTAS_MM else front


def _find_liver_by_rule(
    suv: sitk.Image, ct: sitk.Image, landmarks: Landmarks, lesions: NDArray[np.bool_]
) -> Reference | str:
    """Find the largest ball of soft tissue below the right lung, and abstain unless it is as even as a liver."""
    from scipy import ndimage

    grid = landmarks.grid
    hu = view_voxels(resample(ct, grid, outside=-1024.0))
    smooth = ndimage.uniform_filter(hu, 3)
    x, z = (grid.origin_mm[k] + LANDMARK_SPACING_MM * np.arange(grid.size[k]) for k in (0, 2))
    under = ndimage.binary_dilation(landmarks.lungs.any(axis=0), iterations=3) & (x < landmarks.midline_mm)
    below_mm = landmarks.lung_floor_mm - z[:, None, None]
    soft = (smooth > _SOFT_HU[0]) & (smooth < _SOFT_HU[1]) & under & (below_mm > 0) & (below_mm < _BELOW_LUNG_MM)
    soft &= view_voxels(resample_labels(make_image(lesions.astype(np.uint8), Grid.from_image(suv)), grid)) == 0
    if not soft.any():
        return "no soft tissue below the right lung"
    box, depth = _measure_depth_mm(soft, grid)
    if float(depth.max()) < _LEAST_RADIUS_MM:
        return f"no ball of soft tissue of {2 * _LEAST_RADIUS_MM / 10:.1f} cm below the right lung"
    source = "3 cm sphere in the largest ball of soft tissue below the right lung; no organ map"
    found = _measure_sphere(suv, _find_deepest(depth, grid, box), source, sure=False)
    if found.suv_mean <= 0 or found.suv_sd > _MOST_VARIATION * found.suv_mean:
        return "what lies below the right lung is too uneven to be a liver"
    return found


def warn_of_liver(reference: Reference | None) -> str:
    """Return a warning if the liver's uptake is not what FDG shows in health; '' if it is, or is not known."""
    if reference is None or LIVER_SUV[0] <= reference.suv_mean <= LIVER_SUV[1]:
        return ""
    return (
        f"liver SUVmean is {reference.suv_mean:.2f}; expected {LIVER_SUV[0]} to {LIVER_SUV[1]} with FDG. "
        "Check dose, weight, times and unit of the PET, and look at the liver"
    )
