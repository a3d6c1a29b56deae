"""The changes as files: `changes.csv`, `comparison.json`, and `changes.parquet` if pyarrow is installed.

Every figure has full precision, and its unit is in its name. None and an empty cell say that a figure is not known.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, astuple
from typing import TYPE_CHECKING, Any, Final

from autosegnet import __version__
from autosegnet.comparison.changes import DateFigures, LesionChange, find_percent
from autosegnet.comparison.matching import BESIDE_MM, NEAR_MM, OVERLAP_SHARE
from autosegnet.comparison.registration import SPLINE_MM
from autosegnet.io.tables import format_table_csv

if TYPE_CHECKING:
    from autosegnet.comparison.comparison_result import Comparison
    from autosegnet.comparison.visits import Visit

log = logging.getLogger(__name__)

_FIGURES = {
    "volume_ml": "volume_ml",
    "suv_max": "suv_max_g_per_ml",
    "suv_peak": "suv_peak_g_per_ml",
    "sul_peak": "sul_janma_peak_g_per_ml",
    "tlg_g": "tlg_g",
}
_DATES = ("baseline", "followup")
_TEXTS = ("fate", "baseline_lesions", "followup_lesions", "site", "side", "maybe_physiological")

CHANGE_COLUMNS: Final = (
    "number",
    "fate",
    "baseline_lesions",
    "followup_lesions",
    "site",
    "side",
    *(f"{date}_{name}" for name in _FIGURES.values() for date in _DATES),
    *(f"change_{key}_percent" for key in _FIGURES),
    "overlap_ml",
    "distance_mm",
    "maybe_cut",
    "maybe_physiological",
)
"""Of `changes.csv`. `*_lesions` are numbers in the lesion tables of both dates, joined by spaces."""


def make_change_row(change: LesionChange) -> dict[str, Any]:
    """Return a change by the names of `CHANGE_COLUMNS`."""
    before, after = change.baseline, change.followup
    known = before if before.site else after
    values: list[Any] = [change.number, change.fate]
    values += [" ".join(map(str, figures.lesions)) for figures in (before, after)]
    values += [known.site or None, known.side or None]
    values += [getattr(figures, key) if figures.lesions else None for key in _FIGURES for figures in (before, after)]
    values += [_find_change(before, after, key) for key in _FIGURES]
    flag = before.flag or after.flag or None
    values += [change.overlap_ml, change.distance_mm, int(change.is_cut), flag]
    return dict(zip(CHANGE_COLUMNS, values, strict=True))


def _find_change(before: DateFigures, after: DateFigures, key: str) -> float | None:
    """Return the change in percent; of a lesion on one date alone, none: `fate` says what happened."""
    if not before.lesions or not after.lesions:
        return None
    return find_percent(getattr(before, key), getattr(after, key))


def format_changes_csv(found: Comparison) -> str:
    """Return the text of `changes.csv`: a row per disease."""
    return format_table_csv(CHANGE_COLUMNS, [list(make_change_row(change).values()) for change in found.changes])


def encode_changes_parquet(found: Comparison) -> bytes | None:
    """Return the file `changes.parquet`, with the columns of `changes.csv`; None without pyarrow."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        log.info("no changes.parquet: pip install 'autosegnet[tables]' to have it")
        return None
    whole = ("number", "maybe_cut")
    types = {name: pa.string() if name in _TEXTS else pa.int64() if name in whole else pa.float64()
             for name in CHANGE_COLUMNS}  # fmt: skip
    table = pa.Table.from_pylist([make_change_row(change) for change in found.changes], schema=pa.schema(types))
    buffer = pa.BufferOutputStream()
    parquet.write_table(table, buffer, compression="zstd")
    return bytes(buffer.getvalue().to_pybytes())


def format_comparison_json(found: Comparison) -> str:
    """Return the text of `comparison.json`: rules, registration, body, suggestions, warnings, and every change."""
    percist, check = found.percist, found.check
    content = {
        "format": 1,
        "software": f"autosegnet {__version__}",
        "days": found.days,
        "rules": {
            "overlap_share": OVERLAP_SHARE,
            "near_mm": NEAR_MM,
            "beside_mm": BESIDE_MM,
            "spline_mm": SPLINE_MM,
        },
        "registration": {
            "common_height_mm": check.height_mm,
            "body_dice": check.body_dice,
            "likeness": check.likeness,
            "bone_dice": check.bone_dice,
            "correlation": check.correlation,
            "log_jacobian_sd": check.spread,
            "jacobian_min": check.jacobian[0],
            "jacobian_max": check.jacobian[1],
            "landmark_median_mm": check.landmark_mm,
            "landmarks": [asdict(one) for one in check.landmarks],
            "faults": list(check.faults),
        },
        "body": [
            {"figure": one.name, "baseline": one.baseline, "followup": one.followup, "change_percent": one.percent}
            for one in found.body
        ],
        "suggestions": {
            "note": "suggestions computed from the figures; a reader decides",
            "percist": percist.response or None,
            "percist_reasons": list(percist.reasons),
            "percist_target": percist.target,
            "percist_sul_peak_g_per_ml": [percist.sul_peak_baseline, percist.sul_peak_followup],
            "percist_change_percent": percist.percent,
            "percist_threshold_sul_g_per_ml": percist.threshold_sul,
            "deauville": dict(zip(_DATES, (score or None for score in found.deauville), strict=True)),
        },
        "doubts": list(found.doubts),
        "warnings": list(found.warnings),
        **{date: _describe_visit(getattr(found, date)) for date in _DATES},
        "links": [dict(zip(("baseline", "followup", "overlap_ml", "distance_mm"), astuple(link), strict=True))
                  for link in found.matched.links],
        "changes": [make_change_row(change) for change in found.changes],
    }  # fmt: skip
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _describe_visit(visit: Visit) -> dict[str, Any]:
    body, scan = visit.table.body, visit.loaded.scan
    return {
        "mask": visit.mask_source,
        "lesions": body.lesions,
        "tmtv_ml": body.tmtv_ml,
        "tlg_g": body.tlg_g,
        "tracer": scan.tracer or None,
        "uptake_min": scan.uptake_min,
        "dose_mbq": scan.dose_mbq,
        "weight_kg": scan.weight_kg,
        "scanner": scan.scanner or None,
        "reconstruction": scan.reconstruction or None,
        "warnings": list(visit.warnings),
    }
