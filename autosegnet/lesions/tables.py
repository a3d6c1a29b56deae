"""`lesions.csv` and `lesions.json`: every figure at full precision, its unit in its name."""

from __future__ import annotations

import csv
import io
import json
from typing import Any, Final

from autosegnet.lesions.figures import BodyFigures, Lesion, LesionTable
from autosegnet.lesions.peak import PEAK_RADIUS_MM

_AXES = "xyz"
_SUMMED = {
    "suv_4_ml": "volume_suv_ge_4_ml",
    "suv_2_5_ml": "volume_suv_ge_2.5_ml",
    "percent_41_ml": "volume_ge_41_percent_of_suv_max_ml",
}
_NAMES = {
    "number": "lesion",
    "voxels": "voxels",
    "volume_ml": "volume_ml",
    "suv_max": "suv_max_g_per_ml",
    "suv_mean": "suv_mean_g_per_ml",
    "suv_peak": "suv_peak_g_per_ml",
    "suv_peak_at_max": "suv_peak_at_max_g_per_ml",
    "tlg_g": "tlg_g",
}

COLUMNS: Final = (
    *_NAMES.values(),
    *(f"{place}_{axis}_mm" for place in ("centroid", "suv_max") for axis in _AXES),
    *_SUMMED.values(),
    *(f"box_{axis}_{end}_voxel" for axis in _AXES for end in ("first", "end")),
    *(f"box_{axis}_{end}_mm" for axis in _AXES for end in ("min", "max")),
    "connectivity",
)
"""Of `lesions.csv`. Positions are LPS; `box_*_end_voxel` is the first voxel behind the lesion."""


def csv_text(table: LesionTable) -> str:
    """The text of `lesions.csv`: a row a lesion; only the names of the columns where there is none."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for lesion in table.lesions:
        rows.writerow(_row(lesion, table.connectivity).values())
    return text.getvalue()


def json_text(table: LesionTable) -> str:
    """The text of `lesions.json`: the conventions, the whole body, and the rows of `lesions.csv`."""
    content = {
        "format": 1,
        "connectivity": table.connectivity,
        "order": "by volume, largest first",
        "coordinates": "LPS, mm; voxel ranges are half-open, (x, y, z) of the PET's grid",
        "voxel_volume_ml": table.voxel_volume_ml,
        "peak_sphere": {
            "volume_ml": 1.0,
            "radius_mm": PEAK_RADIUS_MM,
            "voxels": table.peak_voxels,
            "voxels_volume_ml": table.peak_voxels * table.voxel_volume_ml,
            "rule": "voxels of the image whose centre lies within the radius, in the lesion or not",
        },
        "body": _body(table.body),
        "lesions": [_row(lesion, table.connectivity) for lesion in table.lesions],
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _row(lesion: Lesion, connectivity: int) -> dict[str, Any]:
    values: list[Any] = [getattr(lesion, name) for name in _NAMES]
    values += [*lesion.centroid_mm, *lesion.suv_max_mm]
    values += [getattr(lesion, name) for name in _SUMMED]
    values += [bound for pair in (*lesion.box, *lesion.box_mm) for bound in pair]
    return dict(zip(COLUMNS, [*values, connectivity], strict=True))


def _body(body: BodyFigures) -> dict[str, Any]:
    return {
        "lesions": body.lesions,
        "tmtv_ml": body.tmtv_ml,
        "tlg_g": body.tlg_g,
        "suv_max_g_per_ml": body.suv_max,
        "suv_peak_g_per_ml": body.suv_peak,
        "dmax_centroids_mm": body.dmax_centroids_mm,
        "dmax_voxels_mm": body.dmax_voxels_mm,
        **{name: getattr(body, key) for key, name in _SUMMED.items()},
    }
