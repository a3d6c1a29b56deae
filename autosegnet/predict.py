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
    shape = padded.shape[1:]
    starts = [window_starts(n, patch=p, overlap=recipe.overlap) for n, p in zip(shape, recipe.patch, strict=True)]
    summed = np.zeros(shape, dtype=np.float32)
    passes = engine.folds * len(starts[0]) * len(starts[1]) * len(starts[2])
    done = 0
    for start in product(*starts):
        at = tuple(slice(s, s + p) for s, p in zip(start, recipe.patch, strict=True))
        window = np.ascontiguousarray(padded[(slice(None), *at)])
        for fold, weight in enumerate(recipe.fold_weights):
            summed[at] += np.float32(weight) * engine.logit_difference(window, fold)
            done += 1
            progress(done, passes)
    for axis, n in enumerate(shape):
        summed /= _coverage(starts[axis], n, recipe.patch[axis]).reshape([-1 if a == axis else 1 for a in range(3)])
    return _sigmoid(summed[inner])


def _pad(
    array: NDArray[np.float32], patch: tuple[int, int, int]
) -> tuple[NDArray[np.float32], tuple[slice, slice, slice]]:
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
    """1 / (1 + exp(-x)), in place of a copy of the logits; float32 carries it without overflow as tanh."""
    half = logits * np.float32(0.5)
    np.tanh(half, out=half)
    half += 1
    half *= np.float32(0.5)
    return half
