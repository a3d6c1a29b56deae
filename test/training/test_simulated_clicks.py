"""Networks that take clicks: how clicks are simulated in training, and that the network learns to use them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from training_phantoms import small_engine, train_arguments

from autosegnet.errors import UsageError, WeightsError
from autosegnet.model import network
from autosegnet.model.click_channels import draw_clicks
from autosegnet.model.network import build_network, count_inputs
from autosegnet.model.recipe import TUMOR_CLICK_CHANNEL, ClickChannels, Recipe
from autosegnet.model.unet import ResidualUNet
from autosegnet.model.weights import open_weights
from autosegnet_training import cross_validate, train
from autosegnet_training.__main__ import main
from autosegnet_training.augmentation import Draws
from autosegnet_training.configuration import TrainingConfiguration
from autosegnet_training.loss import build_loss
from autosegnet_training.simulated_clicks import (
    MOST_CLICKS,
    WITHOUT_CLICKS,
    add_click_channels,
    place_clicks,
    simulate_clicks,
)

RECIPE = Recipe(spacing_mm=(4.0, 4.0, 4.0), click_channels=ClickChannels(12.0))
SHAPE = (24, 20, 16)
BALLS = ((6, 6, 5), (16, 12, 10))


def ball(centre: tuple[int, int, int], radius: float = 3.2) -> NDArray[np.bool_]:
    x, y, z = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    inside: NDArray[np.bool_] = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2 < radius**2
    return inside


def patch() -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """SUV and truth: two hot balls, one of which is a lesion."""
    hot = ball(BALLS[0]) | ball(BALLS[1])
    suv = np.random.default_rng(0).normal(1, 0.1, SHAPE) + 6 * hot
    return suv.astype(np.float32), ball(BALLS[0])


def test_clicks_lie_where_they_say() -> None:
    suv, truth = patch()
    for seed in range(50):
        tumor, background = simulate_clicks(suv, truth, np.random.default_rng(seed))
        assert truth[tuple(tumor.T)].all()
        assert not truth[tuple(background.T)].any()
        assert (suv[tuple(background.T)] > 4).all()  # in the other hot ball


def test_patches_have_from_none_to_ten_clicks_of_each_kind() -> None:
    suv, truth = patch()
    drawn = [simulate_clicks(suv, truth, np.random.default_rng(seed)) for seed in range(400)]
    counts = np.array([[len(points) for points in both] for both in drawn])
    assert set(counts[:, 0]) == set(counts[:, 1]) == set(range(MOST_CLICKS + 1))
    assert abs((counts.sum(axis=1) == 0).mean() - WITHOUT_CLICKS - (1 - WITHOUT_CLICKS) / 11**2) < 0.06


def test_components_are_clicked_in_their_middle_first_and_then_anywhere() -> None:
    both = ball(BALLS[0]) | ball(BALLS[1])
    clicks = place_clicks(both, 6, np.random.default_rng(0))
    assert {tuple(voxel) for voxel in clicks[:2].tolist()} == set(BALLS)
    assert both[tuple(clicks.T)].all()
    assert len({tuple(voxel) for voxel in clicks.tolist()}) > 3
    assert place_clicks(both, 1, np.random.default_rng(1)).shape == (1, 3)


def test_hot_spots_levelled_by_the_suv_limit_are_clicked() -> None:
    suv, truth = patch()
    levelled = np.minimum(suv, 5.0)
    drawn = [simulate_clicks(levelled, truth, np.random.default_rng(seed))[1] for seed in range(10)]
    clicks = np.concatenate(drawn)
    assert len(clicks) > 10
    assert (levelled[tuple(clicks.T)] == 5).all()


def test_a_patch_of_lesion_alone_or_of_air_has_clicks_where_it_can() -> None:
    everywhere, nowhere = np.ones(SHAPE, bool), np.zeros(SHAPE, bool)
    air = np.zeros(SHAPE, np.float32)
    for seed in range(10):
        assert not len(simulate_clicks(air, everywhere, np.random.default_rng(seed))[1])
        assert not any(len(points) for points in simulate_clicks(air, nowhere, np.random.default_rng(seed)))


def batch_of(draws: list[Draws]) -> tuple[torch.Tensor, torch.Tensor]:
    suv, truth = patch()
    image = torch.from_numpy(np.stack([np.full(SHAPE, 0.5, np.float32), suv]))
    label = torch.from_numpy(truth[None].astype(np.uint8))
    return torch.stack([image] * len(draws)), torch.stack([label] * len(draws))


def test_training_shows_clicks_as_inference_does() -> None:
    draws = [Draws(seed=seed) for seed in range(8)]
    image, label = batch_of(draws)
    wide = add_click_channels(draws, image, label, RECIPE)
    assert wide.shape == (8, 4, *SHAPE)
    assert torch.equal(wide[:, :2], image)
    assert wide[:, 2:].any()
    suv, truth = patch()
    for k, drawn in enumerate(draws):
        clicks = simulate_clicks(suv, truth, np.random.default_rng([2, drawn.seed]))
        for channel, voxels in enumerate(clicks, start=TUMOR_CLICK_CHANNEL):
            expected = np.zeros(SHAPE, np.float32)
            draw_clicks(expected, voxels, ClickChannels(12.0), spacing_mm=(4.0, 4.0, 4.0))
            np.testing.assert_array_equal(wide[k, channel].numpy(), expected)


def test_clicks_follow_from_the_seed_of_each_patch() -> None:
    draws = [Draws(seed=seed) for seed in range(8)]
    image, label = batch_of(draws)
    wide = add_click_channels(draws, image, label, RECIPE)
    assert torch.equal(add_click_channels(draws[3:5], image[3:5], label[3:5], RECIPE), wide[3:5])
    assert not torch.equal(wide[3], wide[4])


def test_without_click_channels_patches_stay_as_they_are() -> None:
    draws = [Draws()]
    image, label = batch_of(draws)
    assert add_click_channels(draws, image, label, Recipe()) is image


def test_a_network_learns_what_only_the_click_tells() -> None:
    """Two balls look the same; the clicks say which is the lesion."""
    torch.manual_seed(0)
    unet = ResidualUNet(4, 2, (8, 16))
    loss = build_loss(TrainingConfiguration())
    optimiser = torch.optim.Adam(unet.parameters(), lr=0.01)
    hot = torch.from_numpy(ball(BALLS[0]) | ball(BALLS[1])).float() * 6
    image = torch.stack([torch.full_like(hot, 0.5), hot])
    labels = [torch.from_numpy(ball(centre)[None].astype(np.uint8)) for centre in BALLS]
    for step in range(30):
        draws = [Draws(seed=4 * step + k) for k in range(4)]
        label = torch.stack([labels[k % 2] for k in range(4)])
        patches = add_click_channels(draws, torch.stack([image] * 4), label, RECIPE)
        optimiser.zero_grad()
        loss(unet(patches), label).backward()
        if step == 0:
            gradient = unet.model[0].conv.unit0.conv.weight.grad
            assert (gradient.abs().amax(dim=(0, 2, 3, 4)) > 0).all()
        optimiser.step()
    clicked = np.zeros((4, *SHAPE), np.float32)
    clicked[:2] = image.numpy()
    without = clicked.copy()
    draw_clicks(clicked[TUMOR_CLICK_CHANNEL], np.array([BALLS[0]]), ClickChannels(12.0), spacing_mm=(4.0, 4.0, 4.0))
    with torch.inference_mode():
        logits = unet(torch.from_numpy(np.stack([clicked, without])))  # in batch norm's training mode, as it learned
    lesion = (logits[:, 1] - logits[:, 0]).numpy()
    assert lesion[0][BALLS[0]] > lesion[1][BALLS[0]] + 1
    assert lesion[0][BALLS[0]] > lesion[0][BALLS[1]] + 1


CLICKS = ("--click-channels", "true", "--click-reach-mm", "16")


@pytest.fixture
def small_folds(monkeypatch: pytest.MonkeyPatch, small: None) -> None:
    """Let inference and export know the small network, too."""
    monkeypatch.setattr(cross_validate, "_open_best", small_engine)
    monkeypatch.setattr(network, "build_network", train.build_network)
    network._list_network_keys.cache_clear()
    monkeypatch.setattr(network, "_list_network_keys", lambda: frozenset(train.build_network().state_dict()))


@pytest.mark.usefixtures("small_folds")
def test_folds_trained_with_clicks_are_validated_and_exported_as_such(prepared: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    assert main(train_arguments(prepared, runs, *CLICKS, "--epochs", "1")) == 0
    best = torch.load(runs / "fold_0" / "best.pt", weights_only=True)
    assert count_inputs(best) == 4
    assert json.loads((runs / "fold_0" / "run.json").read_text())["recipe"]["click_channels"] == {"reach_mm": 16.0}
    assert main(["cross-validate", str(prepared), "--runs", str(runs), "--folds", "1", "--device", "cpu"]) == 0
    words = ["export", "--runs", str(runs), "--output", str(tmp_path / "out"), "--folds", "1", "--description", "It."]
    assert main(words) == 0
    assert open_weights(tmp_path / "out").recipe.click_channels == ClickChannels(16.0)


@pytest.mark.usefixtures("small")
def test_a_run_with_clicks_is_the_same_if_it_is_interrupted(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, steps = train.Trainer.train_step, iter(range(100))

    def interrupted(self: train.Trainer, *args: object) -> float:
        if next(steps) == 3:
            raise KeyError("interrupted")
        return original(self, *args)

    found = []
    for name in ("whole", "parts"):
        arguments = train_arguments(prepared, tmp_path / name, *CLICKS, "--epochs", "2", "--checkpoint-minutes", "0")
        if name == "parts":
            with monkeypatch.context() as change:
                change.setattr(train.Trainer, "train_step", interrupted)
                assert main(arguments) == 1
        assert main(arguments) == 0
        found.append(torch.load(tmp_path / name / "fold_0" / "best.pt", weights_only=True))
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])


def test_training_with_clicks_starts_from_a_network_without_them_as_it_is(tmp_path: Path) -> None:
    torch.manual_seed(5)
    trained = build_network()
    torch.save(trained.state_dict(), tmp_path / "trained.pt")
    configuration = TrainingConfiguration(initial=str(tmp_path / "trained.pt"), click_channels=True)
    started = train.open_initial_network(configuration, inputs=4)
    image = torch.rand(1, 2, 16, 16, 16)
    with torch.inference_mode():
        expected = trained.eval()(image)
        assert torch.equal(started.eval()(torch.cat([image, torch.zeros_like(image)], dim=1)), expected)


def test_training_without_clicks_does_not_start_from_a_network_that_takes_them(tmp_path: Path) -> None:
    torch.save(build_network(4).state_dict(), tmp_path / "trained.pt")
    with pytest.raises(WeightsError, match="takes 4 input channels"):
        train.open_initial_network(TrainingConfiguration(initial=str(tmp_path / "trained.pt")))


def test_a_reach_that_shows_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="--click-reach-mm is 0"):
        TrainingConfiguration(click_reach_mm=0.0)
