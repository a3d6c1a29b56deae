"""The folds of an ensemble on a device.

An engine holds the folds, and nothing of a study. Its one operation returns the logit difference (lesion minus
background), because the softmax of two logits is the sigmoid of their difference. If the recipe's last step takes two
sigmoids, it gives both logits.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Engine(Protocol):
    """The folds of an ensemble on a device."""

    @property
    def name(self) -> str:
        """Return software, device and threads for the log: "torch 2.13.0, CPU, 2 threads"."""
        ...

    @property
    def folds(self) -> int:
        """Return the number of folds."""
        ...

    def compute_logits(self, window: NDArray[np.float32], fold: int) -> NDArray[np.float32]:
        """Return the lesion logit minus the background logit of a window, or both.

        Args:
            window: (C, X, Y, Z) float32, as in `preprocess.Prepared`; C is `Recipe.input_channels`.
            fold: from 0.

        Returns:
            (X, Y, Z) float32; (2, X, Y, Z), background first, if `Recipe.channels` is 2.
        """
        ...
