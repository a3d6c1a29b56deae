"""Masks that are stored as DICOM: segments of a Segmentation and regions of a structure set (RTSTRUCT), as labels.

Source: DICOM PS3.3 A.51 and C.8.20 (Segmentation), A.19 and C.8.8 (structure set). Contours are filled by voxel
centres; several contours of a region in one plane are combined by exclusive or, so that a hole is a hole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from autosegnet.dicom.header import refuse_damage
from autosegnet.dicom.parse import read_object
from autosegnet.errors import InputError, format_path
from autosegnet.geometry import Grid, make_image

if TYPE_CHECKING:
    import SimpleITK as sitk
    from pydicom import Dataset

SEGMENTATION: Final = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
STRUCTURE_SET: Final = "1.2.840.10008.5.1.4.1.1.481.3"
_PARALLEL_VOXELS: Final = 0.05  # how far a contour's points may leave its plane
_LEAST_FRACTION: Final = 0.5  # of a fractional segment


@dataclass(frozen=True, slots=True)
class StoredMask:
    """Labels of a DICOM object.

    Args:
        labels: uint16; later segments or regions win where several claim a voxel.
        names: of the labels, as the object has them.
        overlaps: whether several segments or regions claim a voxel.
    """

    labels: sitk.Image
    names: Mapping[int, str]
    overlaps: bool


def read_stored_mask(path: Path, pet: Grid) -> StoredMask:
    """Return the labels of a Segmentation on its own grid, or of a structure set on the PET's.

    Raises:
        InputError: the file is neither, or damaged, or cannot be put onto a grid.
    """
    with refuse_damage(f"the DICOM object is cut or damaged: {format_path(path.name, 80)}"):
        dataset = read_object(path)
        kind = str(dataset.get("SOPClassUID", ""))
        if kind in SEGMENTATION:
            return _read_segmentation(dataset)
        if kind == STRUCTURE_SET:
            return _read_structure_set(dataset, pet)
    raise InputError(
        f"{format_path(path.name, 80)} is another DICOM object; expected a Segmentation (SEG) or a structure set "
        "(RTSTRUCT)"
    )


# --- Segmentation ----------------------------------------------------------------------------------------------------


def _read_segmentation(dataset: Dataset) -> StoredMask:
    shared = dataset.SharedFunctionalGroupsSequence[0]
    frames = dataset.PerFrameFunctionalGroupsSequence
    first, second = _read_orientation(shared, frames[0])
    rows_mm, columns_mm, spacing_mm = _read_pixel_measures(shared, frames[0])
    normal = np.cross(first, second)
    places = np.array([_read_position(shared, frame) for frame in frames])
    heights = places @ normal
    step_mm = _find_slice_step(heights, spacing_mm)
    index = np.rint((heights - heights.min()) / step_mm).astype(int)
    lowest = places[int(heights.argmin())]
    drift = places - lowest - np.outer(index * step_mm, normal)
    if float(np.abs(drift).max()) > 0.05 * min(rows_mm, columns_mm, step_mm):
        raise InputError("the frames of the Segmentation do not form a volume; expected slices of one orientation")
    size = (int(dataset.Columns), int(dataset.Rows), int(index.max()) + 1)
    direction = np.stack([first, second, normal], axis=1)
    grid = Grid(size, (columns_mm, rows_mm, step_mm), _take_triple(lowest), tuple(direction.ravel().tolist()))
    labels, overlaps = _fill_frames(dataset, frames, index, size)
    names = {int(s.SegmentNumber): str(s.get("SegmentLabel", "")) for s in dataset.SegmentSequence}
    return StoredMask(make_image(labels, grid), names, overlaps)


def _fill_frames(
    dataset: Dataset, frames: Any, index: NDArray[np.int64], size: tuple[int, int, int]
) -> tuple[NDArray[np.uint16], bool]:
    pixels = np.asarray(dataset.pixel_array).reshape(len(frames), size[1], size[0])
    kind = str(dataset.get("SegmentationType", "BINARY"))
    labels, overlaps = np.zeros(size[::-1], np.uint16), False
    shared = dataset.SharedFunctionalGroupsSequence[0]
    least = _LEAST_FRACTION * float(dataset.get("MaximumFractionalValue", 1)) if kind == "FRACTIONAL" else 1.0
    for frame, z, plane in zip(frames, index.tolist(), pixels, strict=True):
        if kind == "LABELMAP":
            labels[z] = plane
            continue
        number = int(_group(shared, frame, "SegmentIdentificationSequence").ReferencedSegmentNumber)
        inside = plane >= least
        overlaps = overlaps or bool((labels[z][inside] != 0).any())
        labels[z][inside] = number
    return labels, overlaps


def _read_orientation(shared: Dataset, frame: Dataset) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    item = _group(shared, frame, "PlaneOrientationSequence")
    cosines = np.array([float(v) for v in item.ImageOrientationPatient])
    return cosines[:3], cosines[3:]


def _read_pixel_measures(shared: Dataset, frame: Dataset) -> tuple[float, float, float | None]:
    item = _group(shared, frame, "PixelMeasuresSequence")
    rows_mm, columns_mm = (float(v) for v in item.PixelSpacing)
    between = item.get("SpacingBetweenSlices") or item.get("SliceThickness")
    return rows_mm, columns_mm, float(between) if between else None


def _read_position(shared: Dataset, frame: Dataset) -> list[float]:
    return [float(v) for v in _group(shared, frame, "PlanePositionSequence").ImagePositionPatient]


def _group(shared: Dataset, frame: Dataset, keyword: str) -> Any:
    for groups in (frame, shared):
        if keyword in groups:
            return groups[keyword][0]
    raise InputError(f"{keyword} is missing in the Segmentation; expected place and segment of every frame")


def _find_slice_step(heights: NDArray[np.float64], stated_mm: float | None) -> float:
    """Return the distance of slices: the smallest that occurs, or what the object states if it has one slice."""
    apart = np.diff(np.unique(np.round(heights, 3)))
    if apart.size:
        return float(apart.min())
    return stated_mm or 1.0


def _take_triple(values: NDArray[np.float64]) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])


# --- structure set ---------------------------------------------------------------------------------------------------


def _read_structure_set(dataset: Dataset, pet: Grid) -> StoredMask:
    names = {int(r.ROINumber): str(r.get("ROIName", "")) for r in dataset.get("StructureSetROISequence", [])}
    labels, overlaps = np.zeros(pet.size[::-1], np.uint16), False
    for item in dataset.get("ROIContourSequence", []):
        number = int(item.ReferencedROINumber)
        contours = [_find_corners(c, pet) for c in item.get("ContourSequence", []) if _is_closed(c)]
        inside = fill_contours([c for c in contours if len(c) > 2], pet.size)
        overlaps = overlaps or bool((labels[inside] != 0).any())
        labels[inside] = number
    return StoredMask(make_image(labels, pet), names, overlaps)


def _is_closed(contour: Dataset) -> bool:
    return str(contour.get("ContourGeometricType", "")).startswith("CLOSED_PLANAR")


def _find_corners(contour: Dataset, pet: Grid) -> NDArray[np.float64]:
    """Return a contour's corners as voxel indices (x, y, z) of the PET."""
    places = np.array([float(v) for v in contour.ContourData]).reshape(-1, 3)
    index = np.linalg.solve(pet.steps_mm, (places - np.asarray(pet.origin_mm)).T).T
    if float(np.ptp(index[:, 2])) > _PARALLEL_VOXELS:
        raise InputError("contours of the structure set are not parallel to the PET's slices; export them on the PET")
    return np.asarray(index, np.float64)


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
