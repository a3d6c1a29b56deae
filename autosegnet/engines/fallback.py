"""An engine that goes on, step by step and with the same result, when the GPU runs out of memory.

One window and one fold are on the GPU at a time and everything that grows with the study is in the computer's own
memory, so that the steps are few: give back what torch keeps for later and try again; then go on on the CPU.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from autosegnet.engines import Engine

log = logging.getLogger(__name__)


class FallbackEngine:
    """A first engine, and another that takes its place for good once the first runs out of GPU memory twice in a row.

    Nothing but `torch.OutOfMemoryError` is caught: any other error ends the run as it would without this.
    """

    def __init__(self, first: Callable[[], Engine], instead: Callable[[], Engine]) -> None:
        """Opens the first engine, or where its folds do not fit, the other."""
        self._instead: Callable[[], Engine] | None = instead
        self._engine: Engine
        try:
            self._engine = first()
            return
        except torch.OutOfMemoryError:
            pass  # as below
        self._fall_back()

    @property
    def name(self) -> str:
        """Of the engine in use."""
        return self._engine.name

    @property
    def folds(self) -> int:
        """Number of folds."""
        return self._engine.folds

    def logit_difference(self, window: NDArray[np.float32], fold: int) -> NDArray[np.float32]:
        """As `Engine.logit_difference`."""
        for step in (self._free_memory, self._fall_back):
            if self._instead is None:
                break
            try:
                return self._engine.logit_difference(window, fold)
            except torch.OutOfMemoryError:
                pass  # the step follows outside, where the error no longer holds on to its frames and their tensors
            step()
        return self._engine.logit_difference(window, fold)

    def _free_memory(self) -> None:
        log.warning("the GPU ran out of memory: freeing what is kept there, trying again")
        gc.collect()
        torch.cuda.empty_cache()

    def _fall_back(self) -> None:
        assert self._instead is not None
        log.warning("the GPU ran out of memory: going on on the CPU, which is slower and gives the same mask")
        instead, self._instead = self._instead, None
        self._engine = instead()
        gc.collect()
        torch.cuda.empty_cache()
