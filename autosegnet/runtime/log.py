"""The program's log: its lines, the case that a line is about, and the warnings that belong to a study."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import TextIO

from autosegnet.errors import escape

_CASE: ContextVar[str] = ContextVar("case", default="")  # each thread has its own


def log_to(stream: TextIO) -> None:
    """Send the program's log to a stream, one line per message, with the time of day."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LogLines("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    log_through(handler)


def log_through(handler: logging.Handler) -> None:
    """Send the program's log only through this handler."""
    root = logging.getLogger("autosegnet")
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    root.propagate = False


class LogLines(logging.Formatter):
    """Writes each message as one printable line, after the name of the case that it is `about`."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (logging's name)
        """Return the line of a record."""
        if case := _CASE.get():
            record.message = f"[{case}] {record.message}"
        return escape(super().formatMessage(record))

    def formatException(  # noqa: N802  (logging's name)
        self, ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
    ) -> str:
        """Return the lines of a traceback, each printable."""
        return "\n".join(map(escape, super().formatException(ei).splitlines()))


@contextmanager
def log_about(case: str) -> Iterator[None]:
    """Name the case in every line that this thread logs within a `with` block."""
    before = _CASE.set(case)
    try:
        yield
    finally:
        _CASE.reset(before)


@contextmanager
def keep_study_warnings() -> Iterator[list[str]]:
    """Collect warnings about a study for its report. Such messages name no file and no patient.

    Warnings of this thread and of threads that run in a copy of its context are collected.

    Yields:
        The messages, as they come.
    """
    handler = _StudyWarnings()
    root = logging.getLogger("autosegnet")
    root.addHandler(handler)
    before = _KEEPER.set(handler)
    try:
        yield handler.messages
    finally:
        _KEEPER.reset(before)
        root.removeHandler(handler)


class _StudyWarnings(logging.Handler):
    _ABOUT_STUDIES = tuple(
        f"autosegnet.{name}" for name in ("dicom", "io", "judgement", "loading", "preprocess", "study", "suv")
    )

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if _KEEPER.get() is self and record.name.startswith(self._ABOUT_STUDIES):
            self.messages.append(record.getMessage())


_KEEPER: ContextVar[_StudyWarnings | None] = ContextVar("keeper", default=None)
