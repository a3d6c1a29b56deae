"""The page of a comparison: one HTML file that loads and runs nothing, on screen, on a phone and on paper."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from autosegnet import __version__
from autosegnet.comparison.changes import BodyChange, DateFigures, LesionChange, find_percent
from autosegnet.comparison.matching import BESIDE_MM, NEAR_MM, OVERLAP_SHARE
from autosegnet.comparison.pictures import COLOURS, DateProjection, SlicePair
from autosegnet.comparison.registration import SPLINE_MM
from autosegnet.errors import format_count
from autosegnet.outputs import describe_scan_rows
from autosegnet.report.annotate import SUV_BLACK
from autosegnet.report.page import encode_source, list_facts
from autosegnet.report.page_tables import format_suv, format_volume

if TYPE_CHECKING:
    from autosegnet.comparison.comparison_result import Comparison

SHOWN_CHANGES: Final = 60
"""Changes with a row in the page; the tables hold all."""
_NONE = "–"
_MOST_PERCENT = 999  # more is told as more: of next to nothing, any lesion is a large multiple
_DATES: Final = ("baseline", "follow-up")
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
_GROUPS: Final = (("volume_ml", "Volume", "ml"), ("suv_max", "SUVmax", ""), ("sul_peak", "SULpeak", ""),
                  ("suv_peak", "SUVpeak", ""), ("tlg_g", "TLG", "g"))  # fmt: skip


def make_comparison_page(
    found: Comparison,
    projections: tuple[DateProjection, DateProjection],
    slices: list[SlicePair],
    *,
    title: str = "",
) -> str:
    """Return the text of `comparison.html`.

    Args:
        found: the comparison.
        projections: of baseline and follow-up.
        slices: of the largest changes.
        title: of the page; '' names no patient.
    """
    from jinja2 import Environment
    from markupsafe import Markup

    text = (files("autosegnet.comparison") / "comparison.html").read_text("utf-8")
    style = "".join((files(package) / name).read_text("utf-8") for package, name in
                    (("autosegnet.report", "page.css"), ("autosegnet.comparison", "comparison.css")))  # fmt: skip
    style += "".join(f".c{k} {{ background: rgb{colour}; }}\n" for k, colour in enumerate(COLOURS))
    template = Environment(autoescape=True).from_string(text)
    return template.render(
        style=Markup(style),  # noqa: S704 (our own files)
        style_hash="sha256-" + b64encode(sha256(style.encode("utf-8")).digest()).decode("ascii"),
        facts=list_facts,
        title=title,
        interval=describe_interval(found.days),
        summary=summarise(found),
        warnings=[*found.warnings, *found.doubts, *_list_visit_warnings(found)],
        suggestions=_list_suggestions(found),
        reasons=found.percist.reasons,
        registration=_list_registration(found),
        software=_list_software(found),
        region="" if all(c.is_imaged_twice for c in found.changes) else ", region that both dates cover",
        body=[_format_body(one) for one in found.body],
        spline_mm=f"{SPLINE_MM:.0f}",
        overlap_percent=f"{100 * OVERLAP_SHARE:.0f}",
        near_mm=f"{NEAR_MM:.0f}",
        beside_mm=f"{BESIDE_MM:.0f}",
        suv_black=f"{SUV_BLACK:g}",
        scans=_pair_scans(found),
        projections=_fill_projections(found, projections),
        **_fill_changes(found, slices),
    )


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


def _list_visit_warnings(found: Comparison) -> list[str]:
    pairs = ((found.baseline, "Baseline"), (found.followup, "Follow-up"))
    return [f"{name}: {line}" for visit, name in pairs for line in visit.warnings]


def _list_suggestions(found: Comparison) -> list[tuple[str, str]]:
    percist = found.percist
    rows = [("PERCIST 1.0", f"{percist.response}, {_RESPONSES[percist.response]}" if percist.response else "none")]
    if percist.sul_peak_baseline is not None:
        rows.append(("Hottest SULpeak", f"{percist.sul_peak_baseline:.2f} to {format_suv(percist.sul_peak_followup)}"))
        if percist.percent is not None:
            rows.append(("Its change", _format_percent(percist.percent)))
    if percist.threshold_sul is not None:
        rows.append(("Measurable from", f"{percist.threshold_sul:.2f}"))
    rows += [(f"Deauville, {date}", score) for date, score in zip(_DATES, found.deauville, strict=True) if score]
    return rows


def _list_registration(found: Comparison) -> list[tuple[str, str]]:
    check = found.check
    rows = [
        ("Body in common", f"{check.height_mm / 10:.0f} cm"),
        ("Overlap of bodies", f"{check.body_dice:.2f}"),
        ("Overlap of bones", f"{check.bone_dice:.2f}"),
        ("Correlation of HU", f"{check.correlation:.2f}"),
        ("Local volume change", f"{check.jacobian[0]:.2f} to {check.jacobian[1]:.2f}"),
    ]
    return [*rows, *((one.name.capitalize(), f"{one.distance_mm:.0f} mm apart") for one in check.landmarks)]


def _list_software(found: Comparison) -> list[str]:
    pairs = ((found.baseline, "Baseline"), (found.followup, "Follow-up"))
    return [f"autosegnet {__version__}", *(f"{name}: {visit.mask_source}." for visit, name in pairs)]


def _pair_scans(found: Comparison) -> list[tuple[str, str, str]]:
    first, second = (dict(describe_scan_rows(visit.loaded.scan)) for visit in (found.baseline, found.followup))
    return [(name, first.get(name, _NONE), second.get(name, _NONE)) for name in {**first, **second}]


def _fill_projections(found: Comparison, drawn: tuple[DateProjection, DateProjection]) -> list[dict[str, Any]]:
    visits = (("Baseline", found.baseline), ("Follow-up", found.followup))
    return [
        {
            "name": name,
            "base": encode_source(one.base),
            "overlay": encode_source(one.overlay),
            "width": one.size[0],
            "height": one.size[1],
            "count": format_count(visit.table.body.lesions, "lesion"),
        }
        for (name, visit), one in zip(visits, drawn, strict=True)
    ]


def _fill_changes(found: Comparison, slices: list[SlicePair]) -> dict[str, Any]:
    has_lean = any(c.baseline.sul_peak is not None or c.followup.sul_peak is not None for c in found.changes)
    keys = [group for group in _GROUPS if group[0] != ("suv_peak" if has_lean else "sul_peak")]
    sliced = {pair.number for pair in slices}
    changes = {change.number: change for change in found.changes}
    left = len(found.changes) - SHOWN_CHANGES
    return {
        "groups": [{"name": name, "unit": unit or "\u00a0"} for _, name, unit in keys],
        "rows": [_format_change(change, [key for key, *_ in keys], sliced) for change in found.changes[:SHOWN_CHANGES]],
        "rest": f"and {format_count(left, 'smaller lesion')}: see changes.csv" if left > 0 else "",
        "slices": [
            {
                "number": pair.number,
                "colour": _number_colour(pair.number),
                "caption": _caption(changes[pair.number]),
                "images": [{"date": date, "source": None if image is None else encode_source(image)}
                           for date, image in zip(_DATES, (pair.baseline, pair.followup), strict=True)],
            }
            for pair in slices
        ],
    }  # fmt: skip


def _number_colour(number: int) -> int:
    return (number - 1) % len(COLOURS)


def _caption(change: LesionChange) -> str:
    before, after = (
        f"{format_volume(one.volume_ml)} ml, SUVmax {format_suv(one.suv_max)}" if one.lesions else "none"
        for one in (change.baseline, change.followup)
    )
    return f"{change.fate}: {before} → {after}"


def _format_change(change: LesionChange, keys: list[str], sliced: set[int]) -> dict[str, Any]:
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
        "colour": _number_colour(change.number),
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


def _format_body(one: BodyChange) -> dict[str, str]:
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
