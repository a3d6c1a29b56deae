"""The tables of what `benchmarks.judge` found: means and medians with bootstrap 95 % intervals.

python -m benchmarks.judge_tables real.csv stability.csv body.csv simulated.csv
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import wilcoxon

from benchmarks.judge import CHANGES, LARGE_ML, THRESHOLD_SUV

COLD_SUV = 1.5  # median of a lesion: below, its contour is that of another modality
_HEADING = (
    "| view | lesions | cases | DSC, mean [95 % CI] | DSC, median | FPV, ml, mean [95 % CI] | volume error "
    f"| limits of agreement | DSC of SUV > {THRESHOLD_SUV:g} |"
)


def bootstrap(values: Sequence[float], statistic: Callable[..., Any] = np.mean) -> tuple[float, float, float]:
    """Return a statistic of values and its bootstrap 95 % interval (percentiles of 10,000 samples of cases)."""
    kept = np.array([v for v in values if np.isfinite(v)])
    if len(kept) == 0:
        return (float("nan"),) * 3
    drawn = kept[np.random.default_rng(0).integers(len(kept), size=(10_000, len(kept)))]
    low, high = np.percentile(statistic(drawn, axis=1), (2.5, 97.5))
    return float(statistic(kept)), float(low), float(high)


def table_lines(path: Path) -> Iterator[str]:
    """Yield a Markdown table of a CSV that this program wrote."""
    rows = list(csv.DictReader(path.open(newline="", encoding="utf-8")))
    yield f"{path.name}: {len(rows)} rows"
    if "view" in rows[0]:
        yield from _real_lines(rows)
    elif "padded" in rows[0]:
        yield "| change | Dice with itself, median [95 % CI] | lowest |\n|---|---|---|"
        for name in CHANGES:
            values = [float(row[name]) for row in rows]
            yield f"| {name} | {_interval(bootstrap(values, np.median), 3)} | {min(values):.3f} |"
    elif "cohort" in rows[0]:
        yield from _simulated_lines(rows)
    else:
        yield from (", ".join(f"{k} {v}" for k, v in row.items() if v) for row in rows[:12])


def _real_lines(rows: Sequence[dict[str, str]]) -> Iterator[str]:
    yield _HEADING
    yield "|---|---|---:|---|---:|---|---|---|---:|"
    kinds: dict[str, Callable[[float], bool]] = {
        "all": lambda suv: True,
        f"median SUV ≥ {COLD_SUV:g}": lambda suv: suv >= COLD_SUV,
        "colder": lambda suv: suv < COLD_SUV,
    }
    for view in ("box", "whole"):
        for kind, belongs in kinds.items():
            chosen = [row for row in rows if row["view"] == view and belongs(float(row["median_suv"]))]
            dsc, fpv, simple = ([float(row[name]) for row in chosen] for name in ("dsc", "fpv_ml", "threshold_dsc"))
            truth, found = (np.array([float(row[name]) for row in chosen]) for name in ("truth_ml", "found_ml"))
            # Bland and Altman, on the ratio of the volumes, since errors grow with the volume.
            ratio = np.log(np.maximum(found, 0.5) / np.maximum(truth, 0.5))
            middle, width = float(ratio.mean()), 1.96 * float(ratio.std(ddof=1))
            ends = (np.exp(middle - width) - 1, np.exp(middle + width) - 1)
            yield (
                f"| {view} | {kind} | {len(chosen)} | {_interval(bootstrap(dsc), 3)} | {np.median(dsc):.3f} "
                f"| {_interval(bootstrap(fpv), 1)} | {np.exp(middle) - 1:+.0%} | {ends[0]:+.0%} to {ends[1]:+.0%} "
                f"| {np.mean(simple):.3f} |"
            )
    boxes = [row for row in rows if row["view"] == "box"]
    better = [float(row["dsc"]) - float(row["threshold_dsc"]) for row in boxes]
    yield f"better than SUV > {THRESHOLD_SUV:g} in {sum(d > 0 for d in better)} of {len(boxes)} boxes, "
    yield f"Wilcoxon signed-rank p = {wilcoxon(better).pvalue:.1e}"


def _simulated_lines(rows: Sequence[dict[str, str]]) -> Iterator[str]:
    positive = [row for row in rows if row["cohort"] != "negative"]
    negative = [float(row["fpv_ml"]) for row in rows if row["cohort"] == "negative"]
    found, large = (sum(int(row[name]) for row in positive) for name in ("large_found", "large"))
    yield f"DSC of {len(positive)} with lesions: {_interval(bootstrap([float(r['dsc']) for r in positive]), 3)}"
    yield f"FPV of them, ml, median: {_interval(bootstrap([float(r['fpv_ml']) for r in positive], np.median), 1)}"
    yield f"FPV of {len(negative)} without, ml, median: {_interval(bootstrap(negative, np.median), 1)}"
    yield f"FPV of them, ml, mean: {_interval(bootstrap(negative), 1)}"
    tissues: dict[str, float] = defaultdict(float)
    for row in rows:
        for part in filter(None, row["false_in"].split("; ")):
            tissue, volume_ml = part.rsplit(" ", 1)
            tissues[tissue] += float(volume_ml)
    worst = sorted(tissues.items(), key=lambda item: -item[1])
    yield "false volume, ml per body: " + ", ".join(f"{t} {v / len(rows):.1f}" for t, v in worst[:8])
    yield f"lesions above {LARGE_ML:g} ml found: {found} of {large} ({found / max(large, 1):.0%})"


def _interval(values: tuple[float, float, float], digits: int) -> str:
    middle, low, high = (f"{value:.{digits}f}" for value in values)
    return f"{middle} [{low}, {high}]"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", type=Path, nargs="+")
    for path in parser.parse_args().tables:
        sys.stdout.writelines(f"{line}\n" for line in table_lines(path))


if __name__ == "__main__":
    main()
