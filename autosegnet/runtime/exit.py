"""How a run ends: its exit code and last line, at an error, at a signal, and out of memory."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType

from autosegnet.errors import AutosegnetError

OUT_OF_MEMORY = "out of memory: the study needs more than this machine or container allows"

_SECONDS_TO_UNWIND = 8.0  # `docker stop` kills after ten
_IMPORT_SYSTEM = "<frozen importlib._bootstrap>"
_SECONDS_TO_FINISH_AN_IMPORT = 0.01  # before the next look; a lock is held for microseconds
_NO_MEMORY = ("Failed to allocate", "bad_alloc", "can't alloc")  # of ITK and OpenVINO, C++, torch and OpenVINO
_MOST_THREADS = 64  # of one library; two have as many, and a GPU's driver and a progress bar some


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended.

    Args:
        exit_code: of the contract; 0 where it is done.
        line: the last line on stderr, or "done".
    """

    exit_code: int
    line: str


def run_program(action: Callable[[], None]) -> int:
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


def attempt(action: Callable[[], None]) -> RunResult:
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
        return RunResult(1, f"autosegnet: error: a bug, {type(error).__name__}; the log holds its traceback")
    return RunResult(0, "done")


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


def _reported(message: str, code: int) -> RunResult:
    line = "autosegnet: error: " + " ".join(message.split())
    sys.stdout.flush()
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
    return RunResult(code, line)
