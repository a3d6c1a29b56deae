"""Progress of a study and of a batch: a bar on a terminal, elsewhere a line every ten seconds at most."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

log = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Studies done, and the shares of those under way."""

    def __init__(self, shown: Callable[[float], None]) -> None:
        self._shown, self._done, self._shares = shown, 0, dict[str, float]()

    def tell(self, case: str, share: float) -> None:
        """Show how much of a study is done."""
        self._shares[case] = min(share, 0.99)  # the mask is still to be made and written
        self._shown(self._done + sum(self._shares.values()))

    def finish(self, case: str) -> None:
        """Show that a study is done, well or not."""
        self._shares.pop(case, None)
        self._done += 1
        self._shown(self._done + sum(self._shares.values()))


@contextmanager
def show_studies(stream: TextIO, of: int) -> Iterator[Progress]:
    """Show how many studies are done: a bar on a terminal, elsewhere a line every ten seconds at most.

    Studies under way count in part.
    """
    if stream.isatty():
        from tqdm import tqdm
        from tqdm.contrib.logging import logging_redirect_tqdm

        layout = "{percentage:3.0f}%|{bar}| {n:.1f} of {total} studies, {elapsed} gone, {remaining} left"
        with (
            tqdm(total=of, file=stream, bar_format=layout) as bar,
            logging_redirect_tqdm(loggers=[logging.getLogger("autosegnet")]),
        ):

            def advance(done: float) -> None:
                bar.update(done - bar.n)

            yield Progress(advance)
    else:
        yield Progress(_TimedStudies(of))


class _TimedStudies:
    def __init__(self, of: int) -> None:
        self._start = self._last = time.monotonic()
        self._of = of

    def __call__(self, done: float) -> None:
        now = time.monotonic()
        if done <= 0 or (now - self._last < _SECONDS_BETWEEN_LINES and done < self._of):
            return
        self._last = now
        each = (now - self._start) / done
        log.info("%.1f of %d studies, %.0f s per study, %.0f s left", done, self._of, each, each * (self._of - done))


@contextmanager
def show_passes(stream: TextIO) -> Iterator[Callable[[int, int], None]]:
    """Show the passes of the network: a bar on a terminal, elsewhere a line every ten seconds at most.

    Yields:
        What `sliding_window.predict_probability` calls with (done, all).
    """
    if stream.isatty():
        from tqdm import tqdm

        with tqdm(desc="windows x folds", file=stream, unit="pass") as bar:

            def advance(done: int, of: int) -> None:
                bar.total = of
                bar.update(done - bar.n)

            yield advance
    else:
        yield _TimedLines()


class _TimedLines:
    def __init__(self) -> None:
        self._start = self._last = time.monotonic()

    def __call__(self, done: int, of: int) -> None:
        now = time.monotonic()
        if now - self._last < _SECONDS_BETWEEN_LINES and done != of:
            return
        self._last = now
        rate = (now - self._start) / done
        log.info("pass %d of %d, %.2f s per pass, %.0f s left", done, of, rate, rate * (of - done))
