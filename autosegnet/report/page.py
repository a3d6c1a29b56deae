"""The page of a report: one HTML file that needs nothing else, on screen and on paper."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from importlib.resources import files
from string import Template

from autosegnet.lesions import BodyFigures, Lesion, LesionTable


@dataclass(frozen=True, slots=True)
class Provenance:
    """What made a mask. Nothing here names a patient or a path.

    Args:
        software: name and version.
        engine: what ran where.
        weights: digest of the folds.
        description: first sentence of their model card.
        suv: how SUV was derived, a line each.
        warnings: what the reader must know of the study, a line each.
        made: when the report was made.
    """

    software: str
    engine: str
    weights: str
    description: str
    suv: tuple[str, ...]
    warnings: tuple[str, ...]
    made: datetime


@dataclass(frozen=True, slots=True)
class Pictures:
    """PNG files, and the pixels of the projections, which are of one height and one scale.

    Args:
        coronal: projection.
        sagittal: projection.
        widths: of coronal and sagittal, in pixels.
        height: of both.
        fusion: of each shown lesion by its number.
    """

    coronal: bytes
    sagittal: bytes
    widths: tuple[int, int]
    height: int
    fusion: dict[int, bytes]


_NBSP = "\u00a0"
_HEADINGS = (
    ("Lesion", "number, by volume"),
    ("Volume", "ml"),
    ("SUVmax", ""),
    ("SUVmean", ""),
    ("SUVpeak", "1 cm³"),
    ("TLG", "g"),
    ("SUV ≥ 4", "ml in the mask"),
    ("SUV ≥ 2.5", "ml in the mask"),
    ("≥ 41 %", "ml in the mask"),
    ("Centroid", "L, P, S in mm"),
)


def page(table: LesionTable, shown: Sequence[Lesion], pictures: Pictures, provenance: Provenance) -> str:
    """The text of `report.html`.

    Args:
        table: all lesions.
        shown: those with a row and a picture, the first of the table.
        pictures: of those.
        provenance: what made the mask.
    """
    template = Template((files("autosegnet.report") / "page.html").read_text(encoding="utf-8"))
    return template.substitute(
        coronal=_source(pictures.coronal),
        sagittal=_source(pictures.sagittal),
        coronal_width=pictures.widths[0],
        sagittal_width=pictures.widths[1],
        ratio=f"{sum(pictures.widths) / pictures.height:.4f}",
        body=_body(table.body),
        warnings=_warnings(provenance.warnings),
        table=_table(table, shown),
        fusion=_fusion(shown, pictures),
        suv=_lines(provenance.suv),
        software=escape(provenance.software),
        engine=escape(provenance.engine),
        weights=escape(provenance.weights[:12]),
        description=escape(provenance.description or "not described"),
        made=provenance.made.strftime("%Y-%m-%d %H:%M %Z").strip(),
        connectivity=table.connectivity,
        peak=f"{table.peak_voxels} voxels, {table.peak_voxels * table.voxel_volume_ml:.2f} ml",
    )


def _body(body: BodyFigures) -> str:
    rows = (
        ("Lesions", str(body.lesions), ""),
        ("TMTV", _volume(body.tmtv_ml), "ml"),
        ("TLG", _volume(body.tlg_g), "g"),
        ("SUVmax", _suv(body.suv_max), ""),
        ("SUVpeak", _suv(body.suv_peak), ""),
        ("Dmax, centroids", _mm(body.dmax_centroids_mm), "mm"),
        ("Dmax, voxels", _mm(body.dmax_voxels_mm), "mm"),
    )
    return "".join(
        f"<div><dt>{name}</dt><dd>{value}{f' <small>{unit}</small>' if unit and value != '–' else ''}</dd></div>"
        for name, value, unit in rows
    )


def _table(table: LesionTable, shown: Sequence[Lesion]) -> str:
    if not table.lesions:
        return '<p class="none">No lesion was found.</p>'
    head = "".join(f"<th>{name}<small>{unit or _NBSP}</small></th>" for name, unit in _HEADINGS)
    rows = "".join(_row(lesion) for lesion in shown)
    rest = table.lesions[len(shown) :]
    if rest:
        rows += (
            f'<tr class="rest"><td colspan="{len(_HEADINGS)}">and {len(rest)} smaller lesions, '
            f"{_volume(sum(lesion.volume_ml for lesion in rest))} ml together, SUVmax up to "
            f"{_suv(max(lesion.suv_max for lesion in rest))}: see lesions.csv</td></tr>"
        )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _row(lesion: Lesion) -> str:
    number = lesion.number
    cells = (
        f'<a href="#lesion-{number}">{number}</a>',
        _volume(lesion.volume_ml),
        _suv(lesion.suv_max),
        _suv(lesion.suv_mean),
        _suv(lesion.suv_peak),
        _volume(lesion.tlg_g),
        _volume(lesion.suv_4_ml),
        _volume(lesion.suv_2_5_ml),
        _volume(lesion.percent_41_ml),
        ", ".join(f"{round(v)}".replace("-", "\u2212") for v in lesion.centroid_mm),
    )
    return f'<tr id="row-{number}">' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _fusion(shown: Sequence[Lesion], pictures: Pictures) -> str:
    """Captions give number, volume and SUVmax."""
    return "".join(
        f'<figure id="lesion-{lesion.number}"><a href="#row-{lesion.number}">'
        f'<img src="{_source(pictures.fusion[lesion.number])}" alt="axial PET/CT of lesion {lesion.number}"></a>'
        f"<figcaption><b>{lesion.number}</b> {_volume(lesion.volume_ml)} ml · SUV {_suv(lesion.suv_max)}</figcaption>"
        "</figure>"
        for lesion in shown
    )


def _warnings(warnings: Sequence[str]) -> str:
    return f'<div class="warnings"><h2>Warnings</h2>{_lines(warnings)}</div>' if warnings else ""


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"<p>{escape(line)}</p>" for line in lines)


def _source(png: bytes) -> str:
    return "data:image/png;base64," + b64encode(png).decode("ascii")


def _volume(value: float) -> str:
    return f"{value:.2f}" if value < 9.995 else f"{value:,.1f}".replace(",", "\u202f")


def _suv(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _mm(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}"
