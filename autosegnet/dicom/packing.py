"""Pack headers that were parsed into bytes, to be kept or sent until their study is read: 0.1 to 0.2 kB per slice."""

import lzma
import pickle
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from autosegnet.dicom.header import Header, keep_quiet

_QUICK = 0  # slices differ in little, so more time saves little


def pack_headers(headers: Iterable[Header]) -> bytes:
    """Return headers as bytes, which only `unpack_headers` of the same version reads."""
    each = [pickle.dumps(header) for header in headers]  # one by one, so that they look alike to the compression
    return lzma.compress(pickle.dumps(each), preset=_QUICK)


def unpack_headers(packed: bytes, folder: Path) -> list[Header]:
    """Return the headers that were packed.

    Args:
        packed: by a process of this run; bytes from anywhere else must not get here, because pickles run code.
        folder: that the files lie in now.
    """
    with keep_quiet():
        headers: list[Header] = [
            pickle.loads(header)  # noqa: S301  (our own)
            for header in pickle.loads(lzma.decompress(packed))  # noqa: S301
        ]
    return [replace(header, path=folder / header.path.name) for header in headers]
