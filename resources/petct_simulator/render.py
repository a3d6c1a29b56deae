"""Turns labels, lesions and an examination into PET, CT and truth, on the device where the labels are.

Volumes are (X, Y, Z) in RAS. Every step is a table look-up, a matrix per axis or a plain product, so that a CPU and a
GPU do the same; the random fields come from one generator, in a fixed order.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from petct_simulator.examination import PATTERN_FWHM_MM, CtScanner, Examination, PetScanner
from petct_simulator.fields import FWHM, apply_matrices, blur, blur_matrix, smooth_field
from petct_simulator.frame import DOME
from petct_simulator.label_volume import LabelVolume
from petct_simulator.lesion_plan import Lesion
from petct_simulator.paint import Ball, confine, contour, grow_body, kept_height, paint_ball, shape_lesion
from petct_simulator.placement import Placement
from petct_simulator.tissue import Tissue

T = Tissue
AIR_HU = -1024.0
_MOST_BALLS = 400  # painted in one patch; more are dropped, the last first


@dataclass(frozen=True, slots=True)
class Rendered:
    """What a study shows. pet: SUV; ct: HU; truth: uint8, 1 in lesions; each (X, Y, Z)."""

    pet: torch.Tensor
    ct: torch.Tensor
    truth: torch.Tensor


@dataclass(frozen=True, slots=True)
class Scene:
    """A patch of a body before the scanner. heights: (Z,) mm in the reference body; fields as `PATTERN_FWHM_MM`."""

    volume: LabelVolume
    placement: Placement
    examination: Examination
    labels: torch.Tensor
    fields: list[torch.Tensor]
    heights: np.ndarray

    def look_up(self, table: np.ndarray) -> torch.Tensor:
        """Return the value of every voxel's tissue."""
        on_device = torch.from_numpy(np.asarray(table, np.float32)).to(self.labels.device)
        return on_device.index_select(0, self.labels.reshape(-1)).reshape(self.labels.shape)

    def along_z(self, values: np.ndarray) -> torch.Tensor:
        """Return one value per slice, ready to be multiplied."""
        return torch.from_numpy(np.asarray(values, np.float32)).to(self.labels.device)


@torch.no_grad()
def render(
    volume: LabelVolume,
    padded: torch.Tensor,
    placement: Placement,
    examination: Examination,
    lesions: Sequence[Lesion],
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
    rows = np.clip(np.rint(placement.slices()), 0, len(volume.reference) - 1).astype(np.intp)
    scene = Scene(volume, placement, examination, labels, fields, volume.reference[rows, 0])
    balls, diffuse = _shape_all(scene, lesions, rng)
    grow_body(labels, balls)
    activity = _uptake(scene)
    hu = scene.look_up(examination.hu)
    hu += scene.look_up(examination.roughness_hu) * fields[0].flip(0)
    if examination.vessels:
        _branch_lungs(scene, hu)
    truth = _paint_all(scene, balls, diffuse, activity, hu)
    pet = _see_pet(scene, activity, generator)
    ct = _see_ct(scene, hu, generator, rng)
    return _cut(Rendered(pet, ct, truth), placement)


def _uptake(scene: Scene) -> torch.Tensor:
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


def _branch_lungs(scene: Scene, hu: torch.Tensor) -> None:
    """Draw the lungs' vessels into the CT: lines where two random fields both pass through zero."""
    squares = scene.fields[1].flip(1).square().add_(scene.fields[2].flip(2).square())
    is_lung = np.zeros(len(T), np.float32)
    is_lung[T.LUNG] = 600.0
    hu += squares.mul_(-1.0 / 0.18**2).exp_().mul_(scene.look_up(is_lung))


def _shape_all(
    scene: Scene, lesions: Sequence[Lesion], rng: np.random.Generator
) -> tuple[list[Ball], list[tuple[Lesion, np.ndarray]]]:
    """Return the balls of all lesions that the patch shows, and its diffuse lesions with their centres."""
    if not lesions:
        return [], []
    placement = scene.placement
    centres = placement.to_patch(np.stack([lesion.centre for lesion in lesions]))
    spacing, shape = np.array(placement.spacing_mm), np.array(placement.shape)
    bumps = scene.fields[1].flip(0)
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
    diffuse: list[tuple[Lesion, np.ndarray]],
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
        share = _diffuse_share(scene, lesion, centre)
        activity += share * (plain.clamp_min(lesion.suv) * torch.exp(lesion.grain * grain) - activity)
        torch.maximum(seen, share / 0.7, out=seen)
    for ball in balls:
        share = confine(scene.labels, ball)
        kept = kept_height(ball.lesion.radius_mm, fwhm_mm)
        paint_ball(ball, share, kept, grain, plain, activity, hu)
        if ball.lesion.malignant:
            region = seen[ball.box]
            torch.maximum(region, share / kept, out=region)
    in_body = (scene.labels > int(T.OUTSIDE)) & (scene.labels < int(T.TABLE))
    return (contour(seen, fwhm_mm, scene.placement) & in_body).to(torch.uint8)


def _diffuse_share(scene: Scene, lesion: Lesion, centre: np.ndarray) -> torch.Tensor:
    """Return what share of every voxel a diffuse lesion fills: patches of its tissues around its centre."""
    allowed = np.zeros(len(T), np.float32)
    allowed[list(lesion.within or ())] = 1.0
    share = scene.look_up(allowed)
    share *= torch.sigmoid((scene.fields[2].flip(0) + 0.3) * 8.0)
    far = (np.arange(scene.placement.shape[2]) - centre[2]) * scene.placement.spacing_mm[2]
    return share.mul_(scene.along_z(np.abs(far) < lesion.radii_mm[0]))


def _see_pet(scene: Scene, activity: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return the PET of an uptake: breathing, point spread, noise, filter."""
    scanner, spacing = scene.examination.pet, scene.placement.spacing_mm
    near = np.exp(-(((scene.heights - (DOME - 30)) / 60.0) ** 2))
    if near.max() > 0.05:
        moved = blur(activity, (0.0, 0.0, scanner.breath_mm / spacing[2]))
        activity += scene.along_z(near) * (moved - activity)
    mean = blur(activity, [scanner.fwhm_mm / FWHM / s for s in spacing])
    in_plane, axial = scanner.noise_fwhm_mm
    noise = smooth_field(
        scene.placement.shape, (in_plane / spacing[0], in_plane / spacing[1], axial / spacing[2]), generator
    )
    level = _slice_noise(scanner, scene.placement.field, scene.placement.shape[2], spacing[2])
    root = (mean + scanner.floor_suv).sqrt_()  # SD of a voxel ~ SUV^0.75, see `_slice_noise`
    noise *= root * root.sqrt()
    pet = noise.mul_(scene.along_z(level)).add_(mean).clamp_min_(0.0)
    return _filter(pet, scanner, spacing)


def _slice_noise(
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


def _see_ct(scene: Scene, hu: torch.Tensor, generator: torch.Generator, rng: np.random.Generator) -> torch.Tensor:
    """Return the CT: metal, another breathing phase and place than the PET's, soft borders, noise, field of view."""
    scanner = scene.examination.ct
    for _ in range(scanner.metal):
        _add_metal(scene, hu, rng)
    hu = apply_matrices(hu, _ct_matrices(scene, scanner))
    noise = torch.randn(hu.shape, generator=generator, device=hu.device)
    hu += noise.mul_(scanner.noise_hu)
    placement = scene.placement
    if scanner.field_mm < 600:
        middle = placement.to_patch((np.array(scene.volume.labels.shape, np.float64)[None] - 1) / 2)[0]
        outside = _beyond_field(scanner.field_mm, middle.tolist(), placement.shape, placement.spacing_mm)
        hu.masked_fill_(outside.to(hu.device), AIR_HU)
    return hu.clamp_(AIR_HU, 3071.0)


def _ct_matrices(scene: Scene, scanner: CtScanner) -> list[torch.Tensor | None]:
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
            move = torch.from_numpy(hat.astype(np.float32)).to(device)
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
        torch.from_numpy(np.asarray(v, np.float32)).to(device)
        for v in (rng.integers(3, 9, count), rng.uniform(0, 6.28, count), rng.uniform(100, 500, count))
    )
    in_body = (hu[..., rows] > -300).float()
    streaks = torch.sin(waves * angle + phase) * height * torch.exp(-distance / 45.0)
    here = hu[..., rows]
    here += streaks * in_body
    here += (3071.0 - here) * ((distance < size_mm) * in_body)


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
    pet = smooth_field(shape, (in_plane / spacing_mm[0], in_plane / spacing_mm[1], axial / spacing_mm[2]), generator)
    level = _slice_noise(scanner, ((0, 0), (0, 0), (0, shape[2] - 1)), shape[2], spacing_mm[2])
    pet *= torch.from_numpy((level * scanner.floor_suv**0.75).astype(np.float32))
    hu = torch.randn(shape, generator=generator).mul_(0.5 * ct.noise_hu).sub_(1000.0)
    if ct.field_mm < 600:
        hu.masked_fill_(
            _beyond_field(ct.field_mm, [(p.stop + p.start - 1) / 2 for p in inside], shape, spacing_mm), AIR_HU
        )
    whole = Rendered(pet.clamp_min_(0.0), hu.clamp_min_(AIR_HU), torch.zeros(shape, dtype=torch.uint8))
    for target, source in ((whole.pet, seen.pet), (whole.ct, seen.ct), (whole.truth, seen.truth)):
        target[inside] = source
    return whole


def _beyond_field(
    field_mm: float, middle: Sequence[float], shape: Sequence[int], spacing_mm: Sequence[float]
) -> torch.Tensor:
    """Return where, (X, Y, 1), voxels lie outside a round field of view."""
    x, y = (((torch.arange(shape[i]) - float(middle[i])) * spacing_mm[i]) ** 2 for i in (0, 1))
    return ((x[:, None] + y) > (field_mm / 2) ** 2)[..., None]


def _cut(rendered: Rendered, placement: Placement) -> Rendered:
    """Return the study with air beyond its field of view."""
    for axis, (first, last) in enumerate(placement.field):
        size = placement.shape[axis]
        low, high = max(0, int(np.ceil(first))), min(size, int(np.floor(last)) + 1)
        for part in (slice(0, max(0, low)), slice(max(0, high), size)):
            if part.start < part.stop:
                index = (slice(None),) * axis + (part,)
                rendered.pet[index] = 0.0
                rendered.ct[index] = AIR_HU
                rendered.truth[index] = 0
    return rendered
