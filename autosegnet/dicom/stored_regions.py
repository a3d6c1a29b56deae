"""The regions of a DICOM structure set (RTSTRUCT), slice by slice, on a PET's grid.

Source: DICOM PS3.3 A.19, C.8.8.5 and C.8.8.6. Contours are filled by voxel centres; several contours of a region in one
plane are combined by exclusive or, so that a hole is a hole. A contour stands for a slab around its plane, half-open: a
slice that lies half-way between two slabs belongs to one of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from autosegnet.errors import InputError
from autosegnet.geometry import Grid

if TYPE_CHECKING:
    from pydicom import Dataset

_CLOSED: Final = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_PET_IMAGES: Final = ("1.2.840.10008.5.1.4.1.1.128", "1.2.840.10008.5.1.4.1.1.130", "1.2.840.10008.5.1.4.1.1.128.1")
_PARALLEL: Final = 0.05  # how far a contour's points may leave its plane, or a plane the PET's slice, in slices
_ONE_PLANE: Final = 0.02  # how far heights of one plane are apart, in slices: headers round them
_THICKEST_MM: Final = 5.0  # slices that people contour are not further apart; planes that are, are single ones


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
        InputError: contours of a chosen region are not parallel to the PET's slices, none has a voxel of the PET
            inside, or there is no PET.
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
    regions = {number: [_find_corners(c, pet) for c in drawn] for number, drawn in contours.items()}
    apart = _find_plane_distance(list(regions.values()), pet.spacing_mm[2])
    wanted = [number for number, corners in regions.items() if number in chosen and corners]
    is_inside = False
    for number in wanted:
        if not all(_is_parallel(corners) for corners in regions[number]):
            raise InputError(
                "contours of the structure set are not parallel to the PET's slices; export them on the PET"
            )
        thickness = 1.0 if _is_on_slices(contours[number], regions[number]) else apart
        for z, inside in _fill_slices(regions[number], pet.size, thickness):
            is_inside = is_inside or bool(inside.any())
            yield number, z, inside
    if wanted and not is_inside:
        raise InputError("no voxel of the PET lies inside the contours of the structure set; expected one patient")


def _find_corners(contour: Dataset, pet: Grid) -> NDArray[np.float64]:
    """Return a contour's corners as voxel indices (x, y, z) of the PET."""
    places = np.array([float(v) for v in contour.ContourData]).reshape(-1, 3)
    index: NDArray[np.float64] = np.linalg.solve(pet.steps_mm, (places - np.asarray(pet.origin_mm)).T).T
    return index


def _is_parallel(corners: NDArray[np.float64]) -> bool:
    return float(np.ptp(corners[:, 2])) <= _PARALLEL


def _find_plane_distance(regions: Sequence[list[NDArray[np.float64]]], slice_mm: float) -> float:
    """Return how far apart the planes of a structure set are, in slices: the smallest distance within a region.

    Planes that are further apart than slices that people contour say nothing; then a contour stands for one slice.
    """
    parallel = [[c for c in contours if _is_parallel(c)] for contours in regions]
    gaps = [np.diff([height for height, _ in _group_planes(contours)]) for contours in parallel]
    limit = max(_THICKEST_MM / slice_mm, 1.0) + _PARALLEL
    return min((float(gap) for region in gaps for gap in region if gap <= limit), default=1.0)


def _is_on_slices(contours: list[Dataset], corners: list[NDArray[np.float64]]) -> bool:
    """Tell whether contours were drawn on the PET's slices: all lie on them, and none refers to another modality."""
    classes = {str(i.ReferencedSOPClassUID) for c in contours for i in c.get("ContourImageSequence", [])}
    heights = np.array([float(c[:, 2].mean()) for c in corners])
    return classes <= set(_PET_IMAGES) and bool((np.abs(heights - np.rint(heights)) <= _PARALLEL).all())


# --- filling ---------------------------------------------------------------------------------------------------------


def fill_contours(
    contours: Sequence[NDArray[np.float64]], size: tuple[int, int, int], *, thickness: float = 1.0
) -> NDArray[np.bool_]:
    """Return the voxels (z, y, x) whose centres lie inside the slabs of contours.

    Planes that are neighbours form a run: its slices take the contours of the nearest plane. A run too thin to reach
    the centre of a slice fills the nearest one.

    Args:
        contours: (N, 3) corners as voxel indices (x, y, z), each in one plane of equal z.
        size: of the grid, (x, y, z).
        thickness: of the slab of a contour, in slices.
    """
    filled = np.zeros(size[::-1], bool)
    for z, inside in _fill_slices(contours, size, thickness):
        filled[z] |= inside
    return filled


def _fill_slices(
    contours: Sequence[NDArray[np.float64]], size: tuple[int, int, int], thickness: float
) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """Return slices and their voxels (y, x); a slice between two thin runs may occur twice."""
    planes = _group_planes(contours)
    for run in _split(np.array([height for height, _ in planes]), 1.5 * max(thickness, 1.0) + _ONE_PLANE):
        heights = np.array([planes[k][0] for k in run])
        # Both ends are moved alike, so that rounded heights make a slab neither thicker nor thinner.
        first, end = (int(np.ceil(z - _ONE_PLANE)) for z in (heights[0] - thickness / 2, heights[-1] + thickness / 2))
        if first == end:
            first = int(np.floor(heights.mean() + 0.5))
            end = first + 1
        for z in range(max(first, 0), min(end, size[2])):
            inside = np.zeros((size[1], size[0]), bool)
            for contour in planes[run[int(np.abs(heights - z).argmin())]][1]:
                inside ^= _fill_polygon(contour[:, :2], (size[0], size[1]))
            yield z, inside


def _group_planes(contours: Sequence[NDArray[np.float64]]) -> list[tuple[float, list[NDArray[np.float64]]]]:
    """Return the planes of contours from low to high: the height, in slices, and the contours in it."""
    heights = np.array([float(contour[:, 2].mean()) for contour in contours])
    groups = _split(heights, _ONE_PLANE)
    return [(float(heights[group].mean()), [contours[k] for k in group]) for group in groups]


def _split(heights: NDArray[np.float64], gap: float) -> list[NDArray[np.int64]]:
    """Return the indices of heights, from low to high, in groups between which there is more than a gap."""
    order = np.argsort(heights, kind="stable")
    groups: list[NDArray[np.int64]] = np.split(order, np.flatnonzero(np.diff(heights[order]) > gap) + 1)
    return groups if heights.size else []


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
