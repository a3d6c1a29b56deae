"""How far to trust figures over cases: bootstrap intervals of means, and agreement of two measurements.

Intervals: percentile bootstrap over cases (Efron and Tibshirani 1993), 10,000 samples, seed 0. Cases of one patient are
not independent; give one case per patient, or read the interval as too narrow.
Agreement: Bland and Altman 1986, doi:10.1016/S0140-6736(86)90837-8: bias = mean difference, limits = bias ± 1.96 SD.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

SAMPLES: Final = 10_000
_LEVEL: Final = 0.95
_CHUNK: Final = 500  # samples drawn at once: 1000 cases x 500 take 4 MB


@dataclass(frozen=True, slots=True)
class Interval:
    """Hold a mean and its 95 % interval; NaN if there are too few values.

    Args:
        n: values that are not NaN.
    """

    n: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """Hold the agreement of predicted with true figures.

    Args:
        bias: mean of predicted minus true, with its interval.
        lower, upper: limits of agreement; NaN with fewer than two cases.
    """

    bias: Interval
    lower: float
    upper: float


def find_interval(values: Iterable[float], *, seed: int = 0) -> Interval:
    """Return the mean of the values that are not NaN and its 95 % interval."""
    kept = np.array([value for value in values if not math.isnan(value)])
    nan = float("nan")
    if kept.size == 0:
        return Interval(0, nan, nan, nan)
    mean = math.fsum(kept.tolist()) / kept.size
    if kept.size == 1:
        return Interval(1, mean, nan, nan)
    rng = np.random.default_rng(seed)
    means = np.concatenate(
        [kept[rng.integers(0, kept.size, (_CHUNK, kept.size))].mean(axis=1) for _ in range(SAMPLES // _CHUNK)]
    )
    low, high = np.quantile(means, ((1 - _LEVEL) / 2, (1 + _LEVEL) / 2))
    return Interval(int(kept.size), mean, float(low), float(high))


def find_agreement(predicted: Iterable[float], true: Iterable[float]) -> Agreement:
    """Return the agreement of figures, case by case; cases in which one is NaN are left out."""
    differences = [p - t for p, t in zip(predicted, true, strict=True) if not (math.isnan(p) or math.isnan(t))]
    bias = find_interval(differences)
    sd = float(np.std(differences, ddof=1)) if len(differences) > 1 else float("nan")
    return Agreement(bias, bias.mean - 1.96 * sd, bias.mean + 1.96 * sd)


def find_auc(values: Iterable[float]) -> float:
    """Return the area under a metric over equally spaced interactions, by trapezoids, over the number of intervals.

    A metric that stays at 1 has the area 1; a volume keeps its unit. One value is its own area; NaN stays NaN.
    """
    heights = np.array(list(values), dtype=float)
    if heights.size < 2:
        return float(heights[0]) if heights.size else float("nan")
    return float(((heights[1:] + heights[:-1]) / 2).mean())
