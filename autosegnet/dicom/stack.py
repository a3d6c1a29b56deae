"""Slices of a series in order along their normal, once they are found to form an even stack."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autosegnet.dicom.header import Header, name_attribute
from autosegnet.errors import InputError
from autosegnet.geometry import Grid
from autosegnet.io.decoded import check_geometry, check_size

SAME_COSINES: Final = 1e-4
"""Rounding of decimal strings; a degree of tilt changes a cosine by 1.7e-2."""

_SAME_SPACING: Final = 1e-3  # of the spacing: as one number in two spellings
_OFF_LINE: Final = 0.1  # of the slice distance: how far a slice may lie from its place in an even stack
LEAST_SLICES: Final = 3
"""Fewer images are no volume: scouts, pages, monitoring."""


@dataclass(frozen=True, slots=True)
class Stack:
    """The slices of a series from the first along their normal to the last, and the grid they form."""

    headers: tuple[Header, ...]
    grid: Grid


def stack_slices(headers: Sequence[Header]) -> Stack:
    """Return slices in order, once they are found to form an even stack.

    Raises:
        InputError: slices that are missing, doubled, mixed or tilted against their stack; the message does not name
            the series.
    """
    first = headers[0]
    if len(headers) < LEAST_SLICES:
        raise InputError(f"found {len(headers)} slices; expected a stack of at least {LEAST_SLICES}")
    for keyword in ("Rows", "Columns", "StudyInstanceUID", "FrameOfReferenceUID", "Modality"):
        if len({h.read_text(keyword) for h in headers}) > 1:
            raise InputError(f"{name_attribute(keyword)} differs between slices")
    spacings = np.array([h.read_numbers("PixelSpacing", 2) for h in headers])
    if np.abs(spacings / spacings[0] - 1.0).max() > _SAME_SPACING:
        raise InputError(f"{name_attribute('PixelSpacing')} differs between slices")
    cosines = np.array([h.read_numbers("ImageOrientationPatient", 6) for h in headers])
    if np.abs(cosines - cosines[0]).max() > SAME_COSINES:
        raise InputError(f"{name_attribute('ImageOrientationPatient')} differs between slices")
    along_row, along_column = cosines[0, :3], cosines[0, 3:]
    normal = np.cross(along_row, along_column)
    places = np.array([h.read_numbers("ImagePositionPatient", 3) for h in headers])
    order = np.argsort(places @ normal, kind="stable")
    step_mm = _measure_step_mm(places[order], normal)
    row_mm, column_mm = first.read_numbers("PixelSpacing", 2)  # between rows, between columns
    x_mm, y_mm, z_mm = (float(v) for v in places[order[0]])
    size = (_count(first, "Columns"), _count(first, "Rows"), len(order))
    direction = tuple(float(v) for v in np.stack([along_row, along_column, normal], axis=1).ravel())
    grid = Grid(size, (column_mm, row_mm, step_mm), (x_mm, y_mm, z_mm), direction)
    check_geometry(grid, Path(first.where))
    check_size(grid.size, Path(first.where))
    return Stack(tuple(headers[k] for k in order), grid)


def _count(header: Header, keyword: str) -> int:
    number = header.number(keyword)
    if number is None or number != int(number):
        raise InputError(f"{name_attribute(keyword)} is missing or is not a whole number, in {header.where}")
    return int(number)


def count_doubled(headers: Sequence[Header]) -> int:
    """Return how many slices share a position with another slice."""
    places = {tuple(round(v, 3) for v in h.read_numbers("ImagePositionPatient", 3)) for h in headers}
    return len(headers) - len(places)


def _measure_step_mm(places: NDArray[np.float64], normal: NDArray[np.float64]) -> float:
    along, position = places @ normal, name_attribute("ImagePositionPatient")
    gaps = np.diff(along)
    typical = float(np.median(gaps))
    if np.any(gaps < 0.01 * max(typical, 1e-3)) or typical <= 0:
        doubled = int(np.sum(gaps < 0.01 * max(typical, 1e-3)))
        raise InputError(
            f"{doubled} of the slices share a position with another slice, {position}; expected one slice per position "
            "(several time frames or acquisitions in one series, or one position imaged again and again?)"
        )
    if np.any(gaps > 1.5 * typical):
        k = int(np.argmax(gaps))
        raise InputError(
            f"slices are missing: {gaps[k]:.2f} mm between slices {k + 1} and {k + 2} along the normal, expected "
            f"{typical:.2f} mm as elsewhere, {position}"
        )
    step = float((along[-1] - along[0]) / (len(along) - 1))
    even = places[0] + np.outer(np.arange(len(places)) * step, normal)
    worst = float(np.linalg.norm(places - even, axis=1).max())
    if worst > _OFF_LINE * step:
        raise InputError(
            f"slices lie up to {worst:.2f} mm from an even stack along their normal, expected at most "
            f"{_OFF_LINE * step:.2f} mm, {position} (a tilted gantry, uneven slices, or several acquisitions?)"
        )
    return step
