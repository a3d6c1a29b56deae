"""Opening what should be an image file: a regular file with something in it, not a git-LFS pointer."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from autosegnet.errors import InputError
from autosegnet.io.wording import shown

# First line of a pointer file: git-lfs, docs/spec.md.
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


@contextmanager
def opened_image(path: Path) -> Iterator[BinaryIO]:
    """The file opened for reading, at its beginning.

    Raises:
        InputError: missing, unreadable, not a regular file (a folder, a pipe), empty, or a git-LFS pointer;
            and when reading fails while it is open
    """
    try:
        # Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise InputError(f"found something that is not a file, expected an image file, at {shown(path)}")
            if status.st_size == 0:
                raise InputError(f"the file is empty (0 bytes), expected an image, at {shown(path)}; copy it again")
            if file.read(len(_LFS_POINTER)) == _LFS_POINTER:
                raise InputError(
                    f"found a git-LFS pointer instead of the image it stands for at {shown(path)}; run 'git lfs pull'"
                )
            file.seek(0)
            yield file
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise InputError(
            f"cannot read {shown(path)}: {reason or 'not a usable file name'}; expected a readable image file"
        ) from error


def file_size(file: BinaryIO) -> int:
    """The size in bytes of an open file."""
    return os.fstat(file.fileno()).st_size
