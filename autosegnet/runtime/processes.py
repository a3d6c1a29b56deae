"""Does tasks in several processes of this machine, each with its share of the cores and, if there are several, one GPU.

Processes are spawned, not forked, because torch, ITK and OpenMP do not survive a fork. Each has its own pipe, so that
one that is killed locks nobody out: the task that it was at is tried once more, the one that it read ahead goes to
another. A task that was read ahead also goes to a process that has nothing else to do: each asks before it begins one.
All end with the process that started them, however it ends.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from autosegnet.errors import AutosegnetError, UsageError
from autosegnet.runtime.core_shares import bind_to_cores, bind_to_gpu, share_cores
from autosegnet.runtime.exit import is_lack_of_memory, terminate
from autosegnet.runtime.log import LogLines, log_through
from autosegnet.runtime.work import Lost, TellShare, Turn, Work, do_in_turn

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

_LATER = "later"
_MOST_TRIES = 2  # tries of a task whose process is killed; the first may have died because of its neighbours' memory


@dataclass(slots=True)
class _Process:
    """A process and this end of its pipe.

    Args:
        place: its number, which decides its cores and its GPU, also after a restart.
        tasks: taken but not finished, with their numbers; those under way first.
        begun: how many are under way: one, and one that is being finished.
        is_told_to_end: whether it will take no more tasks.
    """

    process: BaseProcess
    pipe: Connection
    place: int
    tasks: list[tuple[int, Any]] = field(default_factory=list)
    begun: int = 0
    is_told_to_end: bool = False


class _Pool:
    """The processes, the waiting tasks, and how often each was tried."""

    def __init__(self, work: Work[Any, Any], tasks: Iterable[tuple[int, Any]], jobs: int) -> None:
        self.waiting = deque(tasks)
        self._work, self._shares = work, share_cores(jobs)
        self._tries: Counter[int] = Counter()
        self.processes = [self._start(place) for place in range(jobs)]

    def _start(self, place: int) -> _Process:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        arguments = (theirs, self._work, self._shares[place], place)
        process = context.Process(target=_run_process, args=arguments, daemon=True)
        process.start()
        theirs.close()  # so that the pipe closes when the process ends
        return _Process(process, ours, place)

    def send_next(self, process: _Process) -> None:
        """Send a task; _LATER if there is none to be read ahead, because idle processes can begin it; or None, the end.

        What is to be read ahead is asked for before the task in hand is begun.
        """
        idle = sum(not (other.tasks or other.is_told_to_end) for other in self.processes)
        answer: tuple[int, Any] | str | None
        if process.tasks:
            answer = self.waiting.popleft() if len(self.waiting) > idle else _LATER
        else:
            answer = self.waiting.popleft() if self.waiting else self._take_back()
        if answer is None:
            process.is_told_to_end = True
        elif not isinstance(answer, str):
            process.tasks.append(answer)
        with suppress(BrokenPipeError):  # the closed pipe is noticed next
            process.pipe.send(answer)

    def _take_back(self) -> tuple[int, Any] | None:
        """Return a task that another process has read ahead and not begun, and take it from that process."""
        for holder in self.processes:
            if len(holder.tasks) > max(holder.begun, 1):
                return holder.tasks.pop()
        return None

    def give_turn(self, process: _Process, number: int) -> None:
        """Say what becomes of a task that a process is about to begin."""
        turn = Turn.ELSEWHERE
        if any(number == own for own, _ in process.tasks):
            process.begun += 1
            turn = Turn.ALONE if self._tries[number] else Turn.NOW
        with suppress(BrokenPipeError):
            process.pipe.send(turn)

    def replace(self, ended: _Process) -> Iterator[tuple[int, Lost]]:
        """Take a process that has ended from the pool, and start another if there is work for it.

        Raises:
            UsageError: it ended before its first task, and no other is left.
        """
        ended.process.join()
        self.processes.remove(ended)
        how = _describe_end(ended.process)
        if ended.tasks:
            begun = max(ended.begun, 1)  # it may have died of reading the first
            self.waiting.extendleft(reversed(ended.tasks[begun:]))
            for number, task in ended.tasks[:begun]:
                self._tries[number] += 1
                if self._tries[number] < _MOST_TRIES:
                    log.warning("a process was ended by %s; its task is tried once more", how)
                    self.waiting.append((number, task))
                else:
                    yield number, Lost(f"its process was ended by {how}, often for lack of memory; try fewer --jobs")
        elif ended.process.exitcode != 0 and not ended.is_told_to_end:
            if not self.processes:
                raise UsageError(f"a process was ended by {how} before its first task; try fewer --jobs")
            log.warning("a process was ended by %s before its first task; the others continue", how)
            return
        if self.waiting:
            self.processes.append(self._start(ended.place))

    def end(self) -> None:
        """End all processes."""
        for process in self.processes:
            process.process.terminate()
        for process in self.processes:
            process.process.join()


def do_in_processes(
    work: Work[T, R], tasks: Iterable[tuple[int, T]], *, jobs: int, tell: TellShare
) -> Generator[tuple[int, R | Lost], None, None]:
    """Do the tasks, each by the first process that is free, and yield the number and the result of each.

    Args:
        work: sent to every process.
        tasks: with their numbers.
        jobs: processes, from 2.
        tell: see `TellShare`.

    Raises:
        UsageError: the processes were ended before their first task.
        Exception: what `work` raised.
    """
    pool = _Pool(work, tasks, jobs)
    try:
        while pool.processes:
            for pipe in wait([process.pipe for process in pool.processes]):
                process = next(p for p in pool.processes if p.pipe is pipe)
                try:
                    kind, value = process.pipe.recv()
                except (EOFError, OSError):
                    yield from pool.replace(process)
                    continue
                if kind == "next":
                    pool.send_next(process)
                elif kind == "turn":
                    pool.give_turn(process, value)
                elif kind == "result":
                    process.tasks.pop(0)
                    process.begun -= 1
                    yield value
                else:
                    _heed(kind, value, tell)
    finally:
        pool.end()


def _heed(kind: str, value: Any, tell: TellShare) -> None:
    if kind == "share":
        tell(*value)
    elif kind == "log":
        name, level, line = value
        logging.getLogger(name).log(level, "%s", line)
    else:
        raise value


def _describe_end(process: BaseProcess) -> str:
    code = process.exitcode
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"


class _Channel:
    """The end of the pipe in the process, shared by its threads."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._lock = pipe, threading.Lock()

    def send(self, kind: str, value: Any = None) -> None:
        with self._lock:
            self._pipe.send((kind, value))

    def take_tasks(self) -> Iterator[tuple[int, Any] | None]:
        """Yield tasks, and None whenever there is none to be read ahead."""
        while True:
            self.send("next")
            answer = self._pipe.recv()
            if answer is None:
                return
            yield None if answer == _LATER else answer

    def take_turn(self, number: int) -> Turn:
        self.send("turn", number)
        turn: Turn = self._pipe.recv()
        return turn

    def tell(self, number: int, share: float) -> None:
        self.send("share", (number, share))


class _ToChannel(logging.Handler):
    def __init__(self, channel: _Channel) -> None:
        super().__init__()
        self._channel = channel
        self.setFormatter(LogLines("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):
            self._channel.send("log", (record.name, record.levelno, self.format(record)))


def _run_process(pipe: Connection, work: Work[Any, Any], cores: Sequence[int], place: int) -> None:
    """Do the tasks of a process, from its start to its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one ends the others
    signal.signal(signal.SIGTERM, terminate)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    bind_to_cores(cores)
    bind_to_gpu(place)
    channel = _Channel(pipe)
    log_through(_ToChannel(channel))
    try:
        for numbered in do_in_turn(work, channel.take_tasks(), channel.tell, channel.take_turn):
            channel.send("result", numbered)
    except (EOFError, ConnectionError):
        os._exit(1)  # the parent is gone
    except Exception as error:
        channel.send("error", _prepare_to_send(error))


def _prepare_to_send(error: Exception) -> Exception:
    """Return the error with its traceback as text, because a traceback cannot be sent."""
    if isinstance(error, AutosegnetError):
        return type(error)(str(error))
    if is_lack_of_memory(error):
        return UsageError("a process ran out of memory; try fewer --jobs")
    error.add_note(f"In another process:\n{traceback.format_exc()}")
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  (our own)
    except Exception:
        return RuntimeError(f"{type(error).__name__} in another process:\n{traceback.format_exc()}")
    return error


def _end_with_parent() -> None:
    """End this process when the one that started it is gone; it may be in the middle of a task."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "only a process that was started by another calls this"
    wait([parent.sentinel])
    os._exit(1)
