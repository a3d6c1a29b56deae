"""Chooses the patches of an epoch, and reads them from memory maps.

Every random number follows from (seed, epoch, number of the patch in the epoch). Nothing is carried from one patch to
the next, so a run that continues in the middle of an epoch, or on more processes, sees the same patches.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from autosegnet.errors import InputError
from autosegnet.model.recipe import PET_CHANNEL, Recipe
from autosegnet_training.arrays import PreparedCase
from autosegnet_training.augmentation import Draws, draw
from autosegnet_training.configuration import TrainingConfiguration
from petct_simulator.generator import CT_WINDOW_HU, BodyGenerator, BodyLibrary
from petct_simulator.label_volume import read_label_volumes

Voxel = tuple[int, int, int]

_PLAN, _PATCH = 0, 1  # streams of random numbers
_HOT_SUV = 4.0


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Patches that go through the network at once.

    Args:
        input: (B, 2, X, Y, Z) float32, as in `preprocess.Prepared`, not yet augmented.
        label: (B, 1, X, Y, Z) uint8, 1 in lesions.
        draws: how each patch is augmented.
    """

    input: torch.Tensor
    label: torch.Tensor
    draws: list[Draws]


def count_steps_per_epoch(configuration: TrainingConfiguration, cases: int) -> int:
    """Return the number of steps in which every case is seen `patches_per_case` times; the last step is filled up."""
    return -(-cases * configuration.patches_per_case // configuration.batch)


def plan(configuration: TrainingConfiguration, cases: int, *, epoch: int) -> NDArray[np.intp]:
    """Return (steps, batch): the case of every patch of an epoch, in random order.

    If the patches do not fill the last batch, random cases fill it.
    """
    rng = np.random.default_rng([configuration.seed, _PLAN, epoch])
    order = np.concatenate([rng.permutation(cases) for _ in range(configuration.patches_per_case)])
    steps = count_steps_per_epoch(configuration, cases)
    missing = steps * configuration.batch - order.size
    filled = np.concatenate([order, rng.integers(cases, size=missing)])
    return filled.reshape(steps, configuration.batch)


def start_of_patch(
    shape: Voxel, patch: Voxel, rng: np.random.Generator, *, holding: tuple[int, ...] | None = None
) -> Voxel:
    """Draw the start of a random patch, anywhere inside the array; an axis shorter than the patch is centred in it.

    Args:
        shape, patch: voxels.
        rng: source of the position.
        holding: a voxel that the patch must hold.

    Source: paper, section 2.2 (i). Short axes are placed as `predict.probability` places them.
    """
    start = []
    for axis, (n, p) in enumerate(zip(shape, patch, strict=True)):
        low, high = 0, n - p
        if high < 0:
            start.append(-((p - n) // 2))
            continue
        if holding is not None:
            low, high = max(low, holding[axis] - p + 1), min(high, holding[axis])
        start.append(int(rng.integers(low, high, endpoint=True)))
    return (start[0], start[1], start[2])


def read_patch(case: PreparedCase, start: Voxel, patch: Voxel) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Read input (2, X, Y, Z) and label (1, X, Y, Z) of a patch; beyond the case there is air, 0 in both channels."""
    array, label = np.zeros((2, *patch), dtype=np.float32), np.zeros((1, *patch), dtype=np.uint8)
    lay(case, start, array, label)
    return array, label


def lay(case: PreparedCase, start: Voxel, array: NDArray[np.float32], label: NDArray[np.uint8]) -> None:
    """Copy a case's part of a patch into input and label; beyond the case they stay as they are."""
    patch = array.shape[1:]
    inside, outside = [], []
    for s, p, n in zip(start, patch, case.shape, strict=True):
        first, end = max(0, s), min(n, s + p)
        inside.append(slice(first - s, end - s))
        outside.append(slice(first, end))
    array[(slice(None), *inside)] = case.array[(slice(None), *outside)]
    label[(slice(None), *inside)] = 0
    at = case.lesion - np.asarray(start)
    at = at[np.all((at >= 0) & (at < np.asarray(patch)), axis=1)]
    label[(0, *at.T)] = 1


def _is_short(case: PreparedCase, patch: Voxel) -> bool:
    return any(n < p for n, p in zip(case.shape, patch, strict=True))


def draw_anywhere(start: Voxel, shape: Voxel, patch: Voxel, rng: np.random.Generator) -> Voxel:
    """Return the start of a patch with the case anywhere in it, not centred, if the patch is longer."""
    x, y, z = (
        int(rng.integers(n - p, 0, endpoint=True)) if n < p else s for s, n, p in zip(start, shape, patch, strict=True)
    )
    return (x, y, z)


def draw_hot_voxel(case: PreparedCase, rng: np.random.Generator) -> tuple[int, ...] | None:
    """Return a voxel of SUV above 4, lesion or not, found among 4,000 random ones; None if none of them is.

    Brain, heart, kidneys and bladder are a hundredth of a body, so random patches seldom show them. All axial slices
    that hold such a voxel count equally, because otherwise the brain would dominate.
    """
    at = rng.integers(case.shape, size=(4000, 3))
    hot = at[case.array[(1, *at.T)] > _HOT_SUV]
    if len(hot) == 0:
        return None
    level = rng.choice(np.unique(hot[:, 2]))
    return tuple(map(int, rng.choice(hot[hot[:, 2] == level])))


def number_lesion_voxels(case: PreparedCase) -> NDArray[np.int32]:
    """Return the number of the lesion that each voxel of `case.lesion` belongs to, from 1: (n,), 18-connectivity."""
    first = case.lesion.min(axis=0)
    mask = np.zeros(case.lesion.max(axis=0) - first + 1, dtype=np.bool_)
    place = tuple((case.lesion - first).T)
    mask[place] = True
    labels, _ = ndimage.label(mask, ndimage.generate_binary_structure(3, 2))
    return np.asarray(labels[place], dtype=np.int32)


class Bodies:
    """Simulated patches, made one at a time: a body's volumes are shared by the threads that read patches."""

    def __init__(self, generator: BodyGenerator, suv_limit: float | None) -> None:
        self._generator, self._suv_limit = generator, suv_limit
        self._lock = Lock()

    def make(self, number: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Return input (2, X, Y, Z) and label (1, X, Y, Z) of a patch, which follow from its number."""
        with self._lock:
            made = self._generator.make_patches(number, 1)
        array, label = made.image[0].numpy(), made.truth[0].numpy()
        if self._suv_limit is not None:
            np.minimum(array[PET_CHANNEL], np.float32(self._suv_limit), out=array[PET_CHANNEL])
        return array, label


def open_bodies(configuration: TrainingConfiguration, recipe: Recipe) -> Bodies | None:
    """Return the source of a run's simulated patches; None if it has none.

    Raises:
        InputError: the folder holds no label volumes, or the working grid has no cubic voxels.
    """
    if not configuration.labels or configuration.simulated_patches == 0:
        return None
    if len(set(recipe.spacing_mm)) != 1 or recipe.ct_window_hu != CT_WINDOW_HU:
        raise InputError(
            f"simulated patches have cubic voxels and a CT window of {CT_WINDOW_HU} HU, the prepared cases "
            f"{recipe.spacing_mm} mm and {recipe.ct_window_hu} HU; prepare them alike, or leave out --simulated-patches"
        )
    volumes = read_label_volumes(Path(configuration.labels))
    generator = BodyGenerator(
        BodyLibrary(volumes, torch.device("cpu")),
        patch=configuration.patch,
        spacing_mm=recipe.spacing_mm[0],
        seed=configuration.seed,
    )
    return Bodies(generator, recipe.suv_limit)


class PatchSampler:
    """The micro-batches of one process, read ahead by threads.

    Args:
        cases: of training.
        configuration: of the run.
        bodies: makes the simulated patches; None for cases alone.
        rank, ranks: which process of how many this is. Micro-batch k of a step belongs to process k modulo ranks.
    """

    def __init__(
        self,
        cases: Sequence[PreparedCase],
        configuration: TrainingConfiguration,
        *,
        bodies: Bodies | None = None,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self._cases, self._simulated = cases, bodies
        # A case larger than a patch can surround a smaller one.
        self._bodies = [
            c for c in cases if configuration.fill_probability > 0 and not _is_short(c, configuration.patch)
        ]
        self._configuration = configuration
        self._micro = configuration.micro_batch or configuration.batch // ranks
        assert configuration.batch % (self._micro * ranks) == 0, "whole micro-batches for every process"
        self._numbers: dict[str, NDArray[np.int32]] = {}  # numbers of the lesions, by case
        self._first, self._stride = rank * self._micro, ranks * self._micro

    @property
    def micro_batches(self) -> int:
        """Return the number of micro-batches of this process in one step."""
        return self._configuration.batch // self._stride

    def iterate_epoch(self, epoch: int, *, first_step: int = 0) -> Iterator[MicroBatch]:
        """Return the micro-batches of the steps of an epoch from `first_step` on, in order."""
        cases = plan(self._configuration, len(self._cases), epoch=epoch)
        firsts = [
            (step, first)
            for step in range(first_step, len(cases))
            for first in range(self._first, self._configuration.batch, self._stride)
        ]
        workers = self._configuration.workers
        with ThreadPoolExecutor(workers) as pool:
            ahead: deque[Future[MicroBatch]] = deque()
            for step, first in firsts:
                ahead.append(pool.submit(self._read, cases[step], epoch, step, first))
                if len(ahead) > workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()

    def list_names(self, epoch: int, step: int) -> list[str]:
        """Return the cases behind the patches of a step, over all processes."""
        return [self._cases[i].name for i in plan(self._configuration, len(self._cases), epoch=epoch)[step]]

    def _read(self, cases: NDArray[np.intp], epoch: int, step: int, first: int) -> MicroBatch:
        c = self._configuration
        inputs, labels, draws = [], [], []
        for k in range(first, first + self._micro):
            rng = np.random.default_rng([c.seed, _PATCH, epoch, step * c.batch + k])
            if self._simulated is not None and rng.random() < c.simulated_patches:
                steps = count_steps_per_epoch(c, len(self._cases))
                array, label = self._simulated.make((epoch * steps + step) * c.batch + k)
            else:
                array, label = self._read_patch(self._cases[cases[k]], rng)
            inputs.append(array)
            labels.append(label)
            draws.append(draw(c, rng))
        return MicroBatch(torch.from_numpy(np.stack(inputs)), torch.from_numpy(np.stack(labels)), draws)

    def _draw_lesion_voxel(self, case: PreparedCase, rng: np.random.Generator) -> tuple[int, ...]:
        voxels = case.lesion
        if self._configuration.lesion_first:
            if case.name not in self._numbers:
                self._numbers[case.name] = number_lesion_voxels(case)
            numbers = self._numbers[case.name]
            voxels = voxels[numbers == rng.integers(1, numbers.max(), endpoint=True)]
        return tuple(map(int, voxels[rng.integers(len(voxels))]))

    def _read_patch(
        self, case: PreparedCase, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        c = self._configuration
        holding = None
        if rng.random() < c.lesion_patches and len(case.lesion) > 0:
            holding = self._draw_lesion_voxel(case, rng)
        elif c.hot_patches > 0 and rng.random() < c.hot_patches:
            holding = draw_hot_voxel(case, rng)
        start = start_of_patch(case.shape, c.patch, rng, holding=holding)
        if self._bodies and _is_short(case, c.patch) and rng.random() < c.fill_probability:
            body = self._bodies[rng.integers(len(self._bodies))]
            array, label = read_patch(body, start_of_patch(body.shape, c.patch, rng), c.patch)
            lay(case, draw_anywhere(start, case.shape, c.patch, rng), array, label)
            return array, label
        return read_patch(case, start, c.patch)
