"""What a person at a terminal, or a log, sees of a run: lines, progress, and the last line with its exit code."""

from __future__ import annotations

import argparse
import logging
import os
import platform
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn, TextIO

from autosegnet import __version__
from autosegnet.engines import DEVICES, Engine
from autosegnet.errors import AutosegnetError, UsageError
from autosegnet.weights import Weights, digest, open_weights

if TYPE_CHECKING:
    import SimpleITK as sitk

log = logging.getLogger(__name__)

OUT_OF_MEMORY = "out of memory: the study needs more than this machine or container allows"

_SECONDS_BETWEEN_LINES = 10.0
_SECONDS_TO_UNWIND = 8.0  # `docker stop` kills after ten
_IMPORT_SYSTEM = "<frozen importlib._bootstrap>"
_SECONDS_TO_FINISH_AN_IMPORT = 0.01  # before the next look; a lock is held for microseconds
_NO_MEMORY = ("Failed to allocate", "bad_alloc", "can't alloc")  # of ITK and OpenVINO, C++, torch and OpenVINO
_MOST_THREADS = 64  # of one library; two have as many, and a GPU's driver and a progress bar some
_CASE: ContextVar[str] = ContextVar("case", default="")  # each thread has its own


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors end the run like every other."""

    def error(self, message: str) -> NoReturn:
        """Raises UsageError after the usage text."""
        self.print_usage(sys.stderr)
        raise UsageError(message)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    Args:
        exit_code: of the contract; 0 where it is done.
        line: the last line on stderr, or "done".
    """

    exit_code: int
    line: str


def run(action: Callable[[], None]) -> int:
    """Runs an action and returns the exit code of the contract, as `attempt` says.

    SIGTERM and Ctrl-C unwind the run, so that temporary files go, and end it with 143 and 130.
    """
    signal.signal(signal.SIGTERM, terminate)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where the shell has it ignored, as for `&`
        signal.signal(signal.SIGINT, terminate)
    _limit_threads()
    try:
        return attempt(action).exit_code
    except KeyboardInterrupt:
        return 130


def attempt(action: Callable[[], None]) -> Outcome:
    """Runs an action; its errors become an outcome and the last line on stderr.

    0 done, 2 usage, 3 input, 4 weights, 5 output: for 2 to 5 the last line on stderr is
    `autosegnet: error: <what was found, what was expected, where>`. 1 is a bug and leaves a traceback.
    """
    try:
        action()
    except AutosegnetError as error:
        return _reported(str(error), error.exit_code)
    except Exception as error:
        if is_lack_of_memory(error):
            return _reported(OUT_OF_MEMORY, 3)
        # The contract's exit code of a bug.
        traceback.print_exc()
        return Outcome(1, f"autosegnet: error: a bug, {type(error).__name__}; the log holds its traceback")
    return Outcome(0, "done")


def is_lack_of_memory(error: Exception) -> bool:
    """Whether memory ran out: Python's and numpy's own error; those of ITK, C++, OpenVINO and torch by their words."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)
    )


def _limit_threads() -> None:
    """Keeps torch and ITK, which start a thread a core each, within a container's limit of 256 on any machine.

    Both read their variable when they are first used; one that the user has set stays.
    """
    if hasattr(os, "sched_getaffinity") and len(os.sched_getaffinity(0)) > _MOST_THREADS:
        for name in ("OMP_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"):
            os.environ.setdefault(name, str(_MOST_THREADS))


def terminate(signum: int, frame: FrameType | None) -> None:
    """Unwinds the run at a signal, so that temporary files go; after `_SECONDS_TO_UNWIND` it ends as it is.

    The exception comes anywhere in the main thread, so also between the taking of a lock and the `try` that gives it
    back. A thread that the unwinding waits for can then wait for that lock for ever. Seen with a lock of Python's
    import system: what runs there is let finish. For others, and for an exception that a callback swallows, there is
    the end.
    """
    for repeated in (signal.SIGTERM, signal.SIGINT):
        signal.signal(repeated, signal.SIG_IGN)  # it would cut the unwinding short
    end = time.monotonic() + _SECONDS_TO_UNWIND

    def unwind(_: int, frame: FrameType | None) -> None:
        left = end - time.monotonic()
        if left <= 0:
            os._exit(128 + signum)
        if frame is not None and frame.f_code.co_filename == _IMPORT_SYSTEM:
            signal.setitimer(signal.ITIMER_REAL, _SECONDS_TO_FINISH_AN_IMPORT)
            return
        signal.signal(signal.SIGALRM, lambda *_: os._exit(128 + signum))
        signal.setitimer(signal.ITIMER_REAL, left)
        raise KeyboardInterrupt if signum == signal.SIGINT else SystemExit(128 + signum)

    signal.signal(signal.SIGALRM, unwind)
    unwind(signum, frame)


def _reported(message: str, code: int) -> Outcome:
    line = "autosegnet: error: " + " ".join(message.split())
    sys.stdout.flush()
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
    return Outcome(code, line)


def log_to(stream: TextIO) -> None:
    """Sends the program's log to a stream, a line each with the time of day."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Lines("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    log_through(handler)


def log_through(handler: logging.Handler) -> None:
    """Sends the program's log through a handler alone."""
    root = logging.getLogger("autosegnet")
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    root.propagate = False


class Lines(logging.Formatter):
    """Puts the name of the case before each message that is `about` one."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (logging's name)
        """The line of a record."""
        if case := _CASE.get():
            record.message = f"[{case}] {record.message}"
        return super().formatMessage(record)


@contextmanager
def about(case: str) -> Iterator[None]:
    """Names the case in every line that this thread logs meanwhile."""
    before = _CASE.set(case)
    try:
        yield
    finally:
        _CASE.reset(before)


@contextmanager
def passes_shown(stream: TextIO) -> Iterator[Callable[[int, int], None]]:
    """Shows the passes of the network: a bar on a terminal, elsewhere a line every ten seconds at most.

    Yields:
        What `predict.probability` calls with (done, all).
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


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options that choose weights and device."""
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="DIR",
        help="folder with recipe.json and folds (default: $AUTOSEGNET_WEIGHTS, /opt/ml/model, the bundled weights)",
    )
    parser.add_argument(
        "--device",
        choices=DEVICES,
        default="auto",
        help="auto: cuda where there is one, else cpu; reference: plain torch on the CPU (default: %(default)s)",
    )
    parser.add_argument(
        "--fast", action="store_true", help="whole-body passes instead of overlapping windows: another mask, sooner"
    )


def chosen_weights(args: argparse.Namespace) -> Weights:
    """The weights that the arguments choose, in the mode that they choose.

    Raises:
        WeightsError: as `open_weights`.
    """
    weights = open_weights(args.weights)
    return weights.in_fast_mode() if args.fast else weights


@contextmanager
def study_warnings_kept() -> Iterator[list[str]]:
    """Keeps what this thread warns about its study, for its report; such messages name no file and no patient.

    Yields:
        The messages, as they come.
    """
    handler = _StudyWarnings()
    root = logging.getLogger("autosegnet")
    root.addHandler(handler)
    try:
        yield handler.messages
    finally:
        root.removeHandler(handler)


class _StudyWarnings(logging.Handler):
    _ABOUT_STUDIES = tuple(f"autosegnet.{name}" for name in ("inputs", "io.dicom", "preprocess", "study", "suv"))

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread and record.name.startswith(self._ABOUT_STUDIES):
            self.messages.append(record.getMessage())


def log_engine(engine: Engine, weights: Weights) -> None:
    """Logs what runs: versions, device, weights."""
    log.info("autosegnet %s, python %s, %s", __version__, platform.python_version(), engine.name)
    log.info("%d folds, weights %s: %s", engine.folds, digest(weights)[:12], weights.recipe.description)
    if weights.recipe.passes == "slabs":
        log.info("fast mode: the mask differs from that of overlapping windows")


def log_lesions(mask: sitk.Image) -> None:
    """Logs how many lesions a mask holds, and their volume."""
    from autosegnet.geometry import occupied_box, voxels
    from autosegnet.lesions import label_lesions, lesion_volumes_ml

    whole = voxels(mask)
    labels, count = label_lesions(whole[occupied_box(whole)])
    volume_ml = float(lesion_volumes_ml(labels, count, spacing_mm=mask.GetSpacing()).sum())
    log.info("%d lesions, %.2f ml", count, volume_ml)
