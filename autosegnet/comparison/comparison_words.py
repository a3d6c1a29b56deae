"""The words and numbers of a comparison's page, as a reader sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from autosegnet.comparison.changes import BodyChange, DateFigures, LesionChange, find_percent
from autosegnet.comparison.pictures import COLOURS
from autosegnet.outputs import describe_scan_rows
from autosegnet.report.page_tables import format_suv, format_volume

if TYPE_CHECKING:
    from autosegnet.comparison.comparison_result import Comparison
    from autosegnet.lesions import LesionTable

_NONE = "–"
_MOST_PERCENT = 999  # more is told as more: of next to nothing, any lesion is a large multiple
_RESPONSES: Final = {
    "CMR": "complete metabolic response",
    "PMR": "partial metabolic response",
    "SMD": "stable metabolic disease",
    "PMD": "progressive metabolic disease",
}
_BODY_NAMES: Final = {
    "lesions": ("Lesions", ""),
    "tmtv_ml": ("TMTV", "ml"),
    "tlg_g": ("TLG", "g"),
    "suv_max_g_per_ml": ("SUVmax", ""),
    "suv_peak_g_per_ml": ("SUVpeak", ""),
    "sul_janma_peak_g_per_ml": ("SULpeak", ""),
    "dmax_centroids_mm": ("Dmax, centroids", "mm"),
    "dmax_voxels_mm": ("Dmax, voxels", "mm"),
}
_DATES: Final = ("baseline", "follow-up")


def describe_interval(days: int | None) -> str:
    """Return how far apart both dates are, in words."""
    if days is None:
        return "the dates are not known"
    count = "1 day" if abs(days) == 1 else f"{abs(days)} days"
    return f"follow-up {count} {'after' if days >= 0 else 'before'} baseline"


def summarise(found: Comparison) -> str:
    """Return the comparison in a sentence."""
    counts: dict[str, int] = {}
    for change in found.changes:
        counts[change.fate] = counts.get(change.fate, 0) + 1
    told = [f"{count} {fate}" for fate, count in counts.items()]
    volume = next(one for one in found.body if one.name == "tmtv_ml")
    percent = "" if volume.percent is None else f" ({_format_percent(volume.percent)})"
    before, after = (format_volume(value or 0.0) for value in (volume.baseline, volume.followup))
    return f"TMTV {before} to {after} ml{percent}. Lesions: {', '.join(told) or 'none'}."


def list_suggestions(found: Comparison) -> list[tuple[str, str]]:
    """Return what the figures suggest, name and value."""
    percist = found.percist
    rows = [("PERCIST 1.0", f"{percist.response}, {_RESPONSES[percist.response]}" if percist.response else "none")]
    if percist.sul_peak_baseline is not None:
        rows.append(("Hottest SULpeak", f"{percist.sul_peak_baseline:.2f} to {format_suv(percist.sul_peak_followup)}"))
        if percist.percent is not None:
            rows.append(("Change of SULpeak", _format_percent(percist.percent)))
    if percist.threshold_sul is not None:
        rows.append(("Measurable from", f"{percist.threshold_sul:.2f}"))
    visits = (found.baseline, found.followup)
    for date, visit, score in zip(_DATES, visits, found.deauville, strict=True):
        rows.append((f"Deauville, {date}", score or _explain_no_score(visit.table)))
    return rows


def _explain_no_score(table: LesionTable) -> str:
    """Return why a date has no Deauville score."""
    if not table.is_fdg:
        return "none: not FDG"
    if not any(not lesion.site.flag for lesion in table.lesions):
        return "none: no lesion"
    return "none: no liver was measured"


def list_registration(found: Comparison) -> list[tuple[str, str]]:
    """Return the figures of the registration, name and value."""
    check = found.check
    rows = [
        ("Body in common", f"{check.height_mm / 10:.0f} cm"),
        ("Overlap of bodies", f"{check.body_dice:.2f}"),
        ("Likeness of CTs", f"{check.likeness:.2f}"),
        ("Overlap of bones", f"{check.bone_dice:.2f}"),
        ("Correlation of HU", f"{check.correlation:.2f}"),
        ("Local volume change", f"{check.jacobian[0]:.2f} to {check.jacobian[1]:.2f}"),
    ]
    return [*rows, *((one.name.capitalize(), f"{one.distance_mm:.0f} mm apart") for one in check.landmarks)]


def pair_scans(found: Comparison) -> list[tuple[str, str, str]]:
    """Return how both PETs were made: name, baseline, follow-up."""
    first, second = (dict(describe_scan_rows(visit.loaded.scan)) for visit in (found.baseline, found.followup))
    return [(name, first.get(name, _NONE), second.get(name, _NONE)) for name in {**first, **second}]


def caption_change(change: LesionChange) -> str:
    """Return what happened to a lesion, with its volumes and SUVmax, in a line."""
    before, after = (
        f"{format_volume(one.volume_ml)} ml, SUVmax {format_suv(one.suv_max)}" if one.lesions else "none"
        for one in (change.baseline, change.followup)
    )
    return f"{change.fate}: {before} → {after}"


def format_change(change: LesionChange, keys: list[str], sliced: set[int]) -> dict[str, Any]:
    """Return a change as cells of a row.

    Args:
        change: of one disease.
        keys: of `DateFigures`, for the columns.
        sliced: numbers of the changes that have pictures.
    """
    known = change.baseline if change.baseline.site else change.followup
    kinds = {"new": "new", "vanished": "gone"}
    remarks = [f"physiological? {flag}" for flag in {change.baseline.flag, change.followup.flag} if flag]
    if change.is_cut and change.is_imaged_twice:
        remarks.append("may be cut by the field of view")
    parts = len(change.baseline.lesions), len(change.followup.lesions)
    if max(parts) > 1:
        remarks.insert(0, f"{parts[0]} → {parts[1]} parts")
    return {
        "number": change.number,
        "colour": number_colour(change.number),
        "fate": change.fate,
        "kind": kinds.get(change.fate, "" if change.is_imaged_twice else "unseen-lesion"),
        "remark": "; ".join(remarks),
        "site": ", ".join(part for part in (known.site, known.side) if part) or _NONE,
        "has_slices": change.number in sliced,
        "cells": [_format_cell(change.baseline, change.followup, key) for key in keys],
    }


def _format_cell(before: DateFigures, after: DateFigures, key: str) -> dict[str, str]:
    values = [getattr(one, key) if one.lesions else None for one in (before, after)]
    show = format_volume if key in ("volume_ml", "tlg_g") else format_suv
    told = [_NONE if value is None else show(value) for value in values]
    return {"before": told[0], "after": told[1], "change": _format_percent(find_percent(values[0], values[1]))}


def format_body_change(one: BodyChange) -> dict[str, str]:
    """Return a figure of the body as cells of a row."""
    name, unit = _BODY_NAMES[one.name]

    def show(value: float | None) -> str:
        if value is None:
            return _NONE
        if unit == "mm" or one.name == "lesions":
            return f"{value:.0f}"
        return format_volume(value) if unit else format_suv(value)

    return {
        "name": f"{name}, {unit}" if unit else name,
        "baseline": show(one.baseline),
        "followup": show(one.followup),
        "change": _format_percent(one.percent),
    }


def _format_percent(value: float | None) -> str:
    """Return a change with its sign; a dash if there is none."""
    if value is None:
        return _NONE
    whole = round(value)
    if whole > _MOST_PERCENT:
        return f"> +{_MOST_PERCENT} %"
    return f"{whole:+d} %".replace("-", "\u2212") if whole else "0 %"


def number_colour(number: int) -> int:
    """Return the number of a change's colour in the style sheet."""
    return (number - 1) % len(COLOURS)
