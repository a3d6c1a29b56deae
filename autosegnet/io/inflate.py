"""Fills one preallocated buffer from a file, plain or zlib-compressed, with exactly the bytes it has room for."""

import zlib
from pathlib import Path
from typing import BinaryIO

from autosegnet.errors import InputError
from autosegnet.io.wording import shown

# Deflate never packs more than 1032 bytes into one (zlib, technical details: maximum compression factor).
_HIGHEST_RATIO = 1032
# Small enough to stay in a processor's cache between inflating and copying (measured: 64 KiB and 256 KiB are fastest).
_READ_BYTES = 1 << 16
_INFLATE_BYTES = 1 << 18
# Accept a zlib or a gzip stream, whichever its first bytes say (zlib manual, inflateInit2), as MetaIO does.
_ZLIB_OR_GZIP = 47


def check_inflatable(stored: int, needed: int, path: Path) -> None:
    """Refuse a compressed stream too short to hold the voxels, before memory is taken for them.

    Raises:
        InputError: `stored` compressed bytes cannot hold `needed` bytes
    """
    if stored * _HIGHEST_RATIO < needed:
        raise InputError(
            f"the file holds {max(stored, 0)} bytes of compressed voxels, too few for the {needed} bytes that its "
            f"header announces, in {shown(path)}; copy it again"
        )


def read_into(file: BinaryIO, buffer: memoryview, *, path: Path) -> None:
    """Fill the buffer with the next bytes of the file.

    Raises:
        InputError: the file ends first
    """
    filled = 0
    while filled < len(buffer):
        count = file.readinto(buffer[filled : filled + (1 << 30)])  # type: ignore[attr-defined]
        if not count:
            raise InputError(f"the file holds {filled} bytes of voxels, expected {len(buffer)}, in {shown(path)}")
        filled += count


def inflate_into(file: BinaryIO, buffer: memoryview, *, path: Path) -> None:
    """Fill the buffer with what the rest of the file inflates to: one stream, its checksum right, nothing behind it.

    Raises:
        InputError: damage, a wrong checksum, or more or fewer bytes than the buffer has room for
    """
    stream = zlib.decompressobj(_ZLIB_OR_GZIP)
    filled, packed = 0, b""
    try:
        while not stream.eof:
            packed = stream.unconsumed_tail or file.read(_READ_BYTES)
            chunk = stream.decompress(packed, _INFLATE_BYTES)
            if not packed and not chunk and not stream.eof:
                raise InputError(
                    f"the compressed voxels end after {filled} of {len(buffer)} bytes, in {shown(path)}; copy it again"
                )
            if filled + len(chunk) > len(buffer):
                raise InputError(
                    f"the compressed voxels inflate to more than the {len(buffer)} bytes that the header announces "
                    f"(at least {filled + len(chunk)}), in {shown(path)}"
                )
            buffer[filled : filled + len(chunk)] = chunk
            filled += len(chunk)
    except zlib.error as error:
        raise InputError(
            f"the compressed voxels are damaged after {filled} of {len(buffer)} bytes, expected an intact zlib stream, "
            f"in {shown(path)}; copy it again"
        ) from error
    if filled != len(buffer):
        raise InputError(
            f"the compressed voxels inflate to {filled} bytes, expected {len(buffer)}, in {shown(path)}; copy it again"
        )
    if stream.unused_data or file.read(1):
        raise InputError(f"there are bytes behind the compressed voxels, expected none, in {shown(path)}")
