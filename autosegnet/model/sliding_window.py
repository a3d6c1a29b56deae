"""Sliding window over an engine: network input -> probability of lesion, on the same grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from math import prod
from typing import Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from autosegnet.model.accumulator import Coverage, VoxelArray, VoxelData, Window, open_accumulator
from autosegnet.model.engine import Engine
from autosegnet.model.recipe import BLOCK, Recipe

PassProgress = Callable[[int, int], None]
"""Called with (passes done, all passes) after one or several passes; a pass is one window through one fold."""

Outline: TypeAlias = NDArray[np.int64]
"""(Z, 2, 2): of each plane along z, where the body begins and ends along x and y; a plane without body ends first."""

Starts = tuple[int, ...]

Tiling = tuple[Starts, Starts, Starts]
"""Where windows start along x, y and z; every combination is a window."""

CountVoxels = Callable[[Recipe], int]
"""Returns the voxels of one study that pass through each fold with a recipe; the time is proportional to them."""

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
        self, walk: Walk[T], engine: Engine, recipe: Recipe, *, count: CountVoxels, progress: PassProgress
    ) -> T:
        """Return what the walk computes; `count` tells how long it takes with a recipe."""
        ...


def run_walk(walk: Walk[T], engine: Engine, recipe: Recipe, *, count: CountVoxels, progress: PassProgress) -> T:
    """Run a walk with the whole ensemble."""
    return walk(engine, recipe, progress=progress)


_HALO = 48  # voxels that neighbouring slabs share
_SLAB_VOXELS = 2 * 192**3  # keeps the fast mode below 3 GB of memory


def find_window_starts(length: int, *, patch: int, overlap: float) -> Starts:
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
    if recipe.passes != "slabs":
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


def count_voxels(recipe: Recipe, shape: tuple[int, ...], outline: Outline | None = None) -> int:
    """Count the voxels that pass through each fold for a study of this shape; the time is proportional to them."""
    recipe = fit_window(recipe, shape)
    tilings = _list_tilings(shape, recipe, outline)
    return prod(recipe.patch) * sum(prod(len(starts) for starts in tiling) for tiling in tilings)


def predict_probability(
    array: VoxelArray,
    engine: Engine,
    recipe: Recipe,
    *,
    outline: Outline | None = None,
    progress: PassProgress = lambda done, of: None,
) -> VoxelArray:
    """Predict the probability of lesion in every voxel.

    Overlapping windows are averaged with equal weights, folds with the recipe's weights; both on logits. Both averages
    are linear, so one accumulator serves them. If the recipe's last step takes two sigmoids, what is returned is no
    probability, but is above one half where the lesion's is the larger one.

    Args:
        array: (C, X, Y, Z) float32, as in `preprocess.Prepared`; of numpy, or a tensor on the engine's device.
        engine: the folds.
        recipe: of the same folds.
        outline: of the body, for passes over layers; without one they are windows.
        progress: called as passes are done.

    Returns:
        (X, Y, Z) float32 in [0, 1], 0 where no window lies; of numpy or a tensor, as the input.

    Source: paper, section 2.5; MONAI `SlidingWindowInferer` with `mode="constant"`. Fields of view smaller than the
        window are padded with air on both sides, which is 0 in every channel.
    """
    recipe = fit_window(recipe, array.shape[1:])
    probability: VoxelArray
    (probability,) = _walk(array, engine, recipe, outline, own=False, progress=progress)
    return probability


def predict_probability_and_disagreement(
    array: VoxelArray,
    engine: Engine,
    recipe: Recipe,
    *,
    outline: Outline | None = None,
    progress: PassProgress = lambda done, of: None,
) -> tuple[VoxelArray, VoxelArray]:
    """Predict exactly the same probability, and the standard deviation between the folds' probabilities.

    Each fold's windows are blended on its own logits. The deviation is that of a population, and all folds count
    equally. This takes one more accumulator per fold than `predict_probability`: 4 bytes x voxels x folds.

    Returns:
        (X, Y, Z) float32 in [0, 1], and (X, Y, Z) float32 in [0, 0.5].
    """
    recipe = fit_window(recipe, array.shape[1:])
    probability, *folds = _walk(array, engine, recipe, outline, own=True, progress=progress)
    return probability, _find_deviation(folds)


def _find_deviation(folds: list[VoxelData]) -> VoxelData:
    """Return the standard deviation between arrays of numpy or tensors, in the memory of the first."""
    count = len(folds)
    for x in range(len(folds[0])):  # in slabs, so that no second copy of all folds is made
        mean = sum(fold[x] for fold in folds) / count
        folds[0][x] = (sum((fold[x] - mean) ** 2 for fold in folds) / count) ** 0.5
    return folds[0]


def _walk(
    array: VoxelData, engine: Engine, recipe: Recipe, outline: Outline | None, *, own: bool, progress: PassProgress
) -> list[VoxelData]:
    """Return the probability by all folds, and by each alone if wanted.

    Folds are the outer loop, because an engine may set up one at a time.
    """
    shape = array.shape[1:]
    tilings = _list_tilings(shape, recipe, outline)
    windows = [Window((x, y, z), recipe.patch) for tiling in tilings for x, y, z in product(*tiling)]
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
    return accumulator.blend([_count_coverage(tiling, shape, recipe.patch) for tiling in tilings])


def _list_tilings(shape: tuple[int, ...], recipe: Recipe, outline: Outline | None) -> list[Tiling]:
    """Return the windows of a study: one tiling, or one per layer if each is cropped to the body in it."""
    x, y, z = (_find_starts(0, n, axis, recipe) for axis, n in enumerate(shape))
    if recipe.passes != "layers" or outline is None:
        return [(x, y, z)]
    tilings: list[Tiling] = []
    for start in z:
        layer = outline[max(0, start) : start + recipe.patch[2]]
        across = [
            _find_starts_around(int(low), int(high), n, axis, recipe)
            for axis, (low, high, n) in enumerate(zip(layer[..., 0].min(0), layer[..., 1].max(0), shape, strict=False))
        ]
        tilings.append((across[0], across[1], (start,)))
    return tilings


def _find_starts(low: int, high: int, axis: int, recipe: Recipe) -> Starts:
    """Return where windows start that cover some voxels. A window that is longer has them in its middle.

    On a lattice, such a window starts at a whole block, so that centring the study does not move the blocks.
    """
    patch, step = recipe.patch[axis], BLOCK if recipe.anchor == "lattice" else 1
    if high - low < patch:
        return (low - (patch - (high - low)) // 2 // step * step,)
    return tuple(low + start for start in find_window_starts(high - low, patch=patch, overlap=recipe.overlap))


def _find_starts_around(low: int, high: int, length: int, axis: int, recipe: Recipe) -> Starts:
    """Return where windows start that cover part of an axis; they lie inside the study, if they are not longer."""
    if high <= low:
        return ()
    low, high = low // BLOCK * BLOCK, min(length, _round_to_blocks(high))
    last = length - recipe.patch[axis]
    if last <= 0:
        return _find_starts(0, length, axis, recipe)
    return tuple(min(max(start, 0), last) for start in _find_starts(low, high, axis, recipe))


def _count_coverage(tiling: Tiling, shape: tuple[int, ...], patch: tuple[int, int, int]) -> Coverage:
    x, y, z = (_count_along(starts, n, p) for starts, n, p in zip(tiling, shape, patch, strict=True))
    return x, y, z


def _count_along(starts: Starts, length: int, patch: int) -> NDArray[np.float32]:
    """Count the windows over each voxel along one axis."""
    count = np.zeros(length, dtype=np.float32)
    for start in starts:
        count[max(0, start) : start + patch] += 1
    return count
