"""How near the surfaces of two masks are: normalised surface distance and the 95th percentile of distances.

The surface of a mask is every voxel with a neighbour across a face that is not in the mask. d(a, B) is the distance in
mm from the centre of a surface voxel a to the nearest centre of a surface voxel of B.

    NSD = (|{p: d(p, G) <= t}| + |{g: d(g, P) <= t}|) / (|P| + |G|)
    HD95 = max(95th percentile of d(p, G), 95th percentile of d(g, P))

If one mask is empty, NSD is 0 and HD95 NaN; if both are, both are NaN.
Source: Nikolov et al. 2021, doi:10.2196/26151; surfaces of voxels instead of surface elements, as in MONAI.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

NSD_TOLERANCE_MM: Final = 4.0
"""About one voxel of a PET."""


@dataclass(frozen=True, slots=True)
class SurfaceMetrics:
    """Hold the surface metrics of a case.

    Args:
        nsd: from 0 to 1.
        hd95_mm: at least 0.
    """

    nsd: float
    hd95_mm: float


def measure_surfaces(
    prediction: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    *,
    spacing_mm: tuple[float, ...],
    tolerance_mm: float = NSD_TOLERANCE_MM,
) -> SurfaceMetrics:
    """Return the surface metrics of two masks of one shape.

    Args:
        prediction, truth: three axes in any order.
        spacing_mm: of the voxels, in the arrays' axis order.
        tolerance_mm: of the NSD.
    """
    nan = float("nan")
    if not prediction.any() or not truth.any():
        return SurfaceMetrics(0.0 if prediction.any() or truth.any() else nan, nan)
    p, g = _find_surface(prediction), _find_surface(truth)
    to_truth, to_prediction = _measure_distances_mm(p, g, spacing_mm), _measure_distances_mm(g, p, spacing_mm)
    # A distance equal to the tolerance counts, even if rounding makes it a little larger.
    near = sum(int((d <= tolerance_mm * (1 + 1e-9)).sum()) for d in (to_truth, to_prediction))
    hd95 = max(float(np.percentile(d, 95)) for d in (to_truth, to_prediction))
    return SurfaceMetrics(near / (len(to_truth) + len(to_prediction)), hd95)


def _find_surface(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    from scipy import ndimage

    surface: NDArray[np.bool_] = mask & ~ndimage.binary_erosion(mask)
    return surface


def _measure_distances_mm(
    of: NDArray[np.bool_], to: NDArray[np.bool_], spacing_mm: tuple[float, ...]
) -> NDArray[np.float64]:
    """Return how far every voxel of one surface is from the other."""
    from scipy.spatial import KDTree

    places = KDTree(np.argwhere(to) * np.asarray(spacing_mm))
    found: NDArray[np.float64] = places.query(np.argwhere(of) * np.asarray(spacing_mm))[0]
    return found
