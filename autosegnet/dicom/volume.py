"""The voxels of a stack as one image in LPS, with the rescaling of each slice."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from autosegnet.dicom.codestream import read_frame_size
from autosegnet.dicom.header import Header, name_attribute, refuse_damage
from autosegnet.dicom.parse import read_pixels
from autosegnet.dicom.stack import Stack
from autosegnet.errors import InputError
from autosegnet.io.decoded import DecodedImage, check_finite, empty_voxels, make_decoded_image

if TYPE_CHECKING:
    import SimpleITK
    from pydicom import Dataset

_INT16: Final = (-32768, 32767)
# Decoders by transfer syntax; the first that is there is used. GDCM reads JPEG Lossless alone.
_DECODERS: Final = {
    "1.2.840.10008.1.2.4.57": "gdcm",
    "1.2.840.10008.1.2.4.70": "gdcm",
    "1.2.840.10008.1.2.4.80": "pyjpegls",
    "1.2.840.10008.1.2.4.81": "pyjpegls",
    "1.2.840.10008.1.2.4.50": "pillow",
    "1.2.840.10008.1.2.4.51": "pillow",
    "1.2.840.10008.1.2.4.90": "pillow",
    "1.2.840.10008.1.2.4.91": "pillow",
    "1.2.840.10008.1.2.5": "pydicom",
}
_PIXEL_ATTRIBUTES: Final = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
)


def read_pet_image(stacked: Stack, factors: tuple[float, ...]) -> "SimpleITK.Image":
    """Return the PET, float32: stored value x slope x factor, one per slice.

    Raises:
        InputError: pixels that are damaged or of a kind that is not read, or no slope, or an intercept.
    """
    values = empty_voxels(stacked.grid.size[::-1], np.dtype(np.float32))
    for z, (header, factor) in enumerate(zip(stacked.headers, factors, strict=True)):
        slope, intercept = _read_rescale(header)
        if intercept != 0:
            name = name_attribute("RescaleIntercept")
            raise InputError(f"{name} is {intercept:g} in {header.where}; expected 0 in a PET")
        values[z] = _read_scaled(header, slope) * factor
    return _to_image(values, stacked)


def read_ct_image(stacked: Stack) -> "SimpleITK.Image":
    """Return the CT in HU: int16 if all values are such integers, else float32.

    Raises:
        InputError: pixels that are damaged or of a kind that is not read, or no rescaling.
    """
    scales = [_read_rescale(header) for header in stacked.headers]
    integers = all(
        header.read_text("BitsAllocated") in ("8", "16") for header in stacked.headers
    )  # others may be floats
    whole = integers and all(slope == int(slope) and intercept == int(intercept) for slope, intercept in scales)
    values = empty_voxels(stacked.grid.size[::-1], np.dtype(np.int16 if whole else np.float32))
    for z, (header, (slope, intercept)) in enumerate(zip(stacked.headers, scales, strict=True)):
        hu = _read_scaled(header, slope) + intercept
        if whole and (hu.min() < _INT16[0] or hu.max() > _INT16[1]):
            whole, values = False, values.astype(np.float32)
        values[z] = hu
    return _to_image(values, stacked)


def _to_image(values: NDArray[Any], stacked: Stack) -> "SimpleITK.Image":
    check_finite(values, Path(stacked.headers[0].where))
    return make_decoded_image(DecodedImage(values, stacked.grid))


def _read_rescale(header: Header) -> tuple[float, float]:
    slope, intercept = header.number("RescaleSlope"), header.number("RescaleIntercept")
    if slope is None or intercept is None:
        keyword = "RescaleIntercept" if intercept is None else "RescaleSlope"
        raise InputError(f"{name_attribute(keyword)} is missing or not usable in {header.where}")
    return slope, intercept


def _read_scaled(header: Header, slope: float) -> NDArray[np.float64]:
    """Return the stored values x slope; a slope of 0, as some scanners give an empty slice, if all of them are 0."""
    stored = _read_stored(header)
    if slope == 0 and stored.any():
        raise InputError(f"{name_attribute('RescaleSlope')} is 0 and the slice is not empty, in {header.where}")
    return stored * slope


def _read_stored(header: Header) -> NDArray[np.float64]:
    """Return the stored values (rows, columns) of a slice."""
    plugin = _choose_decoder(header)
    rows, columns = (int(header.number(keyword) or 0) for keyword in ("Rows", "Columns"))
    with refuse_damage(f"the pixels cannot be decoded in {header.where}"):
        tail = read_pixels(header)
        if "FloatPixelData" in tail:
            return _read_floats(tail.FloatPixelData, header, rows, columns)
        if "PixelData" not in tail:
            kind = "DoubleFloatPixelData, which is not read" if "DoubleFloatPixelData" in tail else "no PixelData"
            raise InputError(f"found {kind}, expected PixelData (7FE0,0010), in {header.where}")
        array = _decode(tail, header, rows, columns, plugin)
    if array.shape != (rows, columns):
        raise InputError(f"PixelData (7FE0,0010) is of another size than Rows and Columns in {header.where}")
    return array.astype(np.float64)


def _decode(tail: "Dataset", header: Header, rows: int, columns: int, plugin: str) -> NDArray[Any]:
    from pydicom import Dataset
    from pydicom.encaps import get_frame
    from pydicom.pixels.utils import pixel_array

    image = Dataset()
    image.file_meta = header.dataset.file_meta
    for keyword in _PIXEL_ATTRIBUTES:
        if keyword in header.dataset:
            image[keyword] = header.dataset[keyword]
    image["PixelData"] = tail["PixelData"]
    if not image.file_meta.TransferSyntaxUID.is_compressed:
        held, wanted = len(tail.PixelData), rows * columns * (int(image.BitsAllocated) // 8)
        if held not in (wanted, wanted + wanted % 2):
            raise InputError(
                f"PixelData (7FE0,0010) holds {held} bytes, expected {wanted}, in {header.where}; copy it again"
            )
        return np.asarray(pixel_array(image))
    stated = read_frame_size(get_frame(tail.PixelData, 0, number_of_frames=1))
    if stated is not None and stated != (rows, columns):
        raise InputError(
            f"PixelData (7FE0,0010) is of another size than Rows and Columns in {header.where}: the compressed frame "
            f"has {stated[0]} rows and {stated[1]} columns, expected {rows} and {columns}"
        )
    return np.asarray(pixel_array(image, decoding_plugin=plugin))


def _read_floats(data: bytes, header: Header, rows: int, columns: int) -> NDArray[np.float64]:
    wanted = 4 * rows * columns
    if len(data) != wanted:
        raise InputError(f"FloatPixelData (7FE0,0008) holds {len(data)} bytes, expected {wanted}, in {header.where}")
    _, little = header.dataset.original_encoding
    return np.frombuffer(data, "<f4" if little else ">f4").reshape(rows, columns).astype(np.float64)


def _choose_decoder(header: Header) -> str:
    """Return the decoder of a slice's pixels, '' if they need none.

    Raises:
        InputError: pixels of a kind that is not read.
    """
    samples = header.read_text("SamplesPerPixel")
    if samples != "1":
        raise InputError(
            f"{name_attribute('SamplesPerPixel')} is {samples or 'missing'}, expected 1, in {header.where}"
        )
    if header.read_text("PhotometricInterpretation") not in ("MONOCHROME2", "MONOCHROME1"):  # 1 is for display alone
        raise InputError(f"{name_attribute('PhotometricInterpretation')} is not MONOCHROME2 in {header.where}")
    if (header.number("NumberOfFrames") or 1) > 1:
        name = name_attribute("NumberOfFrames")
        raise InputError(f"{name} is more than 1 in {header.where}; expected one slice per file")
    with refuse_damage(f"TransferSyntaxUID (0002,0010) is damaged in {header.where}"):
        return _find_plugin(header)


def _find_plugin(header: Header) -> str:
    from pydicom.pixels.decoders.base import get_decoder

    syntax = header.dataset.file_meta.get("TransferSyntaxUID")
    if syntax is not None and not syntax.is_compressed:
        return ""
    plugin = _DECODERS.get(str(syntax), "")
    if plugin and plugin in get_decoder(syntax).available_plugins:
        return plugin
    known = syntax is not None and re.fullmatch(r"[0-9.]+", str(syntax)) is not None
    name = syntax.name if known else "missing or unknown"
    raise InputError(
        f"TransferSyntaxUID (0002,0010) is {name} in {header.where}, which is not read here; "
        "decompress the series first (gdcmconv --raw, dcmdjpeg)"
    )
