"""Jobs shared among processes, which end with the one that started them, however it ends."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.connection import wait
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")
R = TypeVar("R")


def do_all(function: Callable[[T], R], jobs: Sequence[T], *, processes: int, title: str, unit: str) -> list[R]:
    """Return what a function makes of every job, as they are done, with a bar on a terminal.

    Args:
        function: of a module, so that other processes find it. If it raises, or a signal ends this process, jobs
            under way are cut off.
        jobs: to be done.
        processes: spawned ones, from 2; with 1, the jobs are done here.
        title, unit: of the bar.
    """
    results = []
    with tqdm(total=len(jobs), desc=title, unit=unit, disable=None) as bar:
        if processes == 1 or len(jobs) < 2:
            for job in jobs:
                results.append(function(job))
                bar.update()
            return results
        with _pool(processes) as pool:
            for done in as_completed([pool.submit(function, job) for job in jobs]):
                results.append(done.result())
                bar.update()
    return results


@contextmanager
def _pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    # Spawned, not forked, because ITK's and torch's threads do not survive a fork.
    pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_end_with_parent)
    try:
        yield pool
    except BaseException:
        for process in active_children():
            process.terminate()  # shutdown would wait for the job that it is at
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """End this process when the one that started it is gone: its queue of jobs has no end that it would see."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one ends the others
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = parent_process()
    assert parent is not None, "runs in a process that was started by another"
    wait([parent.sentinel])
    os._exit(1)
