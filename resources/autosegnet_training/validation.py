"""Validates the network during training: DSC, FPV and FNV of the validation cases by inference's sliding window.

A network that takes clicks is validated without any, so model selection knows the round before the first click only.
This uses prepared arrays on the working grid. `cross_validate` measures on the original grids.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from autosegnet.evaluation import CaseMetrics, measure_masks
from autosegnet.model.recipe import IMAGE_CHANNELS, Fold, Recipe
from autosegnet.model.sliding_window import predict_probability
from autosegnet_training.arrays import PreparedCase


@dataclass(frozen=True, slots=True)
class NetworkEngine:
    """A network in memory as an `autosegnet.model.engine.Engine` of one fold.

    Args:
        network: in evaluation mode while it is used.
        device: where it is.
        dtype: of mixed precision; None for float32.
    """

    network: nn.Module
    device: torch.device
    dtype: torch.dtype | None = None

    @property
    def name(self) -> str:
        """Return the engine and its device, for the log."""
        return f"torch {torch.__version__}, {self.device}"

    @property
    def folds(self) -> int:
        """Return 1."""
        return 1

    @torch.inference_mode()
    def compute_logits(self, window: NDArray[np.float32], fold: int) -> NDArray[np.float32]:
        """See `autosegnet.model.engine.Engine.compute_logits`."""
        assert fold == 0, "one network is one fold"
        assert not self.network.training, "batch norm uses its running statistics"
        batch = torch.from_numpy(np.ascontiguousarray(window))[None].to(self.device)  # (1, C, X, Y, Z)
        with autocast(self.device, self.dtype):
            logits = self.network(batch)[0].float()  # (2, X, Y, Z)
        difference: NDArray[np.float32] = (logits[1] - logits[0]).cpu().numpy()
        return difference


def autocast(device: torch.device, dtype: torch.dtype | None) -> AbstractContextManager[object]:
    """Return a context of arithmetic in a smaller type; an empty one for float32."""
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype)


def make_one_fold(recipe: Recipe) -> Recipe:
    """Return the recipe of a network in memory."""
    return replace(recipe, folds=(Fold("in-memory", "0" * 64),))


@dataclass(frozen=True, slots=True)
class Validation:
    """The metrics of validation cases; an empty truth scores as in autoPET III, NaN."""

    cases: dict[str, CaseMetrics]

    @property
    def dsc(self) -> float:
        """Mean DSC over the cases with lesions (decisions.md, row 16); NaN if there are none."""
        values = [m.dsc for m in self.cases.values() if m.is_positive]
        return fmean(values) if values else math.nan

    @property
    def fpv_ml(self) -> float:
        """Mean FPV over all cases."""
        return fmean(m.fpv_ml for m in self.cases.values())

    @property
    def fnv_ml(self) -> float:
        """Mean FNV over the cases with lesions; NaN if there are none."""
        values = [m.fnv_ml for m in self.cases.values() if m.is_positive]
        return fmean(values) if values else math.nan

    @property
    def negative_fpv_ml(self) -> float:
        """Mean FPV over the cases without lesions, in which everything found is false; NaN if there are none."""
        values = [m.fpv_ml for m in self.cases.values() if not m.is_positive]
        return fmean(values) if values else math.nan


def predict_prepared(case: PreparedCase, engine: NetworkEngine, recipe: Recipe) -> NDArray[np.float32]:
    """Return the probability of lesion in a prepared case: (X, Y, Z). Nobody has clicked."""
    array = np.zeros((recipe.input_channels, *case.shape), dtype=np.float32)
    array[:IMAGE_CHANNELS] = case.array
    return predict_probability(array, engine, make_one_fold(recipe))


def segment_prepared(case: PreparedCase, engine: NetworkEngine, recipe: Recipe) -> NDArray[np.bool_]:
    """Return the mask of a prepared case: (X, Y, Z) bool."""
    return np.asarray(predict_prepared(case, engine, recipe) > 0.5)


def measure_prepared(
    cases: Sequence[PreparedCase], engine: NetworkEngine, recipe: Recipe
) -> tuple[dict[str, CaseMetrics], dict[str, NDArray[np.bool_]]]:
    """Return the metrics of the cases, and the masks of the first three with lesions, for pictures."""
    metrics: dict[str, CaseMetrics] = {}
    masks: dict[str, NDArray[np.bool_]] = {}
    for case in cases:
        found = segment_prepared(case, engine, recipe)
        metrics[case.name] = measure_masks(
            found, case.read_truth(), spacing_mm=recipe.spacing_mm, convention="autopet3"
        )
        if metrics[case.name].is_positive and len(masks) < 3:
            masks[case.name] = found
    return metrics, masks
