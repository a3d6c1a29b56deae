"""The regions of a DICOM structure set (RTSTRUCT), slice by slice, on a PET's grid.

Source: DICOM PS3.3 A.19, C.8.8.5 and C.8.8.6. Contours are filled by voxel centres; several contours of a region in one
plane are combined by exclusive or, so that a hole is a hole.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from autosegnet.errors import InputError
from autosegnet.geometry import Grid

if TYPE_CHECKING:
    from pydicom import Dataset

_CLOSED: Final = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_PARALLEL: Final = 0.05  # how far a contour's points may leave its plane, in slices


def name_regions(dataset: Dataset) -> dict[int, str]:
    """Return the names of the regions by their numbers."""
    names = {int(item.ROINumber): str(item.get("ROIName", "")) for item in dataset.get("StructureSetROISequence", [])}
    drawn = {int(item.ReferencedROINumber): "" for item in dataset.get("ROIContourSequence", [])}
    return names | {number: "" for number in drawn if number not in names}


def place_regions(
    dataset: Dataset, chosen: Collection[int], pet: Grid | None
) -> tuple[Grid, Iterator[tuple[int, int, NDArray[np.bool_]]]]:
    """Return the PET's grid, and of each region and slice its voxels (y, x).

    Args:
        dataset: the structure set.
        chosen: numbers of regions; the others are left out.
        pet: the grid.

    Raises:
        InputError: contours of a chosen region are not parallel to the PET's slices, or there is no PET.
    """
    if pet is None:
        raise InputError("a structure set (RTSTRUCT) has no grid of its own; expected a Segmentation (SEG)")
    return pet, _fill_regions(dataset, chosen, pet)


def _fill_regions(dataset: Dataset, chosen: Collection[int], pet: Grid) -> Iterator[tuple[int, int, NDArray[np.bool_]]]:
    contours: dict[int, list[Dataset]] = {}
    for item in dataset.get("ROIContourSequence", []):
        closed = [c for c in item.get("ContourSequence", []) if str(c.get("ContourGeometricType", "")) in _CLOSED]
        contours.setdefault(int(item.ReferencedROINumber), []).extend(
            c for c in closed if len(c.get("ContourData") or ()) >= 9
        )
    for number in (n for n in contours if n in chosen):
        corners = [_find_corners(contour, pet) for contour in contours[number]]
        if any(float(np.ptp(c[:, 2])) > _PARALLEL for c in corners):
            raise InputError(
                "contours of the structure set are not parallel to the PET's slices; export them on the PET"
            )
        filled = fill_contours(corners, pet.size)
        for z in np.flatnonzero(filled.any(axis=(1, 2))).tolist():
            yield number, z, filled[z]


def _find_corners(contour: Dataset, pet: Grid) -> NDArray[np.float64]:
    """Return a contour's corners as voxel indices (x, y, z) of the PET."""
    places = np.array([float(v) for v in contour.ContourData]).reshape(-1, 3)
    index: NDArray[np.float64] = np.linalg.solve(pet.steps_mm, (places - np.asarray(pet.origin_mm)).T).T
    return index


# --- filling ---------------------------------------------------------------------------------------------------------


def fill_contours(contours: list[NDArray[np.float64]], size: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Return the voxels (z, y, x) whose centres lie inside contours.

    A contour stands for a slab as thick as contours are apart; a slice takes those of the nearest plane.

    Args:
        contours: (N, 3) corners as voxel indices (x, y, z), each in one plane of equal z.
        size: of the grid, (x, y, z).
    """
    filled = np.zeros(size[::-1], bool)
    if not contours:
        return filled
    planes: dict[float, list[NDArray[np.float64]]] = {}
    for contour in contours:
        planes.setdefault(round(float(contour[:, 2].mean()), 2), []).append(contour)
    heights = np.array(sorted(planes))
    apart = float(np.diff(heights).min()) if len(heights) > 1 else 1.0
    reach = max(apart, 1.0) / 2 + 0.05
    for z in range(size[2]):
        nearest = float(heights[np.abs(heights - z).argmin()])
        if abs(nearest - z) <= reach:
            for contour in planes[nearest]:
                filled[z] ^= _fill_polygon(contour[:, :2], (size[0], size[1]))
    return filled


def _fill_polygon(corners: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the pixels (y, x) whose centres lie inside a polygon, by the parity of the edges to their left."""
    filled = np.zeros(size[::-1], bool)
    low = np.maximum(np.ceil(corners.min(axis=0)), 0).astype(int)
    high = np.minimum(np.floor(corners.max(axis=0)) + 1, size).astype(int)
    if (high <= low).any():
        return filled
    columns = np.arange(low[0], high[0])
    before, after = corners, np.roll(corners, -1, axis=0)
    for y in range(int(low[1]), int(high[1])):
        crosses = (before[:, 1] <= y) != (after[:, 1] <= y)
        a, b = before[crosses], after[crosses]
        places = a[:, 0] + (y - a[:, 1]) / (b[:, 1] - a[:, 1]) * (b[:, 0] - a[:, 0])
        filled[y, columns] = (np.searchsorted(np.sort(places), columns, side="right") % 2).astype(bool)
    return filled
