"""Fill one preallocated buffer from a file, plain or zlib-compressed, with exactly the bytes it has room for.

zlib-ng inflates what zlib does, with the same checks, and faster.
"""

from collections.abc import Iterator
from io import FileIO
from pathlib import Path

from zlib_ng import zlib_ng

from autosegnet.errors import InputError, format_path

# Which header zlib expects (zlib manual, inflateInit2). MetaIO takes a zlib or a gzip stream, too.
GZIP = 31
GZIP_MAGIC = b"\x1f\x8b"
ZLIB_OR_GZIP = 47
# Deflate never packs more than 1032 bytes into one (zlib, technical details: maximum compression factor).
_HIGHEST_RATIO = 1032
# Programs end a file with one (bgzip) or a few empty streams. A million would take seconds and hold nothing.
_MOST_EMPTY_STREAMS = 100
# Small enough to stay in a processor's cache between inflating and copying (measured: 64 KiB and 256 KiB are fastest).
_READ_BYTES = 1 << 16
_INFLATE_BYTES = 1 << 18


def check_inflatable(stored: int, needed: int, path: Path) -> None:
    """Refuse a compressed stream too short to hold the voxels, before memory is taken for them.

    Raises:
        InputError: `stored` compressed bytes cannot hold `needed` bytes
    """
    if stored * _HIGHEST_RATIO < needed:
        raise InputError(
            f"the file holds {max(stored, 0)} bytes of compressed voxels, too few for the {needed} bytes that its "
            f"header announces, in {format_path(path)}; copy or export it again"
        )


def read_into(file: FileIO, buffer: memoryview, *, path: Path) -> None:
    """Fill the buffer with the next bytes of a file opened without buffering.

    Raises:
        InputError: the file ends first
    """
    filled = 0
    while filled < len(buffer):
        count = file.readinto(buffer[filled:])
        if not count:
            raise InputError(f"the file holds {filled} bytes, expected {len(buffer)}, in {format_path(path)}")
        filled += count


def inflate_into(file: FileIO, buffer: memoryview, *, wbits: int, several: bool, path: Path, skip: int = 0) -> None:
    """Fill the buffer with the inflated rest of the file, without its first `skip` bytes; checksums are verified.

    Args:
        file: at the first compressed byte
        buffer: of bytes
        wbits: `GZIP` or `ZLIB_OR_GZIP`
        several: whether the file may be several streams end to end, as gzip allows
        skip: how many bytes come before those for the buffer

    Raises:
        InputError: damage, a wrong checksum, or more or fewer bytes than the buffer has room for
    """
    done, expected = 0, skip + len(buffer)
    for chunk in _inflate(file, wbits=wbits, several=several, path=path):
        if done + len(chunk) > expected:
            raise InputError(
                f"the compressed data inflate to more than the {expected} bytes that the header announces "
                f"(at least {done + len(chunk)}), in {format_path(path)}"
            )
        kept = memoryview(chunk)[max(0, skip - done) :]
        start = max(0, done - skip)
        buffer[start : start + len(kept)] = kept
        done += len(chunk)
    if done != expected:
        raise InputError(
            f"the compressed data inflate to {done} bytes, expected {expected}, in {format_path(path)}; "
            "copy or export it again"
        )


def inflate_first(file: FileIO, count: int, *, wbits: int, path: Path) -> bytes:
    """Return the first `count` bytes that the rest of the file inflates to, or as many as there are.

    Raises:
        InputError: damage or the end of the file before that
    """
    first = b""
    for chunk in _inflate(file, wbits=wbits, several=True, path=path):
        first += chunk
        if len(first) >= count:
            break
    return first[:count]


def _inflate(file: FileIO, *, wbits: int, several: bool, path: Path) -> Iterator[bytes]:
    done = empty = 0
    before = 0  # bytes that were inflated when the present stream began
    stream = zlib_ng.decompressobj(wbits)
    packed = file.read(_READ_BYTES)
    while True:
        try:
            chunk = stream.decompress(packed, _INFLATE_BYTES)
        except zlib_ng.error as error:  # type: ignore[misc]  # a class, which its stub has as an instance
            raise InputError(
                f"the compressed data are damaged after {done} bytes, expected an intact stream, "
                f"in {format_path(path)}; copy or export it again"
            ) from error
        done += len(chunk)
        yield chunk
        if stream.eof:
            packed = stream.unused_data or file.read(_READ_BYTES)
            if packed and not several:
                raise InputError(f"there are bytes after the compressed data, expected none, in {format_path(path)}")
            packed = _skip_zeros(packed, file)
            if not packed:
                return
            empty += done == before
            if empty > _MOST_EMPTY_STREAMS:
                raise InputError(
                    f"the compressed data hold more than {_MOST_EMPTY_STREAMS} empty streams, expected an image, "
                    f"in {format_path(path)}"
                )
            before, stream = done, zlib_ng.decompressobj(wbits)
        else:
            # Without input left, zlib may still hold output.
            packed = stream.unconsumed_tail or file.read(_READ_BYTES)
            if not packed and not chunk:
                raise InputError(
                    f"the compressed data end too early, after {done} bytes, in {format_path(path)}; "
                    "copy or export it again"
                )


def _skip_zeros(packed: bytes, file: FileIO) -> bytes:
    """Return what follows the zero bytes that tapes and block devices put after a gzip stream (gzip(1), "ignored")."""
    while packed and not (packed := packed.lstrip(b"\0")):
        packed = file.read(_READ_BYTES)
    return packed
