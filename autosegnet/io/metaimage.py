"""Reads and writes MetaImage in a single file (.mha), strictly: a file with two possible meanings is refused.

SimpleITK reads truncated, damaged and contradictory files without an error. This reader refuses them, and agrees with
SimpleITK on the others.
"""

import math
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from autosegnet.errors import InputError, format_path
from autosegnet.io.decoded import DecodedImage, check_bytes, empty_voxels
from autosegnet.io.image_files import get_file_size, open_image
from autosegnet.io.metaimage_header import KNOWN_KEYS, MetaHeader, parse_meta_header
from autosegnet.io.metaimage_tags import LONGEST_METAIMAGE_HEADER, parse_tags
from autosegnet.io.streams import ZLIB_OR_GZIP, check_inflatable, inflate_into, read_into

if TYPE_CHECKING:
    import SimpleITK

_WRITTEN_TYPES = {"uint8": "MET_UCHAR", "uint16": "MET_USHORT", "float32": "MET_FLOAT"}
_COMPRESSION_LEVEL = 1  # a third of the time of level 6 for a mask, which becomes tiny at either level


def read_metaimage(path: Path) -> DecodedImage:
    """Return the voxels and the grid of an .mha file.

    Raises:
        InputError: anything damaged, contradictory or beyond the bounds of `decoded`
    """
    with open_image(path) as file:
        header = parse_meta_header(parse_tags(file.read(LONGEST_METAIMAGE_HEADER), KNOWN_KEYS, path))
        check_bytes(header.grid.size, header.dtype.itemsize, path)
        _check_payload(header, get_file_size(file) - header.start, path)
        voxels = empty_voxels(header.grid.size[::-1], header.dtype)
        buffer = voxels.reshape(-1).view(np.uint8).data
        file.seek(header.start)
        if header.compressed:
            inflate_into(file, buffer, wbits=ZLIB_OR_GZIP, several=False, path=path)
        else:
            read_into(file, buffer, path=path)
    if not header.dtype.isnative:
        voxels.byteswap(inplace=True)
    return DecodedImage(voxels, header.grid)


def encode_metaimage(image: "SimpleITK.Image") -> Iterator[bytes]:
    """Return the bytes of an .mha file with an image in it, zlib-compressed, exact to the last digit.

    No metadata of the image is written, because it may hold a patient's name.

    Args:
        image: three-dimensional, scalar, uint8, uint16 or float32
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
        "TransformMatrix": _format_values([direction[3 * row + axis] for axis in range(3) for row in range(3)]),
        "Offset": _format_values(image.GetOrigin()),
        "CenterOfRotation": "0 0 0",
        "ElementSpacing": _format_values(image.GetSpacing()),
        "DimSize": " ".join(map(str, image.GetSize())),
        "ElementType": _WRITTEN_TYPES[voxels.dtype.name],
        "ElementDataFile": "LOCAL",
    }
    yield "".join(f"{key} = {value}\n" for key, value in fields.items()).encode("ascii")
    yield from packed


def _format_values(values: Sequence[float]) -> str:
    return " ".join(repr(float(value)) for value in values)


def _check_payload(header: MetaHeader, stored: int, path: Path) -> None:
    """Refuse a file with fewer or more bytes after its header than the header says, before memory is allocated."""
    needed = math.prod(header.grid.size) * header.dtype.itemsize
    stored = max(stored, 0)
    if not header.compressed and stored != needed:
        raise InputError(
            f"the file holds {stored} bytes of voxels, expected {needed}, in {format_path(path)}; "
            "copy or export it again"
        )
    if header.compressed and header.compressed_size not in {None, stored}:
        raise InputError(
            f"the file holds {stored} bytes of compressed voxels, expected {header.compressed_size} as its header "
            f"says, in {format_path(path)}; copy or export it again"
        )
    if header.compressed:
        check_inflatable(stored, needed, path)
