"""The tags of a MetaImage header as the grid and the voxel type they mean.

Names of tags and types follow MetaIO (Kitware/MetaIO, metaObject.cxx and metaImage.cxx) as SimpleITK 2.5.7 reads them.
If MetaIO would prefer one of several tags or use a default for the grid, this refuses.

TransformMatrix holds one axis after the other, which is the transpose of SimpleITK's row-major direction.
"""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from autosegnet.geometry import Grid
from autosegnet.io.decoded import check_geometry, check_size
from autosegnet.io.metaimage_tags import Tags

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
# Keys with the same meaning. MetaIO prefers one of them; here they must agree.
_ORIGIN_KEYS = ("Offset", "Position", "Origin", "ImagePosition")
_DIRECTION_KEYS = ("TransformMatrix", "Rotation", "Orientation")
_BYTE_ORDER_KEYS = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
# Numbers that MetaIO parses and no voxel depends on, with their count (None: NDims).
# With a wrong count, MetaIO would swallow the next line.
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
KNOWN_KEYS = frozenset(
    {*_ORIGIN_KEYS, *_DIRECTION_KEYS, *_BYTE_ORDER_KEYS, *_IGNORED_NUMBERS}
    | {"NDims", "DimSize", "ElementSpacing", "ElementType", "ElementNumberOfChannels", "ElementDataFile", "HeaderSize"}
    | {"BinaryData", "CompressedData", "CompressedDataSize", "DistanceUnits", "ObjectType"}
    | {"ElementToIntensityFunctionSlope", "ElementToIntensityFunctionOffset"}
)


@dataclass(frozen=True, slots=True)
class MetaHeader:
    """Describe the voxels that a header announces.

    Args:
        grid: where the voxels lie.
        dtype: of the stored voxels, with the file's byte order
        start: position of the first byte of voxels
        compressed: whether they are one zlib or gzip stream
        compressed_size: bytes of that stream; None if the header does not say
    """

    grid: Grid
    dtype: np.dtype[Any]
    start: int
    compressed: bool
    compressed_size: int | None


def parse_meta_header(tags: Tags) -> MetaHeader:
    """Return what the tags say.

    Raises:
        InputError: tags are missing, contradict each other, are not of a scalar image, or exceed the bounds of
            `decoded`.
    """
    dims = tags.read_integers("NDims", 1)[0] if "NDims" in tags.values else 0
    keys = list(tags.values)
    if not 3 <= dims <= 10:
        raise tags.make_error(f"the image has {dims} dimensions, expected 3")
    if _SIZED_KEYS.intersection(keys[: keys.index("NDims")]):
        raise tags.make_error("NDims comes too late in the header, expected it before the keys that depend on it")
    size = tuple(tags.read_integers("DimSize", dims))
    if any(count != 1 for count in size[3:]):
        raise tags.make_error(f"the image has {dims} dimensions, expected one three-dimensional image")
    check_size(size[:3], tags.path)
    _check_kind(tags, dims)
    compressed = tags.read_boolean("CompressedData", default=False)
    if "CompressedDataSize" in tags.values and not compressed:
        raise tags.make_error("the header has CompressedDataSize without CompressedData = True, expected both or none")
    return MetaHeader(
        grid=_read_grid(tags, size),
        dtype=_read_dtype(tags),
        start=_start(tags, compressed),
        compressed=compressed,
        compressed_size=tags.read_integer("CompressedDataSize", 0) if "CompressedDataSize" in tags.values else None,
    )


def _check_kind(tags: Tags, dims: int) -> None:
    """Refuse what is not one scalar image in this file, in mm, with its final voxel values."""
    if tags.read_text("ElementDataFile", "") not in {"LOCAL", "Local", "local"}:
        raise tags.make_error("the voxels are in another file, expected ElementDataFile = LOCAL (one .mha file)")
    if tags.read_text("ObjectType", "Image") != "Image":
        raise tags.make_error("the MetaImage header is not of an image, expected ObjectType = Image")
    if not tags.read_boolean("BinaryData", default=True):
        raise tags.make_error("the voxels are written as text, expected BinaryData = True")
    if (channels := tags.read_integer("ElementNumberOfChannels", 1)) != 1:
        raise tags.make_error(f"a voxel has {channels} channels, expected 1")
    if tags.read_text("DistanceUnits", "mm") not in {"mm", "?"}:
        raise tags.make_error("DistanceUnits is not mm, expected an image in mm")
    for key, neutral in (("ElementToIntensityFunctionSlope", 1.0), ("ElementToIntensityFunctionOffset", 0.0)):
        if key in tags.values and tags.read_floats(key, 1) != [neutral]:
            raise tags.make_error(f"{key} is not {neutral:g}, expected voxels stored as final values")
    for key, count in _IGNORED_NUMBERS.items():
        if key in tags.values:
            tags.read_floats(key, count or dims)


def _read_grid(tags: Tags, size: tuple[int, ...]) -> Grid:
    """Return the grid without the trailing axes of one voxel.

    Without ElementSpacing, MetaIO takes ElementSize; without either, 1 mm, (0, 0, 0) and the identity. Here a grid that
    is not stated is refused.
    """
    dims = len(size)
    x, y, z = tags.read_floats("ElementSpacing" if "ElementSpacing" in tags.values else "ElementSize", dims)[:3]
    left, posterior, superior = tags.read_agreed(_ORIGIN_KEYS, dims)[:3]
    matrix = np.array(tags.read_agreed(_DIRECTION_KEYS, dims * dims)).reshape(dims, dims)
    if np.any(matrix[3:, :3]) or np.any(matrix[:3, 3:]):
        raise tags.make_error("TransformMatrix mixes space with a further axis, expected three axes")
    direction = tuple(matrix[:3, :3].T.ravel().tolist())
    grid = Grid((size[0], size[1], size[2]), (x, y, z), (left, posterior, superior), direction)
    check_geometry(grid, tags.path)
    return grid


def _read_dtype(tags: Tags) -> np.dtype[Any]:
    name = tags.read_text("ElementType", "")
    if name not in _TYPES:
        found = name if re.fullmatch(r"MET_[A-Z_]{1,30}", name) else "missing or not a MetaImage type"
        raise tags.make_error(f"ElementType is {found}, expected a scalar type such as MET_FLOAT")
    big_endian = tags.read_boolean(*_BYTE_ORDER_KEYS, default=False)
    return np.dtype(_TYPES[name]).newbyteorder(">" if big_endian else "<")


def _start(tags: Tags, compressed: bool) -> int:
    """Return where the voxels begin: after the header, or at HeaderSize.

    If HeaderSize is -1 (the last bytes of the file), that must be the same place.
    """
    header_size = tags.read_integer("HeaderSize", 0)
    if header_size == 0 or (header_size == -1 and not compressed):
        return tags.end
    if header_size < tags.end:
        raise tags.make_error(
            f"HeaderSize is {header_size}, expected at least the {tags.end} bytes that the header takes"
        )
    return header_size
