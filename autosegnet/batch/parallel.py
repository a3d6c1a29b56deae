"""A batch on several processes, for CPU machines with several sockets: each loads the weights once, on its own cores.

Processes are spawned, not forked, because torch and OpenMP do not survive a fork. Each has its own pipe, so that one
that is killed locks nobody out; the study it was at fails, the one that it read ahead goes to another.
"""

from __future__ import annotations

import logging
import multiprocessing
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any

from autosegnet.batch.cores import core_shares, stay_on
from autosegnet.batch.plan import Task
from autosegnet.batch.record import Outcome, failed
from autosegnet.batch.run import Tell, work_through
from autosegnet.errors import AutosegnetError, UsageError
from autosegnet.model.devices import log_engine
from autosegnet.runtime.exit import is_lack_of_memory, terminate
from autosegnet.runtime.log import LogLines, log_through

if TYPE_CHECKING:
    from autosegnet.model.engine import Engine
    from autosegnet.model.weights import Weights

log = logging.getLogger(__name__)

_EXIT_CODE_OF_A_BUG = 1  # Python's own, of a process that an exception ends


@dataclass(frozen=True, slots=True)
class Ensemble:
    """How a process gets its engine.

    Args:
        open_engine: called with the weights and `device`.
    """

    weights: Weights
    device: str
    open_engine: Callable[..., Engine]

    def open(self) -> Engine:
        """The engine, with the folds loaded and logged."""
        engine = self.open_engine(self.weights, device=self.device)
        log_engine(engine, self.weights)
        return engine


@dataclass(slots=True)
class _Worker:
    """A process and our end of its pipe.

    Args:
        tasks: that it took and has not done, the one under way first.
        is_told_to_end: whether it will ask for no more.
    """

    process: BaseProcess
    pipe: Connection
    cores: Sequence[int]
    tasks: list[Task] = field(default_factory=list)
    is_told_to_end: bool = False


def work_in_processes(
    tasks: Sequence[Task], ensemble: Ensemble, *, jobs: int, tell: Tell
) -> Generator[Outcome, None, None]:
    """Does the tasks, each by the first process that is free; outcomes come as they are ready.

    Raises:
        AutosegnetError: what a process could not go on from; that class itself where it was a bug.
        UsageError: a process was ended while it loaded the weights.
    """
    waiting = deque(tasks)
    workers = [_start(ensemble, share) for share in core_shares(min(jobs, len(tasks)))]
    try:
        while workers:
            for pipe in wait([worker.pipe for worker in workers]):
                worker = next(w for w in workers if w.pipe is pipe)
                try:
                    kind, value = worker.pipe.recv()
                except (EOFError, OSError):
                    workers.remove(worker)
                    yield from _outcome_of_end(worker, waiting)
                    if waiting:
                        workers.append(_start(ensemble, worker.cores))
                else:
                    if kind == "next":
                        _send_next(worker, waiting, idle=sum(not (w.tasks or w.is_told_to_end) for w in workers))
                    else:
                        yield from _heard(worker, kind, value, tell)
    finally:
        for worker in workers:
            worker.process.terminate()
        for worker in workers:
            worker.process.join()


def _send_next(worker: _Worker, waiting: deque[Task], *, idle: int) -> None:
    """Sends a task, or None for the end; what idle processes can begin is not given to be read ahead."""
    task = waiting.popleft() if len(waiting) > (idle if worker.tasks else 0) else None
    if task is None:
        worker.is_told_to_end = True
    else:
        worker.tasks.append(task)
    with suppress(BrokenPipeError):  # the end of the pipe is heard of next
        worker.pipe.send(task)


def _heard(worker: _Worker, kind: str, value: Any, tell: Tell) -> Generator[Outcome, None, None]:
    if kind == "share":
        tell(*value)
    elif kind == "log":
        name, level, line = value
        logging.getLogger(name).log(level, "%s", line)
    elif kind == "error":
        error, message = value
        raise error(message)
    else:
        worker.tasks.pop(0)
        yield value


def _outcome_of_end(worker: _Worker, waiting: deque[Task]) -> Generator[Outcome, None, None]:
    """What is left of a process that has ended: nothing, where it had done its tasks."""
    worker.process.join()
    code = worker.process.exitcode
    is_bug = code == _EXIT_CODE_OF_A_BUG
    how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
    if worker.tasks:
        present, *ahead = worker.tasks
        waiting.extendleft(reversed(ahead))
        why = "a bug; the log has its traceback" if is_bug else f"{how}, often for want of memory; try fewer --jobs"
        yield Outcome(failed(present.study.case, f"its process was ended by {why}"), is_bug=is_bug)
    elif is_bug:
        raise AutosegnetError("a process was ended by a bug before its first study; the log has its traceback")
    elif code != 0 and not worker.is_told_to_end:
        raise UsageError(f"a process was ended by {how} before its first study; try fewer --jobs")


def _start(ensemble: Ensemble, cores: Sequence[int]) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, ensemble, cores), daemon=True)
    process.start()
    theirs.close()  # so that the end of the process is the end of the pipe
    return _Worker(process, ours, cores)


class _Channel:
    """The process's end of the pipe, which its threads share."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._lock = pipe, threading.Lock()

    def send(self, kind: str, value: Any = None) -> None:
        with self._lock:
            self._pipe.send((kind, value))

    def tasks(self) -> Iterator[Task]:
        while True:
            self.send("next")
            task = self._pipe.recv()
            if task is None:
                return
            yield task


class _ToChannel(logging.Handler):
    def __init__(self, channel: _Channel) -> None:
        super().__init__()
        self._channel = channel
        self.setFormatter(LogLines("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):
            self._channel.send("log", (record.name, record.levelno, self.format(record)))


def _work(pipe: Connection, ensemble: Ensemble, cores: Sequence[int]) -> None:
    """What a process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one ends the others
    signal.signal(signal.SIGTERM, terminate)
    stay_on(cores)
    channel = _Channel(pipe)
    log_through(_ToChannel(channel))
    try:
        for outcome in work_through(channel.tasks(), ensemble.open, ensemble.weights, _teller(channel)):
            channel.send("outcome", outcome)
    except AutosegnetError as error:
        channel.send("error", (type(error), str(error)))
    except (EOFError, ConnectionError):
        sys.exit(1)  # nobody listens any more
    except Exception as error:
        if not is_lack_of_memory(error):
            raise
        channel.send("error", (UsageError, "a process ran out of memory for its weights; try fewer --jobs"))


def _teller(channel: _Channel) -> Tell:
    return lambda case, share: channel.send("share", (case, share))
