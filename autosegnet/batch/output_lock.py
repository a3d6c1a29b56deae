"""Stops two batches from writing to one OUTPUT: the second is refused at once.

Parts of one division (`--part 1/4`, `--part 2/4`) share no study, so they may run together; each locks only its part.
A lock ends with the process that holds it, however it ends. If the file system has no locks, a warning says so.
"""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from autosegnet.errors import OutputError, UsageError, format_path

log = logging.getLogger(__name__)

_WHOLE = ".batch.lock"
_OF_A_PART = re.compile(r"\.batch-(\d+)-of-(\d+)\.lock")


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a cohort, number from 1."""

    number: int = 1
    of: int = 1

    @property
    def lock_name(self) -> str:
        """Return the name of the lock in OUTPUT."""
        return _WHOLE if self.of == 1 else f".batch-{self.number}-of-{self.of}.lock"


@contextmanager
def lock_output(output: Path, part: Part) -> Iterator[Callable[[], None]]:
    """Lock OUTPUT, or a part of it, within a `with` block.

    Yields:
        What raises an error if OUTPUT is held no longer; a lock of the system holds until it is released.

    Raises:
        UsageError: another batch holds it.
        OutputError: no file can be written there.
    """
    lock = FileLock(output / part.lock_name)
    try:
        output.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        _refuse(output, part.lock_name)
    except NotImplementedError:
        log.warning("the file system of OUTPUT has no locks; make sure that no other batch writes there")
    except OSError as error:
        raise OutputError(f"cannot write to {format_path(output)}: {error.strerror}") from error
    try:
        for name in sorted(os.listdir(output)):
            if is_other(name, part) and _is_held(output / name):
                _refuse(output, name)
        _write_holder(output / part.lock_name)
        yield lambda: None
    finally:
        lock.release()


def is_other(name: str, part: Part) -> bool:
    """Return whether a file is the lock of a run that would do some of the same studies."""
    if name == _WHOLE:
        return part.of != 1
    match = _OF_A_PART.fullmatch(name)
    return match is not None and (part.of == 1 or int(match[2]) != part.of)


def _is_held(path: Path) -> bool:
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True
    except (NotImplementedError, OSError):
        return False


def _refuse(output: Path, name: str) -> None:
    with suppress(OSError):
        holder = (output / name).read_text(encoding="utf-8").strip()
        if holder:
            raise UsageError(
                f"another batch is writing to {format_path(output)} ({format_path(holder, 80)}); "
                "wait for its end, choose another OUTPUT, or divide the studies with --part"
            )
    raise UsageError(f"another batch is writing to {format_path(output)}; wait for its end, or choose another OUTPUT")


def _write_holder(path: Path) -> None:
    with suppress(OSError):  # only for messages
        path.write_text(f"process {os.getpid()} on {socket.gethostname()}\n", encoding="utf-8")
