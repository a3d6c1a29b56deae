"""Turns labels, lesions and an examination into PET, CT and truth, on the device where the labels are.

Volumes are (X, Y, Z) in RAS. Every step is a table look-up, a matrix per axis or a plain product, so that a CPU and a
GPU do the same; the random fields come from one generator, in a fixed order.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from petct_simulator.ct_image import AIR_VOXEL_HU, draw_lung_vessels, find_beyond_field, make_ct
from petct_simulator.examination import PATTERN_FWHM_MM, Examination
from petct_simulator.fields import smooth_field
from petct_simulator.label_volume import LabelVolume
from petct_simulator.lesion_plan import PlannedLesion
from petct_simulator.paint import Ball, Confines, draw_contour, find_kept_height, grow_body, paint_ball, shape_lesion
from petct_simulator.pet_image import add_noise, compute_slice_noise, make_pet
from petct_simulator.placement import Placement
from petct_simulator.scene import Scene
from petct_simulator.tissue import Tissue

T = Tissue
_MOST_BALLS = 400  # painted in one patch; more are dropped, the last first


@dataclass(frozen=True, slots=True)
class Rendered:
    """What a study shows. pet: SUV; ct: HU; truth: uint8, 1 in lesions; each (X, Y, Z)."""

    pet: torch.Tensor
    ct: torch.Tensor
    truth: torch.Tensor


@torch.no_grad()
def render(
    volume: LabelVolume,
    padded: torch.Tensor,
    placement: Placement,
    examination: Examination,
    lesions: Sequence[PlannedLesion],
    generator: torch.Generator,
    rng: np.random.Generator,
) -> Rendered:
    """Return PET, CT and truth of a patch or of a whole body.

    Args:
        volume: the body.
        padded: its labels on the device (`placement.pad_labels`).
        placement: where the patch lies in the body.
        examination: uptake, CT numbers, scanners.
        lesions: of the whole body; those that the patch does not show are skipped.
        generator: source of the voxels' random numbers, on the device.
        rng: source of the few random numbers that are drawn on the host.
    """
    labels = placement.sample(padded)
    shape = placement.shape
    fields = [smooth_field(shape, [f / s for s in placement.spacing_mm], generator) for f in PATTERN_FWHM_MM]
    rows = np.clip(np.rint(placement.find_slices()), 0, len(volume.reference) - 1).astype(np.intp)
    scene = Scene(volume, placement, examination, labels, fields, volume.reference[rows, 0])
    balls, diffuse = _shape_all(scene, lesions, rng)
    grow_body(labels, balls)
    activity = _draw_uptake(scene)
    hu = scene.look_up(examination.hu)
    hu += scene.look_up(examination.roughness_hu) * fields[0].flip(0)
    if examination.vessels:
        draw_lung_vessels(scene, hu)
    truth = _paint_all(scene, balls, diffuse, activity, hu)
    pet = make_pet(scene, activity, generator)
    ct = make_ct(scene, hu, generator, rng)
    return _cut(Rendered(pet, ct, truth), placement)


def _draw_uptake(scene: Scene) -> torch.Tensor:
    examination = scene.examination
    pattern: torch.Tensor | None = None
    for strength, field in zip(examination.pattern, scene.fields, strict=True):
        one = scene.look_up(strength).mul_(field)
        pattern = one if pattern is None else pattern.add_(one)
    assert pattern is not None
    activity = scene.look_up(examination.suv).mul_(pattern.clamp_(-3.0, 1.8).exp_())
    if examination.holes.any():
        cold = torch.sigmoid((scene.fields[2].flip(1) - 0.7) * 6.0)
        activity *= 1.0 - scene.look_up(examination.holes) * cold
    return activity


def _shape_all(
    scene: Scene, lesions: Sequence[PlannedLesion], rng: np.random.Generator
) -> tuple[list[Ball], list[tuple[PlannedLesion, np.ndarray]]]:
    """Return the balls of all lesions that the patch shows, and its diffuse lesions with their centres."""
    if not lesions:
        return [], []
    placement = scene.placement
    centres = placement.to_patch(np.stack([lesion.centre for lesion in lesions]))
    spacing, shape = np.array(placement.spacing_mm), np.array(placement.shape)
    bumps = scene.fields[1].flip(0).clamp_(-2.0, 2.0)
    balls: list[Ball] = []
    diffuse = []
    for lesion, centre in zip(lesions, centres, strict=True):
        reach = (1.6 * lesion.reach_mm + 10.0) / spacing
        if ((centre + reach < 0) | (centre - reach > shape)).any():
            continue
        if lesion.diffuse:
            diffuse.append((lesion, centre))
        elif len(balls) < _MOST_BALLS:
            balls += shape_lesion(lesion, centre, placement, bumps, rng)
    return balls, diffuse


def _paint_all(
    scene: Scene,
    balls: list[Ball],
    diffuse: list[tuple[PlannedLesion, np.ndarray]],
    activity: torch.Tensor,
    hu: torch.Tensor,
) -> torch.Tensor:
    """Paint all lesions and return the truth, uint8."""
    if not balls and not diffuse:
        return torch.zeros(scene.labels.shape, dtype=torch.uint8, device=activity.device)
    fwhm_mm = scene.examination.pet.fwhm_mm
    plain = activity.clone()
    seen = torch.zeros_like(activity)
    grain = scene.fields[0].flip(1).mul_(0.6).add_(scene.fields[1].flip(2), alpha=0.8)
    for lesion, centre in diffuse:
        share = _compute_diffuse_share(scene, lesion, centre)
        activity += share * (plain.clamp_min(lesion.suv) * torch.exp(lesion.grain * grain) - activity)
        torch.maximum(seen, share / 0.7, out=seen)
    confines = Confines(scene.labels)
    for ball in balls:
        share = confines.confine(ball)
        kept = find_kept_height(ball.lesion.radius_mm, fwhm_mm)
        paint_ball(ball, share, kept, grain, plain, activity, hu)
        if ball.lesion.malignant:
            region = seen[ball.box]
            torch.maximum(region, share / kept, out=region)
    in_body = (scene.labels > int(T.OUTSIDE)) & (scene.labels < int(T.TABLE))
    return (draw_contour(seen, fwhm_mm, scene.placement) & in_body).to(torch.uint8)


def _compute_diffuse_share(scene: Scene, lesion: PlannedLesion, centre: np.ndarray) -> torch.Tensor:
    """Return what share of every voxel a diffuse lesion fills: patches of its tissues around its centre."""
    allowed = np.zeros(len(T), np.float32)
    allowed[list(lesion.within or ())] = 1.0
    share = scene.look_up(allowed)
    share *= torch.sigmoid((scene.fields[2].flip(0) + 0.3) * 8.0)
    far = (np.arange(scene.placement.shape[2]) - centre[2]) * scene.placement.spacing_mm[2]
    return share.mul_(scene.spread_along_z(np.abs(far) < lesion.radii_mm[0]))


@torch.no_grad()
def surround(
    seen: Rendered,
    inside: tuple[slice, slice],
    shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
    examination: Examination,
    generator: torch.Generator,
) -> Rendered:
    """Return a study with the air around the body, which is noisy, too, out to the PET's field of view.

    Args:
        seen: body and table.
        inside: where it lies along x and y.
        shape, spacing_mm: of the whole field of view.
        examination: with the scanners.
        generator: source of the noise.
    """
    scanner, ct = examination.pet, examination.ct
    in_plane, axial = scanner.noise_fwhm_mm
    noise = smooth_field(shape, (in_plane / spacing_mm[0], in_plane / spacing_mm[1], axial / spacing_mm[2]), generator)
    ends = ((0.0, 0.0), (0.0, 0.0), (0.0, shape[2] - 1.0))
    level = torch.from_numpy(compute_slice_noise(scanner, ends, shape[2], spacing_mm[2]).astype(np.float32))
    pet = add_noise(torch.zeros(shape), noise, level, scanner.floor_suv)
    hu = torch.randn(shape, generator=generator).mul_(0.5 * ct.noise_hu).sub_(1000.0)
    if ct.field_mm < 600:
        hu.masked_fill_(
            find_beyond_field(ct.field_mm, [(p.stop + p.start - 1) / 2 for p in inside], shape, spacing_mm),
            AIR_VOXEL_HU,
        )
    whole = Rendered(pet, hu.clamp_min_(AIR_VOXEL_HU), torch.zeros(shape, dtype=torch.uint8))
    for target, source in ((whole.pet, seen.pet), (whole.ct, seen.ct), (whole.truth, seen.truth)):
        target[inside] = source
    return whole


def _cut(rendered: Rendered, placement: Placement) -> Rendered:
    """Return the study with air beyond its field of view."""
    for axis, (first, last) in enumerate(placement.field):
        size = placement.shape[axis]
        low, high = max(0, int(np.ceil(first))), min(size, int(np.floor(last)) + 1)
        for part in (slice(0, max(0, low)), slice(max(0, high), size)):
            if part.start < part.stop:
                index = (slice(None),) * axis + (part,)
                rendered.pet[index] = 0.0
                rendered.ct[index] = AIR_VOXEL_HU
                rendered.truth[index] = 0
    return rendered
