"""The segments of a DICOM Segmentation, slice by slice, on the grid that its frames form.

Source: DICOM PS3.3 A.51 and C.8.20. Frames without a voxel may be missing, so that the distance of the frames is not
that of the slices.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from autosegnet.errors import InputError
from autosegnet.geometry import Grid, is_part_of

if TYPE_CHECKING:
    from pydicom import Dataset

_LEAST_FRACTION: Final = 0.5  # of a fractional segment
_APART: Final = 0.05  # how far a frame may lie from its slice, as a fraction of the smallest voxel side
_THINNEST_MM: Final = 0.5  # slices of PET and CT are further apart


def name_segments(dataset: Dataset) -> dict[int, str]:
    """Return the names of the segments by their numbers, without the background of a label map."""
    names = {int(item.SegmentNumber): str(item.get("SegmentLabel", "")) for item in dataset.SegmentSequence}
    if _is_label_map(dataset):
        names.pop(_find_background(dataset), None)
    return names


def place_segments(
    dataset: Dataset, chosen: Collection[int], pet: Grid | None
) -> tuple[Grid, Iterator[tuple[int, int, NDArray[np.bool_]]]]:
    """Return the grid of a Segmentation, and of each frame its segment, slice, and voxels (y, x).

    Args:
        dataset: the Segmentation.
        chosen: numbers of segments; the others are left out.
        pet: on which it is to be laid. Frames that lie on the PET's voxels get its slices.

    Raises:
        InputError: the frames form no volume, or are not described.
    """
    grid, slices = _find_grid(dataset, pet)
    return grid, _split_frames(dataset, chosen, slices)


def _split_frames(
    dataset: Dataset, chosen: Collection[int], slices: NDArray[np.int64]
) -> Iterator[tuple[int, int, NDArray[np.bool_]]]:
    frames = dataset.PerFrameFunctionalGroupsSequence
    pixels = np.asarray(dataset.pixel_array).reshape(len(frames), int(dataset.Rows), int(dataset.Columns))
    shared, described = dataset.SharedFunctionalGroupsSequence[0], name_segments(dataset)
    is_label_map, background = _is_label_map(dataset), _find_background(dataset)
    is_fractional = str(dataset.get("SegmentationType", "BINARY")) == "FRACTIONAL"
    least = _LEAST_FRACTION * float(dataset.get("MaximumFractionalValue", 1)) if is_fractional else 1.0
    for frame, z, plane in zip(frames, slices.tolist(), pixels, strict=True):
        if is_label_map:
            parts = {number: plane == number for number in np.unique(plane).tolist() if number != background}
        else:
            item = _find_group(shared, frame, "SegmentIdentificationSequence")
            parts = {int(item.ReferencedSegmentNumber): plane >= least}
        for number, inside in parts.items():
            if number not in described:
                raise InputError(f"the Segmentation does not describe its segment {number}; expected a name for each")
            if number in chosen:
                yield number, z, inside


def _is_label_map(dataset: Dataset) -> bool:
    return str(dataset.get("SegmentationType", "")) == "LABELMAP"


def _find_background(dataset: Dataset) -> int:
    return int(dataset.get("PixelPaddingValue", 0))


# --- the grid --------------------------------------------------------------------------------------------------------


def _find_grid(dataset: Dataset, pet: Grid | None) -> tuple[Grid, NDArray[np.int64]]:
    """Return the grid of the frames, and the slice of each.

    Slices are as far apart as the PET's if every frame lies on voxels of the PET; else as the object states; else as
    the PET's; else the largest distance of which all distances of frames are multiples.
    """
    shared, frames = dataset.SharedFunctionalGroupsSequence[0], dataset.PerFrameFunctionalGroupsSequence
    places_mm = np.array([_read_position(shared, frame) for frame in frames])
    frame, measures = _read_frame(dataset), _find_group(shared, frames[0], "PixelMeasuresSequence")
    pet_mm = () if pet is None else (_find_pet_step(frame, pet),)
    for step_mm in pet_mm:
        stack = _stack_frames(frame, places_mm, step_mm)
        if stack is not None and pet is not None and is_part_of(stack[0], pet):
            return stack
    stated_mm = abs(float(measures.get("SpacingBetweenSlices") or 0))
    thickness_mm = abs(float(measures.get("SliceThickness") or 0))
    for step_mm in (stated_mm, *pet_mm, *_divide_gaps(frame, places_mm, thickness_mm)):
        stack = _stack_frames(frame, places_mm, step_mm) if step_mm > 0 else None
        if stack is not None:
            return stack
    raise InputError("the frames of the Segmentation do not form a volume; expected slices of one orientation")


def _read_frame(dataset: Dataset) -> Grid:
    """Return the grid of the first frame alone."""
    shared, frame = dataset.SharedFunctionalGroupsSequence[0], dataset.PerFrameFunctionalGroupsSequence[0]
    cosines = [float(v) for v in _find_group(shared, frame, "PlaneOrientationSequence").ImageOrientationPatient]
    row, column = cosines[:3], cosines[3:]
    direction = np.stack([row, column, np.cross(row, column)], axis=1)
    rows_mm, columns_mm = (float(v) for v in _find_group(shared, frame, "PixelMeasuresSequence").PixelSpacing)
    size = (int(dataset.Columns), int(dataset.Rows), 1)
    return Grid(size, (columns_mm, rows_mm, 1.0), _read_position(shared, frame), tuple(direction.ravel().tolist()))


def _stack_frames(frame: Grid, places_mm: NDArray[np.float64], step_mm: float) -> tuple[Grid, NDArray[np.int64]] | None:
    """Return the grid of slices about as far apart, and the slice of each frame; None if frames lie between them."""
    normal = frame.steps_mm[:, 2]
    heights_mm = places_mm @ normal
    order = np.argsort(heights_mm)
    slices = np.zeros(len(order), np.int64)
    slices[order[1:]] = np.cumsum(np.rint(np.diff(heights_mm[order]) / step_mm))
    count = int(slices.max())
    # Over hundreds of slices, a rounded distance would lead beside the last one.
    fitted_mm = float(np.ptp(heights_mm)) / count if count else step_mm
    first = places_mm[order[0]]
    drift_mm = np.abs(places_mm - first - np.outer(slices * fitted_mm, normal))
    if float(drift_mm.max()) > _APART * min(*frame.spacing_mm[:2], fitted_mm):
        return None
    spacing_mm = (*frame.spacing_mm[:2], fitted_mm)
    return Grid((*frame.size[:2], count + 1), spacing_mm, _take_triple(first), frame.direction), slices


def _find_pet_step(frame: Grid, pet: Grid) -> float:
    """Return the distance of the PET's voxels along the axis that leads from frame to frame."""
    cosines = np.reshape(pet.direction, (3, 3)).T @ frame.steps_mm[:, 2]
    return pet.spacing_mm[int(np.abs(cosines).argmax())]


def _divide_gaps(frame: Grid, places_mm: NDArray[np.float64], thickness_mm: float) -> list[float]:
    """Return the smallest distance of frames and its fractions, down to half a slice's thickness."""
    gaps_mm = np.diff(np.unique(np.round(places_mm @ frame.steps_mm[:, 2], 2)))
    if not gaps_mm.size:
        return [thickness_mm or 1.0]
    smallest_mm = float(gaps_mm.min())
    parts = int(smallest_mm / max(_THINNEST_MM, thickness_mm / 2))
    return [smallest_mm / part for part in range(1, max(parts, 1) + 1)]


def _read_position(shared: Dataset, frame: Dataset) -> tuple[float, float, float]:
    return _take_triple(_find_group(shared, frame, "PlanePositionSequence").ImagePositionPatient)


def _take_triple(values: Any) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])


def _find_group(shared: Dataset, frame: Dataset, keyword: str) -> Any:
    for groups in (frame, shared):
        if keyword in groups:
            return groups[keyword][0]
    raise InputError(f"{keyword} is missing in the Segmentation; expected place and segment of every frame")
