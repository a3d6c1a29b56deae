"""The platform's `invoke` convention: an HTTP server that runs one job after the other, its weights loaded before.

`GET /health` answers 200; `POST /invoke` answers 201 once its job is done, else an error status with the reason in one
line. waitress handles HTTP in its own threads, so `/health` answers during a job. Jobs run one at a time, in the order
of their calls, in the main thread, because there SIGTERM ends a job as it ends any other run. If `_MOST_CALLS` calls
wait, the next one is answered 503 at once.

Source: grand-challenge.org, algorithms with the image label `org.grand-challenge.api-method=invoke`.
"""

from __future__ import annotations

import logging
import select
import socket
import time
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from http import HTTPStatus
from queue import Empty, SimpleQueue
from threading import BoundedSemaphore, Event, Thread
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from autosegnet.errors import InputError, UsageError, format_path
from autosegnet.runtime.exit import RunResult, attempt

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

log = logging.getLogger(__name__)

PORT = 4743  # set by the platform

_MOST_CALLS = 7  # calls waiting for their jobs, the running one included; one thread each
_THREADS = _MOST_CALLS + 1  # one more, to answer /health and the calls above the limit
_LARGEST_BODY_BYTES = 1 << 20  # bytes of a call's body, which is not used
_STATUS = {0: HTTPStatus.CREATED, InputError.exit_code: HTTPStatus.UNPROCESSABLE_ENTITY}
_SECONDS_TO_SEE_A_SIGNAL = 0.5
_SECONDS_TO_END = 2.0
_SECONDS_TO_CALL = 20  # seconds from the first byte of a call to its last
_MOST_CONNECTIONS = 1000

Calls = SimpleQueue[Future[RunResult]]


def serve(job: Callable[[], None], *, host: str = "127.0.0.1", port: int = PORT) -> None:
    """Answer calls until SIGTERM or Ctrl-C, which end a running job and answer 503 to whoever waits.

    Args:
        job: what a call runs; its errors are answered and do not end the server.
        host: address to listen on; "0.0.0.0" for all.
        port: to listen on; 0 for any free one.

    Raises:
        UsageError: the port is not free or not allowed.
    """
    from waitress.server import create_server

    # waitress would warn about calls that wait for a thread, and the platform takes any line on stderr for a warning.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    calls: Calls = SimpleQueue()
    connections: dict[int, Any] = {}
    try:
        listener = socket.create_server((host, port))
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or "no such address").split(" (while")[0]
        raise UsageError(f"cannot listen on {format_path(host)}, port {port}: {reason}") from error
    server: Any = create_server(
        _make_application(calls),
        map=connections,
        sockets=[listener],
        threads=_THREADS,
        max_request_body_size=_LARGEST_BODY_BYTES,
        connection_limit=_MOST_CONNECTIONS,
        channel_timeout=_SECONDS_TO_CALL,  # seconds without a byte
        cleanup_interval=_SECONDS_TO_CALL,
    )
    ended = Event()
    traffic = Thread(target=_carry, args=[connections, ended], daemon=True)
    traffic.start()
    log.info("ready: GET /health and POST /invoke on port %d", listener.getsockname()[1])
    try:
        _run_calls(job, calls)
    except (SystemExit, KeyboardInterrupt):
        log.info("stopped")
    finally:
        _refuse(calls)
        server.task_dispatcher.shutdown(timeout=_SECONDS_TO_END)  # by then every answer is being sent
        ended.set()
        with suppress(OSError):  # closed by the other thread, which saw the end first
            server.pull_trigger()
        traffic.join(timeout=_SECONDS_TO_END)


def _carry(connections: dict[int, Any], ended: Event) -> None:
    """Send and receive until the server stops, send what is left, and close everything."""
    from waitress import wasyncore

    begun: MutableMapping[Any, float] = WeakKeyDictionary()
    while not ended.is_set() or any(connection.writable() for connection in list(connections.values())):
        wasyncore.loop(timeout=1, use_poll=hasattr(select, "poll"), map=connections, count=1)
        _close_slow(connections, begun)
    wasyncore.close_all(connections)


def _close_slow(connections: Mapping[int, Any], begun: MutableMapping[Any, float]) -> None:
    """Close every connection whose call takes too long to arrive, even if its bytes come steadily.

    Args:
        begun: when each unfinished call was first seen.
    """
    now = time.monotonic()
    for channel in list(connections.values()):
        call = getattr(channel, "request", None)
        if call is not None and now - begun.setdefault(call, now) > _SECONDS_TO_CALL:
            channel.handle_close()


def _run_calls(job: Callable[[], None], calls: Calls) -> None:
    """Run the job for every call, until an exception that is not the job's error."""
    while True:
        try:
            # A signal that comes just before the wait, or to another thread, is noticed only after the wait.
            call = calls.get(timeout=_SECONDS_TO_SEE_A_SIGNAL)
        except Empty:
            continue
        try:
            call.set_result(attempt(job))
        finally:
            call.cancel()  # has no effect if there is a result


def _refuse(calls: Calls) -> None:
    while not calls.empty():
        calls.get().cancel()


def _make_application(calls: Calls) -> Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]:
    """Return the WSGI application that puts its calls into the queue."""
    free = BoundedSemaphore(_MOST_CALLS)

    def answer(environment: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        match environment["REQUEST_METHOD"], environment["PATH_INFO"]:
            case "GET", "/health":
                status, text = HTTPStatus.OK, "ready"
            case "POST", "/invoke" if "HTTP_ORIGIN" in environment:
                status, text = HTTPStatus.FORBIDDEN, "calls from web pages are refused"
            case "POST", "/invoke":
                status, text = _answer(calls, free)
            case _, "/health" | "/invoke":
                status, text = HTTPStatus.METHOD_NOT_ALLOWED, "expected GET /health or POST /invoke"
            case _:
                status, text = HTTPStatus.NOT_FOUND, "expected GET /health or POST /invoke"
        body = (text + "\n").encode()
        headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
        start_response(f"{status.value} {status.phrase}", headers)
        return [body]

    return answer


def _answer(calls: Calls, free: BoundedSemaphore) -> tuple[HTTPStatus, str]:
    """Wait for the job of a call; return the status and the line to answer with.

    Args:
        free: places for calls that wait.
    """
    if not free.acquire(blocking=False):
        return (
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"autosegnet: error: {_MOST_CALLS} calls wait already; call again later",
        )
    call: Future[RunResult] = Future()
    calls.put(call)
    try:
        outcome = call.result()
    except CancelledError:
        return HTTPStatus.SERVICE_UNAVAILABLE, "autosegnet: error: the server was stopped before the job was done"
    finally:
        free.release()
    return _STATUS.get(outcome.exit_code, HTTPStatus.INTERNAL_SERVER_ERROR), outcome.line
