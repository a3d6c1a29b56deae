"""Patches of the starter folds: bodies made anew for every patch, real crops laid into some of them, all augmented.

Everything follows from (seed, step, number of the patch), on the device where the network is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from autosegnet.geometry import find_occupied_box
from autosegnet.model.recipe import PET_CHANNEL
from autosegnet_training.arrays import PreparedCase
from autosegnet_training.augmentation import apply, draw
from autosegnet_training.configuration import TrainingConfiguration
from petct_simulator.generator import BodyGenerator, BodyLibrary, Patches
from petct_simulator.paste import RealCrop, paste_real

COLD_SUV = 1.5  # median of a lesion below which its contour is that of another modality
_PATCH, _AUGMENTATION = 2, 3  # streams of random numbers; the simulator has 0 and 1
_LESION, _COLD = 1, 2  # bits that travel as one label through the augmentation


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What patches are made of.

    Args:
        real: share of patches with a real crop in them.
        size: voxels along each axis of a patch.
        spacing_mm: of the patches, along all axes.
        suv_limit: what is above it in the PET is set to it; None for no limit.
    """

    real: float
    size: int
    spacing_mm: float
    suv_limit: float | None


def is_cold(case: PreparedCase) -> bool:
    """Return whether the median SUV of a case's lesions is below 1.5, or it has none."""
    suv = np.asarray(case.array[(PET_CHANNEL, *case.lesion.T)], dtype=np.float32)
    return len(suv) == 0 or float(np.median(suv)) < COLD_SUV


def read_crop(case: PreparedCase, device: torch.device) -> RealCrop:
    """Return a prepared case as a crop that patches are cut from, without the air that fills its blocks.

    A case without lesions counts as cold.

    In a lesion whose median SUV is below 1.5, colder parts count little: its contour came from MRI, and at full weight
    it would teach that warm blood is a lesion. The cold core of a hot lesion counts in full.
    """
    image = torch.from_numpy(np.array(case.array, dtype=np.float16))
    truth = torch.from_numpy(case.read_truth().astype(np.uint8))[None]
    part = (slice(None), *find_occupied_box(np.asarray(np.any(case.array, axis=0))))
    start = [p.start for p in part[1:]]
    return RealCrop(image[part].to(device), truth[part].to(device), case.lesion.astype(np.int64) - start, is_cold(case))


class SimulatedPatches:
    """Make the simulated patches of steps, for one network or for several that are trained side by side.

    Args:
        bodies: label volumes, on the device where the network is.
        share: what patches are made of.
        seed: of everything.
    """

    def __init__(self, bodies: BodyLibrary, share: Share, *, seed: int) -> None:
        patch = (share.size, share.size, share.size)
        self._generator = BodyGenerator(bodies, patch=patch, spacing_mm=share.spacing_mm, seed=seed)
        self._last: tuple[tuple[int, int], Patches] | None = None

    def make(self, step: int, count: int) -> Patches:
        """Return the patches of a step; if they were the last ones to be made, without making them again."""
        if self._last is None or self._last[0] != (step, count):
            self._last = (step, count), self._generator.make_patches(step, count)
        return self._last[1]


class Mixture:
    """Make the patches of a network's steps.

    Args:
        simulated: where bodies come from; networks that are trained side by side share them.
        crops: real ones of this fold's training cases; none for the network that all folds start from.
        share: what patches are made of.
        configuration: how patches are augmented, and the seed.
        fold: random numbers differ between folds.
    """

    def __init__(
        self,
        simulated: SimulatedPatches,
        crops: Sequence[RealCrop],
        *,
        share: Share,
        configuration: TrainingConfiguration,
        fold: int,
    ) -> None:
        self._simulated, self._crops = simulated, crops
        self._share, self._configuration = share, configuration
        self._seed = derive_seed(configuration, fold)

    def make(self, step: int, count: int) -> Patches:
        """Return the augmented patches of a step; `weight` is always given."""
        patches = self._simulated.make(step, count)
        crops = [self._draw_crop(step, number) for number in range(count)]
        patches = paste_real(patches, crops, seed=self._seed, step=step)
        assert patches.weight is not None, "paste_real weights every voxel"
        light = patches.weight.amin()
        label = patches.truth * _LESION + (patches.weight < 1).to(torch.uint8) * _COLD
        rngs = [np.random.default_rng([self._seed, step, number, _AUGMENTATION]) for number in range(count)]
        image, label = apply([draw(self._configuration, rng) for rng in rngs], patches.image, label)
        image = image.clamp_min_(0.0)
        if self._share.suv_limit is not None:
            image[:, PET_CHANNEL].clamp_max_(self._share.suv_limit)
        weight = torch.where((label & _COLD) > 0, light, torch.ones_like(light))
        return Patches(image, label & _LESION, weight)

    def _draw_crop(self, step: int, number: int) -> RealCrop | None:
        rng = np.random.default_rng([self._seed, step, number, _PATCH])
        if not self._crops or rng.random() >= self._share.real:
            return None
        return self._crops[int(rng.integers(len(self._crops)))]


def derive_seed(configuration: TrainingConfiguration, fold: int) -> int:
    """Return the seed of a fold's patches."""
    return 1000 * configuration.seed + fold + 1
