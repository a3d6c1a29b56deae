"""What the CT shows: lung vessels, metal, another breathing phase than the PET's, noise, field of view."""

from collections.abc import Sequence

import numpy as np
import torch

from petct_simulator.fields import FWHM, apply_matrices, blur_matrix, to_device
from petct_simulator.frame import DOME
from petct_simulator.scanners import CtScanner
from petct_simulator.scene import Scene
from petct_simulator.tissue import Tissue

T = Tissue
AIR_VOXEL_HU = -1024.0


def draw_lung_vessels(scene: Scene, hu: torch.Tensor) -> None:
    """Draw the lungs' vessels into the CT: lines where two random fields both pass through zero."""
    squares = scene.fields[1].flip(1).square().add_(scene.fields[2].flip(2).square())
    is_lung = np.zeros(len(T), np.float32)
    is_lung[T.LUNG] = 600.0
    hu += squares.mul_(-1.0 / 0.18**2).exp_().mul_(scene.look_up(is_lung))


def make_ct(scene: Scene, hu: torch.Tensor, generator: torch.Generator, rng: np.random.Generator) -> torch.Tensor:
    """Return the CT: metal, another breathing phase and place than the PET's, soft borders, noise, field of view."""
    scanner = scene.examination.ct
    for _ in range(scanner.metal):
        _add_metal(scene, hu, rng)
    hu = apply_matrices(hu, _make_ct_matrices(scene, scanner))
    noise = torch.randn(hu.shape, generator=generator, device=hu.device)
    hu += noise.mul_(scanner.noise_hu)
    placement = scene.placement
    if scanner.field_mm < 600:
        middle = placement.to_patch((np.array(scene.volume.labels.shape, np.float64)[None] - 1) / 2)[0]
        outside = find_beyond_field(scanner.field_mm, middle.tolist(), placement.shape, placement.spacing_mm)
        hu.masked_fill_(outside.to(hu.device, non_blocking=True), AIR_VOXEL_HU)
    return hu.clamp_(AIR_VOXEL_HU, 3071.0)


def _make_ct_matrices(scene: Scene, scanner: CtScanner) -> list[torch.Tensor | None]:
    """Return per axis the matrix that moves the CT against the PET and softens its borders."""
    spacing, device = scene.placement.spacing_mm, scene.labels.device
    lift = scanner.breath_mm * np.exp(-(((scene.heights - (DOME - 20)) / 80.0) ** 2))
    matrices: list[torch.Tensor | None] = []
    for axis, (size, shift) in enumerate(zip(scene.placement.shape, scanner.shift_mm, strict=True)):
        soft = blur_matrix(size, scanner.fwhm_mm / FWHM / spacing[axis], device)
        moved = np.full(size, shift) + (lift if axis == 2 else 0.0)
        if np.abs(moved).max() > 0.1 * spacing[axis]:
            at = np.clip(np.arange(size) - moved / spacing[axis], 0, size - 1)
            hat = np.clip(1.0 - np.abs(at[:, None] - np.arange(size)[None, :]), 0.0, None)
            move = to_device(hat, device)
            soft = move if soft is None else move @ soft
        matrices.append(soft)
    return matrices


def _add_metal(scene: Scene, hu: torch.Tensor, rng: np.random.Generator) -> None:
    """Draw a piece of metal with streaks in its slices at a random place of the patch; in the air, none."""
    shape, spacing = scene.placement.shape, scene.placement.spacing_mm
    at = [int(rng.integers(n)) for n in shape]
    large = rng.random() < 0.4
    size_mm, height_mm = (float(rng.uniform(8, 16)), 45.0) if large else (float(rng.uniform(2.5, 6)), 7.0)
    reach = max(1, int(height_mm / spacing[2]))
    rows = slice(max(0, at[2] - reach), min(shape[2], at[2] + reach + 1))
    count = rows.stop - rows.start
    device = hu.device
    dx = (torch.arange(shape[0], device=device) - at[0])[:, None] * spacing[0]
    dy = (torch.arange(shape[1], device=device) - at[1])[None, :] * spacing[1]
    distance = torch.hypot(dx.float(), dy.float())[..., None]
    angle = torch.atan2(dy.float(), dx.float())[..., None]
    waves, phase, height = (
        to_device(v, device)
        for v in (rng.integers(3, 9, count), rng.uniform(0, 6.28, count), rng.uniform(100, 500, count))
    )
    in_body = (hu[..., rows] > -300).float()
    streaks = torch.sin(waves * angle + phase) * height * torch.exp(-distance / 45.0)
    here = hu[..., rows]
    here += streaks * in_body
    here += (3071.0 - here) * ((distance < size_mm) * in_body)


def find_beyond_field(
    field_mm: float, middle: Sequence[float], shape: Sequence[int], spacing_mm: Sequence[float]
) -> torch.Tensor:
    """Return where, (X, Y, 1), voxels lie outside a round field of view."""
    x, y = (((torch.arange(shape[i]) - float(middle[i])) * spacing_mm[i]) ** 2 for i in (0, 1))
    return ((x[:, None] + y) > (field_mm / 2) ** 2)[..., None]
