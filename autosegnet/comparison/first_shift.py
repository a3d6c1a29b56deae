"""Where one body lies in another's world, roughly: the best of all shifts, found whatever part of the body each shows.

Correlation of the overlap at every whole shift of a coarse grid, computed with Fourier transforms (Padfield 2012,
doi:10.1109/TIP.2011.2181402). Moments would fail if one study ends at the neck and the other at the crown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from autosegnet.comparison.body_image import AIR, smooth
from autosegnet.geometry import Grid, make_upright_grid, resample, view_voxels

if TYPE_CHECKING:
    import SimpleITK as sitk

_STEP_MM: Final = 12.0
_LEAST_OVERLAP: Final = 0.35  # of the smaller image's voxels: in less, any two soft tissues correlate


def find_shift(fixed: sitk.Image, moving: sitk.Image) -> tuple[NDArray[np.float64], float]:
    """Return what to add to positions in the fixed image to reach the moving one, in mm, and the correlation there.

    Args:
        fixed, moving: as `BodyImage.hu`.
    """
    from scipy import fft

    a, grid_a = _coarsen(fixed)
    b, grid_b = _coarsen(moving)
    shape = [fft.next_fast_len(m + n - 1, real=True) for m, n in zip(a.shape, b.shape, strict=True)]

    def correlate(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float64]:
        product = fft.rfftn(first, shape) * np.conj(fft.rfftn(second, shape))
        return np.asarray(fft.irfftn(product, shape))

    ones_a, ones_b = np.ones_like(a), np.ones_like(b)
    count = np.maximum(correlate(ones_a, ones_b), 1.0)
    sum_a, sum_b = correlate(a, ones_b), correlate(ones_a, b)
    covariance = correlate(a, b) - sum_a * sum_b / count
    variance = (correlate(a * a, ones_b) - sum_a**2 / count) * (correlate(ones_a, b * b) - sum_b**2 / count)
    found = covariance / np.sqrt(np.maximum(variance, 1e-6 * variance.max()))
    found[count < _LEAST_OVERLAP * min(a.size, b.size)] = -1.0
    best = np.unravel_index(int(found.argmax()), found.shape)
    lag = [int(k) if k < n else int(k) - s for k, n, s in zip(best, a.shape, shape, strict=True)]
    offset = np.array(grid_b.origin_mm) - np.array(grid_a.origin_mm) - _STEP_MM * np.array(lag[::-1])
    return np.asarray(offset, np.float64), float(found[best])


def _coarsen(image: sitk.Image) -> tuple[NDArray[np.float64], Grid]:
    grid = make_upright_grid(Grid.from_image(image), spacing_mm=_STEP_MM)
    values = view_voxels(resample(smooth(image, _STEP_MM), grid, outside=AIR))
    return (values.astype(np.float64) - AIR) / 1000.0, grid
