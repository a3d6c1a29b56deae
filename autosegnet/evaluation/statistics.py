"""Metrics of many cases in the form of the paper's Table 1: mean ± SD and median [IQR].

The paper names neither its SD nor its quantiles. Here SD is that of a sample (ddof 1), because the cases stand for
future patients; with the 200 cases of a fold it exceeds the other (ddof 0) by 0.25 %. Quartiles interpolate linearly
between order statistics (type 7 of Hyndman and Fan 1996), the default of NumPy and pandas. NaN is left out.
A lower quartile of the DSC near 0.5 shows that Table 1 cannot hold the negatives, half of the cases, at DSC 0:
compare with it the rows over positives.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from autosegnet.errors import format_count
from autosegnet.evaluation.metrics import CaseMetrics

_MISSING = "-"
_COLUMNS = {"dsc": "DSC", "fpv_ml": "FPV (ml)", "fnv_ml": "FNV (ml)"}


@dataclass(frozen=True, slots=True)
class Spread:
    """Hold the spread of one metric's values, in its own unit; NaN if there are too few."""

    n: int
    """Number of values that are not NaN."""
    mean: float
    sd: float
    median: float
    q1: float
    q3: float


def find_spread(values: Iterable[float]) -> Spread:
    """Return mean, SD (ddof 1) and quartiles (linear) of the values that are not NaN."""
    kept = [value for value in values if not math.isnan(value)]
    nan = float("nan")
    if not kept:
        return Spread(n=0, mean=nan, sd=nan, median=nan, q1=nan, q3=nan)
    q1, median, q3 = (float(quantile) for quantile in np.quantile(kept, (0.25, 0.5, 0.75), method="linear"))
    sd = float(np.std(kept, ddof=1)) if len(kept) > 1 else nan
    return Spread(n=len(kept), mean=math.fsum(kept) / len(kept), sd=sd, median=median, q1=q1, q3=q3)


def select_positives(table: Mapping[str, CaseMetrics]) -> dict[str, CaseMetrics]:
    """Return the cases whose truth holds a lesion."""
    return {case: metrics for case, metrics in table.items() if metrics.is_positive}


def format_table(rows: Mapping[str, Iterable[CaseMetrics]], *, heading: str = "Validation fold") -> str:
    """Return a Markdown table like the paper's Table 1, which also reads well as plain text.

    Args:
        rows: the cases behind each row, by the row's name (a fold, "positives", …)
        heading: of the first column
    """
    columns = [f"{name} {figures}" for name in _COLUMNS.values() for figures in ("mean ± SD", "median [IQR]")]
    return format_markdown([heading, "Cases", *columns], [_make_row(name, list(cases)) for name, cases in rows.items()])


def format_summary(table: Mapping[str, CaseMetrics]) -> str:
    """Return how many cases there are and their metrics: over all, over the positives and over the negatives."""
    positive = select_positives(table)
    negative = {case: metrics for case, metrics in table.items() if not metrics.is_positive}
    rows = {"all": table, "positives": positive, "negatives": negative}
    counts = f"{format_count(len(table), 'case')}: {len(positive)} positive, {len(negative)} negative"
    return f"{counts}\n\n{format_table({name: cases.values() for name, cases in rows.items()}, heading='Over')}"


def format_markdown(heading: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table with columns of even width, the first to the left, the others to the right."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (heading, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [[row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], rule, *lines[1:]))


def _make_row(name: str, cases: list[CaseMetrics]) -> list[str]:
    row = [name, str(len(cases))]
    for metric in _COLUMNS:
        s = find_spread(getattr(case, metric) for case in cases)
        row += [
            f"{_format_figure(s.mean)} ± {_format_figure(s.sd)}",
            f"{_format_figure(s.median)} [{_format_figure(s.q1)}, {_format_figure(s.q3)}]",
        ]
        if s.n == 0:
            row[-2:] = [_MISSING, _MISSING]
    return row


def _format_figure(value: float) -> str:
    return _MISSING if math.isnan(value) else f"{value:.2f}"
