"""The segments of a DICOM Segmentation, slice by slice, on the grid that its frames form.

Source: DICOM PS3.3 A.51 and C.8.20.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from autosegnet.errors import InputError
from autosegnet.geometry import Grid

if TYPE_CHECKING:
    from pydicom import Dataset

_LEAST_FRACTION: Final = 0.5  # of a fractional segment


def name_segments(dataset: Dataset) -> dict[int, str]:
    """Return the names of the segments by their numbers, without the background of a label map."""
    names = {int(item.SegmentNumber): str(item.get("SegmentLabel", "")) for item in dataset.SegmentSequence}
    if _is_label_map(dataset):
        names.pop(_find_background(dataset), None)
    return names


def place_segments(
    dataset: Dataset,
    chosen: Collection[int],
    pet: Grid | None,  # noqa: ARG001
) -> tuple[Grid, Iterator[tuple[int, int, NDArray[np.bool_]]]]:
    """Return the grid of a Segmentation, and of each frame its segment, slice, and voxels (y, x).

    Args:
        dataset: the Segmentation.
        chosen: numbers of segments; the others are left out.
        pet: not needed, because a Segmentation has a grid.

    Raises:
        InputError: the frames form no volume, or are not described.
    """
    grid, slices = _find_grid(dataset)
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


def _find_grid(dataset: Dataset) -> tuple[Grid, NDArray[np.int64]]:
    """Return the grid of the frames, and the slice of each."""
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
    return grid, index


def _read_orientation(shared: Dataset, frame: Dataset) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    item = _find_group(shared, frame, "PlaneOrientationSequence")
    cosines = np.array([float(v) for v in item.ImageOrientationPatient])
    return cosines[:3], cosines[3:]


def _read_pixel_measures(shared: Dataset, frame: Dataset) -> tuple[float, float, float | None]:
    item = _find_group(shared, frame, "PixelMeasuresSequence")
    rows_mm, columns_mm = (float(v) for v in item.PixelSpacing)
    between = item.get("SpacingBetweenSlices") or item.get("SliceThickness")
    return rows_mm, columns_mm, float(between) if between else None


def _read_position(shared: Dataset, frame: Dataset) -> list[float]:
    return [float(v) for v in _find_group(shared, frame, "PlanePositionSequence").ImagePositionPatient]


def _find_group(shared: Dataset, frame: Dataset, keyword: str) -> Any:
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
