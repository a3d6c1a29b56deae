"""Stacks the slices of a series along their normal into one image in LPS, with the rescaling of each slice."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from autosegnet.dicom.header import Header, named, undamaged
from autosegnet.dicom.objects import read_dataset
from autosegnet.dicom.series import Series
from autosegnet.errors import InputError
from autosegnet.geometry import Grid
from autosegnet.io.decoded import DecodedImage, check_finite, check_geometry, check_size, empty_voxels, make_image

if TYPE_CHECKING:
    import SimpleITK

_SAME_COSINES: Final = 1e-4  # rounding of decimal strings; a degree of tilt changes a cosine by 1.7e-2
_OFF_LINE: Final = 0.1  # of the slice distance: how far a slice may lie from its place in an even stack
_INT16: Final = (-32768, 32767)


@dataclass(frozen=True, slots=True)
class Stack:
    """The slices of a series from the first along their normal to the last, and the grid they form.

    Args:
        headers: sorted.
        grid: columns, rows and slices.
    """

    series: Series
    headers: tuple[Header, ...]
    grid: Grid


def stack(series: Series) -> Stack:
    """The slices of a series in order, once they are found to form an even stack.

    Raises:
        InputError: slices that are missing, doubled, mixed or tilted against their stack.
    """
    first = series.headers[0]
    if len(series.headers) < 2:
        raise InputError(f"found 1 slice in the {series.summary}; expected a stack of slices")
    for keyword in ("Rows", "Columns", "PixelSpacing", "StudyInstanceUID", "FrameOfReferenceUID", "Modality"):
        if len({h.text(keyword) for h in series.headers}) > 1:
            raise InputError(f"{named(keyword)} differs between slices of the {series.summary}; expected one series")
    cosines = np.array([h.numbers("ImageOrientationPatient", 6) for h in series.headers])
    if np.abs(cosines - cosines[0]).max() > _SAME_COSINES:
        raise InputError(f"{named('ImageOrientationPatient')} differs between slices of the {series.summary}")
    along_row, along_column = cosines[0, :3], cosines[0, 3:]
    normal = np.cross(along_row, along_column)
    places = np.array([h.numbers("ImagePositionPatient", 3) for h in series.headers])
    order = np.argsort(places @ normal, kind="stable")
    step_mm = _even_step_mm(places[order], normal, series)
    row_mm, column_mm = first.numbers("PixelSpacing", 2)  # between rows, between columns
    spacing = (column_mm, row_mm, step_mm)
    origin = (float(places[order[0]][0]), float(places[order[0]][1]), float(places[order[0]][2]))
    direction = tuple(float(v) for v in np.stack([along_row, along_column, normal], axis=1).ravel())
    size = (int(first.number("Columns") or 0), int(first.number("Rows") or 0), len(order))
    grid = Grid(size, spacing, origin, direction)
    check_geometry(grid, Path(first.where))
    check_size(size, Path(first.where))
    return Stack(series, tuple(series.headers[k] for k in order), grid)


def _even_step_mm(places: NDArray[np.float64], normal: NDArray[np.float64], series: Series) -> float:
    along = places @ normal
    gaps = np.diff(along)
    typical = float(np.median(gaps))
    if np.any(gaps < 0.01 * max(typical, 1e-3)) or typical <= 0:
        doubled = int(np.sum(gaps < 0.01 * max(typical, 1e-3)))
        raise InputError(
            f"{doubled} slices lie at the place of another, {named('ImagePositionPatient')}, in the {series.summary}; "
            "expected one slice a place (is the series dynamic, or are files there twice?)"
        )
    if np.any(gaps > 1.5 * typical):
        k = int(np.argmax(gaps))
        raise InputError(
            f"slices are missing in the {series.summary}: {gaps[k]:.2f} mm between slices {k + 1} and {k + 2} along "
            f"the normal, expected {typical:.2f} mm as elsewhere, {named('ImagePositionPatient')}"
        )
    step = float((along[-1] - along[0]) / (len(along) - 1))
    even = places[0] + np.outer(np.arange(len(places)) * step, normal)
    worst = float(np.linalg.norm(places - even, axis=1).max())
    if worst > _OFF_LINE * step:
        raise InputError(
            f"slices of the {series.summary} lie up to {worst:.2f} mm from an even stack along their normal, expected "
            f"at most {_OFF_LINE * step:.2f} mm, {named('ImagePositionPatient')} (gantry tilt or uneven slices)"
        )
    return step


def pet_image(stacked: Stack, factors: tuple[float, ...]) -> "SimpleITK.Image":
    """The PET, float32: stored value x slope x factor, a slice each.

    Raises:
        InputError: pixels that are damaged or of a kind that is not read, or no slope, or an intercept.
    """
    values = empty_voxels(stacked.grid.size[::-1], np.dtype(np.float32))
    for z, (header, factor) in enumerate(zip(stacked.headers, factors, strict=True)):
        slope, intercept = _rescale(header)
        if intercept != 0:
            raise InputError(f"{named('RescaleIntercept')} is {intercept:g} in {header.where}; expected 0 in a PET")
        values[z] = _stored(header, stacked) * (slope * factor)
    return _image(values, stacked)


def ct_image(stacked: Stack) -> "SimpleITK.Image":
    """The CT in HU: int16 where all values are such integers, else float32.

    Raises:
        InputError: pixels that are damaged or of a kind that is not read, or no rescaling.
    """
    scales = [_rescale(header) for header in stacked.headers]
    whole = all(slope == int(slope) and intercept == int(intercept) for slope, intercept in scales)
    values = empty_voxels(stacked.grid.size[::-1], np.dtype(np.int16 if whole else np.float32))
    for z, (header, (slope, intercept)) in enumerate(zip(stacked.headers, scales, strict=True)):
        hu = _stored(header, stacked) * slope + intercept
        if whole and (hu.min() < _INT16[0] or hu.max() > _INT16[1]):
            whole, values = False, values.astype(np.float32)
        values[z] = hu
    return _image(values, stacked)


def _image(values: NDArray[Any], stacked: Stack) -> "SimpleITK.Image":
    check_finite(values, Path(stacked.headers[0].where))
    return make_image(DecodedImage(values, stacked.grid))


def _rescale(header: Header) -> tuple[float, float]:
    slope, intercept = header.number("RescaleSlope"), header.number("RescaleIntercept")
    if slope is None or intercept is None or not np.isfinite([slope, intercept]).all() or slope == 0:
        keyword = "RescaleIntercept" if intercept is None else "RescaleSlope"
        raise InputError(f"{named(keyword)} is missing or not usable in {header.where}")
    return slope, intercept


def _stored(header: Header, stacked: Stack) -> NDArray[np.float64]:
    """The stored values (rows, columns) of a slice."""
    _check_pixel_kind(header)
    columns, rows, _ = stacked.grid.size
    with undamaged(f"PixelData (7FE0,0010) cannot be decoded in {header.where}"):
        dataset = read_dataset(header.path)
        held = len(dataset.PixelData)
        wanted = rows * columns * (int(dataset.BitsAllocated) // 8)
        if not dataset.file_meta.TransferSyntaxUID.is_compressed and held not in (wanted, wanted + wanted % 2):
            raise InputError(
                f"PixelData (7FE0,0010) holds {held} bytes, expected {wanted}, in {header.where}; copy it again"
            )
        array = np.asarray(dataset.pixel_array)
    if array.shape != (rows, columns):
        raise InputError(f"PixelData (7FE0,0010) is of another size than Rows and Columns in {header.where}")
    return array.astype(np.float64)


def _check_pixel_kind(header: Header) -> None:
    from pydicom.pixels.decoders.base import get_decoder

    if header.text("SamplesPerPixel") != "1" or header.text("PhotometricInterpretation") != "MONOCHROME2":
        raise InputError(f"{named('PhotometricInterpretation')} is not MONOCHROME2 in {header.where}")
    if (header.number("NumberOfFrames") or 1) > 1:
        raise InputError(f"{named('NumberOfFrames')} is more than 1 in {header.where}; expected a slice a file")
    with undamaged(f"TransferSyntaxUID (0002,0010) is damaged in {header.where}"):
        syntax = header.dataset.file_meta.get("TransferSyntaxUID")
        try:
            available = syntax is not None and (not syntax.is_compressed or get_decoder(syntax).is_available)
        except (NotImplementedError, ValueError):
            available = False
        name = syntax.name if syntax is not None else "missing"
    if not available:
        raise InputError(
            f"TransferSyntaxUID (0002,0010) is {name} in {header.where}, which is not read here; "
            "decompress the series first (dcmdjpeg, gdcmconv --raw)"
        )
