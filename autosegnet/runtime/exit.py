"""How a run ends: its exit code and last line, after an error, a signal, or a lack of memory."""

from __future__ import annotations

import _thread
import errno
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType

from autosegnet.errors import AutosegnetError, escape, format_path
from autosegnet.runtime.cores import count_bound_cores, count_cores
from autosegnet.runtime.standard_streams import prepare_streams, settle_streams

OUT_OF_MEMORY = "out of memory: the study needs more than this machine or container allows"

_SECONDS_TO_UNWIND = 8.0  # `docker stop` kills after ten
_IMPORT_SYSTEM = "<frozen importlib._bootstrap>"
_SECONDS_TO_FINISH_AN_IMPORT = 0.01  # seconds before the next look; a lock is held for microseconds
_NO_MEMORY = ("Failed to allocate", "bad_alloc", "can't alloc")  # of ITK and OpenVINO, C++, torch and OpenVINO
# Of a path that is asked about before it is read; what is written has errors of its own.
_UNREADABLE = (errno.ENAMETOOLONG, errno.EACCES, errno.EPERM, errno.ELOOP)
_MOST_THREADS = 64  # threads of one library; a second has as many, and a GPU driver and a progress bar have some
_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name)]
_USUAL = (signal.SIG_DFL, signal.default_int_handler)


class Stopped(SystemExit):
    """The end of a run by a signal; its code is 128 and the signal's number."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended.

    Args:
        exit_code: of the contract; 0 if it is done
        line: the last line on stderr, or "done"
    """

    exit_code: int
    line: str


def run_program(action: Callable[[], None]) -> int:
    """Run an action and return the exit code of the contract, as `attempt` says.

    On SIGTERM, Ctrl-C or a closed terminal, the run removes its temporary files and ends with 143, 130 or 129.
    """
    for signum in _SIGNALS:
        if signal.getsignal(signum) in _USUAL:  # otherwise it is ignored, as after `nohup` or `&`
            signal.signal(signum, terminate)
    prepare_streams()
    logging.raiseExceptions = False  # the log cannot be written
    _limit_threads()
    try:
        return attempt(action).exit_code
    except Stopped as end:
        settle_streams()
        # Everything is cleaned up. Python's own exit would take time and wait for idle threads.
        os._exit(int(str(end.code)))
    finally:
        settle_streams()


def attempt(action: Callable[[], None]) -> RunResult:
    """Run an action, and turn its errors into a result and the last line on stderr.

    0 done, 2 usage, 3 input, 4 weights, 5 output: for 2 to 5 the last line on stderr is
    `autosegnet: error: <what was found, what was expected, where>`. 1 is a bug and leaves a traceback.
    """
    try:
        action()
    except AutosegnetError as error:
        return _report(str(error), error.exit_code)
    except Exception as error:
        if is_lack_of_memory(error):
            return _report(OUT_OF_MEMORY, 3)
        if isinstance(error, OSError) and error.errno in _UNREADABLE and isinstance(error.filename, str | bytes):
            return _report(f"cannot read {format_path(os.fsdecode(error.filename))}: {error.strerror}", 3)
        # The contract's exit code of a bug.
        _write_error("\n".join(map(escape, traceback.format_exc().splitlines())))
        return RunResult(1, f"autosegnet: error: a bug, {type(error).__name__}; the log holds its traceback")
    return RunResult(0, "done")


def is_lack_of_memory(error: Exception) -> bool:
    """Return whether memory ran out: by the type of Python's and numpy's errors, by the text of others."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)
    )


def _limit_threads() -> None:
    """Limit the threads of torch and ITK, which each start one per core, to what a container allows.

    Both read their variable at their first use. A value that the user has set stays.
    """
    threads = min(count_cores(), _MOST_THREADS)
    if threads < count_bound_cores():
        for name in ("OMP_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"):
            os.environ.setdefault(name, str(threads))


def terminate(signum: int, frame: FrameType | None) -> None:
    """End the run at a signal and remove its temporary files; after `_SECONDS_TO_UNWIND` end it in any case.

    The exception may come anywhere in the main thread, also between taking a lock and the `try` that releases it.
    Another thread may then wait for that lock for ever. This was seen with a lock of Python's import system, so an
    import is allowed to finish first. For other locks, and for an exception that a callback swallows, there is the time
    limit.
    """
    for repeated in _SIGNALS:
        signal.signal(repeated, signal.SIG_IGN)  # a second signal would interrupt the cleaning up
    # Not threading.Thread, because the main thread may hold its lock right now.
    _thread.start_new_thread(_end_after, (_SECONDS_TO_UNWIND, 128 + signum))
    _unwind(signum, frame)


def _end_after(seconds: float, code: int) -> None:
    time.sleep(seconds)
    os._exit(code)


def _unwind(signum: int, frame: FrameType | None) -> None:
    if frame is not None and frame.f_code.co_filename == _IMPORT_SYSTEM:
        signal.signal(signum, _unwind)
        _thread.start_new_thread(_signal_again, (signum,))
        return
    signal.signal(signum, signal.SIG_IGN)
    raise Stopped(128 + signum)


def _signal_again(signum: int) -> None:
    time.sleep(_SECONDS_TO_FINISH_AN_IMPORT)
    _thread.interrupt_main(signal.Signals(signum))


def _report(message: str, code: int) -> RunResult:
    line = "autosegnet: error: " + escape(" ".join(message.split()))
    settle_streams()
    _write_error(line)
    return RunResult(code, line)


def _write_error(text: str) -> None:
    with suppress(OSError):
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
