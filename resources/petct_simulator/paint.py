"""Paints lesions into a patch: what share of each voxel a lesion fills, its uptake and CT number, and the truth.

The truth is what a reader would draw: the 42 % isocontour of the lesion's shape seen through the PET's point spread.
Cold cores belong to it. All lesions of a patch are contoured by one blur, each normalised by how much of its height a
ball of its size keeps.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

from petct_simulator.fields import FWHM, blur
from petct_simulator.lesion_plan import PlannedLesion
from petct_simulator.placement import Placement
from petct_simulator.tissue import Tissue

ISOCONTOUR = 0.42  # of the blurred lesion's maximum: the 40–42 % contour that readers of FDG-PET draw
_NO_TISSUE = (Tissue.OUTSIDE, Tissue.GAS, Tissue.TABLE, Tissue.TABLE_FOAM, Tissue.MATTRESS)

LesionBox = tuple[slice, slice, slice]


@dataclass(frozen=True, slots=True)
class Ball:
    """A ball of a lesion in a patch: box, radius from its centre (1: surface), share of every voxel that it fills."""

    lesion: PlannedLesion
    heat: float
    radius_mm: float
    box: LesionBox
    radius: torch.Tensor
    share: torch.Tensor


def shape_lesion(
    lesion: PlannedLesion, centre: np.ndarray, placement: Placement, bumps: torch.Tensor, rng: np.random.Generator
) -> list[Ball]:
    """Return the balls of a lesion that reach into the patch.

    Args:
        lesion: what to shape.
        centre: (3,), its centre in voxels of the patch.
        placement: of the patch.
        bumps: (X, Y, Z), a smooth random field that makes the surface irregular.
        rng: source of how the balls are turned and stretched.
    """
    offsets = lesion.offsets_mm @ np.linalg.inv(placement.matrix).T / placement.spacing_mm
    balls = []
    for offset, radius_mm, heat in zip(offsets, lesion.radii_mm.tolist(), lesion.heat.tolist(), strict=True):
        turn = _turn_and_stretch(lesion.flat, radius_mm, rng)
        box = _find_box(centre + offset, 1.5 * lesion.flat ** (1 / 3) * radius_mm + 6.0, placement)
        if box is not None:
            radius = _compute_radius(centre + offset, turn, box, placement, bumps.device)
            depth = (1.0 + lesion.irregular * bumps[box].clamp(-2.0, 2.0) - radius) * radius_mm
            voxel_mm = float(np.cbrt(np.prod(placement.spacing_mm)))
            balls.append(Ball(lesion, heat, radius_mm, box, radius, (0.5 + depth / voxel_mm).clamp_(0.0, 1.0)))
    return balls


def _turn_and_stretch(flat: float, radius_mm: float, rng: np.random.Generator) -> np.ndarray:
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    stretch = np.exp(rng.normal(0.0, 0.15, 3)) * (1.0, 1.0, 1.0 / flat)
    return np.asarray(turn / (stretch / np.cbrt(stretch.prod()) * radius_mm)[:, None])


def _find_box(centre: np.ndarray, reach_mm: float, placement: Placement) -> LesionBox | None:
    slices = []
    for at, size, step in zip(centre.tolist(), placement.shape, placement.spacing_mm, strict=True):
        first, last = max(0, math.floor(at - reach_mm / step)), min(size, math.ceil(at + reach_mm / step) + 1)
        if first >= last:
            return None
        slices.append(slice(first, last))
    return slices[0], slices[1], slices[2]


def _compute_radius(
    centre: np.ndarray, turn: np.ndarray, box: LesionBox, placement: Placement, device: torch.device
) -> torch.Tensor:
    x, y, z = (
        (torch.arange(part.start, part.stop, device=device, dtype=torch.float32) - float(at)) * step
        for part, at, step in zip(box, centre, placement.spacing_mm, strict=True)
    )
    squares: torch.Tensor | None = None
    for a, b, c in turn.tolist():
        one = ((a * x)[:, None, None] + (b * y)[:, None] + c * z).square_()
        squares = one if squares is None else squares.add_(one)
    assert squares is not None
    return squares.sqrt_()


def grow_body(labels: torch.Tensor, balls: list[Ball]) -> None:
    """Move the surface of the body outward over large masses, with a layer of fat on them; it would cut them off."""
    for ball in balls:
        if ball.lesion.malignant and ball.lesion.radius_mm >= 12:
            region = labels[ball.box]
            covered = ball.radius < 1.0 + 7.0 / ball.radius_mm
            region.masked_fill_(covered & (region == int(Tissue.OUTSIDE)), int(Tissue.FAT))


def confine(labels: torch.Tensor, ball: Ball) -> torch.Tensor:
    """Return the share of every voxel of a ball's box that it fills, kept to the tissues where it may grow."""
    table = torch.ones(len(Tissue))
    if ball.lesion.within is not None:
        table.zero_()[list(ball.lesion.within)] = 1.0
    table[list(_NO_TISSUE)] = 0.0
    region = labels[ball.box]
    return ball.share * table.to(labels.device, non_blocking=True).index_select(0, region.reshape(-1)).reshape(
        region.shape
    )


def paint_ball(
    ball: Ball,
    share: torch.Tensor,
    kept: float,
    grain: torch.Tensor,
    plain: torch.Tensor,
    activity: torch.Tensor,
    hu: torch.Tensor,
) -> None:
    """Paint one ball into uptake and CT numbers, hotter than what was there before.

    Args:
        ball: what to paint.
        share: of every voxel of its box that it fills.
        kept: share of its height that is left behind the point spread; what is left must stand out.
        grain: (X, Y, Z), a random field for its inner pattern.
        plain: (X, Y, Z), uptake without lesions.
        activity, hu: (X, Y, Z), painted in place.
    """
    lesion = ball.lesion
    around = (share * plain[ball.box]).sum() / share.sum().clamp_min(1e-3)
    if lesion.malignant:
        level = (around + (0.25 * around + 0.5) / max(kept, 0.08)).clamp_min(lesion.suv * ball.heat)
    else:
        level = around.clamp_min(lesion.suv * ball.heat)
    uptake = level * torch.exp(lesion.grain * grain[ball.box].clamp(-2.5, 1.5))
    if lesion.necrosis > 0:
        edge = lesion.necrosis * (1.0 + 0.35 * grain[ball.box]) - ball.radius
        uptake *= 1.0 - 0.8 * torch.sigmoid(edge * (ball.radius_mm / 3.0))
    activity[ball.box] += share * (uptake - activity[ball.box])
    if lesion.hu is not None and lesion.malignant:
        hu[ball.box] += share * (lesion.hu - hu[ball.box])


def find_kept_height(radius_mm: float, fwhm_mm: float) -> float:
    """Return the share of its height that the middle of a ball keeps behind a Gaussian point spread.

    Source: Kessler et al. 1984, J Comput Assist Tomogr 8:514, the recovery of a hot sphere.
    """
    a = radius_mm / max(fwhm_mm / FWHM, 1e-3)
    kept = math.erf(a / math.sqrt(2)) - math.sqrt(2 / math.pi) * a * math.exp(-0.5 * a * a)
    return max(kept, 0.02)


def draw_contour(shape: torch.Tensor, fwhm_mm: float, placement: Placement) -> torch.Tensor:
    """Return the truth, (X, Y, Z) bool, from the lesions' shapes, each divided by `find_kept_height`."""
    return blur(shape, [fwhm_mm / FWHM / s for s in placement.spacing_mm]) > ISOCONTOUR
