"""Writes files whole or not at all: temporary file in the same folder, flushed to disk, read back, renamed.

A reader of the output folder sees the old state or the new one. Any failure is an OutputError and leaves no file.
A run that is killed leaves its temporary file, which is hidden and has a unique name. The next write to that folder
removes it: a writer locks its temporary file, and the lock ends with the process. On Windows, which has no such locks,
it is removed after a day. If a path is a link, the file is written where the link leads.
"""

import errno
import hashlib
import logging
import os
import re
import secrets
import stat
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from autosegnet.errors import OutputError, format_path

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

log = logging.getLogger(__name__)

_CLOSE_ON_EXEC, _BINARY, _NO_FOLLOW, _NO_WAIT = (
    getattr(os, name, 0) for name in ("O_CLOEXEC", "O_BINARY", "O_NOFOLLOW", "O_NONBLOCK")
)
_SECONDS_TO_WRITE = 86400.0  # seconds, if there are no locks; longer than writing any file takes
_READ_BYTES = 1 << 20
# Enough bytes to notice a full disk or a used-up quota.
_PROBE_BYTES = bytes(65_536)
_TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.part")
_ADVICE = {
    getattr(errno, "EDQUOT", errno.ENOSPC): "free some of the quota",
    errno.ENOSPC: "free some space there",
    errno.EFBIG: "raise the limit on file size",
    errno.EACCES: "choose a folder that can be written to",
    errno.EPERM: "choose a folder that can be written to",
    errno.EROFS: "choose a folder that can be written to",
    errno.ENOTDIR: "part of the path is a file; choose another folder",
    errno.EEXIST: "part of the path is a file; choose another folder",
    errno.EISDIR: "a folder has that name; choose another name",
    errno.ENAMETOOLONG: "choose a shorter name",
}


def write_files(files: Mapping[Path, Iterable[bytes]], *, swept: Collection[Path] = ()) -> None:
    """Write the chunks of each file. Either all files appear, each whole, or none.

    They get their names in order once all of them are on the disk. Missing folders are made.

    Args:
        files: chunks by path
        swept: folders that `sweep_folder` has already searched for temporary files of killed runs. A search takes time
            for every file in them

    Raises:
        OutputError: one of them cannot be written, or what was read back differs from what was written
    """
    files = {_resolve_target(path): chunks for path, chunks in files.items()}
    # All before the first is written: on NFS, a process's own locks do not stop it from removing its own files.
    for path in files:
        with _report_errors(path):
            _make_ready(path, swept)
    written: dict[Path, Path] = {}
    with ExitStack() as temporaries:
        for path, chunks in files.items():
            temporaries.enter_context(_report_errors(path))
            temporary, file = temporaries.enter_context(_open_temporary(path.parent))
            digest = _write_flushed(chunks, file)
            if fcntl is None:
                file.close()  # Windows cannot rename an open file
            if digest != _digest(temporary):
                raise OutputError(f"cannot write {format_path(path)}: what was read back differs from what was written")
            written[path] = temporary
        _name_all(written)


def _resolve_target(path: Path) -> Path:
    """Return where a file is written: itself, or where the link of that name leads."""
    with _report_errors(path):
        if not os.path.islink(path):
            return path
        target = Path(os.path.realpath(path))
        if not target.parent.is_dir():  # such as a share that is not mounted at the moment
            raise FileNotFoundError(errno.ENOENT, "it is a link into a folder that does not exist")
        return target


def encode_text(text: str) -> bytes:
    """Return the text in UTF-8; bytes of file names that are not UTF-8 stay as they are."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a character, which JSON allows
        return text.encode("utf-8", "backslashreplace")


def _name_all(written: Mapping[Path, Path]) -> None:
    """Give each temporary file its path, or remove them all; a signal may come at any moment."""
    try:
        for path, temporary in written.items():
            with _report_errors(path):
                os.replace(temporary, path)
        for path in written:
            with _report_errors(path):
                _flush_folder(path.parent)
    except BaseException:
        for path, temporary in written.items():
            if not temporary.exists():  # it has been renamed to `path`
                path.unlink(missing_ok=True)
        raise


def write_bytes(data: bytes, path: Path) -> None:
    """Write the bytes, so that `path` appears whole or not at all.

    Raises:
        OutputError: it cannot be written
    """
    write_files({path: (data,)})


def write_text(text: str, path: Path) -> None:
    """Write the text as UTF-8, so that `path` appears whole or not at all.

    Raises:
        OutputError: it cannot be written
    """
    write_bytes(encode_text(text), path)


def probe_output(path: Path) -> None:
    """Check before the work begins that `path` can be written. A missing folder is made, and stays.

    Raises:
        OutputError: the folder cannot be made or written to, or `path` is a folder
    """
    path = _resolve_target(path)
    with _report_errors(path):
        _make_ready(path)
        with _open_temporary(path.parent) as (_, file):
            _write_flushed((_PROBE_BYTES,), file)


def _make_ready(path: Path, swept: Collection[Path] = ()) -> None:
    _refuse_other_kinds(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.parent not in swept:
        sweep_folder(path.parent)


@contextmanager
def _open_temporary(folder: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """Yield a new locked file, and remove it afterwards unless it was renamed."""
    temporary = folder / f".{secrets.token_hex(8)}.part"
    try:
        with open(_open_locked_file(temporary), "wb") as file:
            yield temporary, file
        _remove(temporary)
    except BaseException:  # also after a signal during the removal above, which would interrupt a `finally`
        _remove(temporary)
        raise


def _remove(temporary: Path) -> None:
    with suppress(OSError):  # a failure to remove must not hide the error that led here
        temporary.unlink()


def _open_locked_file(path: Path) -> int:
    """Return a new file with the mode that umask leaves. If another run removes it before the lock, make another."""
    while True:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _CLOSE_ON_EXEC | _BINARY, 0o666)
        if fcntl is None:
            return descriptor
        _lock_file(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return descriptor
        os.close(descriptor)


def _lock_file(descriptor: int, how: int) -> bool:
    """Lock the file, and return whether that worked: not if another process holds it or the folder has no locks."""
    try:
        fcntl.flock(descriptor, how)
    except OSError:
        return False
    return True


def sweep_folder(folder: Path) -> None:
    """Remove the temporary files of killed runs: those that no process has locked."""
    removed = 0
    for name in os.listdir(folder):
        if _TEMPORARY.fullmatch(name):
            with suppress(OSError):  # already removed, or another user's
                removed += _remove_leftover(folder / name)
    if removed:
        log.info("removed %d temporary files of runs that were killed, in the output's folder", removed)


def _remove_leftover(path: Path) -> bool:
    if fcntl is None:
        old = time.time() - path.stat().st_mtime > _SECONDS_TO_WRITE
        if old:
            path.unlink()
        return old
    descriptor = os.open(path, os.O_RDONLY | _NO_FOLLOW | _NO_WAIT | _CLOSE_ON_EXEC)
    try:
        free = _lock_file(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if free:
            path.unlink()
        return free
    finally:
        os.close(descriptor)


@contextmanager
def _report_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        advice = f"; {_ADVICE[error.errno]}" if error.errno in _ADVICE else ""
        raise OutputError(f"cannot write {format_path(path)}: {error.strerror or 'output error'}{advice}") from error


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


def _write_flushed(chunks: Iterable[bytes], file: BinaryIO) -> bytes:
    """Write through to the disk, and return the digest of what was written."""
    digest = hashlib.blake2b()
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
    """Make the rename durable, if the system can: some file systems answer EINVAL or ENOTSUP, and Windows cannot."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | _CLOSE_ON_EXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
            raise
    finally:
        os.close(descriptor)
