"""Sliding window over an engine: network input -> probability of lesion, on the same grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from math import prod
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from autosegnet.model.accumulator import VoxelArray, VoxelData, Window, open_accumulator
from autosegnet.model.engine import Engine
from autosegnet.model.recipe import BLOCK, Recipe

PassProgress = Callable[[int, int], None]
"""Called with (passes done, all passes) after one or several passes; a pass is one window through one fold."""

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Walk(Protocol[T_co]):
    """A walk of the sliding window, such as `predict_probability` with its array bound."""

    def __call__(self, engine: Engine, recipe: Recipe, *, progress: PassProgress) -> T_co:
        """Return what the walk computes."""
        ...


class RunWalk(Protocol):
    """Runs a walk with the whole ensemble, or with a part of it."""

    def __call__(
        self, walk: Walk[T], engine: Engine, recipe: Recipe, *, shape: tuple[int, ...], progress: PassProgress
    ) -> T:
        """Return what the walk computes over an input of this shape (voxels)."""
        ...


def run_walk(walk: Walk[T], engine: Engine, recipe: Recipe, *, shape: tuple[int, ...], progress: PassProgress) -> T:
    """Run a walk with the whole ensemble."""
    return walk(engine, recipe, progress=progress)


_HALO = 48  # voxels that neighbouring slabs share
_SLAB_VOXELS = 2 * 192**3  # keeps the fast mode below 3 GB of memory


def find_window_starts(length: int, *, patch: int, overlap: float) -> tuple[int, ...]:
    """Return where windows start along one axis of at least `patch` voxels.

    Source: MONAI `sliding_window_inference`: steps of `patch * (1 - overlap)`, the last window moved back inside.
    """
    assert length >= patch
    step = max(1, int(patch * (1.0 - overlap)))
    count = -(-(length - patch) // step) + 1
    return tuple(min(k * step, length - patch) for k in range(count))


def fit_window(recipe: Recipe, shape: tuple[int, ...]) -> Recipe:
    """Return the recipe with the window for a study of this shape.

    In the fast mode the window is a slab: all of x and y, and as much of z as `_SLAB_VOXELS` allows. Slabs overlap by
    `_HALO` voxels and are averaged there, as windows are.
    """
    if recipe.passes == "windows":
        return recipe
    x, y, z = (_round_to_blocks(n) for n in shape)
    longest = max(2 * _HALO, _SLAB_VOXELS // (x * y) // BLOCK * BLOCK)
    if z <= longest:
        return replace(recipe, patch=(x, y, z), overlap=0.0)
    slabs = -(-(z - _HALO) // (longest - _HALO))
    length = _round_to_blocks(-(-(z + (slabs - 1) * _HALO) // slabs))
    return replace(recipe, patch=(x, y, length), overlap=_HALO / length)


def _round_to_blocks(n: int) -> int:
    return -(-n // BLOCK) * BLOCK


def count_voxels(recipe: Recipe, shape: tuple[int, ...]) -> int:
    """Count the voxels that pass through each fold for a study of this shape; the time is proportional to them."""
    recipe = fit_window(recipe, shape)
    return prod(recipe.patch) * prod(len(starts) for starts in _list_starts(shape, recipe))


def predict_probability(
    array: VoxelArray, engine: Engine, recipe: Recipe, *, progress: PassProgress = lambda done, of: None
) -> VoxelArray:
    """Predict the probability of lesion in every voxel.

    Overlapping windows are averaged with equal weights, folds with the recipe's weights; both on logits. Both averages
    are linear, so one accumulator serves them. If the recipe's last step takes two sigmoids, what is returned is no
    probability, but is above one half where the lesion's is the larger one.

    Args:
        array: (C, X, Y, Z) float32, as in `preprocess.Prepared`; of numpy, or a tensor on the engine's device.
        engine: the folds.
        recipe: of the same folds.
        progress: called as passes are done.

    Returns:
        (X, Y, Z) float32 in [0, 1]; of numpy or a tensor, as the input.

    Source: paper, section 2.5; MONAI `SlidingWindowInferer` with `mode="constant"`. Fields of view smaller than the
        window are padded with air on both sides, which is 0 in every channel.
    """
    recipe = fit_window(recipe, array.shape[1:])
    probability: VoxelArray
    (probability,) = _walk(array, engine, recipe, own=False, progress=progress)
    return probability


def predict_probability_and_disagreement(
    array: VoxelArray, engine: Engine, recipe: Recipe, *, progress: PassProgress = lambda done, of: None
) -> tuple[VoxelArray, VoxelArray]:
    """Predict exactly the same probability, and the standard deviation between the folds' probabilities.

    Each fold's windows are blended on its own logits. The deviation is that of a population, and all folds count
    equally. This takes one more accumulator per fold than `predict_probability`: 4 bytes x voxels x folds.

    Returns:
        (X, Y, Z) float32 in [0, 1], and (X, Y, Z) float32 in [0, 0.5].
    """
    recipe = fit_window(recipe, array.shape[1:])
    probability, *folds = _walk(array, engine, recipe, own=True, progress=progress)
    return probability, _find_deviation(folds)


def _find_deviation(folds: list[VoxelData]) -> VoxelData:
    """Return the standard deviation between arrays of numpy or tensors, in the memory of the first."""
    count = len(folds)
    for x in range(len(folds[0])):  # in slabs, so that no second copy of all folds is made
        mean = sum(fold[x] for fold in folds) / count
        folds[0][x] = (sum((fold[x] - mean) ** 2 for fold in folds) / count) ** 0.5
    return folds[0]


def _walk(array: VoxelData, engine: Engine, recipe: Recipe, *, own: bool, progress: PassProgress) -> list[VoxelData]:
    """Return the probability by all folds, and by each alone if wanted.

    Folds are the outer loop, because an engine may set up one at a time.
    """
    starts = _list_starts(array.shape[1:], recipe)
    windows = [Window((x, y, z), recipe.patch) for x, y, z in product(*starts)]
    sums = 1 + engine.folds if own else 1
    accumulator = open_accumulator(engine, array, sums=sums, channels=recipe.channels)
    done = 0
    for fold, weight in enumerate(recipe.fold_weights):
        into = {0: weight} | ({1 + fold: 1.0} if own else {})
        left = windows
        while left:
            together, left = left[: accumulator.batch], left[accumulator.batch :]
            accumulator.add(together, fold, into)
            done += len(together)
            progress(done, engine.folds * len(windows))
    x, y, z = (_count_coverage(s, n, p) for s, n, p in zip(starts, array.shape[1:], recipe.patch, strict=True))
    return accumulator.blend((x, y, z))


def _list_starts(shape: tuple[int, ...], recipe: Recipe) -> list[tuple[int, ...]]:
    """Return where windows start along each axis. If a window is longer than the study, the study is in its middle.

    On a lattice, such a window starts at a whole block, so that centring the study does not move the blocks.
    """
    step = BLOCK if recipe.anchor == "lattice" else 1
    return [
        find_window_starts(n, patch=p, overlap=recipe.overlap) if n >= p else (-((p - n) // 2 // step * step),)
        for n, p in zip(shape, recipe.patch, strict=True)
    ]


def _count_coverage(starts: tuple[int, ...], length: int, patch: int) -> NDArray[np.float32]:
    """Count the windows over each voxel along one axis."""
    count = np.zeros(length, dtype=np.float32)
    for start in starts:
        count[max(0, start) : start + patch] += 1
    return count
