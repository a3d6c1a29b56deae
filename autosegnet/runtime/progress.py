"""Shows the progress of a run: a bar on a terminal, elsewhere a line every ten seconds at most."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO, TypeVar

from autosegnet.errors import form_plural

log = logging.getLogger(__name__)

T = TypeVar("T")

_SECONDS_BETWEEN_LINES = 10.0


class TaskProgress:
    """Finished tasks, and the done shares of running ones."""

    def __init__(self, display: Callable[[float], None]) -> None:
        self._display, self._done, self._shares = display, 0, dict[int, float]()

    def tell(self, number: int, share: float) -> None:
        """Show how much of a task is done."""
        self._shares[number] = min(share, 0.99)  # because its result is not written yet
        self._display(self._done + sum(self._shares.values()))

    def finish(self, number: int) -> None:
        """Show that a task has ended, with or without success."""
        self._shares.pop(number, None)
        self._done += 1
        self._display(self._done + sum(self._shares.values()))


@contextmanager
def show_progress(total: int, *, unit: str, stream: TextIO) -> Iterator[TaskProgress]:
    """Show how many tasks are done, the time per task and the time left. Running tasks count in part.

    Args:
        total: tasks.
        unit: name of a task, in the singular.
        stream: a terminal gets a bar; for anything else the log gets lines.
    """
    with _show(unit, stream) as display:
        yield TaskProgress(lambda done: display(done, total))


@contextmanager
def show_passes(stream: TextIO) -> Iterator[Callable[[int, int], None]]:
    """Show the passes of the network.

    Yields:
        What `sliding_window.probability` calls with (done, all).
    """
    with _show("pass", stream) as display:
        yield display


def iterate_shown(tasks: Sequence[T], *, unit: str) -> Iterator[T]:
    """Yield the tasks, and show on stderr how many are done."""
    with show_progress(len(tasks), unit=unit, stream=sys.stderr) as progress:
        for number, task in enumerate(tasks):
            yield task
            progress.finish(number)


@contextmanager
def _show(unit: str, stream: TextIO) -> Iterator[Callable[[float, int], None]]:
    if not stream.isatty():
        yield _TimedLines(unit)
        return
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    units = form_plural(unit)
    layout = f"{{percentage:3.0f}}%|{{bar}}| {{n:.1f}} of {{total}} {units}, {{elapsed}} gone, {{remaining}} left"
    loggers = [logging.getLogger("autosegnet")]
    with tqdm(total=1, file=stream, bar_format=layout) as bar, logging_redirect_tqdm(loggers=loggers):

        def advance(done: float, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield advance


class _TimedLines:
    """Lines in the log."""

    def __init__(self, unit: str) -> None:
        self._start = self._last = time.monotonic()
        self._unit = unit

    def __call__(self, done: float, total: int) -> None:
        now = time.monotonic()
        if done <= 0 or (now - self._last < _SECONDS_BETWEEN_LINES and done < total):
            return
        self._last = now
        each_s = (now - self._start) / done
        left = format_duration(each_s * (total - done))
        count = f"{done:.1f}".removesuffix(".0")
        log.info("%s of %d %s, %.3g s per %s, %s left", count, total, form_plural(self._unit), each_s, self._unit, left)


def format_duration(seconds: float) -> str:
    """Return a time as a person would say it: 90 s, 45 min, 5 h 20 min, 3.5 days."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 172_800:
        hours, rest = divmod(int(seconds), 3600)
        return f"{hours} h {rest // 60} min"
    return f"{seconds / 86_400:.1f} days"
