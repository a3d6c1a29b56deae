"""Sites of lesions: an organ of the organ map, or a region by landmarks; and which may be physiological."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autosegnet.geometry import Grid
from autosegnet.lesions.context import Context
from autosegnet.lesions.landmarks import LANDMARK_SPACING_MM, Landmarks, find_landmarks
from autosegnet.lesions.organ_labels import Organs, place_organs
from autosegnet.lesions.organ_names import PHYSIOLOGICAL_ORGANS
from autosegnet.lesions.position import Position

_MOSTLY: Final = 0.5
"""Least share of a lesion's voxels in an organ for it to lie there; in a hot organ it is then doubtful."""

_MIDDLE_MM: Final = 20.0
"""Up to this distance from the midline, a lesion is neither left nor right."""

_MEDIASTINUM_MM: Final = 60.0  # half the width of what lies between the lungs
_NECK_MM: Final = 110.0  # half the width of neck and head


@dataclass(frozen=True, slots=True)
class Site:
    """Where a lesion lies.

    Args:
        name: of the organ or region; '' if nothing is known.
        side: 'left', 'right', 'midline', or ''.
        source: 'organ map', 'landmarks', or ''.
        flag: the organ whose uptake it may be, with the share of the lesion inside; '' if there is no doubt.
    """

    name: str = ""
    side: str = ""
    source: str = ""
    flag: str = ""


class Locator:
    """Finds the sites of one study's lesions; reads organ map and landmarks once."""

    def __init__(self, pet: Grid, context: Context) -> None:
        self._grid = pet
        self.organs: Organs | None = place_organs(context.organs, pet) if context.organs is not None else None
        known = context.ct is not None or context.organs is not None
        self.landmarks: Landmarks | None = find_landmarks(pet, ct=context.ct, organs=context.organs) if known else None

    def locate(self, index: NDArray[np.int64]) -> Site:
        """Return the site of a lesion.

        The region is that of the lesion's voxel nearest to its centroid, because the centroid may lie outside the
        lesion.

        Args:
            index: (N, 3) its voxels (x, y, z) on the PET's grid.
        """
        middle = index[np.linalg.norm((index - index.mean(axis=0)) @ self._grid.steps_mm.T, axis=1).argmin()]
        position_mm = self._grid.find_position_mm((float(middle[0]), float(middle[1]), float(middle[2])))
        side = _find_side(position_mm, self.landmarks)
        shares = _compute_organ_shares(index, self.organs) if self.organs is not None else {}
        flag = _flag_of(shares)
        if shares:
            (organ, organ_side), share = max(shares.items(), key=lambda item: item[1])
            if share >= _MOSTLY:
                return Site(organ, organ_side or (side if organ in _PAIRED else ""), "organ map", flag)
        if self.landmarks is None:
            return Site(flag=flag)
        return Site(_find_region(position_mm, self.landmarks), side, "landmarks", flag)


_PAIRED: Final = frozenset({"kidney", "lung", "salivary glands"})
"""Paired organs that some maps give one label."""


def _compute_organ_shares(index: NDArray[np.int64], organs: Organs) -> dict[tuple[str, str], float]:
    x, y, z = index.T
    labels, counts = np.unique(organs.labels[z, y, x], return_counts=True)
    shares: dict[tuple[str, str], float] = {}
    for label, count in zip(labels.tolist(), counts.tolist(), strict=True):
        if label in organs.organs:
            organ = organs.organs[label]
            shares[organ] = shares.get(organ, 0.0) + count / len(index)
    return shares


def _flag_of(shares: dict[tuple[str, str], float]) -> str:
    doubtful: dict[str, float] = {}
    for (organ, _), share in shares.items():
        if organ in PHYSIOLOGICAL_ORGANS:
            doubtful[organ] = doubtful.get(organ, 0.0) + share
    if sum(doubtful.values()) < _MOSTLY:
        return ""
    organ = max(doubtful, key=lambda name: doubtful[name])
    return f"{organ} ({doubtful[organ]:.0%} inside)"


def _find_side(position_mm: Position, landmarks: Landmarks | None) -> str:
    if landmarks is None:
        return ""
    off_mm = position_mm[0] - landmarks.midline_mm
    return "midline" if abs(off_mm) <= _MIDDLE_MM else "left" if off_mm > 0 else "right"


def _find_region(position_mm: Position, landmarks: Landmarks) -> str:
    """Return the region of a position: from the head down, and within the chest from the lungs outwards."""
    height_mm = position_mm[2]
    if _is_in_lungs(position_mm, landmarks):
        return "lung"
    off_mm = abs(position_mm[0] - landmarks.midline_mm)
    if height_mm > landmarks.lung_top_mm:
        if off_mm > _NECK_MM:
            return "shoulder or arm"
        if landmarks.skull_base_mm is None:
            return "head or neck" if height_mm > landmarks.lung_top_mm + 40.0 else "neck"
        return "head" if height_mm > landmarks.skull_base_mm else "neck"
    if height_mm >= landmarks.floor_at(position_mm):
        return "chest, between the lungs" if off_mm <= _MEDIASTINUM_MM else "chest wall or armpit"
    if landmarks.pelvis_mm is None:
        return "abdomen or below"
    low_mm, high_mm = landmarks.pelvis_mm
    return "abdomen" if height_mm > high_mm else "pelvis" if height_mm >= low_mm else "leg"


def _is_in_lungs(position_mm: Position, landmarks: Landmarks) -> bool:
    """Return whether a position lies in lung, or between lung on two sides, as a nodule does."""
    grid = landmarks.grid
    at = np.rint((np.asarray(position_mm) - grid.origin_mm) / LANDMARK_SPACING_MM).astype(int)
    if ((at < 0) | (at >= grid.size)).any():
        return False
    x, y, z = at.tolist()
    if landmarks.lungs[z, y, x]:
        return True
    reach = int(40.0 / LANDMARK_SPACING_MM)
    row, column = landmarks.lungs[z, y], landmarks.lungs[z, :, x]
    lines = ((row, x), (column, y))
    return all(line[max(0, k - reach) : k].any() and line[k + 1 : k + 1 + reach].any() for line, k in lines)
