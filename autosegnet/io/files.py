"""Writes files whole or not at all: temporary file in the same folder, flushed to disk, read back, renamed.

A reader of the output folder sees the old state or the new one. Any failure is an OutputError and leaves no file.
"""

import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from autosegnet.errors import OutputError
from autosegnet.io.wording import shown

_READ_BYTES = 1 << 20
# Enough to meet a full disk or a used-up quota.
_PROBE_BYTES = bytes(65_536)
_ADVICE = {
    errno.ENOSPC: "free some space there",
    errno.EDQUOT: "free some of the quota",
    errno.EFBIG: "raise the limit on file size",
    errno.EACCES: "choose a folder that can be written to",
    errno.EPERM: "choose a folder that can be written to",
    errno.EROFS: "choose a folder that can be written to",
    errno.ENOTDIR: "part of the path is a file; choose another folder",
    errno.EEXIST: "part of the path is a file; choose another folder",
    errno.EISDIR: "a folder has that name; choose another name",
    errno.ENAMETOOLONG: "choose a shorter name",
}


def write_chunks(chunks: Iterable[bytes], path: Path) -> None:
    """Write the chunks one after the other, so that `path` appears whole or not at all; missing folders are made.

    Raises:
        OutputError: it cannot be written, or what was read back differs from what was written
    """
    with _reported(path):
        _refuse_other_kinds(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f".{secrets.token_hex(8)}.part"
        try:
            digest = _write_flushed(chunks, temporary)
            if _digest(temporary) != digest:
                raise OutputError(f"cannot write {shown(path)}: what was read back differs from what was written")
            os.replace(temporary, path)
        except BaseException:
            _removed(temporary)
            raise
        _flush_folder(path.parent)


def write_bytes(data: bytes, path: Path) -> None:
    """Write the bytes, so that `path` appears whole or not at all.

    Raises:
        OutputError: it cannot be written
    """
    write_chunks((data,), path)


def write_text(text: str, path: Path) -> None:
    """Write the text as UTF-8, so that `path` appears whole or not at all.

    Raises:
        OutputError: it cannot be written
    """
    write_bytes(text.encode("utf-8"), path)


def probe_output(path: Path) -> None:
    """Make sure, before the work begins, that `path` can be written: its folder is made where missing, and stays.

    Raises:
        OutputError: the folder cannot be made or written to, or `path` is a folder
    """
    with _reported(path):
        _refuse_other_kinds(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f".{secrets.token_hex(8)}.part"
        try:
            _write_flushed((_PROBE_BYTES,), temporary)
        finally:
            _removed(temporary)


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        advice = f"; {_ADVICE[error.errno]}" if error.errno in _ADVICE else ""
        raise OutputError(f"cannot write {shown(path)}: {error.strerror or 'output error'}{advice}") from error


def _refuse_other_kinds(path: Path) -> None:
    """Raise OSError for a folder, a device such as /dev/null (a rename would replace it), and impossible names."""
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "something that is not a file has that name; choose another name")
    except FileNotFoundError:
        return
    except ValueError as error:  # a NUL in the name
        raise OSError(errno.EINVAL, "not a usable file name") from error


def _removed(temporary: Path) -> None:
    """Remove the file where it is; a failure must not hide the error that led here."""
    with suppress(OSError):
        temporary.unlink()


def _write_flushed(chunks: Iterable[bytes], temporary: Path) -> bytes:
    """Write a new file down to the disk; its digest. The mode is the one that umask leaves."""
    digest = hashlib.blake2b()
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666), "wb") as file:
        for chunk in chunks:
            file.write(chunk)
            digest.update(chunk)
        file.flush()
        os.fsync(file.fileno())
    return digest.digest()


def _digest(path: Path) -> bytes:
    digest = hashlib.blake2b()
    with path.open("rb") as file:
        while chunk := file.read(_READ_BYTES):
            digest.update(chunk)
    return digest.digest()


def _flush_folder(folder: Path) -> None:
    """Make the rename durable; file systems that cannot flush a folder say EINVAL or ENOTSUP."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
            raise
    finally:
        os.close(descriptor)
