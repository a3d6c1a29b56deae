"""Makes the standard streams usable: they may be closed, full, or unable to show a character."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import TextIO

from autosegnet.errors import OutputError


def prepare_streams() -> None:
    """Make standard output and error usable: closed ones go to the null device, and no character ends the run.

    A closed descriptor is opened, because otherwise the next file gets its number, and with it whatever a library
    prints.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  (until the program ends)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_result(text: str) -> None:
    """Print a command's result. A reader that has gone, such as `head`, is not an error.

    Raises:
        OutputError: standard output cannot be written
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        _give_up(sys.stdout)
    except OSError as error:
        _give_up(sys.stdout)
        raise OutputError(f"cannot write to standard output: {error.strerror or 'output error'}") from error


def settle_streams() -> None:
    """Flush the log. Errors no longer matter."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            _give_up(stream)


def _give_up(stream: TextIO) -> None:
    """Send a stream to the null device; otherwise Python writes again at the end, complains, and exits with 120."""
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
