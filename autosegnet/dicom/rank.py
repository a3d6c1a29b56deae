"""Rank the CTs of a study: the one that covers most of the PET; of those that cover as much, one with a kernel for soft
tissue before one with a sharp kernel; of those, the one whose slice spacing is nearest to the PET's.

docs/how-to/dicom.md tells users so.
"""

import math
from typing import Final

import numpy as np

from autosegnet.dicom.kernels import is_sharp
from autosegnet.dicom.series import Series
from autosegnet.geometry import Grid

_COVERAGE_STEPS: Final = 20  # twentieths of the PET: less is no difference
_SPACING_STEPS: Final = 10  # per factor of e: slice spacings within about 10 % are no difference
_SAMPLES: Final = 12  # points of the PET's box along each axis


def rank_series(usable: list[Series], grid: Grid | None) -> list[Series]:
    """Return the series of the best rank: several if their ranks are equal."""
    if len(usable) < 2:
        return usable
    keys = {id(s): _make_key(s, grid) for s in usable}
    best = min(keys.values())
    return [s for s in usable if keys[id(s)] == best]


def _make_key(series: Series, grid: Grid | None) -> tuple[int, bool, int]:
    covered = round(measure_coverage(series, grid) * _COVERAGE_STEPS)
    apart = 0
    if grid is not None and series.stacked is not None:
        apart = round(abs(math.log(series.stacked.grid.spacing_mm[2] / grid.spacing_mm[2])) * _SPACING_STEPS)
    return -covered, is_sharp(series.headers[0]), apart


def measure_coverage(series: Series, grid: Grid | None) -> float:
    """Return the share of the PET's box that lies inside a series' box."""
    if grid is None or series.stacked is None:
        return 1.0
    axes = [np.linspace(0.0, count - 1.0, _SAMPLES) for count in grid.size]
    index = np.stack(np.meshgrid(*axes, indexing="ij")).reshape(3, -1)
    places = np.asarray(grid.origin_mm)[:, None] + grid.steps_mm @ index
    own = series.stacked.grid
    inside = np.linalg.solve(own.steps_mm, places - np.asarray(own.origin_mm)[:, None])
    limits = np.asarray(own.size)[:, None] - 0.5
    return float(np.mean(np.all((inside >= -0.5) & (inside <= limits), axis=0)))
