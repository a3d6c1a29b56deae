"""The loss against its formula, written out in numpy."""

import numpy as np
import pytest
import torch

from autosegnet_training.configuration import TrainingConfiguration
from autosegnet_training.loss import build_loss


def written_out(logits: np.ndarray, truth: np.ndarray, *, gamma: float, v: tuple[float, float]) -> float:
    """The loss as `autosegnet_training.loss` states it: x, truth (B, X, Y, Z) -> number."""
    x = logits.astype(np.float64)
    p = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    g = np.stack([truth == 0, truth == 1], axis=1).astype(np.float64)
    dice = []
    for i in range(len(x)):
        size = g[i].sum(axis=(1, 2, 3))
        w = np.array([1 / n**2 if n else np.nan for n in size])
        w[np.isnan(w)] = np.nanmax(w)
        overlap = sum(w[c] * (p[i, c] * g[i, c]).sum() for c in range(2))
        total = sum(w[c] * (p[i, c] + g[i, c]).sum() for c in range(2))
        dice.append((2 * overlap + 1e-5) / (total + 1e-5))
    sigma = 1 / (1 + np.exp(-x))
    q = np.where(g == 1, sigma, 1 - sigma)
    focal = np.array(v)[None, :, None, None, None] * (1 - q) ** gamma * -np.log(q)
    return float(1 - np.mean(dice) + focal.mean())


def batch(lesions: list[int]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    logits = rng.normal(0, 2, (len(lesions), 2, 5, 4, 6)).astype(np.float32)
    truth = np.zeros((len(lesions), 5, 4, 6), dtype=np.uint8)
    for i, n in enumerate(lesions):
        truth[i].flat[:n] = 1
    return logits, truth


@pytest.mark.parametrize("lesions", [[17, 40], [3, 0], [0], [120]])
@pytest.mark.parametrize(("gamma", "v"), [(2.0, (1.0, 100.0)), (1.5, (2.0, 3.0))])
def test_the_loss_is_its_formula(lesions: list[int], gamma: float, v: tuple[float, float]) -> None:
    logits, truth = batch(lesions)
    loss = build_loss(TrainingConfiguration(focal_gamma=gamma, focal_weights=v))
    found = float(loss(torch.from_numpy(logits), torch.from_numpy(truth)[:, None]))
    assert found == pytest.approx(written_out(logits, truth, gamma=gamma, v=v), rel=1e-5)


def test_the_loss_of_a_batch_is_the_mean_of_its_micro_batches() -> None:
    logits, truth = (torch.from_numpy(a) for a in batch([17, 0, 3, 40]))
    loss = build_loss(TrainingConfiguration())
    whole = float(loss(logits, truth[:, None]))
    parts = [float(loss(logits[k : k + 2], truth[k : k + 2, None])) for k in (0, 2)]
    assert whole == pytest.approx(sum(parts) / 2, rel=1e-6)
