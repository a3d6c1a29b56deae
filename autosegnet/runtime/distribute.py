"""Runs the tasks of a command where the user wants them: here, in several processes, or on a Dask cluster.

All three do the same `Work` and give the same results. Nothing of Dask is imported unless a cluster is asked for.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import TypeVar

from autosegnet.errors import InputError
from autosegnet.runtime.progress import TaskProgress, show_progress
from autosegnet.runtime.work import Apply, Lost, Work, do_in_turn
from autosegnet.runtime.workers import Workers

T = TypeVar("T")
R = TypeVar("R")


def run(
    work: Work[T, R], tasks: Sequence[T], *, workers: Workers, unit: str
) -> Generator[tuple[int, R | Lost], None, None]:
    """Do every task and yield its number and its result, as they are done; show the progress on stderr.

    Args:
        work: what is done with each task.
        tasks: to be done; numbered from 0.
        workers: where.
        unit: name of a task, in the singular.

    Raises:
        AutosegnetError: an error that would stop every other task, too.
        Exception: the error of `work`; running tasks are ended.
    """
    if not tasks:
        return
    with (
        show_progress(len(tasks), unit=unit, stream=sys.stderr) as progress,
        closing(_start(work, tasks, workers, progress)) as results,
    ):
        for number, result in results:
            progress.finish(number)
            yield number, result


def run_each(function: Callable[[T], R], tasks: Sequence[T], *, workers: Workers, unit: str) -> list[R]:
    """Return the result of a function for each task, in the order of the tasks.

    Args:
        function: at the top level of a module, so that other processes find it.
        tasks: as for `run`.
        workers: as for `run`.
        unit: as for `run`.

    Raises:
        InputError: the process of a task ended at every try.
        Exception: the error of the function; running tasks are ended.
    """
    return run_all(Apply(function), tasks, workers=workers, unit=unit)


def run_all(work: Work[T, R], tasks: Sequence[T], *, workers: Workers, unit: str) -> list[R]:
    """Do every task and return their results, in the order of the tasks.

    Args:
        work: as for `run`.
        tasks: as for `run`.
        workers: as for `run`.
        unit: as for `run`.

    Raises:
        InputError: the process of a task ended at every try.
        Exception: the error of `work`; running tasks are ended.
    """
    results: dict[int, R] = {}
    with closing(run(work, tasks, workers=workers, unit=unit)) as done:
        for number, result in done:
            if isinstance(result, Lost):
                raise InputError(f"{unit} {number + 1} of {len(tasks)} could not be done: {result.reason}")
            results[number] = result
    return [results[number] for number in range(len(tasks))]


def _start(
    work: Work[T, R], tasks: Sequence[T], workers: Workers, progress: TaskProgress
) -> Generator[tuple[int, R | Lost], None, None]:
    numbered = enumerate(tasks)
    if workers.are_elsewhere:
        from autosegnet.runtime.cluster import do_on_cluster

        yield from do_on_cluster(work, numbered, workers, progress.tell)
    elif (jobs := min(workers.jobs, len(tasks))) > 1:
        from autosegnet.runtime.processes import do_in_processes

        yield from do_in_processes(work, numbered, jobs=jobs, tell=progress.tell)
    else:
        yield from do_in_turn(work, numbered, progress.tell)
