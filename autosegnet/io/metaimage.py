"""Reads and writes MetaImage in a single file (.mha), strictly: one meaning of the file or none.

Tag names, types and the byte order keys follow MetaIO (Kitware/MetaIO, metaObject.cxx and metaImage.cxx) as SimpleITK
2.5.7 applies them. Where MetaIO lets a later tag win, guesses a default or reads on past damage, this reader refuses.

TransformMatrix holds one axis after the other, which is the transpose of SimpleITK's row-major direction.
"""

import math
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autosegnet.errors import InputError
from autosegnet.io.decoded import DecodedImage, check_geometry, check_size
from autosegnet.io.inflate import check_inflatable, inflate_into, read_into
from autosegnet.io.stored import file_size, opened_image
from autosegnet.io.wording import shown

if TYPE_CHECKING:
    import SimpleITK

# MET_LONG is 32 bits in every MetaIO that writes it (metaTypes.h).
_TYPES = {
    "MET_CHAR": "i1",
    "MET_ASCII_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_WRITTEN_TYPES = {"uint8": "MET_UCHAR", "float32": "MET_FLOAT"}
# Keys with the same meaning; MetaIO has an order of precedence among them, here they have to agree.
_ORIGIN_KEYS = ("Offset", "Position", "Origin", "ImagePosition")
_DIRECTION_KEYS = ("TransformMatrix", "Rotation", "Orientation")
_BYTE_ORDER_KEYS = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
# Numbers MetaIO parses and no voxel depends on, with how many there are; a wrong count makes it eat the next line.
_IGNORED_NUMBERS = {
    "CenterOfRotation": "dims",
    "ElementSize": "dims",
    "SequenceID": "dims",
    "Color": "4",
    "ID": "1",
    "ParentID": "1",
    "ElementMin": "1",
    "ElementMax": "1",
    "ElementNBits": "1",
    "FileFormatVersion": "1",
}
_IGNORED_TEXTS = ("Comment", "ObjectType", "ObjectSubType", "Name", "AcquisitionDate", "AnatomicalOrientation")
_KEYS = frozenset(
    {*_ORIGIN_KEYS, *_DIRECTION_KEYS, *_BYTE_ORDER_KEYS, *_IGNORED_NUMBERS}
    | {"NDims", "DimSize", "ElementSpacing", "ElementType", "ElementNumberOfChannels", "ElementDataFile", "HeaderSize"}
    | {"BinaryData", "CompressedData", "CompressedDataSize", "DistanceUnits", "ObjectType"}
    | {"ElementToIntensityFunctionSlope", "ElementToIntensityFunctionOffset"}
)
# Headers with DICOM tags in them take a few kilobytes.
_LONGEST_HEADER = 65_536
# MetaIO reads a key into 500 characters and a value into 4096 (metaUtils.cxx).
_LONGEST_KEY = 255
_LONGEST_VALUE = 4_000
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]|\r(?!\n)")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_COMPRESSION_LEVEL = 6
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class _Header:
    """What a header says about its voxels; `start` is the file position of the first byte of pixel data."""

    size: tuple[int, ...]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: tuple[float, ...]
    dtype: np.dtype[Any]
    start: int
    compressed: bool
    compressed_size: int | None


def read_metaimage(path: Path) -> DecodedImage:
    """The voxels and the grid of an .mha file, or an InputError that says what is wrong with it.

    Raises:
        InputError: anything damaged, contradictory or beyond the bounds of `decoded`
    """
    with opened_image(path) as file:
        header = _parse(file.read(_LONGEST_HEADER), path)
        voxels = np.empty(header.size[::-1], header.dtype)
        _check_payload(header, voxels.nbytes, file_size(file), path)
        buffer = voxels.reshape(-1).view(np.uint8).data
        file.seek(header.start)
        if header.compressed:
            inflate_into(file, buffer, path=path)
        else:
            read_into(file, buffer, path=path)
    if not voxels.dtype.isnative:
        voxels = voxels.byteswap(inplace=True).view(voxels.dtype.newbyteorder())
    return DecodedImage(voxels, header.spacing, header.origin, header.direction)


def encode_metaimage(image: "SimpleITK.Image") -> Iterator[bytes]:
    """The bytes of an .mha file with the image in it: uint8 or float32, zlib-compressed, numbers to the last digit.

    No metadata of the image is written, so that no patient's name gets out.

    Args:
        image: three-dimensional, scalar, uint8 or float32
    """
    import SimpleITK

    voxels = SimpleITK.GetArrayViewFromImage(image)  # (z, y, x), no copy
    assert image.GetDimension() == 3
    assert voxels.dtype.name in _WRITTEN_TYPES, f"{voxels.dtype} is not written"
    packer = zlib.compressobj(_COMPRESSION_LEVEL)
    packed = [packer.compress(plane.astype(voxels.dtype.newbyteorder("<")).tobytes()) for plane in voxels]
    packed.append(packer.flush())
    direction = image.GetDirection()
    fields = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "True",
        "CompressedDataSize": str(sum(map(len, packed))),
        "TransformMatrix": _written([direction[3 * row + axis] for axis in range(3) for row in range(3)]),
        "Offset": _written(image.GetOrigin()),
        "CenterOfRotation": "0 0 0",
        "ElementSpacing": _written(image.GetSpacing()),
        "DimSize": " ".join(map(str, image.GetSize())),
        "ElementType": _WRITTEN_TYPES[voxels.dtype.name],
        "ElementDataFile": "LOCAL",
    }
    yield "".join(f"{key} = {value}\n" for key, value in fields.items()).encode("ascii")
    yield from packed


def _written(values: Any) -> str:
    return " ".join(repr(float(value)) for value in values)


def _parse(head: bytes, path: Path) -> _Header:
    fields, end = _fields(head, path)
    dims = _integer(fields, "NDims", path, required=True)
    if list(fields)[: list(fields).index("NDims")] and _before_dims(fields):
        raise InputError(
            f"the header names {_before_dims(fields)} before NDims, expected NDims first, in {shown(path)}"
        )
    if dims is None or not 3 <= dims <= 10:
        raise InputError(f"the image has {dims} dimensions, expected 3, in {shown(path)}")
    size = tuple(_integers(fields, "DimSize", dims, path))
    if any(count != 1 for count in size[3:]):
        raise InputError(f"the image has {dims} dimensions, expected one three-dimensional image, in {shown(path)}")
    check_size(size[:3], path)
    _check_kind(fields, dims, path)
    spacing, origin, direction = _grid(fields, dims, path)
    check_geometry(spacing, origin, direction, path)
    compressed = _boolean(fields, ("CompressedData",), default=False, path=path)
    compressed_size = _integer(fields, "CompressedDataSize", path)
    if compressed_size is not None and not compressed:
        raise InputError(f"the header gives CompressedDataSize but not CompressedData = True, in {shown(path)}")
    big_endian = _boolean(fields, _BYTE_ORDER_KEYS, default=False, path=path)
    return _Header(
        size=size[:3],
        spacing=spacing,
        origin=origin,
        direction=direction,
        dtype=_dtype(fields, big_endian, path),
        start=_start(fields, end, compressed, path),
        compressed=compressed,
        compressed_size=compressed_size,
    )


def _fields(head: bytes, path: Path) -> tuple[dict[str, str], int]:
    """Keys and values up to the line ElementDataFile, and the position behind that line."""
    fields: dict[str, str] = {}
    position = 0
    while (line_end := head.find(b"\n", position)) >= 0:
        line = head[position:line_end]
        position = line_end + 1
        if _CONTROL.search(line + b"\n"):
            break
        text = line.decode("latin-1").strip(" \t\r")
        if not text:
            continue
        key, value = _split(text, path)
        if key in _KEYS and fields.get(key, value) != value:
            raise InputError(f"the header gives {key} twice with different values, expected one, in {shown(path)}")
        fields[key] = value
        if key == "ElementDataFile":
            return fields, position
    if not fields or "NDims" not in fields:
        raise InputError(f"found no MetaImage header, expected an .mha image, in {shown(path)}")
    raise InputError(f"the header ends before ElementDataFile, expected a whole MetaImage header, in {shown(path)}")


def _split(text: str, path: Path) -> tuple[str, str]:
    match = re.match(r"([^=:]*?)[ \t]*[=:][=: \t]*(.*)", text, re.DOTALL)
    if match is None:
        raise InputError(f"the header has a line without '=', expected 'key = value', in {shown(path)}")
    key, value = match.group(1), match.group(2)
    if len(key) > _LONGEST_KEY or len(value) > _LONGEST_VALUE:
        raise InputError(
            f"the header has a line of {len(text)} characters, expected a MetaImage header, in {shown(path)}"
        )
    return key, value


def _before_dims(fields: dict[str, str]) -> str:
    """A key whose length depends on NDims and that comes before it; MetaIO cannot read that."""
    sized = {
        "DimSize",
        "ElementSpacing",
        "ElementSize",
        "CenterOfRotation",
        "SequenceID",
        *_ORIGIN_KEYS,
        *_DIRECTION_KEYS,
    }
    earlier = list(fields)[: list(fields).index("NDims")]
    return next((key for key in earlier if key in sized), "")


def _check_kind(fields: dict[str, str], dims: int, path: Path) -> None:
    """Refuse what is not one scalar image in this file, in mm, with plain voxel values."""
    where = f"in {shown(path)}"
    if fields["ElementDataFile"] not in {"LOCAL", "Local", "local"}:
        raise InputError(f"the voxels are in another file, expected ElementDataFile = LOCAL (one .mha file), {where}")
    if fields.get("ObjectType", "Image") != "Image":
        raise InputError(f"the MetaImage header is not of an image, expected ObjectType = Image, {where}")
    if not _boolean(fields, ("BinaryData",), default=True, path=path):
        raise InputError(f"the voxels are written as text, expected BinaryData = True, {where}")
    channels = _integer(fields, "ElementNumberOfChannels", path)
    if channels not in {None, 1}:
        raise InputError(f"a voxel has {channels} channels, expected 1, {where}")
    if fields.get("DistanceUnits", "mm") not in {"mm", "?"}:
        raise InputError(f"DistanceUnits is not mm; expected an image in mm, {where}")
    for key, neutral in (("ElementToIntensityFunctionSlope", 1.0), ("ElementToIntensityFunctionOffset", 0.0)):
        if key in fields and _floats(fields, key, 1, path) != [neutral]:
            raise InputError(f"{key} is not {neutral:g}, expected voxels stored as final values, {where}")
    for key, count in _IGNORED_NUMBERS.items():
        if key in fields:
            _floats(fields, key, dims if count == "dims" else int(count), path)


def _grid(
    fields: dict[str, str], dims: int, path: Path
) -> tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, ...]]:
    """Spacing, origin and SimpleITK's row-major direction, without the trailing axes of one voxel."""
    spacing_key = "ElementSpacing" if "ElementSpacing" in fields else "ElementSize"
    spacing = _floats(fields, spacing_key, dims, path)
    origin = _agreed(fields, _ORIGIN_KEYS, dims, path)
    matrix = np.array(_agreed(fields, _DIRECTION_KEYS, dims * dims, path)).reshape(dims, dims)
    if np.any(matrix[3:, :3]) or np.any(matrix[:3, 3:]):
        raise InputError(f"TransformMatrix mixes space with a further axis, expected three axes, in {shown(path)}")
    direction = tuple(float(value) for value in matrix[:3, :3].T.ravel())
    return (spacing[0], spacing[1], spacing[2]), (origin[0], origin[1], origin[2]), direction


def _agreed(fields: dict[str, str], keys: tuple[str, ...], count: int, path: Path) -> list[float]:
    """The numbers under any of the keys of one meaning; they are refused where two of them differ."""
    found = {key: _floats(fields, key, count, path) for key in keys if key in fields}
    if not found:
        raise InputError(f"the header has no {keys[0]}, expected {count} numbers, in {shown(path)}")
    values = next(iter(found.values()))
    if any(other != values for other in found.values()):
        raise InputError(f"the header's {' and '.join(found)} differ, expected one meaning, in {shown(path)}")
    return values


def _dtype(fields: dict[str, str], big_endian: bool, path: Path) -> np.dtype[Any]:
    name = fields.get("ElementType", "")
    if name not in _TYPES:
        found = name if re.fullmatch(r"MET_[A-Z_]{1,30}", name) else "missing or not a MetaImage type"
        raise InputError(f"ElementType is {found}, expected a scalar type such as MET_FLOAT, in {shown(path)}")
    return np.dtype(_TYPES[name]).newbyteorder(">" if big_endian else "<")


def _start(fields: dict[str, str], end: int, compressed: bool, path: Path) -> int:
    """Where the voxels begin: behind the header, or at HeaderSize where that is given."""
    header_size = _integer(fields, "HeaderSize", path)
    if header_size in {None, 0} or (header_size == -1 and not compressed):
        return end
    if header_size is None or header_size < end:
        raise InputError(
            f"HeaderSize is {header_size}, expected at least the {end} bytes that the header takes, in {shown(path)}"
        )
    return header_size


def _check_payload(header: _Header, needed: int, file_bytes: int, path: Path) -> None:
    """Refuse, before any memory is touched, a file that is too short or too long for its header."""
    stored = file_bytes - header.start
    if not header.compressed:
        if stored != needed:
            raise InputError(
                f"the file holds {max(stored, 0)} bytes of voxels, expected {needed}, in {shown(path)}; copy it again"
            )
        return
    if header.compressed_size not in {None, stored}:
        raise InputError(
            f"the file holds {max(stored, 0)} bytes of compressed voxels, expected {header.compressed_size} as its "
            f"header says, in {shown(path)}; copy it again"
        )
    check_inflatable(stored, needed, path)


def _boolean(fields: dict[str, str], keys: tuple[str, ...], *, default: bool, path: Path) -> bool:
    meanings = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
    found = {meanings.get(fields[key].lower()) for key in keys if key in fields}
    if None in found or len(found) > 1:
        raise InputError(f"{' and '.join(keys)} should say True or False, and the same, in the header of {shown(path)}")
    return bool(found.pop()) if found else default


def _floats(fields: dict[str, str], key: str, count: int, path: Path) -> list[float]:
    words = fields.get(key, "").split()
    if len(words) != count or not all(_NUMBER.fullmatch(word) for word in words):
        raise InputError(f"the header has no valid {key}, expected {count} finite numbers, in {shown(path)}")
    values = [float(word) for word in words]
    if not all(map(math.isfinite, values)):
        raise InputError(f"{key} is too large a number, expected finite numbers, in {shown(path)}")
    return values


def _integers(fields: dict[str, str], key: str, count: int, path: Path) -> list[int]:
    words = fields.get(key, "").split()
    if len(words) != count or not all(_INTEGER.fullmatch(word) for word in words):
        raise InputError(f"the header has no valid {key}, expected {count} whole numbers, in {shown(path)}")
    return [int(word) for word in words]


def _integer(fields: dict[str, str], key: str, path: Path, *, required: bool = False) -> int | None:
    if key not in fields and not required:
        return None
    return _integers(fields, key, 1, path)[0]
