"""Lends an engine's device to work on voxels around the network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from autosegnet.model.engine import Engine

T = TypeVar("T")


@runtime_checkable
class LendsDevice(Protocol):
    """An engine whose device, in torch, can do other work on the study that it holds."""

    def lend_device(self, use: Callable[[Any], T], instead: Callable[[], T]) -> T:
        """Return the result of the work.

        Args:
            use: does the work on the `torch.device` that it is given.
            instead: does the same on the CPU, if the device's memory does not suffice.
        """
        ...


def borrow_device(engine: Engine, use: Callable[[Any], T], instead: Callable[[], T]) -> T:
    """Do work on an engine's device; do it on the CPU if the engine has none, or too little memory there.

    Args:
        engine: the folds.
        use: as for `LendsDevice.lend_device`.
        instead: as for `LendsDevice.lend_device`.
    """
    return engine.lend_device(use, instead) if isinstance(engine, LendsDevice) else instead()


def read_voxels(voxels: Any) -> NDArray[Any]:
    """Return voxels as an array of numpy, copied if they are a tensor on a device."""
    array: NDArray[Any] = voxels if isinstance(voxels, np.ndarray) else voxels.cpu().numpy()
    return array
