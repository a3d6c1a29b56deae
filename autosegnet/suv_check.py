"""Checks whether one image can be a PET in SUV, without a CT beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autosegnet.errors import InputError
from autosegnet.geometry import view_voxels

if TYPE_CHECKING:
    import SimpleITK as sitk

LIKE_BQML = "which looks like Bq/ml or counts; expected SUV (g/ml)"
"""Says what an SUV in the thousands is."""

# The figures in brackets are the extremes over the studies named in `study`.
_SAMPLES = 2_000_000  # most voxels that are sampled to judge a distribution
_LOWEST_SUV = -50.0  # ringing beside a bladder of SUV 200 stays above; padding values lie below [0]
_HIGHEST_SUV = 1000.0  # 99.9th percentile [196]; Bq/ml is about 3000 times the SUV


def check_suv(pet: sitk.Image, *, advice: str = "") -> None:
    """Refuse a PET that cannot be in SUV: constant, far below 0, in Bq/ml, or with padding values.

    Args:
        pet: in SUV, with noise below 0 at most.
        advice: what else may explain values below 0, for the message.

    Raises:
        InputError: it looks like something else; the message says what was expected.
    """
    voxels = sample_voxels(pet)
    refuse_constant("PET", voxels)
    low, high = (float(v) for v in np.percentile(voxels, [1.0, 99.9]))
    if low < -200.0:
        raise InputError(f"PET has a 1st percentile of {low:g}, which looks like a CT in HU{advice}; expected SUV >= 0")
    if low < -1.0:
        raise InputError(
            f"PET has a 1st percentile of {low:g}{advice}; expected SUV, which is at or above 0 but for noise"
        )
    if high >= _HIGHEST_SUV:
        raise InputError(f"PET has a 99.9th percentile of {high:g}, {LIKE_BQML}")
    _check_extremes(view_voxels(pet))


def sample_voxels(image: sitk.Image) -> NDArray[Any]:
    """Return evenly spaced voxels of an image, enough to judge its distribution."""
    whole = view_voxels(image)
    stride = max(1, round((whole.size / _SAMPLES) ** (1 / 3)))
    sample: NDArray[Any] = whole[::stride, ::stride, ::stride]
    return sample


def refuse_constant(name: str, voxels: NDArray[Any]) -> None:
    """Refuse voxels that are all the same.

    Args:
        name: of the image, for the message.
        voxels: any shape.

    Raises:
        InputError: they are.
    """
    if voxels.min() == voxels.max():
        raise InputError(f"{name} is constant ({voxels.flat[0]:g} everywhere); expected an image of a patient")


def _check_extremes(voxels: NDArray[Any]) -> None:
    lowest, highest = float(voxels.min()), float(voxels.max())
    if lowest < _LOWEST_SUV:
        raise InputError(
            f"PET has voxels down to {lowest:g}, which no reconstruction makes (is it a padding value, or HU?); "
            "expected SUV, which is at or above 0 but for noise"
        )
    if highest <= 0.0:
        raise InputError(f"PET has no voxel above 0 (maximum {highest:g}); expected SUV (g/ml)")
