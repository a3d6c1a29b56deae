"""The overview of a cohort: one page that works offline, failures and warnings first, sortable, with thumbnails.

It lies in OUTPUT, beside the pictures and reports that it shows. A strict content policy lets it run only its own
script and load only those files.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from html import escape as escape_html
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any, Final
from urllib.parse import quote

from autosegnet.batch.record import Places, StudyRow, read_record
from autosegnet.errors import escape, format_count
from autosegnet.io import encode_text, write_files
from autosegnet.report import REPORT_PAGE

OVERVIEW: Final = "overview.html"

_FIGURES: Final[tuple[tuple[str, str, Callable[[StudyRow], float | None], str], ...]] = (
    ("Lesions", "", lambda row: row.lesions, ".0f"),
    ("TMTV", "ml", lambda row: row.tmtv_ml, ".2f"),
    ("TLG", "g", lambda row: row.tlg_g, ".1f"),
    ("SUVmax", "g/ml", lambda row: row.suv_max_g_per_ml, ".2f"),
    ("Dmax", "mm", lambda row: row.dmax_voxels_mm, ".0f"),
    ("Time", "s", lambda row: row.seconds, ".1f"),
)


@dataclass(frozen=True, slots=True)
class _Shown:
    """A study and what the page says about it."""

    row: StudyRow
    warnings: tuple[str, ...]

    @property
    def order(self) -> tuple[int, str]:
        rank = 0 if self.row.status == "failed" else 1 if self.warnings else 2 if self.row.status == "pending" else 3
        return rank, self.row.case


def write_overview(output: Path, rows: Iterable[StudyRow]) -> None:
    """Write the page.

    Args:
        output: folder of the batch.
        rows: of all studies.

    Raises:
        OutputError: it cannot be written.
    """
    shown = sorted((_Shown(row, _read_warnings(output, row)) for row in rows), key=lambda study: study.order)
    write_files({output / OVERVIEW: _format_page(output, shown)})


def _read_warnings(output: Path, row: StudyRow) -> tuple[str, ...]:
    record = read_record(Places(output, row.case).record) if row.status == "done" else None
    return tuple(map(str, record.made_by.get("warnings", ()))) if record else ()


def _format_page(output: Path, shown: list[_Shown]) -> Iterator[bytes]:
    package = files("autosegnet.batch")
    page, style, script = (
        (package / name).read_text(encoding="utf-8") for name in ("overview.html", "overview.css", "overview.js")
    )
    failed = sum(study.row.status == "failed" for study in shown)
    pending = sum(study.row.status == "pending" for study in shown)
    warned = sum(bool(study.warnings) for study in shown)
    head, tail = page.split("<!-- rows -->")
    counts = (
        f"{format_count(len(shown), 'study')}: {len(shown) - failed - pending} done, {pending} pending, {failed} failed"
    )
    counts += f"; {warned} with warnings"
    headings = "".join(f"<th>{name}<small>{unit}</small></th>" for name, unit, _, _ in _FIGURES)
    yield encode_text(
        Template(head).substitute(
            style=style, style_hash=_hash(style), script_hash=_hash(script), counts=counts, figures=headings
        )
    )
    for study in shown:
        yield encode_text(_format_study(output, study))
    yield encode_text(Template(tail).substitute(script=script))


def _format_study(output: Path, study: _Shown) -> str:
    row, places = study.row, Places(output, study.row.case)
    name = escape_html(escape(row.case))
    if (places.report / REPORT_PAGE).exists():
        name = f'<a href="{_link(output, places.report / REPORT_PAGE)}">{name}</a>'
    picture = ""
    if row.status == "done" and places.thumbnail.exists():
        picture = f'<img loading="lazy" alt="" src="{_link(output, places.thumbnail)}">'
    notes = [row.reason] if row.reason else list(study.warnings)
    said = "<br>".join(escape_html(escape(note)) for note in notes)
    kind = "failed" if row.status == "failed" else "warned" if study.warnings else row.status
    cells = "".join(_format_figure(find(row), how) for _, _, find, how in _FIGURES)
    rank = study.order[0]
    return (
        f'<tr class="{kind}"><td>{picture}</td><td>{name}</td><td data-v="{rank}">{kind}</td>{cells}'
        f"<td>{said}</td></tr>\n"
    )


def _format_figure(value: Any, how: str) -> str:
    return "<td></td>" if value is None else f'<td data-v="{value!r}">{value:{how}}</td>'


def _link(output: Path, path: Path) -> str:
    return escape_html(quote(path.relative_to(output).as_posix().encode(errors="surrogateescape")))


def _hash(text: str) -> str:
    """Return the hash that names a script or style in a content security policy."""
    return "sha256-" + b64encode(hashlib.sha256(text.encode()).digest()).decode()
