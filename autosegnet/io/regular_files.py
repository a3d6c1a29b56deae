"""Opens what should be a regular file, without waiting for a pipe and without reading a device for ever."""

import errno
import io
import os
import stat
from pathlib import Path

# Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever; Windows has no such pipes, and would
# translate line ends without O_BINARY.
_FLAGS = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))


def open_regular_file(path: Path) -> io.FileIO:
    """Return the file opened for reading, without a buffer.

    Raises:
        OSError: it cannot be opened, is a folder, a pipe or a device, or its name is not usable
    """
    try:
        descriptor = os.open(path, _FLAGS)
    except ValueError as error:  # a NUL in the name, or half a character
        raise OSError(errno.EINVAL, "not a usable file name") from error
    file = io.FileIO(descriptor, "rb")
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "not a file, but a folder, a pipe or a device")
    return file
