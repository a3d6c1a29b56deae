"""Where a study lies while windows pass over it: its input, and the sums of logits that windows and folds add up to.

On the CPU both are numpy arrays. An engine with memory of its own keeps them there, and only the sums come back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from autosegnet.engines import Engine

Slices = tuple[slice, slice, slice]


class Canvas(Protocol):
    """The input of one study and its sums of logits."""

    @property
    def batch(self) -> int:
        """How many windows it takes at once, which may change as it works."""
        ...

    def add(self, at: Sequence[Slices], fold: int, into: Mapping[int, float]) -> None:
        """Runs windows through a fold and adds their logit differences to sums, times a weight each.

        It returns when the device is done. Where it raises for want of memory, no sum has changed.

        Args:
            at: each window's voxels; at most `batch` windows of one size.
            fold: from 0.
            into: number of a sum -> weight.
        """
        ...

    def sums(self) -> list[NDArray[np.float32]]:
        """The sums, (X, Y, Z) float32 each; the canvas is not used after it."""
        ...


@runtime_checkable
class OnDevice(Protocol):
    """An engine that keeps a study in memory of its own."""

    def canvas(self, array: NDArray[np.float32], *, sums: int) -> Canvas:
        """A canvas with the input (2, X, Y, Z) of a study, and that many sums, all 0."""
        ...


class HostCanvas:
    """A canvas in numpy, for an engine that takes windows from there."""

    def __init__(self, engine: Engine, array: NDArray[np.float32], sums: list[NDArray[np.float32]]) -> None:
        self._engine, self._array, self._sums = engine, array, sums

    @property
    def batch(self) -> int:
        """One: a window fills the cores and the caches."""
        return 1

    def add(self, at: Sequence[Slices], fold: int, into: Mapping[int, float]) -> None:
        """As `Canvas.add`."""
        (window,) = at
        logits = self._engine.logit_difference(np.ascontiguousarray(self._array[(slice(None), *window)]), fold)
        for k, weight in into.items():
            self._sums[k][window] += logits if weight == 1.0 else np.float32(weight) * logits

    def sums(self) -> list[NDArray[np.float32]]:
        """As `Canvas.sums`."""
        return self._sums


def canvas_of(engine: Engine, array: NDArray[np.float32], *, sums: int) -> Canvas:
    """The canvas on which an engine runs a study.

    Args:
        engine: the folds.
        array: (2, X, Y, Z) float32.
        sums: how many.
    """
    if isinstance(engine, OnDevice):
        return engine.canvas(array, sums=sums)
    return HostCanvas(engine, array, [np.zeros(array.shape[1:], dtype=np.float32) for _ in range(sums)])
