"""Random changes of training patches: first drawn, then applied, on whatever device the patches are.

Axes and channels are those of `preprocess.Prepared`; a position is in voxels, from the patch's centre.
Source: paper, section 2.2 (ii)-(vii); ranges of the authors' code of 2024, docs/explanation/decisions.md, rows 7 to 10.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from autosegnet.model.recipe import PET_CHANNEL
from autosegnet_training.configuration import TrainingConfiguration
from petct_simulator.fields import FWHM, blur, to_device

AffineVector = tuple[float, float, float]

_REACH = 3  # voxels on either side that the smoothing of elastic offsets reaches: three times its largest SD


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """What happens to one patch; the defaults change nothing.

    Args:
        translation_voxels: along (x, y, z).
        rotation_rad: around the z axis.
        scale: of the sampling positions along (x, y, z): above 1 the patient gets smaller, below 0 mirrored.
        elastic_sigma: SD of the smoothing of the random offsets, voxels.
        elastic_magnitude: of the offsets, voxels; 0 for none.
        gamma: exponent.
        noise_sigma: SD of the noise on both channels.
        suv_factor: of the PET.
        blur_voxels: full width at half maximum of the PET's further blur.
        cut_axis: along which the field of view ends inside the patch.
        cut_share: of the patch that lies beyond that end: air. Above 0 at the axis' start, below 0 at its end.
        seed: of what is drawn voxel by voxel, on the device.
    """

    translation_voxels: AffineVector = (0.0, 0.0, 0.0)
    rotation_rad: float = 0.0
    scale: AffineVector = (1.0, 1.0, 1.0)
    elastic_sigma: float = 0.0
    elastic_magnitude: float = 0.0
    gamma: float = 1.0
    noise_sigma: float = 0.0
    suv_factor: float = 1.0
    blur_voxels: float = 0.0
    cut_axis: int = 0
    cut_share: float = 0.0
    seed: int = 0

    @property
    def moves(self) -> bool:
        """Return whether voxels change place."""
        still = Draws()
        return (self.translation_voxels, self.rotation_rad, self.scale, self.elastic_magnitude) != (
            still.translation_voxels,
            still.rotation_rad,
            still.scale,
            still.elastic_magnitude,
        )


def draw(configuration: TrainingConfiguration, rng: np.random.Generator) -> Draws:
    """Draw what happens to one patch. The number of random numbers used does not depend on it."""
    c = configuration
    happens = rng.random(5) < (
        c.affine_probability,
        c.elastic_probability,
        c.gamma_probability,
        c.noise_probability,
        c.suv_probability,
    )
    affine, elastic, gamma, noise, suv = happens.tolist()
    translation = rng.uniform(-c.translation_voxels, c.translation_voxels, 3) * affine
    rotation = float(rng.uniform(-c.rotation_rad, c.rotation_rad)) * affine
    scale = 1.0 + rng.uniform(-c.scaling, c.scaling, 3) * affine
    mirror = np.where(rng.random(3) < c.flip_probability, -1.0, 1.0)
    sigma, magnitude = float(rng.uniform(*c.elastic_sigma)), float(rng.uniform(*c.elastic_magnitude))
    exponent, sd = float(rng.uniform(*c.gamma)), float(rng.uniform(0.0, c.noise_sigma))
    factor, seed = float(rng.uniform(*c.suv_factor)), int(rng.integers(2**62))
    # Drawn last, so that the earlier draws are the same as before these existed.
    blurred, cut = (rng.random(2) < (c.blur_probability, c.cut_probability)).tolist()
    width, axis, share = float(rng.uniform(*c.blur_voxels)), int(rng.integers(3)), float(rng.uniform(-0.5, 0.5))
    return Draws(
        translation_voxels=_make_vector(translation),
        rotation_rad=rotation,
        scale=_make_vector(scale * mirror),
        elastic_sigma=sigma,
        elastic_magnitude=magnitude if elastic else 0.0,
        gamma=exponent if gamma else 1.0,
        noise_sigma=sd if noise else 0.0,
        suv_factor=factor if suv else 1.0,
        blur_voxels=width if blurred else 0.0,
        cut_axis=axis,
        cut_share=share if cut else 0.0,
        seed=seed,
    )


def _make_vector(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> AffineVector:
    x, y, z = values.tolist()
    return (x, y, z)


@torch.no_grad()
def apply(draws: Sequence[Draws], image: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Apply to every patch and label what was drawn for it.

    Args:
        draws: one per patch.
        image: (B, 2, X, Y, Z) float32.
        label: (B, 1, X, Y, Z) uint8.
    """
    generators = [torch.Generator(image.device).manual_seed(d.seed) for d in draws]
    if any(d.cut_share != 0 or d.blur_voxels > 0 for d in draws):
        image, label = image.clone(), label.clone()
        for k, d in enumerate(draws):
            _cut(d, image[k], label[k])
            if d.blur_voxels > 0:
                image[k, PET_CHANNEL] = blur(image[k, PET_CHANNEL], [d.blur_voxels / FWHM] * 3)
    image, label = _move(draws, image, label, generators)
    return _recolour(draws, image, generators), label


def _cut(draws: Draws, image: torch.Tensor, label: torch.Tensor) -> None:
    """End the field of view inside a patch, in place: beyond it there is air, 0 in both channels."""
    axis = 1 + draws.cut_axis
    size = image.shape[axis]
    beyond = round(abs(draws.cut_share) * size)
    first = 0 if draws.cut_share > 0 else size - beyond
    for values in (image, label):
        values.narrow(axis, first, beyond).zero_()


def _move(
    draws: Sequence[Draws], image: torch.Tensor, label: torch.Tensor, generators: Sequence[torch.Generator]
) -> tuple[torch.Tensor, torch.Tensor]:
    moving = [k for k, d in enumerate(draws) if d.moves]
    if not moving:
        return image, label
    shape = image.shape[2:]
    grid = torch.stack([_normalise(find_sampling_positions(draws[k], shape, generators[k]), shape) for k in moving])
    some_image, some_label = (torch.stack([values[k] for k in moving]) for values in (image, label))
    moved = functional.grid_sample(some_image, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    labelled = functional.grid_sample(
        some_label.float(), grid, mode="nearest", padding_mode="reflection", align_corners=False
    )
    image, label = image.clone(), label.clone()
    for k, image_k, label_k in zip(moving, moved, labelled, strict=True):
        image[k], label[k] = image_k, label_k
    return image, label


def find_sampling_positions(draws: Draws, shape: Sequence[int], generator: torch.Generator) -> torch.Tensor:
    """Return (X, Y, Z, 3): where every voxel of the result is sampled, in voxels from the centre of the patch.

    p = R (S (c + e) + t), with c the voxel's own position, e its elastic offset, S scale, t translation, R rotation.

    Source: MONAI `Rand3DElastic`, whose grid is first deformed and then transformed, with rotate · translate · scale.
    """
    device = generator.device
    axes = [torch.arange(n, dtype=torch.float32, device=device) - (n - 1) / 2 for n in shape]
    positions = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)  # (X, Y, Z, 3)
    if draws.elastic_magnitude > 0:
        positions += draw_elastic_offsets(draws, shape, generator)
    positions *= to_device(draws.scale, device)
    positions += to_device(draws.translation_voxels, device)
    cos, sin = math.cos(draws.rotation_rad), math.sin(draws.rotation_rad)
    rotation = to_device([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]], device)
    return positions @ rotation.T


def draw_elastic_offsets(draws: Draws, shape: Sequence[int], generator: torch.Generator) -> torch.Tensor:
    """Return (X, Y, Z, 3): uniform noise in (-1, 1), smoothed, times the magnitude; in voxels.

    Source: MONAI `Rand3DElastic`. A smoothing below a tenth of a voxel is left out.
    """
    noise = torch.rand((3, 1, *shape), generator=generator, device=generator.device) * 2 - 1
    if draws.elastic_sigma >= 0.1:
        kernel = make_gaussian_kernel(draws.elastic_sigma)
        for axis in range(3):
            noise = _smooth(noise, kernel, axis=2 + axis)
    return noise[:, 0].movedim(0, -1) * draws.elastic_magnitude


def make_gaussian_kernel(sigma: float) -> torch.Tensor:
    """Return (7,): a Gaussian integrated over each voxel from -3 to 3, cut off beyond three SD.

    Source: MONAI `gaussian_1d(sigma, truncated=3, approx="erf")`, which does not normalise either.
    """
    x = torch.arange(-_REACH, _REACH + 1, dtype=torch.float64)
    t = 1 / (math.sqrt(2) * sigma)
    kernel = 0.5 * (torch.erf(t * (x + 0.5)) - torch.erf(t * (x - 0.5)))
    reach = int(max(3 * sigma, 0.5) + 0.5)
    return torch.where(x.abs() <= reach, kernel, 0.0).float()


def _smooth(field: torch.Tensor, kernel: torch.Tensor, *, axis: int) -> torch.Tensor:
    """Correlate a field with a kernel along an axis, 0 beyond its border. Shifts and sums: faster than conv3d."""
    n = field.shape[axis]
    smoothed = field * kernel[_REACH]
    for k in range(1, _REACH + 1):
        if kernel[_REACH + k] == 0 or n <= k:
            break
        smoothed.narrow(axis, k, n - k).add_(field.narrow(axis, 0, n - k) * kernel[_REACH + k])
        smoothed.narrow(axis, 0, n - k).add_(field.narrow(axis, k, n - k) * kernel[_REACH - k])
    return smoothed


def _normalise(positions: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Return positions as `grid_sample` takes them: -1 to 1 from border to border, last axis first."""
    extent = to_device([float(n) for n in shape], positions.device)
    return (positions * (2.0 / extent)).flip(-1)


def _recolour(draws: Sequence[Draws], image: torch.Tensor, generators: Sequence[torch.Generator]) -> torch.Tensor:
    if all(d.suv_factor == 1 and d.gamma == 1 and d.noise_sigma == 0 for d in draws):
        return image
    image = image.clone()
    for k, (d, generator) in enumerate(zip(draws, generators, strict=True)):
        patch = image[k]  # (2, X, Y, Z)
        if d.suv_factor != 1:
            patch[PET_CHANNEL] *= d.suv_factor
        if d.gamma != 1:
            _correct(patch, d.gamma)
        if d.noise_sigma > 0:
            patch += torch.randn(patch.shape, generator=generator, device=patch.device) * d.noise_sigma
    return image


def _correct(patch: torch.Tensor, gamma: float) -> None:
    """Apply a gamma to each channel, in place: ((x - min) / (max - min + 1e-7)) ** gamma * (max - min) + min.

    Source: MONAI `AdjustContrast`.
    """
    low = patch.amin(dim=(1, 2, 3), keepdim=True)
    extent = patch.amax(dim=(1, 2, 3), keepdim=True) - low
    patch.sub_(low).div_(extent + 1e-7).pow_(gamma).mul_(extent).add_(low)
