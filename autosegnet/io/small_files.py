"""Reads small text files, JSON and tables, as a whole, and only if they are small.

Every fault of such a file is an error in one line: no file, a pipe, a device, too large, not UTF-8, not JSON, nested
too deeply.
"""

import csv
import io
import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Literal, TypeVar

from autosegnet.errors import AutosegnetError, InputError, escape, format_path
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
        raise error(f"{format_path(path)} cannot be read as {what}: {fault.strerror or 'input error'}") from fault
    if len(data) > most_bytes:
        raise error(f"{format_path(path)} cannot be read as {what}: it has more than {most_bytes} bytes")
    try:
        return data.decode("utf-8-sig", other_bytes)
    except UnicodeDecodeError as fault:
        raise error(f"{format_path(path)} cannot be read as {what}: byte {fault.start} is not UTF-8") from fault


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
        parse: takes the value; its errors about another shape are reported as the file's
        what: the file should be, for messages
        expected: the shape, for messages: "a list of {...}"
        error: raised for every fault
    """
    text = read_small_text(path, what=what, error=error, most_bytes=most_bytes)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as fault:
        raise error(f"{format_path(path)} cannot be read as {what}: not JSON ({str(fault)[:200]})") from fault
    try:
        return parse(value)
    except _FAULTS as fault:
        found = f"{type(fault).__name__} {fault}"[:200]
        raise error(f"{format_path(path)} cannot be read as {what}: {found}; expected {expected}") from fault


def require_object(value: Any) -> dict[str, Any]:
    """Return the value if it is an object of JSON; raise TypeError if not."""
    if not isinstance(value, dict):
        raise TypeError(f"found {type(value).__name__}, not an object")
    return value


def read_table(
    path: Path,
    *,
    what: str,
    columns: Collection[str] = (),
    error: type[AutosegnetError] = InputError,
    most_bytes: int = MOST_BYTES,
    other_bytes: Literal["strict", "surrogateescape"] = "strict",
) -> list[dict[str, str]]:
    """Return the rows of a CSV file by its heading, names and values stripped.

    The apostrophe that `tables` puts before a formula is taken off.

    Args:
        columns: that the heading must have
        what, error, most_bytes, other_bytes: as for `read_small_text`

    Raises:
        AutosegnetError: as `error` says: no file, no table, no such column, or a row with more or
            fewer cells than the heading
    """
    text = read_small_text(path, what=what, error=error, most_bytes=most_bytes, other_bytes=other_bytes)
    try:
        reader = csv.reader(io.StringIO(text, newline=""))
        rows = [(reader.line_num, [undo_guard(cell.strip()) for cell in row]) for row in reader if row]
    except csv.Error as fault:
        raise error(f"{format_path(path)} cannot be read as {what}: {fault}") from fault
    heading = rows[0][1] if rows else []
    missing = [name for name in columns if name not in heading]
    if missing:
        found = escape(", ".join(heading[:10])) or "nothing"
        raise error(f"no column {', '.join(missing)} in {format_path(path)}; found {found}")
    for line, cells in rows:
        if len(cells) != len(heading):  # too many after decimal commas; too few in a truncated file
            raise error(f"{len(cells)} cells in line {line}, expected {len(heading)}, in {format_path(path)}")
    return [dict(zip(heading, cells, strict=True)) for _, cells in rows[1:]]
