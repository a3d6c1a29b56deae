"""Opens an image file: a regular file, not empty, not a git-LFS pointer."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autosegnet.errors import InputError, format_path
from autosegnet.io.regular_files import open_regular_file

# First line of a pointer file: git-lfs, docs/spec.md.
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


@contextmanager
def open_image(path: Path) -> Iterator[io.FileIO]:
    """Open the file for reading, at its beginning.

    Raises:
        InputError: missing, unreadable, not a regular file (a folder, a pipe), empty, or a git-LFS pointer;
            and when reading fails while it is open
    """
    try:
        with open_regular_file(path) as file:
            _check_content(file, path)
            yield file
    except OSError as error:
        raise InputError(
            f"cannot read {format_path(path)}: {error.strerror or 'input error'}; expected a readable image file"
        ) from error


def _check_content(file: io.FileIO, path: Path) -> None:
    if get_file_size(file) == 0:
        raise InputError(f"the file is empty (0 bytes), expected an image, at {format_path(path)}; copy it again")
    if file.read(len(_LFS_POINTER)) == _LFS_POINTER:
        raise InputError(f"found a git-LFS pointer instead of its image at {format_path(path)}; run 'git lfs pull'")
    file.seek(0)


def get_file_size(file: io.FileIO) -> int:
    """Return the size in bytes of an open file."""
    return os.fstat(file.fileno()).st_size
