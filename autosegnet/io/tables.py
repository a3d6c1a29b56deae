"""Writes tables as CSV that any spreadsheet opens: one row per line, and no cell that it would take for a formula."""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from autosegnet.errors import escape

_STARTS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def format_table_csv(
    heading: Sequence[str], rows: Iterable[Sequence[Any]], *, show: Callable[[str], str] = escape
) -> str:
    """Return the text of a CSV file; floats have all their digits, and None is an empty cell.

    A text that begins as a formula gets an apostrophe before it, as OWASP advises (CSV injection), and characters that
    cannot be printed become their escape sequence.

    Args:
        show: how a text is shown; `str` keeps it unchanged, for names of files that are read again
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in (heading, *rows):
        writer.writerow([_guard_cell(show(cell)) if isinstance(cell, str) else cell for cell in row])
    return text.getvalue()


def undo_guard(cell: str) -> str:
    """Return the text without the apostrophe before a formula."""
    return cell[1:] if cell[:1] == "'" and cell[1:].startswith(_STARTS_A_FORMULA) else cell


def _guard_cell(text: str) -> str:
    return f"'{text}" if text.startswith(_STARTS_A_FORMULA) else text
