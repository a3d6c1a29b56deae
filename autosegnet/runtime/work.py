"""The work on tasks, done one after the other: the same in this process, in others and on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")
T_in = TypeVar("T_in", contravariant=True)
R_out = TypeVar("R_out", covariant=True)

TellShare = Callable[[int, float], None]
"""Called with the number of a task and the share of it that is done."""


class Work(Protocol[T_in, R_out]):
    """The work on every task. It is sent to other processes, so it must be picklable."""

    def open(self) -> Any:
        """Return what all tasks of a process share, such as an engine. Called once per process."""

    def read(self, task: T_in) -> Any:
        """Return the input of a task. This may run during the task before."""

    def do(self, opened: Any, task: T_in, reading: Future[Any], tell: Callable[[float], None]) -> R_out:
        """Return the result of a task.

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
    may_begin: Callable[[int], bool] = lambda number: True,
) -> Iterator[tuple[int, R]]:
    """Do the tasks in this process, and yield the number and the result of each.

    The next task is read while the current one is done.

    Args:
        tasks: with their numbers; None if there is none to be read ahead. `work.open` is called before the first.
        tell: see `TellShare`.
        may_begin: says of the number of a task that was read whether it is still to be done here.
    """
    opened = work.open()
    for number, task, reading in _read_ahead(work, tasks):
        if not may_begin(number):
            continue
        result = work.do(opened, task, reading, lambda share, number=number: tell(number, share))  # type: ignore[misc]
        del reading  # free the input before the next but one is read
        yield number, result


def _read_ahead(work: Work[T, R], tasks: Iterable[tuple[int, T] | None]) -> Iterator[tuple[int, T, Future[Any]]]:
    """Yield each task with its reading. One task is read ahead, never more."""
    before: tuple[int, T, Future[Any]] | None = None
    pool = ThreadPoolExecutor(1, "reader")
    try:
        for numbered in tasks:
            present = None if numbered is None else (*numbered, pool.submit(work.read, numbered[1]))
            if before is not None:
                yield before
            before = present
        if before is not None:
            yield before
    finally:
        pool.shutdown(cancel_futures=True)
