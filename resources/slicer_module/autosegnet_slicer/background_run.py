"""Runs commands one after the other without making the caller wait; the caller asks now and then how far they are."""

from __future__ import annotations

import os
import subprocess
from collections import deque
from collections.abc import Mapping, Sequence
from queue import Empty, SimpleQueue
from threading import Thread

_KEPT_LINES = 200


class BackgroundRun:
    """Commands that run in the background.

    Args:
        commands: words of each.
        environment: for all of them.
    """

    def __init__(self, commands: Sequence[Sequence[str]], environment: Mapping[str, str]) -> None:
        self._waiting = deque(commands)
        self._environment = dict(environment)
        self._lines: SimpleQueue[str] = SimpleQueue()
        self._said: deque[str] = deque(maxlen=_KEPT_LINES)
        self._process: subprocess.Popen[str] | None = None
        self._reader: Thread | None = None
        self._is_cancelled = False
        self.code: int | None = None
        """Of the command that ended the run; None while it goes on."""
        self._start_next()

    def poll(self) -> list[str]:
        """Return the lines that were said since the last call; `code` tells afterwards whether the run is over."""
        if self._process is not None and self._process.poll() is not None:
            assert self._reader is not None
            self._reader.join()
            code, self._process = self._process.returncode, None
            if code == 0 and self._waiting:
                self._start_next()
            else:
                self.code = code
        fresh = []
        while True:
            try:
                fresh.append(self._lines.get_nowait())
            except Empty:
                break
        self._said.extend(fresh)
        return fresh

    def cancel(self) -> None:
        """End what runs; autosegnet then leaves no output behind."""
        self._waiting.clear()
        self._is_cancelled = True
        if self._process is not None:
            self._process.terminate()

    def explain(self) -> str:
        """Return why the run failed: the last line, which is autosegnet's message."""
        if self._is_cancelled:
            return "The job was cancelled."
        return self._said[-1] if self._said else "the program said nothing"

    def _start_next(self) -> None:
        command = self._waiting.popleft()
        try:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="replace",
                env=self._environment,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0) if os.name == "nt" else 0,
            )
        except OSError as error:
            self._lines.put(f"{command[0]} does not start: {error.strerror}")
            self.code = -1
            return
        self._reader = Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        with process.stderr as stream:
            for line in stream:
                if text := line.strip():
                    self._lines.put(text)
