"""The page of a comparison: one HTML file that loads and runs nothing, on screen, on a phone and on paper."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from autosegnet import __version__
from autosegnet.comparison.comparison_words import (
    caption_change,
    describe_interval,
    format_body_change,
    format_change,
    list_registration,
    list_suggestions,
    number_colour,
    pair_scans,
    summarise,
)
from autosegnet.comparison.matching import BESIDE_MM, NEAR_MM, OVERLAP_SHARE
from autosegnet.comparison.pictures import COLOURS, DateProjection, SlicePair
from autosegnet.comparison.registration import SPLINE_MM
from autosegnet.errors import format_count
from autosegnet.report.annotate import SUV_BLACK
from autosegnet.report.page import encode_source, list_facts

if TYPE_CHECKING:
    from autosegnet.comparison.comparison_result import Comparison

SHOWN_CHANGES: Final = 60
"""Changes with a row in the page; the tables hold all."""
_DATES: Final = ("baseline", "follow-up")
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
        suggestions=list_suggestions(found),
        reasons=found.percist.reasons,
        registration=list_registration(found),
        software=_list_software(found),
        region="" if all(c.is_imaged_twice for c in found.changes) else ", region that both dates cover",
        body=[format_body_change(one) for one in found.body],
        spline_mm=f"{SPLINE_MM:.0f}",
        overlap_percent=f"{100 * OVERLAP_SHARE:.0f}",
        near_mm=f"{NEAR_MM:.0f}",
        beside_mm=f"{BESIDE_MM:.0f}",
        suv_black=f"{SUV_BLACK:g}",
        scans=pair_scans(found),
        projections=_fill_projections(found, projections),
        **_fill_changes(found, slices),
    )


def _list_visit_warnings(found: Comparison) -> list[str]:
    pairs = ((found.baseline, "Baseline"), (found.followup, "Follow-up"))
    return [f"{name}: {line}" for visit, name in pairs for line in visit.warnings]


def _list_software(found: Comparison) -> list[str]:
    pairs = ((found.baseline, "Baseline"), (found.followup, "Follow-up"))
    return [f"autosegnet {__version__}", *(f"{name}: {visit.mask_source}." for visit, name in pairs)]


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
        "rows": [format_change(change, [key for key, *_ in keys], sliced) for change in found.changes[:SHOWN_CHANGES]],
        "rest": f"and {format_count(left, 'smaller lesion')}: see changes.csv" if left > 0 else "",
        "slices": [
            {
                "number": pair.number,
                "colour": number_colour(pair.number),
                "caption": caption_change(changes[pair.number]),
                "images": [{"date": date, "source": None if image is None else encode_source(image)}
                           for date, image in zip(_DATES, (pair.baseline, pair.followup), strict=True)],
            }
            for pair in slices
        ],
    }  # fmt: skip
