"""The table of a mask's lesions, and its forms: `lesions.csv`, `lesions.json` and a pandas frame.

Every figure has full precision, and its unit is in its name.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from autosegnet.lesions.context import BodySize
from autosegnet.lesions.figures import BodyFigures, LeftOut, Lesion
from autosegnet.lesions.peak import PEAK_RADIUS_MM
from autosegnet.lesions.reference_regions import Reference
from autosegnet.lesions.references import References, warn_of_liver
from autosegnet.lesions.response import (
    count_measurable,
    find_percist_threshold_suv,
    suggest_body_deauville,
    suggest_deauville,
)

if TYPE_CHECKING:
    import pandas

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
_LEAN = ("janma", "james")
_UPTAKE = ("max", "mean", "peak")

LESION_COLUMNS: Final = (
    *_NAMES.values(),
    *(f"{place}_{axis}_mm" for place in ("centroid", "suv_max") for axis in _AXES),
    *_SUMMED.values(),
    *(f"box_{axis}_{end}_voxel" for axis in _AXES for end in ("first", "end")),
    *(f"box_{axis}_{end}_mm" for axis in _AXES for end in ("min", "max")),
    "connectivity",
    "label",
    "site",
    "side",
    "site_source",
    "maybe_physiological",
    "diameter_mm",
    "touches_border",
    "probability_mean",
    "fold_sd_mean",
    *(f"sul_{formula}_{what}_g_per_ml" for formula in _LEAN for what in _UPTAKE),
    "tumour_to_liver_ratio",
    "tumour_to_blood_ratio",
    "deauville_suggestion",
)
"""Columns of `lesions.csv`, new ones last. Positions are LPS; `box_*_end_voxel` is the first voxel after the lesion."""


@dataclass(frozen=True, slots=True)
class LesionTable:
    """The lesions of a mask, measured.

    Args:
        lesions: in the order of their numbers.
        body: figures of all of them together.
        connectivity: neighbours that make one lesion.
        voxel_volume_ml: of the PET's grid.
        peak_voxels: number of voxels in the sphere of 1 cm3.
        references: uptake of liver and blood pool.
        size: of the patient, as far as it is known.
        is_fdg: whether rules for FDG apply.
        labelled: whether each label of the mask was one lesion, connected or not.
        left_out: lesions of the mask that are not in the table, on request.
    """

    lesions: tuple[Lesion, ...]
    body: BodyFigures
    connectivity: int
    voxel_volume_ml: float
    peak_voxels: int
    references: References = References()
    size: BodySize = BodySize()
    is_fdg: bool = True
    labelled: bool = False
    left_out: tuple[LeftOut, ...] = ()

    @property
    def lean_factors(self) -> Mapping[str, float]:
        """Return SUL per SUV by formula, 'janma' and 'james'; empty if the patient's size is not known."""
        return self.size.compute_lean_factors()

    @property
    def fdg_references(self) -> References:
        """Return the references that rules for FDG may use: none for another tracer."""
        return self.references if self.is_fdg else References()

    def to_frame(self) -> pandas.DataFrame:
        """Return the rows of `lesions.csv` as a pandas frame, with its columns.

        Raises:
            ImportError: pandas is not installed.
        """
        import pandas

        rows = [make_lesion_row(lesion, self) for lesion in self.lesions]
        return pandas.DataFrame(rows, columns=list(LESION_COLUMNS))


def format_lesions_csv(table: LesionTable) -> str:
    """Return the text of `lesions.csv`: the names of the columns, and a row per lesion."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(LESION_COLUMNS)
    for lesion in table.lesions:
        rows.writerow(make_lesion_row(lesion, table).values())
    return text.getvalue()


def format_lesions_json(table: LesionTable) -> str:
    """Return the text of `lesions.json`: the conventions, the whole body, references and the rows of `lesions.csv`."""
    content = {
        "format": 1,
        "connectivity": None if table.labelled else table.connectivity,
        "lesion_definition": "label of the mask" if table.labelled else "connected component of the mask",
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
        "body": _describe_body(table.body),
        "references": _describe_references(table),
        "sul_per_suv": {formula: table.lean_factors.get(formula) for formula in _LEAN},
        "suggestions": _describe_suggestions(table),
        "left_out": [asdict(left) for left in table.left_out],
        "lesions": [make_lesion_row(lesion, table) for lesion in table.lesions],
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def make_lesion_row(lesion: Lesion, table: LesionTable) -> dict[str, Any]:
    """Return the figures of a lesion by the names of `LESION_COLUMNS`; an unknown figure is None."""
    values: list[Any] = [getattr(lesion, name) for name in _NAMES]
    values += [*lesion.centroid_mm, *lesion.suv_max_mm]
    values += [getattr(lesion, name) for name in _SUMMED]
    values += [bound for pair in (*lesion.box, *lesion.box_mm) for bound in pair]
    values.append(None if table.labelled else table.connectivity)
    values.append(lesion.label if table.labelled else None)
    site = lesion.site
    values += [site.name or None, site.side or None, site.source or None, site.flag or None]
    values += [lesion.diameter_mm, int(lesion.touches_border), lesion.probability, lesion.disagreement]
    for formula in _LEAN:
        factor = table.lean_factors.get(formula)
        values += [None if factor is None else factor * getattr(lesion, f"suv_{what}") for what in _UPTAKE]
    values += [find_ratio(lesion, table.references.liver), find_ratio(lesion, table.references.blood)]
    values.append(suggest_deauville(lesion, table.fdg_references) or None)
    return dict(zip(LESION_COLUMNS, values, strict=True))


def find_ratio(lesion: Lesion, reference: Reference | None) -> float | None:
    """Return SUVmax of a lesion over SUVmean of a reference; None without one."""
    return None if reference is None or reference.suv_mean <= 0 else lesion.suv_max / reference.suv_mean


def _describe_body(body: BodyFigures) -> dict[str, Any]:
    return {
        "lesions": body.lesions,
        "tmtv_ml": body.tmtv_ml,
        "tlg_g": body.tlg_g,
        "suv_max_g_per_ml": body.suv_max,
        "suv_peak_g_per_ml": body.suv_peak,
        "dmax_centroids_mm": body.dmax_centroids_mm,
        "dmax_voxels_mm": body.dmax_voxels_mm,
        **{name: getattr(body, key) for key, name in _SUMMED.items()},
        "sdmax_per_m": body.sdmax_per_m,
        "bulk_mm": body.bulk_mm,
    }


def _describe_references(table: LesionTable) -> dict[str, Any]:
    references = table.references
    return {
        "liver": _describe_reference(references.liver, references.without_liver),
        "blood_pool": _describe_reference(references.blood, references.without_blood),
        "warning": warn_of_liver(references.liver) if table.is_fdg else "",
    }


def _describe_reference(reference: Reference | None, reason: str) -> dict[str, Any]:
    if reference is None:
        return {"measured": False, "reason": reason}
    return {
        "measured": True,
        "suv_mean_g_per_ml": reference.suv_mean,
        "suv_sd_g_per_ml": reference.suv_sd,
        "suv_max_g_per_ml": reference.suv_max,
        "suv_peak_g_per_ml": reference.suv_peak,
        "voxels": reference.voxels,
        "centre_mm": list(reference.centre_mm),
        "source": reference.source,
        "from_organ_map": reference.sure,
    }


def _describe_suggestions(table: LesionTable) -> dict[str, Any]:
    return {
        "note": "suggestions computed from the figures; a reader decides",
        "deauville": suggest_body_deauville(table.lesions, table.fdg_references) or None,
        "percist_threshold_suv_peak_g_per_ml": find_percist_threshold_suv(table.fdg_references),
        "percist_measurable_lesions": count_measurable(table.lesions, table.fdg_references),
    }
