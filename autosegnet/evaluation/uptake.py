"""Total lesion glycolysis and SUVmax of two masks on one PET."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autosegnet.lesions.components import compute_voxel_volume_ml


@dataclass(frozen=True, slots=True)
class UptakeFigures:
    """Hold the figures of both masks on one PET; SUVmax of an empty mask is NaN.

    Args:
        truth_tlg_g, prediction_tlg_g: volume x mean SUV.
        truth_suv_max, prediction_suv_max: highest SUV, g/ml.
    """

    truth_tlg_g: float
    prediction_tlg_g: float
    truth_suv_max_g_per_ml: float
    prediction_suv_max_g_per_ml: float


def measure_uptake(
    prediction: NDArray[np.bool_], truth: NDArray[np.bool_], suv: NDArray[Any], *, spacing_mm: tuple[float, ...]
) -> UptakeFigures:
    """Return the figures of two masks on a PET in SUV of the same shape."""
    voxel_ml = compute_voxel_volume_ml(spacing_mm)
    tlg, highest = [], []
    for mask in (truth, prediction):
        values = suv[mask].astype(np.float64)
        tlg.append(float(values.sum()) * voxel_ml)
        highest.append(float(values.max()) if values.size else float("nan"))
    return UptakeFigures(tlg[0], tlg[1], highest[0], highest[1])
