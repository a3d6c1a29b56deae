"""What the PET shows of an uptake: breathing, point spread, noise, filter."""

from collections.abc import Sequence

import numpy as np
import torch

from petct_simulator.fields import FWHM, blur, smooth_field
from petct_simulator.frame import DOME
from petct_simulator.scanners import PetScanner
from petct_simulator.scene import Scene


def make_pet(scene: Scene, activity: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return the PET of an uptake: breathing, point spread, noise, filter."""
    scanner, spacing = scene.examination.pet, scene.placement.spacing_mm
    near = np.exp(-(((scene.heights - (DOME - 30)) / 60.0) ** 2))
    if near.max() > 0.05:
        moved = blur(activity, (0.0, 0.0, scanner.breath_mm / spacing[2]))
        activity += scene.spread_along_z(near) * (moved - activity)
    mean = blur(activity, [scanner.fwhm_mm / FWHM / s for s in spacing])
    in_plane, axial = scanner.noise_fwhm_mm
    noise = smooth_field(
        scene.placement.shape, (in_plane / spacing[0], in_plane / spacing[1], axial / spacing[2]), generator
    )
    level = compute_slice_noise(scanner, scene.placement.field, scene.placement.shape[2], spacing[2])
    pet = add_noise(mean, noise, scene.spread_along_z(level), scanner.floor_suv)
    return _filter(pet, scanner, spacing)


def add_noise(mean: torch.Tensor, noise: torch.Tensor, level: torch.Tensor, floor_suv: float) -> torch.Tensor:
    """Return an uptake with noise; both arguments are overwritten.

    The noise is log-normal around mean + floor, as iterative reconstruction makes it (Barrett et al. 1994, Phys Med
    Biol 39:833): never negative before the floor is taken off, with more bright specks than dark ones.

    Args:
        mean: SUV.
        noise: of SD 1.
        level: SD over SUV^0.75, see `compute_slice_noise`.
        floor_suv: what the air adds.
    """
    mean += floor_suv
    variance = (level / mean.sqrt().sqrt_()).square_().log1p_()  # of the logarithm
    noise *= variance.sqrt()
    return noise.sub_(variance.mul_(0.5)).exp_().mul_(mean).sub_(floor_suv).clamp_min_(0.0)


def compute_slice_noise(
    scanner: PetScanner, field: Sequence[tuple[float, float]], slices: int, spacing_mm: float
) -> np.ndarray:
    """Return the noise of every slice: SD over SUV^0.75.

    The exponent joins the measured SDs of muscle (0.15 at 0.79) and liver (0.4 at 2.8): iterative reconstruction lies
    between the square root of the counts and proportionality (Boellaard et al. 2001, J Nucl Med 42:808).
    """
    first, last = field[2]
    at = np.arange(slices)
    end_mm = np.clip(np.minimum(at - first, last - at), 0.0, None) * spacing_mm
    factor = 1.0 + scanner.end_noise * np.exp(-end_mm / scanner.end_mm)
    return np.asarray(factor * scanner.noise * 2.8**0.25)


def _filter(pet: torch.Tensor, scanner: PetScanner, spacing: tuple[float, float, float]) -> torch.Tensor:
    width = abs(scanner.filter_fwhm_mm)
    if width == 0.0:
        return pet
    softer = blur(pet, [width / FWHM / s for s in spacing])
    return softer if scanner.filter_fwhm_mm > 0 else (1.6 * pet - 0.6 * softer).clamp_min_(0.0)
