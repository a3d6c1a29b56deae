"""The folds in torch: the plain reference on the CPU, and CUDA."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from autosegnet.network import load_fold
from autosegnet.weights import Weights


class TorchEngine:
    """All folds resident on one torch device, in float32."""

    def __init__(self, weights: Weights, *, device: str) -> None:
        """Loads and verifies every fold; raises WeightsError where one cannot be trusted."""
        self._device = torch.device(device)
        self._networks = [load_fold(weights.path_of(f), f).to(self._device) for f in weights.recipe.folds]

    @property
    def name(self) -> str:
        """Version and device."""
        if self._device.type == "cuda":
            return f"torch {torch.__version__}, {torch.cuda.get_device_name(self._device)}"
        return f"torch {torch.__version__}, CPU, {torch.get_num_threads()} threads"

    @property
    def folds(self) -> int:
        """Number of folds."""
        return len(self._networks)

    @torch.inference_mode()
    def logit_difference(self, window: NDArray[np.float32], fold: int) -> NDArray[np.float32]:
        """As `Engine.logit_difference`."""
        batch = torch.from_numpy(np.ascontiguousarray(window))[None].to(self._device)  # (1, 2, X, Y, Z)
        logits = self._networks[fold](batch)[0]  # (2, X, Y, Z)
        difference: NDArray[np.float32] = (logits[1] - logits[0]).cpu().numpy()
        return difference
