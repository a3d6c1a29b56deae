"""Smooth random fields and blurs on a patch: three small matrices, one per axis.

A blur, an upsampling and the drawing of a smooth field are each one matrix per axis, so that all of them are matrix
products, fast on CPU and GPU alike. Volumes are (X, Y, Z) float32.
"""

import functools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from numpy.typing import NDArray

FWHM = 2.3548  # full width at half maximum over the SD of a Gaussian
_KNOTS_PER_FWHM = 2.5

Shape = tuple[int, int, int]


def to_device(values: npt.ArrayLike, device: torch.device) -> torch.Tensor:
    """Return values as float32 on a device, without waiting for what the device still has to do."""
    return torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(device, non_blocking=True)


def apply_matrices(volume: torch.Tensor, matrices: Sequence[torch.Tensor | None]) -> torch.Tensor:
    """Return a volume after one matrix (new length, old length) along each axis; None leaves an axis as it is."""
    x, y, z = matrices
    if z is not None:
        volume = volume @ z.T
    if y is not None:
        volume = torch.matmul(y, volume)
    if x is not None:
        volume = (x @ volume.reshape(volume.shape[0], -1)).reshape(-1, *volume.shape[1:])
    return volume


@functools.lru_cache(maxsize=512)
def _blur_matrix(size: int, sigma_centivoxels: int, device: torch.device) -> torch.Tensor:
    at = torch.arange(size, dtype=torch.float32)
    weight = torch.exp(-0.5 * ((at[:, None] - at[None, :]) * (100.0 / sigma_centivoxels)) ** 2)
    return (weight / weight.sum(1, keepdim=True)).to(device, non_blocking=True)


def blur_matrix(size: int, sigma_voxels: float, device: torch.device) -> torch.Tensor | None:
    """Return the matrix of a Gaussian blur, its rows summing to 1; None if it would change next to nothing.

    The width is rounded to a hundredth of a voxel, so that few matrices serve many draws.
    """
    hundredths = round(100 * sigma_voxels)
    return None if hundredths < 15 else _blur_matrix(size, hundredths, device)


def blur(volume: torch.Tensor, sigma_voxels: Sequence[float]) -> torch.Tensor:
    """Return a volume blurred by a Gaussian with an SD per axis in voxels; the border repeats nothing."""
    shape, device = volume.shape, volume.device
    return apply_matrices(volume, [blur_matrix(n, s, device) for n, s in zip(shape, sigma_voxels, strict=True)])


def place_knots(size: int, fwhm_voxels: float) -> int:
    """Return how many random numbers along an axis make a field of this correlation."""
    return math.ceil(size / find_knot_step(fwhm_voxels)) + 4


def find_knot_step(fwhm_voxels: float) -> float:
    """Return the distance of the random numbers, in voxels."""
    return max(1.0, fwhm_voxels / _KNOTS_PER_FWHM)


def compute_spline_weights(at_voxels: NDArray[np.float64], size: int, fwhm_voxels: float) -> NDArray[np.float64]:
    """Return the weights (N, knots) of the random numbers at positions on an axis; their squares sum to 1."""
    step = find_knot_step(fwhm_voxels)
    at = at_voxels[:, None] / step + 1.5 - np.arange(place_knots(size, fwhm_voxels))[None, :]
    weight = np.exp(-0.5 * (at * step / (fwhm_voxels / FWHM)) ** 2)
    return np.asarray(weight / np.sqrt((weight**2).sum(1, keepdims=True)))


@functools.lru_cache(maxsize=512)
def _make_field_matrix(size: int, fwhm_centivoxels: int, device: torch.device) -> torch.Tensor:
    weights = compute_spline_weights(np.arange(size, dtype=np.float64), size, fwhm_centivoxels / 100)
    return to_device(weights, device)


def smooth_field(shape: Shape, fwhm_voxels: Sequence[float], generator: torch.Generator) -> torch.Tensor:
    """Return a random field of mean 0 and SD 1: white noise through a Gaussian of this full width at half maximum.

    Args:
        shape: (X, Y, Z).
        fwhm_voxels: of the kernel per axis, rounded to a hundredth.
        generator: source of the numbers; its device is the field's.
    """
    widths = [max(10, round(100 * f)) for f in fwhm_voxels]
    counts = [place_knots(n, w / 100) for n, w in zip(shape, widths, strict=True)]
    noise = torch.randn(counts, generator=generator, device=generator.device)
    return apply_matrices(
        noise, [_make_field_matrix(n, w, generator.device) for n, w in zip(shape, widths, strict=True)]
    )
