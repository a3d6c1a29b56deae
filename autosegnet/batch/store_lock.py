"""Keeps two batches from writing to one OUTPUT in an object store: the second is refused at once.

Stores have no locks, but most make a file only if it is not there yet. The batch that made it holds OUTPUT, and writes
it anew twice a minute. A file that was not written for longer is of a batch that was killed. A batch whose file another
has taken over, as may happen after a long time without a network, ends.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from autosegnet.batch.output_lock import Part, is_other
from autosegnet.errors import AutosegnetError, OutputError, UsageError, format_path
from autosegnet.io.remote import RemoteFolder

log = logging.getLogger(__name__)

_SECONDS_BETWEEN_BEATS = 30.0
_SECONDS_HELD = 150.0  # since the last beat; a store's clock is compared with itself alone
_HOLDER = re.compile(r"process (\d+) on (\S+) \w+")


@contextmanager
def lock_store(remote: RemoteFolder, part: Part) -> Iterator[Callable[[], None]]:
    """Lock OUTPUT, or a part of it, within a `with` block.

    Yields:
        What raises OutputError if OUTPUT is held no longer.

    Raises:
        UsageError: another batch holds it.
        InputError, OutputError: the store does not answer or does not allow it.
    """
    lock = _Lock(remote, part.lock_name, f"process {os.getpid()} on {socket.gethostname()} {secrets.token_hex(8)}")
    if not remote.create(lock.name, lock.holder):
        _refuse_if_held(remote, lock.name)
        remote.remove([lock.name])
        if not remote.create(lock.name, lock.holder):
            _refuse(remote, "a batch that started at the same time")
    ended = threading.Event()
    beats = threading.Thread(target=lock.beat, args=(ended,), daemon=True)
    try:
        for name in remote.list_hidden():
            if is_other(name, part):
                _refuse_if_held(remote, name)
        beats.start()
        yield lock.check
    finally:
        ended.set()
        if beats.ident is not None:
            beats.join()
        with suppress(AutosegnetError):
            if lock.is_ours():
                remote.remove([lock.name])


@dataclass(slots=True)
class _Lock:
    """The file of a batch that holds OUTPUT."""

    remote: RemoteFolder
    name: str
    text: str
    is_lost: bool = False

    @property
    def holder(self) -> bytes:
        return self.text.encode(errors="replace")

    def check(self) -> None:
        """Raise OutputError if another batch has taken OUTPUT over."""
        if self.is_lost:
            raise OutputError(
                f"another batch has taken over {self.remote.url}, which this one could not reach for "
                f"{_SECONDS_HELD:.0f} s; what is done stays done"
            )

    def is_ours(self) -> bool:
        found = self.remote.look_up(self.name)
        return found is not None and found[0] == self.holder

    def beat(self, ended: threading.Event) -> None:
        """Write the file anew until the batch ends, or until it is another's."""
        while not ended.wait(_SECONDS_BETWEEN_BEATS):
            try:
                if not self.is_ours():
                    self.is_lost = True
                    return
                self.remote.replace(self.name, self.holder)
            except AutosegnetError as error:
                log.warning("%s; trying again", error)


def _refuse_if_held(remote: RemoteFolder, name: str) -> None:
    found = remote.look_up(name)
    if found is None:
        return
    text = found[0].decode(errors="replace")
    seconds = _tell_time(remote) - found[1].changed_ns / 1e9
    if seconds < _SECONDS_HELD and not _has_ended(text):
        _refuse(remote, f"{text.rpartition(' ')[0]}, {max(0.0, seconds):.0f} s ago")
    log.warning("a batch was killed that was writing to %s (%s)", remote.url, format_path(text.rpartition(" ")[0], 80))


def _refuse(remote: RemoteFolder, holder: str) -> None:
    raise UsageError(
        f"another batch is writing to {remote.url} ({format_path(holder, 80)}); wait for its end, choose another "
        f"OUTPUT, or divide the studies with --part; if it was killed, try again in {_SECONDS_HELD:.0f} s"
    )


def _tell_time(remote: RemoteFolder) -> float:
    """Return the seconds since 1970 by the store's clock."""
    name = f".batch-clock-{secrets.token_hex(8)}"
    remote.replace(name, b"?")
    found = remote.look_up(name)
    remote.remove([name])
    return 0.0 if found is None else found[1].changed_ns / 1e9


def _has_ended(text: str) -> bool:
    """Return whether the holder was a process of this machine that is gone."""
    match = _HOLDER.fullmatch(text)
    if match is None or match[2] != socket.gethostname() or os.name != "posix":
        return False
    try:
        os.kill(int(match[1]), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
