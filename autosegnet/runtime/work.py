"""The work on tasks, done one after the other: the same in this process, in others and on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")
T_in = TypeVar("T_in", contravariant=True)
R_out = TypeVar("R_out", covariant=True)

TellShare = Callable[[int, float], None]
"""Called with the number of a task and the share of it that is done."""


@dataclass(frozen=True, slots=True)
class Unfinished(Generic[R_out]):
    """What is left of a task that another thread can do, while the next task is done.

    Args:
        finish: returns the result.
    """

    finish: Callable[[], R_out]


class Turn(Enum):
    """What becomes of a task that was read ahead."""

    NOW = "now"
    ALONE = "alone"  # its process was ended at the first try: this time, nothing else is to blame
    ELSEWHERE = "elsewhere"


class Work(Protocol[T_in, R_out]):
    """The work on every task. It is sent to other processes, so it must be picklable."""

    def open(self) -> Any:
        """Return what all tasks of a process share, such as an engine. Called once per process."""

    def read(self, task: T_in) -> Any:
        """Return the input of a task. This may run during the task before."""

    def do(
        self, opened: Any, task: T_in, reading: Future[Any], tell: Callable[[float], None]
    ) -> R_out | Unfinished[R_out]:
        """Return the result of a task, or the rest of it that may be done behind.

        Args:
            opened: what `open` returned.
            reading: result or error of `read`.
            tell: called with the share that is done.

        Raises:
            Exception: an error that ends the whole run.
        """


@dataclass(frozen=True, slots=True)
class Apply(Generic[T, R]):
    """Work that is one function of one task.

    Args:
        function: at the top level of a module, so that other processes find it.
    """

    function: Callable[[T], R]

    def open(self) -> None:
        """Open nothing."""

    def read(self, task: T) -> None:
        """Read nothing ahead."""

    def do(self, opened: None, task: T, reading: Future[None], tell: Callable[[float], None]) -> R:
        """Return the function's result for the task."""
        return self.function(task)


@dataclass(frozen=True, slots=True)
class Lost:
    """A task whose process ended at every try.

    Args:
        reason: in words.
    """

    reason: str


def do_in_turn(
    work: Work[T, R],
    tasks: Iterable[tuple[int, T] | None],
    tell: TellShare,
    take_turn: Callable[[int], Turn] = lambda number: Turn.NOW,
) -> Iterator[tuple[int, R]]:
    """Do the tasks in this process, and yield the number and the result of each, in their order.

    The next task is read, and what the one before left unfinished is finished, while the current one is done.

    Args:
        tasks: with their numbers; None if there is none to be read ahead. `work.open` is called before the first.
        tell: see `TellShare`.
        take_turn: says of the number of a task that was read what becomes of it.
    """
    opened = work.open()
    behind: list[tuple[int, Future[R]]] = []  # one at most
    with ThreadPoolExecutor(1, "writer") as writer:
        for in_hand in _read_ahead(work, tasks):
            if in_hand is None:
                yield from _wait(behind)
                continue
            number, task, reading = in_hand
            if (turn := take_turn(number)) is Turn.ELSEWHERE:
                continue
            if turn is Turn.ALONE:
                yield from _wait(behind)
            result = work.do(opened, task, reading, partial(tell, number))
            del reading, in_hand  # free the input before the next but one is read
            yield from _wait(behind)
            if not isinstance(result, Unfinished):
                yield number, result
                continue
            behind.append((number, writer.submit(result.finish)))
            del result
            if turn is Turn.ALONE:
                yield from _wait(behind)
        yield from _wait(behind)


def _wait(behind: list[tuple[int, Future[R]]]) -> Iterator[tuple[int, R]]:
    while behind:
        number, result = behind.pop()
        yield number, result.result()


def _read_ahead(work: Work[T, R], tasks: Iterable[tuple[int, T] | None]) -> Iterator[tuple[int, T, Future[Any]] | None]:
    """Yield each task with its reading. One task is read ahead, never more.

    Yields None if there is no task, neither in hand nor to be read ahead, and yet not the end.
    """
    before: tuple[int, T, Future[Any]] | None = None
    pool = ThreadPoolExecutor(1, "reader")
    try:
        for numbered in tasks:
            present = None if numbered is None else (*numbered, pool.submit(work.read, numbered[1]))
            if before is not None or present is None:
                yield before
            before = present
        if before is not None:
            yield before
    finally:
        pool.shutdown(cancel_futures=True)
