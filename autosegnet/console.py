"""What a person at a terminal, or a log, sees of a run: lines, progress, and the last line with its exit code."""

from __future__ import annotations

import argparse
import logging
import os
import platform
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn, TextIO

from autosegnet import __version__
from autosegnet.engines import Engine
from autosegnet.errors import AutosegnetError, UsageError
from autosegnet.weights import Weights, digest

if TYPE_CHECKING:
    import SimpleITK as sitk

log = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 10.0
_MOST_THREADS = 64  # of one library; two have as many, and a GPU's driver and a progress bar some


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors end the run like every other."""

    def error(self, message: str) -> NoReturn:
        """Raises UsageError after the usage text."""
        self.print_usage(sys.stderr)
        raise UsageError(message)


def run(action: Callable[[], None]) -> int:
    """Runs an action and returns the exit code of the contract.

    0 done, 2 usage, 3 input, 4 weights, 5 output: for 2 to 5 the last line on stderr is
    `autosegnet: error: <what was found, what was expected, where>`. 1 is a bug and leaves a traceback. SIGTERM and
    Ctrl-C unwind the run, so that temporary files go, and end it with 143 and 130.
    """
    signal.signal(signal.SIGTERM, _terminate)
    _limit_threads()
    try:
        action()
    except AutosegnetError as error:
        return _last_line(str(error), error.exit_code)
    except MemoryError:
        return _last_line("out of memory: the study needs more than this machine or container allows", 3)
    except KeyboardInterrupt:
        return 130
    except Exception:  # the contract's exit code of a bug
        traceback.print_exc()
        return 1
    return 0


def _limit_threads() -> None:
    """Keeps torch and ITK, which start a thread a core each, within a container's limit of 256 on any machine.

    Both read their variable when they are first used; one that the user has set stays.
    """
    if hasattr(os, "sched_getaffinity") and len(os.sched_getaffinity(0)) > _MOST_THREADS:
        for name in ("OMP_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"):
            os.environ.setdefault(name, str(_MOST_THREADS))


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + signum)


def _last_line(message: str, code: int) -> int:
    sys.stdout.flush()
    sys.stderr.write("autosegnet: error: " + " ".join(message.split()) + "\n")
    return code


def log_to(stream: TextIO) -> None:
    """Sends the program's log to a stream, a line each with the time of day."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    root = logging.getLogger("autosegnet")
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    root.propagate = False


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
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="default: %(default)s")


@contextmanager
def study_warnings_kept() -> Iterator[list[str]]:
    """Keeps what is warned about the study, for its report; such messages name no file and no patient.

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
    _ABOUT_STUDIES = ("autosegnet.study", "autosegnet.suv", "autosegnet.preprocess")

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith(self._ABOUT_STUDIES):
            self.messages.append(record.getMessage())


def log_engine(engine: Engine, weights: Weights) -> None:
    """Logs what runs: versions, device, weights."""
    log.info("autosegnet %s, python %s, %s", __version__, platform.python_version(), engine.name)
    log.info("%d folds, weights %s: %s", engine.folds, digest(weights)[:12], weights.recipe.description)


def log_lesions(mask: sitk.Image) -> None:
    """Logs how many lesions a mask holds, and their volume."""
    from autosegnet.geometry import voxels
    from autosegnet.lesions import label_lesions, lesion_volumes_ml

    labels, count = label_lesions(voxels(mask))
    volume_ml = float(lesion_volumes_ml(labels, count, spacing_mm=mask.GetSpacing()).sum())
    log.info("%d lesions, %.2f ml", count, volume_ml)
