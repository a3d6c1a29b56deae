"""Does tasks on a Dask cluster, as a client of a running scheduler, on any number of machines.

Each worker process opens the work once and does one task at a time; a second thread reads the next one ahead. A task
whose worker dies goes to another worker. The state of a run is in the files that tasks write, not in the scheduler, so
a killed client can simply be started again.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import pickle
import queue
import secrets
import threading
import time
from collections.abc import Generator, Iterable
from concurrent.futures import Future as Reading
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from autosegnet import __version__
from autosegnet.errors import UsageError
from autosegnet.runtime.log import LogLines, log_through
from autosegnet.runtime.work import Lost, TellShare, Unfinished, Work
from autosegnet.runtime.workers import Workers

if TYPE_CHECKING:
    from distributed import Client, Future, Worker

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

_MOST_SUBMITTED = 1000  # tasks that the scheduler holds at a time, of DICOM up to 0.1 MB each; more than any workers
_SECONDS_TO_CONNECT = 30.0
_SECONDS_BETWEEN_SHARES = 1.0


def do_on_cluster(
    work: Work[T, R], tasks: Iterable[tuple[int, T]], workers: Workers, tell: TellShare
) -> Generator[tuple[int, R | Lost], None, None]:
    """Do the tasks on a cluster and yield the number and the result of each.

    Args:
        work: sent to every worker.
        tasks: with their numbers.
        workers: name the scheduler.
        tell: see `TellShare`.

    Raises:
        UsageError: Dask is not installed, the scheduler cannot be reached or is gone, or workers run another version.
        Exception: the error of `work`; running tasks are cancelled.
    """
    client = _connect(workers)
    run = _Run(client, work, tell)
    try:
        yield from run.do_all(iter(tasks))
    finally:
        run.call_off()
        client.close(timeout=5)


def _connect(workers: Workers) -> Client:
    try:
        from distributed import Client
    except ImportError as error:
        raise UsageError(
            "--scheduler needs Dask, which is not installed; run: pip install 'autosegnet[cluster]'"
        ) from error
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # its errors end the run with a message of ours
    where = {"scheduler_file": str(workers.scheduler_file)} if workers.scheduler_file else {}
    try:
        return Client(workers.scheduler or None, timeout=_SECONDS_TO_CONNECT, set_as_default=False, **where)
    except (OSError, ValueError) as error:
        name = workers.scheduler or workers.scheduler_file
        raise UsageError(f"no Dask scheduler answers at {name}; start one with `dask scheduler`") from error


class _Run:
    """One client's tasks on a cluster."""

    def __init__(self, client: Client, work: Work[Any, Any], tell: TellShare) -> None:
        self._client, self._tell = client, tell
        self._name = f"autosegnet-{secrets.token_hex(4)}"
        self._work = pickle.dumps(work)
        self._events: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._under_way: dict[Future[Any], tuple[int, Any]] = {}
        self._keys = itertools.count()
        client.subscribe_topic(self._name, lambda event: self._events.put(event[1]))

    def do_all(self, tasks: Iterable[tuple[int, Any]]) -> Generator[tuple[int, Any], None, None]:
        """Do the tasks. Lost tasks are tried again alone at the end, because a neighbour may be to blame."""
        lost: list[tuple[int, Any]] = []
        for number, task, result in self._do(tasks, together=_MOST_SUBMITTED):
            if isinstance(result, Lost):
                log.warning("a task was lost with its workers; it is tried again alone at the end")
                lost.append((number, task))
            else:
                yield number, result
        for number, _, result in self._do(lost, together=1):
            yield number, result

    def _do(self, tasks: Iterable[tuple[int, Any]], *, together: int) -> Generator[tuple[int, Any, Any], None, None]:
        waiting = iter(tasks)
        for numbered in itertools.islice(waiting, together):
            self._submit(*numbered)
        while self._under_way:
            kind, value = self._wait_for_event()
            if kind == "done":
                number, task = self._under_way.pop(value)
                result = self._take_result(value)
                for numbered in itertools.islice(waiting, 1):
                    self._submit(*numbered)
                yield number, task, result
            elif kind == "share":
                self._tell(*value)
            else:
                name, level, line = value
                logging.getLogger(name).log(level, "%s", line)

    def _submit(self, number: int, task: Any) -> None:
        # Keys of one group. Otherwise Dask takes each task for a kind of its own and queues eight of them at a worker.
        key = (self._name, next(self._keys))
        future = self._client.submit(_do_task, self._work, self._name, number, task, key=key, pure=False)
        self._under_way[future] = (number, task)
        future.add_done_callback(lambda done: self._events.put(("done", done)))

    def _wait_for_event(self) -> tuple[str, Any]:
        warned = False
        while True:
            try:
                return self._events.get(timeout=5.0)
            except queue.Empty:
                if self._client.status != "running":
                    raise UsageError(_GONE) from None
                if not warned and not self._client.nthreads():
                    log.warning("the scheduler has no workers yet; start them with `dask worker`. Waiting.")
                    warned = True

    def _take_result(self, future: Future[Any]) -> Any:
        from distributed import KilledWorker
        from distributed.client import FutureCancelledError

        try:
            return future.result(timeout=_SECONDS_TO_CONNECT)
        except KilledWorker:
            return Lost("its worker was killed at every try, often for lack of memory")
        except (FutureCancelledError, OSError, TimeoutError) as error:
            raise UsageError(_GONE) from error

    def call_off(self) -> None:
        """Cancel the tasks that no worker has begun."""
        with suppress(Exception):  # the scheduler may be gone
            self._client.cancel([*self._under_way], force=True)


_GONE = "the Dask scheduler is gone; start it again and give the same command: finished tasks are not repeated"


class _Opened:
    """The work that a worker process has opened, one at a time, shared by its tasks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.slots = threading.BoundedSemaphore(2)  # a task that is done and one that is read ahead
        self.turn = threading.Lock()
        self._digest = b""
        self._opened: Any = None

    def open(self, pickled: bytes) -> tuple[Work[Any, Any], Any]:
        """Return the work and what it opened, once for all tasks of this process."""
        with self._lock:
            digest = hashlib.sha256(pickled).digest()
            if digest != self._digest:
                self._opened, self._digest = None, b""  # before the next is opened, because two may not fit into memory
                work: Work[Any, Any] = pickle.loads(pickled)  # noqa: S301  (as all that a client of Dask sends)
                self._opened, self._digest = (work, work.open()), digest
            opened: tuple[Work[Any, Any], Any] = self._opened
            return opened


_OPENED = _Opened()
_AT: ContextVar[tuple[Worker, str] | None] = ContextVar("at", default=None)  # worker and client of this thread


def _do_task(pickled: bytes, name: str, number: int, task: Any, version: str = __version__) -> Any:
    """Do one task in a worker."""
    from distributed import get_worker

    if version != __version__:
        raise UsageError(
            f"a worker runs autosegnet {__version__}, this client {version}; install the same version on both"
        )
    worker = get_worker()
    _AT.set((worker, name))
    if _TO_CLIENT not in logging.getLogger("autosegnet").handlers:
        log_through(_TO_CLIENT)
    with _OPENED.slots:
        work, opened = _OPENED.open(pickled)
        reading: Reading[Any] = Reading()
        try:
            reading.set_result(work.read(task))
        except Exception as error:
            reading.set_exception(error)
        with _OPENED.turn:
            result = work.do(opened, task, reading, _ShareTeller(worker, name, number))
        del reading
        return result.finish() if isinstance(result, Unfinished) else result  # while another task has its turn


class _ShareTeller:
    """Sends the share of a task that is done, once a second at most."""

    def __init__(self, worker: Worker, name: str, number: int) -> None:
        self._worker, self._name, self._number = worker, name, number
        self._last = 0.0

    def __call__(self, share: float) -> None:
        if (now := time.monotonic()) - self._last >= _SECONDS_BETWEEN_SHARES:
            self._last = now
            self._worker.log_event(self._name, ("share", (self._number, share)))


class _ToClient(logging.Handler):
    """Sends the lines of a worker's log to the client whose task it does."""

    def emit(self, record: logging.LogRecord) -> None:
        at = _AT.get()
        if at is not None:
            worker, name = at
            worker.log_event(name, ("log", (record.name, record.levelno, self.format(record))))


_TO_CLIENT = _ToClient()
_TO_CLIENT.setFormatter(LogLines("%(message)s"))
