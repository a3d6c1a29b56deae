"""How much two aligned CTs resemble each other: one patient on two dates, or two patients.

HU are compared in windows, by their correlation (Avants et al. 2008, doi:10.1016/j.media.2007.06.004). So contrast
medium, which changes an organ as a whole, matters little. Arms are left out if they lie elsewhere on the other date.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from autosegnet.comparison.body_image import COARSE_MM

_WINDOW_MM: Final = 40.0
_FLAT_HU: Final = 20.0  # SD up to which a window shows no borders; one that is flat on both dates tells nothing
_ARMS_MM: Final = 16.0  # around tissue that only one date shows there, because it pulls the registration


def measure_likeness(
    fixed: NDArray[Any], moved: NDArray[Any], first: NDArray[np.bool_], second: NDArray[np.bool_]
) -> float:
    """Return the mean correlation of HU in windows around the tissue that both dates show; 0 without any.

    Args:
        fixed, moved: (z, y, x) HU of both dates, aligned, spacing `COARSE_MM`.
        first, second: where the moved and the fixed one show tissue.
    """
    from scipy import ndimage

    arms = ndimage.binary_opening(first ^ second)
    both = first & second
    weight, size = both.astype(np.float64), round(_WINDOW_MM / COARSE_MM)
    count = np.maximum(ndimage.uniform_filter(weight, size, mode="constant"), 1e-6)

    def average(values: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(ndimage.uniform_filter(values * weight, size, mode="constant") / count)

    a, b = fixed.astype(np.float64), moved.astype(np.float64)
    mean_a, mean_b = average(a), average(b)
    covariance = average(a * b) - mean_a * mean_b
    variance_a, variance_b = average(a * a) - mean_a**2, average(b * b) - mean_b**2
    kept = both & ~ndimage.binary_dilation(arms, iterations=round(_ARMS_MM / COARSE_MM))
    kept &= np.maximum(variance_a, variance_b) > _FLAT_HU**2
    if not kept.any():
        return 0.0
    scale = np.sqrt(np.maximum(variance_a, _FLAT_HU**2) * np.maximum(variance_b, _FLAT_HU**2))
    return float((covariance / scale)[kept].mean())
