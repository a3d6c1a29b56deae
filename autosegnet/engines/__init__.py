"""What runs one window through the folds.

An engine holds the folds on a device and nothing of a study. Its one operation gives the logit difference
(lesion minus background), because the softmax of two logits is the sigmoid of their difference.
"""

from __future__ import annotations

import logging
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from autosegnet.errors import UsageError
from autosegnet.weights import Weights

log = logging.getLogger(__name__)


class Engine(Protocol):
    """The folds of an ensemble on a device."""

    @property
    def name(self) -> str:
        """What runs where, for the log: "torch 2.13.0, CPU, 2 threads"."""
        ...

    @property
    def folds(self) -> int:
        """Number of folds."""
        ...

    def logit_difference(self, window: NDArray[np.float32], fold: int) -> NDArray[np.float32]:
        """Lesion logit minus background logit of a window.

        Args:
            window: (2, X, Y, Z) float32, as in `preprocess.Prepared`.
            fold: from 0.

        Returns:
            (X, Y, Z) float32.
        """
        ...


def open_engine(weights: Weights, *, device: str = "auto") -> Engine:
    """The engine that a device name asks for, with all folds verified and loaded.

    Args:
        weights: an ensemble.
        device: "cpu", "cuda", or "auto": CUDA where there is one, else the CPU.

    Raises:
        UsageError: "cuda" where no CUDA device can be used.
        WeightsError: a fold that is missing, altered or of another network.
    """
    import torch

    from autosegnet.engines.torch_engine import TorchEngine

    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"device is {device!r}; expected auto, cpu or cuda")
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise UsageError("--device cuda, but no CUDA device can be used here; --device auto runs on the CPU")
    if device == "auto" and not available:
        log.warning("no CUDA device can be used: running on the CPU")
    return TorchEngine(weights, device="cuda" if available and device != "cpu" else "cpu")
