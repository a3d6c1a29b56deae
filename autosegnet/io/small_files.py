"""Reads small files of text that people and programs write: JSON and tables, whole, and only if they are small.

Every fault of such a file is an error in one line: no file, a pipe, a device, too large, not UTF-8, not JSON, nested
too deeply.
"""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

from autosegnet.errors import AutosegnetError, InputError, format_path
from autosegnet.io.regular_files import open_regular_file
from autosegnet.io.tables import undo_guard

T = TypeVar("T")

MOST_BYTES = 64 << 20  # a table of 100,000 studies takes about 20 MB
_FAULTS = (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, LookupError, RecursionError, csv.Error)


def read_small_text(
    path: Path,
    *,
    what: str,
    error: type[AutosegnetError] = InputError,
    most_bytes: int = MOST_BYTES,
    other_bytes: Literal["strict", "surrogateescape"] = "strict",
) -> str:
    """Return the text of a file in UTF-8, without a byte order mark.

    Args:
        what: the file should be, for messages: "the sidecar", "a table of cases"
        error: raised for every fault
        most_bytes: more are refused
        other_bytes: what to do about bytes that are not UTF-8: "surrogateescape" keeps them, as names of files need
    """
    try:
        with open_regular_file(path) as file:
            data = _read(file, most_bytes + 1)
    except OSError as fault:
        raise error(f"cannot read {what} {format_path(path)}: {fault.strerror or 'input error'}") from fault
    if len(data) > most_bytes:
        raise error(f"cannot read {what} {format_path(path)}: it has more than {most_bytes} bytes")
    try:
        return data.decode("utf-8-sig", other_bytes)
    except UnicodeDecodeError as fault:
        raise error(
            f"cannot read {what} {format_path(path)}: byte {fault.start} is not UTF-8; expected text"
        ) from fault


def _read(file: io.FileIO, most: int) -> bytes:
    data = bytearray()
    while len(data) < most and (chunk := file.read(most - len(data))):
        data += chunk
    return bytes(data)


def read_json(
    path: Path,
    parse: Callable[[Any], T],
    *,
    what: str,
    expected: str,
    error: type[AutosegnetError] = InputError,
    most_bytes: int = MOST_BYTES,
) -> T:
    """Return what `parse` makes of the value in a JSON file.

    Args:
        parse: takes the value; whatever it raises about a value of another shape is the file's fault
        what: the file should be, for messages
        expected: the shape, for messages: "a list of {...}"
        error: raised for every fault
    """
    text = read_small_text(path, what=what, error=error, most_bytes=most_bytes)
    try:
        return parse(json.loads(text))
    except AutosegnetError:
        raise
    except _FAULTS as fault:
        raise error(
            f"{format_path(path)} cannot be read as {what}, expected {expected}: {type(fault).__name__} {fault}"[:600]
        ) from fault


def read_table(
    path: Path,
    *,
    what: str,
    error: type[AutosegnetError] = InputError,
    most_bytes: int = MOST_BYTES,
    other_bytes: Literal["strict", "surrogateescape"] = "strict",
) -> list[dict[str, str]]:
    """Return the rows of a CSV file by its heading, names and values stripped; a cell that is not there is empty.

    The apostrophe that `tables` puts before a formula is taken off.

    Args:
        what, error, most_bytes, other_bytes: as for `read_small_text`

    Raises:
        AutosegnetError: as `error` says: no file, no table, or a row with more cells than the heading
    """
    text = read_small_text(path, what=what, error=error, most_bytes=most_bytes, other_bytes=other_bytes)
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline=""), restval=""))
    except csv.Error as fault:
        raise error(f"{format_path(path)} cannot be read as {what}: {fault}") from fault
    for number, row in enumerate(rows, start=2):
        if None in row:  # as decimal commas make them
            raise error(f"line {number} of {format_path(path)} has more cells than the heading; expected as many")
    return [{undo_guard(name.strip()): undo_guard(value.strip()) for name, value in row.items()} for row in rows]
