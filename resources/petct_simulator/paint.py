"""Paints lesions into a patch: what share of each voxel a lesion fills, its uptake and CT number, and the truth.

The truth is what a reader would draw: the 42 % isocontour of the lesion's shape seen through the PET's point spread.
Cold cores belong to it. All lesions of a patch are contoured by one blur, each normalised by how much of its height a
ball of its size keeps.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

from petct_simulator.fields import FWHM, blur, to_device
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
        bumps: (X, Y, Z), a smooth random field within ±2 that makes the surface irregular.
        rng: source of how the balls are turned and stretched.
    """
    offsets = lesion.offsets_mm @ np.linalg.inv(placement.matrix).T / placement.spacing_mm
    voxel_mm = float(np.cbrt(np.prod(placement.spacing_mm)))
    balls = []
    for offset, radius_mm, heat in zip(offsets, lesion.radii_mm.tolist(), lesion.heat.tolist(), strict=True):
        turn = _turn_and_stretch(lesion.flat, radius_mm, rng)
        box = _find_box(centre + offset, 1.5 * lesion.flat ** (1 / 3) * radius_mm + 6.0, placement)
        if box is not None:
            radius = _compute_radius(centre + offset, turn, box, placement, bumps.device)
            # Half a voxel's share, and the voxels by which a voxel lies below the surface: 1 + irregular * bumps.
            voxels = radius_mm / voxel_mm
            share = (bumps[box] * (lesion.irregular * voxels)).sub_(radius, alpha=voxels).add_(0.5 + voxels)
            balls.append(Ball(lesion, heat, radius_mm, box, radius, share.clamp_(0.0, 1.0)))
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
        (np.arange(part.start, part.stop) - at) * step
        for part, at, step in zip(box, centre, placement.spacing_mm, strict=True)
    )
    form = turn.T @ turn  # the squared radius is p · form · p; what z does not enter is computed on the host
    flat = form[0, 0] * (x * x)[:, None] + form[1, 1] * y * y + 2 * form[0, 1] * x[:, None] * y
    slope = 2 * (form[0, 2] * x[:, None] + form[1, 2] * y)
    parts = to_device(np.concatenate([flat.ravel(), slope.ravel(), z, form[2, 2] * z * z]), device)
    planes = parts[: 2 * flat.size].view(2, *flat.shape, 1)
    along_z = parts[2 * flat.size :].view(2, -1)
    radius = planes[1] * along_z[0]
    return radius.add_(planes[0]).add_(along_z[1]).clamp_min_(0.0).sqrt_()


def grow_body(labels: torch.Tensor, balls: list[Ball]) -> None:
    """Move the surface of the body outward over large masses, with a layer of fat on them; it would cut them off."""
    for ball in balls:
        if ball.lesion.malignant and ball.lesion.radius_mm >= 12:
            region = labels[ball.box]
            covered = ball.radius < 1.0 + 7.0 / ball.radius_mm
            region.masked_fill_(covered & (region == int(Tissue.OUTSIDE)), int(Tissue.FAT))


class Confines:
    """The share of a ball that is kept to the tissues where it may grow.

    Args:
        labels: (X, Y, Z) int32, tissues of the patch.
    """

    def __init__(self, labels: torch.Tensor) -> None:
        self._labels = labels
        self._tables: dict[tuple[Tissue, ...] | None, torch.Tensor] = {}

    def confine(self, ball: Ball) -> torch.Tensor:
        """Return the share of every voxel of a ball's box that it fills."""
        region = self._labels[ball.box]
        table = self._find_table(ball.lesion.within)
        return table.index_select(0, region.reshape(-1)).view(region.shape).mul_(ball.share)

    def _find_table(self, within: tuple[Tissue, ...] | None) -> torch.Tensor:
        if within not in self._tables:
            table = np.ones(len(Tissue)) if within is None else np.zeros(len(Tissue))
            table[list(within or ())] = 1.0
            table[list(_NO_TISSUE)] = 0.0
            self._tables[within] = to_device(table, self._labels.device)
        return self._tables[within]


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
    level = (share * plain[ball.box]).sum() / share.sum().clamp_min_(1e-3)  # around it
    if lesion.malignant:
        kept = max(kept, 0.08)
        level.mul_(1.0 + 0.25 / kept).add_(0.5 / kept)
    level.clamp_min_(lesion.suv * ball.heat)
    uptake = grain[ball.box].clamp(-2.5, 1.5).mul_(lesion.grain).exp_().mul_(level)
    if lesion.necrosis > 0:
        edge = (grain[ball.box] * (0.35 * lesion.necrosis)).sub_(ball.radius).add_(lesion.necrosis)
        uptake.addcmul_(uptake, edge.mul_(ball.radius_mm / 3.0).sigmoid_(), value=-0.8)
    activity[ball.box].lerp_(uptake, share)
    if lesion.hu is not None and lesion.malignant:
        region = hu[ball.box]
        region.addcmul_(share, lesion.hu - region)


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
