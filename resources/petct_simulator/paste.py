"""Joins real crops and simulated bodies, so that neither real texture nor a seam means lesion.

A real crop is cut anew every time, with random margins, and laid anywhere into a simulated patch; hot simulated organs
may stay on top of it, away from its lesion. Or it stands in air.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from petct_simulator.generator import Patches

PasteBox = tuple[slice, slice, slice]

_COLD_SUV, _COLD_WEIGHT = 1.5, 0.15
_HOT_SUV = 2.5


@dataclass(frozen=True, slots=True)
class RealCrop:
    """A real study or a part of it, on the grid spacing of the patches.

    Args:
        image: (2, X, Y, Z) float32 or float16, channels as in `Patches`.
        truth: (1, X, Y, Z) uint8.
        is_cold: whether the cold parts of its lesions count less, as `weigh_cold` says.
        lesion: (N, 3) voxels of the truth, on the host, so that cutting waits for no device.
    """

    image: torch.Tensor
    truth: torch.Tensor
    lesion: NDArray[np.integer[Any]]
    is_cold: bool = True


@torch.no_grad()
def paste_real(
    patches: Patches,
    crops: Sequence[RealCrop | None],
    *,
    seed: int,
    step: int,
    air_share: float = 0.2,
    organ_share: float = 0.5,
    lesion_share: float = 0.8,
) -> Patches:
    """Return patches with one real crop in each; the same seed, step and crops give the same patches.

    Args:
        patches: simulated.
        crops: one per patch; None leaves the patch as it is.
        seed, step: of the random numbers.
        air_share: share of the crops that stand in air, not in a simulated body.
        organ_share: share of the others over which hot simulated organs stay visible.
        lesion_share: share of the crops that are cut so that they show a part of a lesion.
    """
    images, truths, weights = [], [], []
    for number, crop in enumerate(crops):
        image, truth = patches.image[number], patches.truth[number]
        weight = torch.ones_like(image[:1]) if patches.weight is None else patches.weight[number]
        if crop is not None:
            rng = np.random.default_rng([seed, step, number, 1])
            cut = cut_randomly(crop, rng, holding_lesion=rng.random() < lesion_share)
            in_air, organs = rng.random() < air_share, rng.random() < organ_share
            if in_air:
                image, truth = torch.zeros_like(image), torch.zeros_like(truth)
            image, truth, weight = _lay(cut, image, truth, rng, keep_organs=organs and not in_air)
        images.append(image)
        truths.append(truth)
        weights.append(weight)
    return Patches(torch.stack(images), torch.stack(truths), torch.stack(weights))


def cut_randomly(crop: RealCrop, rng: np.random.Generator, *, holding_lesion: bool) -> RealCrop:
    """Return a random box of a crop with random margins.

    Args:
        crop: to be cut.
        rng: source of the margins.
        holding_lesion: whether the box holds the crop's lesion; in a third of these, only a part of it, since a
            scan's end may cut through a lesion, too.

    Returns:
        The box; its `lesion` is still the whole crop's.
    """
    shape = crop.truth.shape[1:]
    if rng.random() < 0.15:
        return crop
    lesion = crop.lesion if holding_lesion else crop.lesion[:0]
    if len(lesion) == 0:
        at = [int(rng.integers(n)) for n in shape]
        first, last = at, at
    elif rng.random() < 0.33:
        at = lesion[int(rng.integers(len(lesion)))].tolist()
        first, last = at, at
    else:
        first, last = lesion.min(axis=0).tolist(), lesion.max(axis=0).tolist()
    parts = []
    for low, high, size in zip(first, last, shape, strict=True):
        before, after = rng.random(2) ** 0.7  # wide margins more often than narrow ones
        start, stop = round(low * (1 - float(before))), round(high + float(after) * (size - 1 - high)) + 1
        parts.append(slice(max(0, min(start, low - 4)), min(size, max(stop, high + 5))))
    box = (slice(None), *parts)
    return replace(crop, image=crop.image[box], truth=crop.truth[box])


def _lay(
    crop: RealCrop, image: torch.Tensor, truth: torch.Tensor, rng: np.random.Generator, *, keep_organs: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return image, truth and weight of a patch with a crop laid somewhere into it."""
    inside, outside = _draw_place(crop.truth.shape[1:], image.shape[1:], rng)
    real = crop.image[(slice(None), *outside)].to(image)
    real_truth = crop.truth[(slice(None), *outside)].to(truth)
    seam = float(rng.choice([0.0, 2.0, 4.0, 6.0]))
    share = _make_soft_box(inside, outside, crop.truth.shape[1:], image.shape[1:], seam, image.device)
    if keep_organs:
        share = share * (1.0 - _find_organs(image[1:, *inside], truth[:, *inside], real_truth)[0])
    image, truth = image.clone(), truth.clone()
    under = image[:, *inside]
    image[:, *inside] = under + share * (real - under)
    truth[:, *inside] = torch.where(share > 0.5, real_truth, truth[:, *inside])
    weight = torch.ones_like(image[:1])
    if crop.is_cold:
        weight[:, *inside] = weigh_cold(real[1:], real_truth * (share > 0.5))
    return image, truth, weight


def _draw_place(size: Sequence[int], patch: Sequence[int], rng: np.random.Generator) -> tuple[PasteBox, PasteBox]:
    """Return where in the patch a crop lies, and what of the crop is seen; a larger crop is cut."""
    inside, outside = [], []
    for n, p in zip(size, patch, strict=True):
        start = int(rng.integers(min(0, p - n), max(0, p - n), endpoint=True))
        inside.append(slice(max(0, start), min(p, start + n)))
        outside.append(slice(max(0, -start), min(n, p - start)))
    return (inside[0], inside[1], inside[2]), (outside[0], outside[1], outside[2])


def _make_soft_box(
    inside: PasteBox,
    outside: PasteBox,
    size: Sequence[int],
    patch: Sequence[int],
    seam_voxels: float,
    device: torch.device,
) -> torch.Tensor:
    """Return the share of the real crop in every voxel: 1, falling off over a seam at faces that lie in the patch."""
    share: torch.Tensor | None = None
    for axis in range(3):
        n = inside[axis].stop - inside[axis].start
        ramp = torch.ones(n, device=device)
        if seam_voxels > 0:
            at = torch.arange(n, dtype=torch.float32, device=device) + 0.5
            if outside[axis].start == 0 and inside[axis].start > 0:
                ramp = torch.minimum(ramp, at / seam_voxels)
            if outside[axis].stop == size[axis] and inside[axis].stop < patch[axis]:
                ramp = torch.minimum(ramp, (n - at) / seam_voxels)
        one = ramp.reshape([-1 if i == axis else 1 for i in range(3)])
        share = one if share is None else torch.minimum(share, one)
    assert share is not None
    return share


def _find_organs(pet: torch.Tensor, simulated: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Return the soft share (1, X, Y, Z) of hot simulated organs, away from any lesion, simulated or real."""
    hot = ((pet > _HOT_SUV) & (simulated == 0)).float()
    near = functional.max_pool3d(torch.maximum(real, simulated).float(), 7, stride=1, padding=3)
    wide = functional.max_pool3d(hot, 3, stride=1, padding=1) * (1.0 - near)
    return functional.avg_pool3d(wide, 3, stride=1, padding=1) * (1.0 - near)


def weigh_cold(pet: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Return a weight for the loss: 0.15 in the parts of a real lesion below SUV 1.5, 1 elsewhere.

    Contours of the sarcomas came from MRI and hold necrosis and fat. At full weight they would teach that warm
    blood, muscle and bowel of SUV 1 to 2 can be a lesion.

    Args:
        pet: (1, X, Y, Z) SUV.
        truth: (1, X, Y, Z), 1 in lesions.
    """
    smooth = functional.avg_pool3d(pet.float(), 3, stride=1, padding=1, count_include_pad=False)
    cold = (truth > 0) & (smooth < _COLD_SUV)
    return torch.where(cold, _COLD_WEIGHT, 1.0)
