"""The loss against its formula, written out in numpy."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from autosegnet_training.configuration import TrainingConfiguration
from autosegnet_training.loss import build_loss


def written_out(logits: np.ndarray, truth: np.ndarray, *, gamma: float, v: tuple[float, float]) -> float:
    """Return the loss as `autosegnet_training.loss` states it: x, truth (B, X, Y, Z) -> number."""
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


@pytest.mark.parametrize("lesions", [[17, 40], [3, 0], [0], [120]])
def test_loss_and_gradient_are_monais(lesions: list[int]) -> None:
    from monai.losses import GeneralizedDiceFocalLoss

    logits, truth = (torch.from_numpy(a) for a in batch(lesions))
    theirs = GeneralizedDiceFocalLoss(to_onehot_y=True, softmax=True, gamma=2.0, weight=(1.0, 100.0))
    values, slopes = [], []
    for loss in (theirs, build_loss(TrainingConfiguration())):
        x = logits.clone().requires_grad_()
        value = loss(x, truth[:, None])
        value.backward()
        values.append(float(value.detach()))
        slopes.append(x.grad)
    assert values[1] == pytest.approx(values[0], rel=1e-6)
    torch.testing.assert_close(slopes[1], slopes[0], rtol=1e-5, atol=1e-8)


def test_weights_of_one_change_nothing() -> None:
    logits, truth = (torch.from_numpy(a) for a in batch([17, 0]))
    loss = build_loss(replace(TrainingConfiguration(), false_volume=0.5), voxel_ml=0.064)
    label = truth[:, None]
    assert float(loss(logits, label, torch.ones(label.shape))) == pytest.approx(float(loss(logits, label)), rel=1e-6)


def test_a_voxel_of_weight_0_does_not_count() -> None:
    logits, truth = (torch.from_numpy(a) for a in batch([17]))
    loss = build_loss(replace(TrainingConfiguration(), false_volume=0.5), voxel_ml=0.064)
    weight = torch.ones((1, 1, 5, 4, 6))
    weight[0, 0, 2] = 0
    other, turned = logits.clone(), truth.clone()
    other[:, :, 2], turned[:, 2] = -other[:, :, 2], 1 - turned[:, 2]
    assert float(loss(other, turned[:, None], weight)) == pytest.approx(float(loss(logits, truth[:, None], weight)))


def test_false_volume_costs_a_half_at_ten_ml() -> None:
    sure = torch.zeros((1, 2, 10, 10, 10))
    sure[:, 0], sure[:, 1] = 50.0, -50.0
    sure[:, :, 0] *= -1  # 100 voxels of 0.1 ml marked, none of them a lesion
    label = torch.zeros((1, 1, 10, 10, 10), dtype=torch.uint8)
    plain = TrainingConfiguration()
    difference = build_loss(replace(plain, false_volume=1.0), voxel_ml=0.1)(sure, label) - build_loss(plain)(
        sure, label
    )
    assert float(difference) == pytest.approx(0.5, rel=1e-5)
