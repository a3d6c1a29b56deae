"""Splits a folder into small pieces of an archive, for a machine that returns only small files."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from autosegnet.io import write_bytes

_NAME = "weights.tar"


def split_folder(folder: Path, output: Path, piece_mib: float) -> list[Path]:
    """Write a folder's files as pieces of a tar archive; `cat weights.tar.* | tar x` joins them again.

    Args:
        folder: whose files are packed, under its own name.
        output: folder for `weights.tar.000`, `weights.tar.001`, …
        piece_mib: largest size of a piece.

    Returns:
        The pieces, in order.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(folder, arcname=folder.name)
    data, size = buffer.getvalue(), max(1, int(piece_mib * 2**20))
    pieces = []
    for number, first in enumerate(range(0, len(data), size)):
        path = output / f"{_NAME}.{number:03d}"
        write_bytes(data[first : first + size], path)
        pieces.append(path)
    return pieces
