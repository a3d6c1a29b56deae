"""Opening what should be an image file: a regular file with something in it, not a git-LFS pointer."""

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autosegnet.errors import InputError, format_path

# First line of a pointer file: git-lfs, docs/spec.md.
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


@contextmanager
def opened_image(path: Path) -> Iterator[io.FileIO]:
    """The file opened for reading, at its beginning.

    Raises:
        InputError: missing, unreadable, not a regular file (a folder, a pipe), empty, or a git-LFS pointer;
            and when reading fails while it is open
    """
    try:
        with open(_descriptor(path), "rb", buffering=0) as file:
            _check_kind(file, path)
            yield file
    except OSError as error:
        raise InputError(
            f"cannot read {format_path(path)}: {error.strerror or 'input error'}; expected a readable image file"
        ) from error


def _descriptor(path: Path) -> int:
    try:
        # Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever.
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError as error:  # a NUL in the name
        raise InputError(f"cannot read {format_path(path)}: not a usable file name") from error


def _check_kind(file: io.FileIO, path: Path) -> None:
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"found something that is not a file, expected an image file, at {format_path(path)}")
    if status.st_size == 0:
        raise InputError(f"the file is empty (0 bytes), expected an image, at {format_path(path)}; copy it again")
    if file.read(len(_LFS_POINTER)) == _LFS_POINTER:
        raise InputError(
            f"found a git-LFS pointer instead of the image it stands for at {format_path(path)}; run 'git lfs pull'"
        )
    file.seek(0)


def file_size(file: io.FileIO) -> int:
    """The size in bytes of an open file."""
    return os.fstat(file.fileno()).st_size
