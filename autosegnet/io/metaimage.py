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
from autosegnet.io.inflate import ZLIB_OR_GZIP, check_inflatable, inflate_into, read_into
from autosegnet.io.metatags import LONGEST_HEADER, Tags, parse_tags
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
# Numbers MetaIO parses and no voxel depends on, with how many there are (None: NDims).
# A wrong count makes MetaIO eat the next line.
_IGNORED_NUMBERS: dict[str, int | None] = {
    "CenterOfRotation": None,
    "ElementSize": None,
    "SequenceID": None,
    "Color": 4,
    "ID": 1,
    "ParentID": 1,
    "ElementMin": 1,
    "ElementMax": 1,
    "ElementNBits": 1,
    "FileFormatVersion": 1,
}
# Keys whose length is NDims; MetaIO cannot read them before NDims.
_SIZED_KEYS = frozenset({"DimSize", "ElementSpacing", "ElementSize", "CenterOfRotation", "SequenceID"}) | {
    *_ORIGIN_KEYS,
    *_DIRECTION_KEYS,
}
_KEYS = frozenset(
    {*_ORIGIN_KEYS, *_DIRECTION_KEYS, *_BYTE_ORDER_KEYS, *_IGNORED_NUMBERS}
    | {"NDims", "DimSize", "ElementSpacing", "ElementType", "ElementNumberOfChannels", "ElementDataFile", "HeaderSize"}
    | {"BinaryData", "CompressedData", "CompressedDataSize", "DistanceUnits", "ObjectType"}
    | {"ElementToIntensityFunctionSlope", "ElementToIntensityFunctionOffset"}
)
_COMPRESSION_LEVEL = 6


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
    compressed_size: int | None  # None where the header does not say it


def read_metaimage(path: Path) -> DecodedImage:
    """The voxels and the grid of an .mha file, or an InputError that says what is wrong with it.

    Raises:
        InputError: anything damaged, contradictory or beyond the bounds of `decoded`
    """
    with opened_image(path) as file:
        header = _parse(parse_tags(file.read(LONGEST_HEADER), _KEYS, path))
        _check_payload(header, file_size(file) - header.start, path)
        voxels = np.empty(header.size[::-1], header.dtype)
        buffer = voxels.reshape(-1).view(np.uint8).data
        file.seek(header.start)
        if header.compressed:
            inflate_into(file, buffer, wbits=ZLIB_OR_GZIP, several=False, path=path)
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


def _parse(tags: Tags) -> _Header:
    dims = tags.integers("NDims", 1)[0] if "NDims" in tags.values else 0
    keys = list(tags.values)
    if not 3 <= dims <= 10:
        raise tags.refusal(f"the image has {dims} dimensions, expected 3")
    if _SIZED_KEYS.intersection(keys[: keys.index("NDims")]):
        raise tags.refusal("the header says NDims too late, expected it before the keys that depend on it")
    size = tuple(tags.integers("DimSize", dims))
    if any(count != 1 for count in size[3:]):
        raise tags.refusal(f"the image has {dims} dimensions, expected one three-dimensional image")
    check_size(size[:3], tags.path)
    _check_kind(tags, dims)
    spacing, origin, direction = _grid(tags, dims)
    compressed = tags.boolean("CompressedData", default=False)
    if "CompressedDataSize" in tags.values and not compressed:
        raise tags.refusal("the header has CompressedDataSize without CompressedData = True, expected both or none")
    return _Header(
        size=size[:3],
        spacing=spacing,
        origin=origin,
        direction=direction,
        dtype=_dtype(tags),
        start=_start(tags, compressed),
        compressed=compressed,
        compressed_size=tags.integer("CompressedDataSize", 0) if "CompressedDataSize" in tags.values else None,
    )


def _check_kind(tags: Tags, dims: int) -> None:
    """Refuse what is not one scalar image in this file, in mm, with its final voxel values."""
    if tags.text("ElementDataFile", "") not in {"LOCAL", "Local", "local"}:
        raise tags.refusal("the voxels are in another file, expected ElementDataFile = LOCAL (one .mha file)")
    if tags.text("ObjectType", "Image") != "Image":
        raise tags.refusal("the MetaImage header is not of an image, expected ObjectType = Image")
    if not tags.boolean("BinaryData", default=True):
        raise tags.refusal("the voxels are written as text, expected BinaryData = True")
    if (channels := tags.integer("ElementNumberOfChannels", 1)) != 1:
        raise tags.refusal(f"a voxel has {channels} channels, expected 1")
    if tags.text("DistanceUnits", "mm") not in {"mm", "?"}:
        raise tags.refusal("DistanceUnits is not mm, expected an image in mm")
    for key, neutral in (("ElementToIntensityFunctionSlope", 1.0), ("ElementToIntensityFunctionOffset", 0.0)):
        if key in tags.values and tags.floats(key, 1) != [neutral]:
            raise tags.refusal(f"{key} is not {neutral:g}, expected voxels stored as final values")
    for key, count in _IGNORED_NUMBERS.items():
        if key in tags.values:
            tags.floats(key, count or dims)


def _grid(tags: Tags, dims: int) -> tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, ...]]:
    """Spacing, origin and SimpleITK's row-major direction, without the trailing axes of one voxel.

    MetaIO takes ElementSize where ElementSpacing is missing, and 1 mm, (0, 0, 0) and the identity where all are; here
    a grid that is not stated is refused.
    """
    x, y, z = tags.floats("ElementSpacing" if "ElementSpacing" in tags.values else "ElementSize", dims)[:3]
    left, posterior, superior = tags.agreed(_ORIGIN_KEYS, dims)[:3]
    matrix = np.array(tags.agreed(_DIRECTION_KEYS, dims * dims)).reshape(dims, dims)
    if np.any(matrix[3:, :3]) or np.any(matrix[:3, 3:]):
        raise tags.refusal("TransformMatrix mixes space with a further axis, expected three axes")
    direction = tuple(matrix[:3, :3].T.ravel().tolist())
    check_geometry((x, y, z), (left, posterior, superior), direction, tags.path)
    return (x, y, z), (left, posterior, superior), direction


def _dtype(tags: Tags) -> np.dtype[Any]:
    name = tags.text("ElementType", "")
    if name not in _TYPES:
        found = name if re.fullmatch(r"MET_[A-Z_]{1,30}", name) else "missing or not a MetaImage type"
        raise tags.refusal(f"ElementType is {found}, expected a scalar type such as MET_FLOAT")
    big_endian = tags.boolean(*_BYTE_ORDER_KEYS, default=False)
    return np.dtype(_TYPES[name]).newbyteorder(">" if big_endian else "<")


def _start(tags: Tags, compressed: bool) -> int:
    """Where the voxels begin: behind the header, or at HeaderSize. -1 (the last bytes) has to mean the same place."""
    header_size = tags.integer("HeaderSize", 0)
    if header_size == 0 or (header_size == -1 and not compressed):
        return tags.end
    if header_size < tags.end:
        raise tags.refusal(f"HeaderSize is {header_size}, expected at least the {tags.end} bytes that the header takes")
    return header_size


def _check_payload(header: _Header, stored: int, path: Path) -> None:
    """Refuse, before memory is taken, a file with fewer or more bytes behind its header than that says."""
    needed = math.prod(header.size) * header.dtype.itemsize
    stored = max(stored, 0)
    if not header.compressed and stored != needed:
        raise InputError(
            f"the file holds {stored} bytes of voxels, expected {needed}, in {shown(path)}; copy or export it again"
        )
    if header.compressed and header.compressed_size not in {None, stored}:
        raise InputError(
            f"the file holds {stored} bytes of compressed voxels, expected {header.compressed_size} as its header "
            f"says, in {shown(path)}; copy or export it again"
        )
    if header.compressed:
        check_inflatable(stored, needed, path)
