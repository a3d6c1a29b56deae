"""Sliding window over an engine: network input -> probability of lesion, on the same grid."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
from numpy.typing import NDArray

from autosegnet.engines import Engine
from autosegnet.recipe import Recipe

Progress = Callable[[int, int], None]
"""Called with (passes done, passes in all); a pass is one window through one fold."""

Slices = tuple[slice, slice, slice]


def window_starts(length: int, *, patch: int, overlap: float) -> tuple[int, ...]:
    """Where windows start along one axis of at least `patch` voxels.

    Source: MONAI `sliding_window_inference`: steps of `patch * (1 - overlap)`, the last window moved back inside.
    """
    assert length >= patch
    step = max(1, int(patch * (1.0 - overlap)))
    count = -(-(length - patch) // step) + 1
    return tuple(min(k * step, length - patch) for k in range(count))


def probability(
    array: NDArray[np.float32], engine: Engine, recipe: Recipe, *, progress: Progress = lambda done, of: None
) -> NDArray[np.float32]:
    """The probability of lesion of every voxel.

    Overlapping windows are averaged with equal weights, folds with the recipe's; both on logits. Since both are
    linear, they share one accumulator: the ensemble is itself a network.

    Args:
        array: (2, X, Y, Z) float32, as in `preprocess.Prepared`.
        engine: the folds.
        recipe: of the same folds.
        progress: told after every pass.

    Returns:
        (X, Y, Z) float32 in [0, 1].

    Source: paper, section 2.5; MONAI `SlidingWindowInferer` with `mode="constant"`. Fields of view smaller than the
        window are padded with air on both sides, which is 0 in both channels.
    """
    padded, inner = _pad(array, recipe.patch)
    summed = np.zeros(padded.shape[1:], dtype=np.float32)

    def add(at: Slices, fold: int, logits: NDArray[np.float32]) -> None:
        summed[at] += np.float32(recipe.fold_weights[fold]) * logits

    _walk(padded, engine, recipe, add=add, progress=progress)
    return _blended(summed, recipe)[inner]


def probability_and_disagreement(
    array: NDArray[np.float32], engine: Engine, recipe: Recipe, *, progress: Progress = lambda done, of: None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """As `probability`, to the last bit, and the standard deviation between the folds' probabilities.

    Each fold's windows are blended on its own logits; the deviation is the population's, all folds counting alike. It
    takes one accumulator a fold more than `probability`: 4 bytes x voxels x folds.

    Returns:
        (X, Y, Z) float32 in [0, 1], and (X, Y, Z) float32 in [0, 0.5].
    """
    padded, inner = _pad(array, recipe.patch)
    summed = np.zeros(padded.shape[1:], dtype=np.float32)
    own = [np.zeros_like(summed) for _ in range(engine.folds)]

    def add(at: Slices, fold: int, logits: NDArray[np.float32]) -> None:
        summed[at] += np.float32(recipe.fold_weights[fold]) * logits
        own[fold][at] += logits

    _walk(padded, engine, recipe, add=add, progress=progress)
    folds = [_blended(logits, recipe)[inner] for logits in own]
    deviation = np.empty_like(folds[0])
    for x in range(len(deviation)):  # in slabs, so that no second copy of all folds is made
        deviation[x] = np.std([fold[x] for fold in folds], axis=0)
    return _blended(summed, recipe)[inner], deviation


def _walk(
    padded: NDArray[np.float32],
    engine: Engine,
    recipe: Recipe,
    *,
    add: Callable[[Slices, int, NDArray[np.float32]], None],
    progress: Progress,
) -> None:
    """Hands `add` the logits of every window and fold."""
    starts = _starts(padded.shape[1:], recipe)
    passes = engine.folds * len(starts[0]) * len(starts[1]) * len(starts[2])
    done = 0
    for start in product(*starts):
        x, y, z = (slice(s, s + p) for s, p in zip(start, recipe.patch, strict=True))
        window = np.ascontiguousarray(padded[:, x, y, z])
        for fold in range(engine.folds):
            add((x, y, z), fold, engine.logit_difference(window, fold))
            done += 1
            progress(done, passes)


def _starts(shape: tuple[int, ...], recipe: Recipe) -> list[tuple[int, ...]]:
    return [window_starts(n, patch=p, overlap=recipe.overlap) for n, p in zip(shape, recipe.patch, strict=True)]


def _blended(summed: NDArray[np.float32], recipe: Recipe) -> NDArray[np.float32]:
    """The probability, from logits summed over windows; in place."""
    for axis, (n, starts) in enumerate(zip(summed.shape, _starts(summed.shape, recipe), strict=True)):
        summed /= _coverage(starts, n, recipe.patch[axis]).reshape([-1 if a == axis else 1 for a in range(3)])
    return _sigmoid(summed)


def _pad(array: NDArray[np.float32], patch: tuple[int, int, int]) -> tuple[NDArray[np.float32], Slices]:
    before = [max(0, p - n) // 2 for n, p in zip(array.shape[1:], patch, strict=True)]
    after = [max(0, p - n) - b for n, p, b in zip(array.shape[1:], patch, before, strict=True)]
    x, y, z = (slice(b, b + n) for b, n in zip(before, array.shape[1:], strict=True))
    if any(before) or any(after):
        array = np.pad(array, [(0, 0), *zip(before, after, strict=True)])
    return array, (x, y, z)


def _coverage(starts: tuple[int, ...], length: int, patch: int) -> NDArray[np.float32]:
    """How many windows cover each voxel along one axis; over three axes the counts multiply."""
    count = np.zeros(length, dtype=np.float32)
    for start in starts:
        count[start : start + patch] += 1
    return count


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 / (1 + exp(-x)), in place; as tanh, float32 carries it without overflow."""
    logits *= np.float32(0.5)
    np.tanh(logits, out=logits)
    logits += 1
    logits *= np.float32(0.5)
    return logits
