"""The texts and numbers of a page's tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from autosegnet.errors import format_count
from autosegnet.lesions import Lesion, LesionTable
from autosegnet.lesions.lesion_table import find_ratio
from autosegnet.lesions.reference_regions import Reference
from autosegnet.lesions.references import warn_of_liver
from autosegnet.lesions.response import (
    count_measurable,
    find_percist_threshold_suv,
    suggest_body_deauville,
    suggest_deauville,
)

_NONE: Final = "–"
_SEXES: Final = {"M": "male", "F": "female", "O": "other"}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Args:
        key: of a row's value.
        name: in the heading.
        unit: below the name.
        is_words: whether it holds words rather than numbers.
    """

    key: str
    name: str
    unit: str = ""
    is_words: bool = False


_COLUMNS: Final = (
    Column("number", "Lesion", "by volume"),
    Column("site", "Site", is_words=True),
    Column("volume", "Volume", "ml"),
    Column("suv_max", "SUVmax"),
    Column("suv_mean", "SUVmean"),
    Column("suv_peak", "SUVpeak", "1 cm³"),
    Column("sul_peak", "SULpeak", "Janmahasatian"),
    Column("tlg", "TLG", "g"),
    Column("diameter", "Diameter", "mm"),
    Column("ratio", "T/L"),
    Column("deauville", "Deauville", "suggestion"),
    Column("probability", "Probability", "mean"),
    Column("disagreement", "Folds", "± mean"),
    Column("remarks", "Remarks", is_words=True),
)
MORE_COLUMNS: Final = (
    Column("number", "Lesion"),
    Column("suv_4", "SUV ≥ 4", "ml in the mask"),
    Column("suv_2_5", "SUV ≥ 2.5", "ml in the mask"),
    Column("percent_41", "≥ 41 %", "ml in the mask"),
    Column("centroid", "Centroid", "L, P, S in mm"),
)
_ALWAYS: Final = ("number", "volume", "suv_max", "suv_mean", "suv_peak", "tlg", "diameter")


def choose_columns(table: LesionTable) -> tuple[Column, ...]:
    """Return the columns in which a lesion has a value."""
    rows = [format_row(lesion, table) for lesion in table.lesions]
    return tuple(c for c in _COLUMNS if c.key in _ALWAYS or any(row[c.key] not in ("", _NONE) for row in rows))


def format_row(lesion: Lesion, table: LesionTable) -> dict[str, str]:
    """Return a lesion's values by the keys of the columns."""
    factor = table.lean_factors.get("janma")
    ratio = find_ratio(lesion, table.references.liver)
    side = lesion.site.side
    return {
        "number": str(lesion.number),
        "site": ", ".join(part for part in (lesion.site.name, side) if part),
        "volume": format_volume(lesion.volume_ml),
        "suv_max": format_suv(lesion.suv_max),
        "suv_mean": format_suv(lesion.suv_mean),
        "suv_peak": format_suv(lesion.suv_peak),
        "sul_peak": format_suv(None if factor is None else factor * lesion.suv_peak),
        "tlg": format_volume(lesion.tlg_g),
        "diameter": _format_mm(lesion.diameter_mm),
        "ratio": _NONE if ratio is None else f"{ratio:.1f}",
        "deauville": suggest_deauville(lesion, table.fdg_references) or _NONE,
        "probability": format_suv(lesion.probability),
        "disagreement": format_suv(lesion.disagreement),
        "remarks": "; ".join(_list_remarks(lesion, table)),
        "is_flagged": "yes" if lesion.site.flag else "",
        "suv_4": format_volume(lesion.suv_4_ml),
        "suv_2_5": format_volume(lesion.suv_2_5_ml),
        "percent_41": format_volume(lesion.percent_41_ml),
        "centroid": ", ".join(map(_format_signed, lesion.centroid_mm)),
    }


def _list_remarks(lesion: Lesion, table: LesionTable) -> list[str]:
    remarks = [f"physiological? {lesion.site.flag}"] if lesion.site.flag else []
    if lesion.touches_border:
        remarks.append("at the border of the PET, may be cut")
    if table.labelled:
        remarks.append(f"label {lesion.label}")
    return remarks


def describe_rest(table: LesionTable, shown: int) -> str:
    """Return a sentence about the lesions without a row; '' if all have one."""
    rest = table.lesions[shown:]
    if not rest:
        return ""
    volume_ml, highest = sum(lesion.volume_ml for lesion in rest), max(lesion.suv_max for lesion in rest)
    return (
        f"and {format_count(len(rest), 'smaller lesion')}, {format_volume(volume_ml)} ml together, "
        f"SUVmax up to {format_suv(highest)}: see lesions.csv"
    )


def describe_body(table: LesionTable) -> list[tuple[str, str]]:
    """Return the figures of the whole body, name and value."""
    body = table.body
    rows = [
        ("Lesions", str(body.lesions)),
        ("TMTV", f"{format_volume(body.tmtv_ml)} ml"),
        ("TLG", f"{format_volume(body.tlg_g)} g"),
        ("SUVmax", format_suv(body.suv_max)),
        ("SUVpeak", format_suv(body.suv_peak)),
        ("Bulk, largest diameter", _format_mm(body.bulk_mm, " mm")),
        ("Dmax, voxels", _format_mm(body.dmax_voxels_mm, " mm")),
    ]
    if body.lesions < 2:
        return rows  # nothing lies apart
    rows.insert(-1, ("Dmax, centroids", _format_mm(body.dmax_centroids_mm, " mm")))
    if body.sdmax_per_m is not None:
        rows.append(("SDmax", f"{body.sdmax_per_m:.3f} /m"))
    return rows


def describe_references(table: LesionTable) -> list[tuple[str, str]]:
    """Return the reference uptake, as names and values; empty if no reference was looked for."""
    references = table.references
    rows = []
    for name, reference in (("Liver", references.liver), ("Blood pool", references.blood)):
        if reference is not None:
            rows += [
                (f"{name}, mean ± SD", f"{reference.suv_mean:.2f}\u00a0±\u00a0{reference.suv_sd:.2f}"),
                (f"{name}, max", f"{reference.suv_max:.2f}"),
                (f"{name}, peak", f"{reference.suv_peak:.2f}"),
            ]
            factor = table.lean_factors.get("janma")
            if factor is not None:
                rows.append((f"{name}, SUL mean", f"{factor * reference.suv_mean:.2f}"))
        elif references.liver is not None or references.blood is not None:
            rows.append((name, "not measured"))
    return rows


def explain_references(table: LesionTable) -> list[str]:
    """Return how references were found, or why not."""
    references = table.references
    lines = [_explain(reference) for reference in (references.liver, references.blood) if reference is not None]
    lines += [
        f"{name} was not measured: {reason}."
        for name, reason in (("Liver", references.without_liver), ("Blood pool", references.without_blood))
        if reason
    ]
    return lines


def _explain(reference: Reference) -> str:
    sure = "" if reference.sure else " Less sure: check its picture."
    x, y, z = (_format_signed(v) for v in reference.centre_mm)
    return f"{reference.organ.capitalize()}: {reference.source}, at L {x}, P {y}, S {z} mm.{sure}"


def describe_patient(table: LesionTable) -> list[tuple[str, str]]:
    """Return the patient's size as far as it is known, name and value."""
    size = table.size
    return [
        *([("Weight", f"{size.weight_kg:g} kg")] if size.weight_kg else []),
        *([("Height", f"{size.height_cm:.0f} cm")] if size.height_cm else []),
        *([("Sex", _SEXES[size.sex])] if size.sex in _SEXES else []),
    ]


def describe_suggestions(table: LesionTable) -> list[tuple[str, str]]:
    """Return the suggestions, as names and values; empty without a reference or with another tracer than FDG."""
    rows = []
    if score := suggest_body_deauville(table.lesions, table.fdg_references):
        rows.append(("Deauville, hottest lesion", score))
    threshold, measurable = (
        find_percist_threshold_suv(table.fdg_references),
        count_measurable(table.lesions, table.fdg_references),
    )
    if threshold is not None and measurable is not None:
        rows.append(("PERCIST, SUVpeak needed", f"{threshold:.2f}"))
        rows.append(("PERCIST, measurable lesions", str(measurable)))
    return rows


def list_warnings(table: LesionTable) -> list[str]:
    """Return what a reader must know about the figures."""
    lines = [
        f"Left out on request: {format_count(left.lesions, 'lesion')}, {format_volume(left.volume_ml)} ml, "
        f"{left.reason}."
        for left in table.left_out
    ]
    flagged = [lesion for lesion in table.lesions if lesion.site.flag]
    if flagged:
        numbers = ", ".join(str(lesion.number) for lesion in flagged)
        noun, them = ("lesion", "it") if len(flagged) == 1 else ("lesions", "them")
        rest_ml = sum(lesion.volume_ml for lesion in table.lesions if not lesion.site.flag)
        lines.append(
            f"May be physiological uptake: {noun} {numbers}. All figures include {them}; without {them} TMTV is "
            f"{format_volume(rest_ml)} ml."
        )
    doubt = warn_of_liver(table.references.liver) if table.is_fdg else ""
    return [*lines, *([f"{doubt[0].upper()}{doubt[1:]}."] if doubt else [])]


def format_volume(value: float) -> str:
    """Return ml or g with two decimals below ten, else one."""
    return f"{value:.2f}" if value < 9.995 else f"{value:,.1f}".replace(",", "\u202f")


def format_suv(value: float | None) -> str:
    """Return two decimals, or a dash."""
    return _NONE if value is None else f"{value:.2f}"


def _format_signed(value: float) -> str:
    return f"{round(value)}".replace("-", "\u2212")


def _format_mm(value: float | None, unit: str = "") -> str:
    return _NONE if value is None else f"{value:.0f}{unit}"
