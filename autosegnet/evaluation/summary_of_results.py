"""Figures over all cases: means with 95 % intervals, and the agreement of volumes and uptake."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from autosegnet.evaluation.agreement import find_agreement, find_interval
from autosegnet.evaluation.case_result import CaseResult, EvaluationOptions, list_columns, make_row
from autosegnet.evaluation.statistics import format_markdown

_MEANS: Final = {
    "dsc": "DSC",
    "fpv_ml": "FPV (ml)",
    "fnv_ml": "FNV (ml)",
    "sensitivity_overlap": "lesion sensitivity, any overlap",
    "precision_overlap": "lesion precision, any overlap",
    "f1_overlap": "lesion F1, any overlap",
    "dmm": "DMM (autoPET V)",
    "pq": "PQ",
    "sq": "SQ",
    "rq": "RQ",
    "nsd": "NSD",
    "hd95_mm": "HD95 (mm)",
    "auc_dsc": "AUC of DSC",
    "auc_fpv_ml": "AUC of FPV (ml)",
    "auc_fnv_ml": "AUC of FNV (ml)",
    "auc_f1_overlap": "AUC of F1, any overlap",
    "auc_dmm": "AUC of DMM",
}
_AGREEMENT: Final = {
    "volume (ml)": ("prediction_volume_ml", "truth_volume_ml"),
    "TLG (g)": ("prediction_tlg_g", "truth_tlg_g"),
    "SUVmax (g/ml)": ("prediction_suv_max_g_per_ml", "truth_suv_max_g_per_ml"),
}


def format_intervals(results: Sequence[CaseResult], options: EvaluationOptions) -> str:
    """Return two tables: means with bootstrap intervals, and Bland-Altman figures."""
    measured = [result for result in results if not result.error]
    with_pet = any(result.uptake is not None for result in measured)
    steps = max((len(result.steps) for result in measured), default=1)
    columns = list_columns(options, with_pet=with_pet, steps=steps)
    rows = [make_row(result, columns) for result in measured]
    names = {**_MEANS, **{f"f1_iou_{t:g}": f"lesion F1, IoU above {t:g}" for t in options.iou}}
    means = [_mean_row(title, [row[name] for row in rows]) for name, title in names.items() if name in columns]
    agreement = [
        _make_agreement_row(title, [row[predicted] for row in rows], [row[true] for row in rows])
        for title, (predicted, true) in _AGREEMENT.items()
        if predicted in columns
    ]
    return "\n\n".join(
        (
            format_markdown(["Metric", "Cases", "Mean", "95 % interval"], means),
            format_markdown(["Predicted - true", "Cases", "Bias", "95 % interval", "Limits of agreement"], agreement),
        )
    )


def _mean_row(title: str, values: list[Any]) -> list[str]:
    interval = find_interval(values)
    return [
        title,
        str(interval.n),
        _format_figure(interval.mean),
        f"{_format_figure(interval.low)} to {_format_figure(interval.high)}",
    ]


def _make_agreement_row(title: str, predicted: list[Any], true: list[Any]) -> list[str]:
    found = find_agreement(predicted, true)
    bias = found.bias
    return [
        title,
        str(bias.n),
        _format_figure(bias.mean),
        f"{_format_figure(bias.low)} to {_format_figure(bias.high)}",
        f"{_format_figure(found.lower)} to {_format_figure(found.upper)}",
    ]


def _format_figure(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"
