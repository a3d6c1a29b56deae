"""Holds a study while windows pass over it: its input, and the sums of the logits of windows and folds.

On the CPU both are numpy arrays. An engine with memory of its own keeps them there. Probabilities stay there too if the
input came as a tensor.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from autosegnet.errors import WeightsError
from autosegnet.model.engine import Engine

Coverage = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
"""The number of windows over each voxel along x, y and z; over three axes the counts multiply."""

OUTSIDE = {1: (-math.inf,), 2: (math.inf, -math.inf)}
"""Number of channels -> their logits where no window lies: no lesion."""

VoxelData: TypeAlias = Any
"""An array of numpy or a tensor on a device."""

VoxelArray = TypeVar("VoxelArray", bound=Any)
"""The same, where one is made of the other."""

Slices = tuple[slice, slice, slice]


@dataclass(frozen=True, slots=True)
class Window:
    """A box of voxels that goes through the network at once. Beyond the study there is air.

    Args:
        start: its first voxel, in voxels of the study; negative if it begins before the study.
        size: voxels along (x, y, z).
    """

    start: tuple[int, int, int]
    size: tuple[int, int, int]

    def clip(self, shape: tuple[int, ...]) -> tuple[Slices, Slices]:
        """Return the part inside a study of this shape as slices: of the study, and of the window."""
        of_study, of_window = [], []
        for start, size, n in zip(self.start, self.size, shape, strict=True):
            first, stop = max(0, start), min(n, start + size)
            of_study.append(slice(first, stop))
            of_window.append(slice(first - start, stop - start))
        return (of_study[0], of_study[1], of_study[2]), (of_window[0], of_window[1], of_window[2])


class LogitAccumulator(Protocol):
    """The input of one study and its sums of logits."""

    @property
    def batch(self) -> int:
        """Return how many windows it takes at once. This may change as it works."""
        ...

    def add(self, windows: Sequence[Window], fold: int, into: Mapping[int, float]) -> None:
        """Run windows through a fold, and add their logit differences, each times a weight, to sums.

        It returns when the network is done. If it raises because memory ran out, no sum has changed.

        Args:
            windows: of one size, at most `batch` of them.
            fold: from 0.
            into: number of a sum -> weight.
        """
        ...

    def read_sums(self) -> list[NDArray[np.float32]]:
        """Return the sums, (X, Y, Z) or (2, X, Y, Z) float32 each. The accumulator is not used afterwards."""
        ...

    def blend(self, coverages: Sequence[Coverage]) -> list[VoxelData]:
        """Return the probability that each sum is of, (X, Y, Z) float32 each. The accumulator is not used afterwards.

        They are 0 where no window lies. They are arrays of numpy if the input is one, or if the device ran out of
        memory.

        Args:
            coverages: of the windows that were added, in one or several parts.

        Raises:
            WeightsError: a logit is NaN or infinite, which the mask would not show.
        """
        ...


@runtime_checkable
class OnDevice(Protocol):
    """An engine that keeps a study in its own memory."""

    def open_accumulator(self, array: VoxelData, *, sums: int, channels: int) -> LogitAccumulator:
        """Return an accumulator with the input (C, X, Y, Z) of a study, and that many sums of channels, all 0."""
        ...


class HostAccumulator:
    """An accumulator in numpy, for an engine that takes windows from the computer's memory."""

    def __init__(self, engine: Engine, array: NDArray[np.float32], sums: list[NDArray[np.float32]]) -> None:
        self._engine, self._array, self._sums = engine, array, sums
        self._buffer: NDArray[np.float32] | None = None

    @property
    def batch(self) -> int:
        """Return 1: one window fills the cores and the caches."""
        return 1

    def add(self, windows: Sequence[Window], fold: int, into: Mapping[int, float]) -> None:
        """See `LogitAccumulator.add`."""
        (window,) = windows
        of_study, of_window = window.clip(self._array.shape[1:])
        logits = self._engine.compute_logits(self._fill_window(window, of_study, of_window), fold)[..., *of_window]
        for k, weight in into.items():
            sums = self._sums[k][..., *of_study]
            for index in np.ndindex(logits.shape[:-2]):  # the product of a plane stays in the cache
                sums[index] += np.float32(weight) * logits[index]

    def _fill_window(self, window: Window, of_study: Slices, of_window: Slices) -> NDArray[np.float32]:
        """Return the window's voxels, in memory that the next window reuses."""
        if self._buffer is None or self._buffer.shape[1:] != window.size:
            self._buffer = np.empty((len(self._array), *window.size), dtype=np.float32)
        part = self._buffer[(slice(None), *of_window)]
        if part.shape != self._buffer.shape:
            self._buffer.fill(0)
        part[:] = self._array[(slice(None), *of_study)]
        return self._buffer

    def read_sums(self) -> list[NDArray[np.float32]]:
        """See `LogitAccumulator.read_sums`."""
        return self._sums

    def blend(self, coverages: Sequence[Coverage]) -> list[NDArray[np.float32]]:
        """As `LogitAccumulator.blend`."""
        return [_blend(summed, coverages) for summed in self._sums]


def _blend(summed: NDArray[np.float32], coverages: Sequence[Coverage]) -> NDArray[np.float32]:
    """Turn logits summed over windows into the probability, in place if there is one channel."""
    refuse_unless_finite(bool(np.isfinite(summed).all()))
    channels = summed if summed.ndim > 3 else summed[None]
    if is_covered_once(coverages):
        for axis, count in enumerate(coverages[0]):
            channels /= count.reshape([-1 if a == axis else 1 for a in range(3)])
    else:
        for x in range(channels.shape[1]):  # plane by plane, so that no volume of counts is made
            counts = sum(along_x[x] * np.outer(along_y, along_z) for along_x, along_y, along_z in coverages)
            for channel, outside in zip(channels, OUTSIDE[len(channels)], strict=True):
                np.divide(channel[x], counts, out=channel[x], where=counts > 0)
                channel[x][counts == 0] = outside
    sigmoid = _apply_sigmoid(summed)
    return compare_sigmoids(sigmoid) if sigmoid.ndim > 3 else sigmoid


def is_covered_once(coverages: Sequence[Coverage]) -> bool:
    """Return whether one tiling covers every voxel; its counts can then be divided by, one axis after the other."""
    return len(coverages) == 1 and all((count > 0).all() for count in coverages[0])


def compare_sigmoids(sigmoids: VoxelArray) -> VoxelArray:
    """Return half of one plus the lesion's sigmoid minus the background's: above one half if the lesion's is larger.

    Interpolated, this is above one half exactly where the interpolated sigmoid of the lesion is the larger one.

    Args:
        sigmoids: (2, X, Y, Z), background first, of numpy or torch.

    Source: `Activations(sigmoid=True)`, `Invertd`, `AsDiscrete(argmax=True)` of the authors' published inference.
    """
    chance: VoxelArray = (sigmoids[1] - sigmoids[0]) * 0.5 + 0.5
    return chance


def refuse_unless_finite(is_finite: bool) -> None:
    """Raise WeightsError if sums of logits are not finite."""
    if not is_finite:
        raise WeightsError("the folds gave logits that are NaN or infinite; expected finite ones for every study")


def _apply_sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Apply 1 / (1 + exp(-x)) in place, as a tanh, which does not overflow in float32."""
    logits *= np.float32(0.5)
    np.tanh(logits, out=logits)
    logits += 1
    logits *= np.float32(0.5)
    return logits


def open_accumulator(engine: Engine, array: VoxelData, *, sums: int, channels: int = 1) -> LogitAccumulator:
    """Open the accumulator on which an engine runs a study.

    Args:
        engine: the folds.
        array: (C, X, Y, Z) float32; an array of numpy, or a tensor on the engine's device.
        sums: number of sums, all 0 at first.
        channels: of logits, as `Recipe.channels`.
    """
    if isinstance(engine, OnDevice):
        return engine.open_accumulator(array, sums=sums, channels=channels)
    shape = (*((channels,) if channels > 1 else ()), *array.shape[1:])
    return HostAccumulator(engine, array, [np.zeros(shape, dtype=np.float32) for _ in range(sums)])
