"""Bytes that wait on the disk of this machine until they are used or sent: the headers of all studies of a cohort.

The file has no name, so whatever it holds of patients is gone with the process, however it ends.
"""

from __future__ import annotations

import threading
import weakref
from tempfile import TemporaryFile
from typing import Any, Protocol

from autosegnet.errors import OutputError


class Bytes(Protocol):
    """Bytes, wherever they are."""

    def read(self) -> bytes:
        """Return them."""


class Sent:
    """Bytes in memory, such as those that another process sent."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self) -> bytes:
        """Return them."""
        return self._data


class Spool:
    """A file of bytes that are kept in memory no longer."""

    def __init__(self) -> None:
        self._file = TemporaryFile(prefix="autosegnet-")  # noqa: SIM115
        weakref.finalize(self, self._file.close)  # once nobody holds any of its bytes
        self._lock = threading.Lock()  # studies are read by another thread than the one that sends them

    def keep(self, data: bytes) -> Kept:
        """Write bytes, and return what finds them.

        Raises:
            OutputError: the disk of temporary files is full.
        """
        try:
            with self._lock:
                at = self._file.seek(0, 2)
                self._file.write(data)
        except OSError as error:
            raise OutputError(
                f"cannot write a temporary file: {error.strerror}; TMPDIR names a folder with more space"
            ) from error
        return Kept(self, at, len(data))

    def read(self, at: int, length: int) -> bytes:
        """Return bytes that were written."""
        with self._lock:
            self._file.seek(at)
            return self._file.read(length)


class Kept:
    """Bytes in a spool. Sent to another process, they are bytes in its memory."""

    __slots__ = ("_at", "_length", "_spool")

    def __init__(self, spool: Spool, at: int, length: int) -> None:
        self._spool, self._at, self._length = spool, at, length

    def read(self) -> bytes:
        """Return them."""
        return self._spool.read(self._at, self._length)

    def __reduce__(self) -> tuple[Any, ...]:
        return Sent, (self.read(),)
