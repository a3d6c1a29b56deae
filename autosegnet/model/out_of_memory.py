"""Keeps an engine running when the GPU runs out of memory.

The steps: run one window at a time; free torch's cached memory and try again; continue on the CPU with the sums of
logits so far.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from autosegnet.model.accumulator import (
    Coverage,
    HostAccumulator,
    LogitAccumulator,
    VoxelData,
    Window,
    open_accumulator,
)
from autosegnet.model.engine import Engine
from autosegnet.model.lending import borrow_device, read_voxels

T = TypeVar("T")

log = logging.getLogger(__name__)


class FallbackEngine:
    """An engine, and a second one that replaces it if it runs out of GPU memory twice in a row.

    Only `torch.OutOfMemoryError` is caught; any other error ends the run.
    """

    def __init__(self, first: Callable[[], Engine], instead: Callable[[], Engine]) -> None:
        """Open the first engine; open the other if the folds do not fit."""
        self._instead: Callable[[], Engine] | None = instead
        self._engine: Engine
        try:
            self._engine = first()
            return
        except torch.OutOfMemoryError:
            pass  # for the reason below
        self._fall_back()

    @property
    def name(self) -> str:
        """Return the name of the engine in use."""
        return self._engine.name

    @property
    def folds(self) -> int:
        """Return the number of folds."""
        return self._engine.folds

    def compute_logits(self, window: NDArray[np.float32], fold: int) -> NDArray[np.float32]:
        """See `Engine.compute_logits`."""
        return self.survive(lambda: self._engine.compute_logits(window, fold))

    def open_accumulator(self, array: VoxelData, *, sums: int, channels: int) -> LogitAccumulator:
        """See `OnDevice.open_accumulator`."""

        def open_current() -> LogitAccumulator:
            reachable = read_voxels(array) if self.has_fallen_back else array
            return open_accumulator(self._engine, reachable, sums=sums, channels=channels)

        return _SurvivingAccumulator(self, array, self.survive(open_current))

    def lend_device(self, use: Callable[[Any], T], instead: Callable[[], T]) -> T:
        """See `LendsDevice.lend_device`."""
        return self.survive(lambda: borrow_device(self._engine, use, instead))

    @property
    def has_fallen_back(self) -> bool:
        """Return whether the other engine is in use."""
        return self._instead is None

    def survive(self, work: Callable[[], T]) -> T:
        """Do the work, try it again after each step, and return its result."""
        for step in (self._free_memory, self._fall_back):
            if self.has_fallen_back:
                break
            try:
                return work()
            except torch.OutOfMemoryError:
                pass  # the next step is taken outside, because here the error still keeps its frames and their tensors
            step()
        return work()

    def _free_memory(self) -> None:
        log.warning("the GPU ran out of memory: freeing cached memory and trying again")
        gc.collect()
        torch.cuda.empty_cache()

    def _fall_back(self) -> None:
        assert self._instead is not None
        log.warning("the GPU ran out of memory: continuing on the CPU, which is slower")
        instead, self._instead = self._instead, None
        self._engine = instead()
        gc.collect()
        torch.cuda.empty_cache()


class _SurvivingAccumulator:
    """An accumulator that moves to the computer's memory if its engine falls back."""

    def __init__(self, engine: FallbackEngine, array: VoxelData, accumulator: LogitAccumulator) -> None:
        self._engine, self._array, self._canvas = engine, array, accumulator
        self._on_host = engine.has_fallen_back
        self._singly = False

    @property
    def batch(self) -> int:
        """Return 1 if several windows at once were too many before, else see `LogitAccumulator.batch`."""
        return 1 if self._singly else self._open_current().batch

    def add(self, windows: Sequence[Window], fold: int, into: Mapping[int, float]) -> None:
        """See `LogitAccumulator.add`."""
        if len(windows) > 1 and self._add_together(windows, fold, into):
            return
        for window in windows:
            self._engine.survive(partial(self._add_one, window, fold, into))

    def _add_one(self, window: Window, fold: int, into: Mapping[int, float]) -> None:
        self._open_current().add([window], fold, into)

    def _add_together(self, windows: Sequence[Window], fold: int, into: Mapping[int, float]) -> bool:
        """Run the windows at once, and return whether that worked."""
        try:
            self._open_current().add(windows, fold, into)
            return True
        except torch.OutOfMemoryError:
            log.warning("the GPU ran out of memory: running one window at a time")
            self._singly = True
            return False

    def read_sums(self) -> list[NDArray[np.float32]]:
        """See `LogitAccumulator.read_sums`."""
        return self._open_current().read_sums()

    def blend(self, coverages: Sequence[Coverage]) -> list[VoxelData]:
        """See `LogitAccumulator.blend`."""
        return self._open_current().blend(coverages)

    def _open_current(self) -> LogitAccumulator:
        if self._engine.has_fallen_back and not self._on_host:
            self._canvas = HostAccumulator(self._engine, read_voxels(self._array), self._canvas.read_sums())
            self._on_host = True
        return self._canvas
