"""Whether a registration can be believed: landmarks that both CTs show, body outlines, bones, and no folding.

The landmarks are those of `lesions.landmarks`, found in each CT on its own, so they do not know of the registration.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from autosegnet.comparison.body_image import AIR, BodyImage
from autosegnet.comparison.likeness import measure_likeness
from autosegnet.comparison.warp import PlacesMm, Warp
from autosegnet.geometry import Grid, view_voxels
from autosegnet.lesions.landmarks import LANDMARK_SPACING_MM, Landmarks

# Where a registration is refused. In brackets the extreme of the simulated pairs on which they were chosen, of one
# patient and of two (docs/evidence/comparison.md).
LEAST_HEIGHT_MM: Final = 100.0
LEAST_BODY_DICE: Final = 0.8
LEAST_LIKENESS: Final = 0.83
MOST_LANDMARK_MM: Final = 25.0
MOST_SPREAD: Final = 0.2
LEAST_JACOBIAN: Final = 0.05
_BONE_HU: Final = 150.0
_END_MM: Final = 12.0  # nearer to the end of the CT, an organ is cut


@dataclass(frozen=True, slots=True)
class LandmarkError:
    """How far apart a landmark lies in both aligned CTs.

    Args:
        name: of the landmark.
        distance_mm: between its two places; of a height, along the body.
    """

    name: str
    distance_mm: float


@dataclass(frozen=True, slots=True)
class RegistrationCheck:
    """Figures of a registration.

    Args:
        height_mm: along the body, of the region that both CTs show.
        body_dice: overlap of the bodies in it.
        likeness: mean correlation of the HU in windows of 40 mm, away from arms that lie elsewhere. Two patients differ
            in it, and one patient with and without contrast medium does not.
        correlation: of the HU in both bodies.
        bone_dice: overlap of what is denser than 150 HU.
        spread: SD of the logarithm of the Jacobian inside the body: how unevenly it was stretched.
        jacobian: smallest and largest inside the body; below 0, space is folded.
        landmarks: that both CTs show.
        faults: why the registration is not to be believed, a sentence each.
    """

    height_mm: float
    body_dice: float
    likeness: float
    correlation: float
    bone_dice: float
    spread: float
    jacobian: tuple[float, float]
    landmarks: tuple[LandmarkError, ...]
    faults: tuple[str, ...] = ()

    @property
    def landmark_mm(self) -> float | None:
        """Return the median error of the landmarks; None without any."""
        return float(np.median([one.distance_mm for one in self.landmarks])) if self.landmarks else None


def check_registration(followup: BodyImage, baseline: BodyImage, warp: Warp) -> RegistrationCheck:
    """Return the figures of a registration, and what speaks against it."""
    import SimpleITK as sitk

    moved = view_voxels(sitk.Resample(baseline.hu, followup.hu, warp.transform, sitk.sitkLinear, AIR))
    everywhere = baseline.hu * 0.0 + 1.0
    covered = view_voxels(sitk.Resample(everywhere, followup.hu, warp.transform, sitk.sitkLinear, 0.0)) > 0.5
    fixed = view_voxels(followup.hu)
    first, second = (moved > AIR / 2) & covered, (fixed > AIR / 2) & covered
    both = first & second
    heights = np.flatnonzero(both.any(axis=(1, 2)))
    if len(heights) == 0:
        return RegistrationCheck(
            0.0, 0.0, 0.0, 0.0, 0.0, 0.0, (1.0, 1.0), (), ("The two CTs show no region in common.",)
        )
    jacobian = _measure_jacobian(warp)[both]
    found = RegistrationCheck(
        float(len(heights) * Grid.from_image(followup.hu).spacing_mm[2]),
        measure_overlap(first, second),
        measure_likeness(fixed, moved, first, second),
        float(np.corrcoef(fixed[both], moved[both])[0, 1]),
        measure_overlap((moved > _BONE_HU) & both, (fixed > _BONE_HU) & both),
        float(np.log(np.clip(jacobian, 1e-3, None)).std()),
        (float(jacobian.min()), float(jacobian.max())),
        tuple(compare_landmarks(followup, baseline, warp)),
    )
    return replace(found, faults=_list_faults(found))


def measure_overlap(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Return the Dice coefficient of two masks; 1 if both are empty."""
    whole = int(first.sum()) + int(second.sum())
    return 1.0 if whole == 0 else 2.0 * int((first & second).sum()) / whole


def _measure_jacobian(warp: Warp) -> NDArray[Any]:
    import SimpleITK as sitk

    grid = warp.grid
    field = sitk.TransformToDisplacementField(
        warp.spline, sitk.sitkVectorFloat64, grid.size, grid.origin_mm, grid.spacing_mm, grid.direction
    )
    return view_voxels(sitk.DisplacementFieldJacobianDeterminant(field))


def compare_landmarks(followup: BodyImage, baseline: BodyImage, warp: Warp) -> list[LandmarkError]:
    """Return how far apart the landmarks lie that both CTs show."""
    if followup.landmarks is None or baseline.landmarks is None:
        return []
    first, second = _find_points(followup.landmarks), _find_points(baseline.landmarks)
    errors = []
    for name in sorted(first.keys() & second.keys()):
        away = warp.to_baseline(first[name][None])[0] - second[name]
        is_height = name in _HEIGHTS
        errors.append(LandmarkError(name, float(abs(away[2]) if is_height else np.linalg.norm(away))))
    return errors


_HEIGHTS: Final = frozenset({"skull base", "perineum"})


def _find_points(landmarks: Landmarks) -> dict[str, PlacesMm]:
    """Return landmarks as places; what the CT's ends may cut is left out."""
    grid = landmarks.grid
    low_mm, high_mm = grid.origin_mm[2] + _END_MM, grid.origin_mm[2] + grid.spacing_mm[2] * (grid.size[2] - 1) - _END_MM
    places = np.argwhere(landmarks.lungs)[:, ::-1] * LANDMARK_SPACING_MM + grid.origin_mm
    found: dict[str, PlacesMm] = {}
    for side, sign in (("right", -1.0), ("left", 1.0)):
        lung = places[(places[:, 0] - landmarks.midline_mm) * sign > 0]
        if len(lung) < 200:
            continue
        top, bottom = lung[:, 2].max(), lung[:, 2].min()
        if top < high_mm:
            found[f"{side} lung apex"] = lung[lung[:, 2] >= top - 8.0].mean(axis=0)
        if top < high_mm and bottom > low_mm:
            found[f"{side} lung centre"] = lung.mean(axis=0)
    depth_mm = float(places[:, 1].mean())
    for name, height in (("skull base", landmarks.skull_base_mm),
                         ("perineum", None if landmarks.pelvis_mm is None else landmarks.pelvis_mm[0])):  # fmt: skip
        if height is not None and low_mm < height < high_mm:
            found[name] = np.array([landmarks.midline_mm, depth_mm, height])
    return found


def _list_faults(check: RegistrationCheck) -> tuple[str, ...]:
    faults = []
    if check.height_mm < LEAST_HEIGHT_MM:
        faults.append(
            f"The two CTs have only {check.height_mm:.0f} mm of the body in common; {LEAST_HEIGHT_MM:.0f} are needed."
        )
    for name, value, least in (
        ("The bodies overlap", check.body_dice, LEAST_BODY_DICE),
        ("The CTs resemble each other", check.likeness, LEAST_LIKENESS),
    ):
        if value < least:
            faults.append(f"{name} by {value:.2f} after registration; two dates of one patient reach {least:.2f}.")
    if check.landmark_mm is not None and check.landmark_mm > MOST_LANDMARK_MM:
        faults.append(
            f"Landmarks lie {check.landmark_mm:.0f} mm apart after registration (median of {len(check.landmarks)}); "
            f"{MOST_LANDMARK_MM:.0f} mm are allowed."
        )
    if check.jacobian[0] < LEAST_JACOBIAN:
        faults.append(f"The deformation folds: its smallest Jacobian is {check.jacobian[0]:.2f}.")
    if check.spread > MOST_SPREAD:
        faults.append(
            f"The deformation is too uneven for one patient: {check.spread:.2f}; {MOST_SPREAD:.2f} is allowed."
        )
    return tuple(faults)
