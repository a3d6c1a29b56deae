"""Augmentation against its formulas, written out with numpy and scipy."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from autosegnet_training.augmentation import Draws, apply, draw, draw_elastic_offsets, make_gaussian_kernel
from autosegnet_training.configuration import PRESETS, TrainingConfiguration

SHAPE = (13, 10, 16)


def patch(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    smooth = [ndimage.gaussian_filter(rng.normal(size=SHAPE), 1.5) for _ in range(2)]
    return np.stack(smooth).astype(np.float32), (smooth[0] > 0.1).astype(np.uint8)[None]


def applied(draws: Draws, image: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, y = apply([draws], torch.from_numpy(image)[None], torch.from_numpy(label)[None])
    return x[0].numpy(), y[0].numpy()


def positions(draws: Draws) -> np.ndarray:
    """(3, X, Y, Z): p = R (S (c + e) + t), from the patch's first voxel."""
    centre = (np.array(SHAPE) - 1) / 2
    c = np.stack(np.meshgrid(*[np.arange(n) - m for n, m in zip(SHAPE, centre, strict=True)], indexing="ij"))
    if draws.elastic_magnitude > 0:
        noise = torch.rand((3, 1, *SHAPE), generator=torch.Generator().manual_seed(draws.seed)).numpy()[:, 0] * 2 - 1
        radius = int(3 * draws.elastic_sigma + 0.5)
        edges = np.arange(-radius - 0.5, radius + 1) / draws.elastic_sigma
        kernel = np.diff([0.5 * (1 + torch.erf(torch.tensor(e / 2**0.5)).item()) for e in edges])
        for axis in range(3):
            noise = ndimage.correlate1d(noise, kernel, axis=1 + axis, mode="constant")
        c = c + noise * draws.elastic_magnitude
    scaled = c * np.array(draws.scale)[:, None, None, None] + np.array(draws.translation_voxels)[:, None, None, None]
    cos, sin = np.cos(draws.rotation_rad), np.sin(draws.rotation_rad)
    rotation = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    return np.tensordot(rotation, scaled, axes=1) + centre[:, None, None, None]


@pytest.mark.parametrize(
    "draws",
    [
        Draws(translation_voxels=(2.0, -3.0, 1.25)),
        Draws(rotation_rad=0.2),
        Draws(scale=(1.1, 0.9, 1.05)),
        Draws(scale=(-1.0, 1.0, -1.0)),
        Draws(elastic_sigma=0.8, elastic_magnitude=0.9, seed=3),
        Draws(
            translation_voxels=(1.0, 2.0, -4.0),
            rotation_rad=-0.26,
            scale=(0.95, -1.0, 1.1),
            elastic_sigma=0.5,
            elastic_magnitude=0.7,
            seed=9,
        ),  # fmt: skip
    ],
)
def test_voxels_move_as_the_formula_says(draws: Draws) -> None:
    image, label = patch()
    at = positions(draws)
    x, y = applied(draws, image, label)
    for channel in range(2):
        expected = ndimage.map_coordinates(image[channel], at, order=1, mode="reflect")
        np.testing.assert_allclose(x[channel], expected, atol=2e-5)
    # Positions half-way between two voxels, up to float32, may go to either.
    clear = (np.abs(at - np.floor(at) - 0.5) > 1e-4).all(axis=0)
    nearest = ndimage.map_coordinates(label[0], at, order=0, mode="reflect")
    assert clear.mean() > 0.5
    assert np.array_equal(y[0][clear], nearest[clear])


def test_the_smoothing_is_monais() -> None:
    from monai.networks.layers import gaussian_1d

    for sigma in (0.1, 0.3, 0.5, 0.99, 1.0):
        theirs = gaussian_1d(torch.tensor(sigma), truncated=3.0).numpy()
        pad = (7 - theirs.size) // 2
        np.testing.assert_allclose(make_gaussian_kernel(sigma).numpy(), np.pad(theirs, pad), atol=1e-6)


def test_elastic_offsets_stay_below_the_magnitude() -> None:
    draws = Draws(elastic_sigma=0.6, elastic_magnitude=0.5, seed=1)
    offsets = draw_elastic_offsets(draws, SHAPE, torch.Generator().manual_seed(1))
    assert offsets.shape == (*SHAPE, 3)
    assert 0.05 < offsets.abs().max() <= 0.5


def test_gamma_keeps_the_ends_of_each_channel() -> None:
    image, label = patch()
    x, y = applied(Draws(gamma=1.4), image, label)
    for channel in range(2):
        low, extent = image[channel].min(), np.ptp(image[channel])
        expected = ((image[channel] - low) / (extent + 1e-7)) ** 1.4 * extent + low
        np.testing.assert_allclose(x[channel], expected, atol=1e-5)
    assert np.array_equal(y, label)


def test_the_suv_factor_is_the_pets_alone() -> None:
    image, label = patch()
    x, _ = applied(Draws(suv_factor=1.2), image, label)
    np.testing.assert_array_equal(x[0], image[0])
    np.testing.assert_allclose(x[1], image[1] * 1.2, rtol=1e-6)


def test_noise_has_its_sd_and_differs_between_channels() -> None:
    zero = np.zeros((2, 40, 40, 40), dtype=np.float32)
    x, _ = apply([Draws(noise_sigma=0.07, seed=4)], torch.from_numpy(zero)[None], torch.zeros(1, 1, 40, 40, 40))
    assert float(x.mean()) == pytest.approx(0, abs=0.001)
    assert float(x.std()) == pytest.approx(0.07, rel=0.02)
    assert abs(float(torch.corrcoef(x[0].reshape(2, -1))[0, 1])) < 0.02


def test_nothing_drawn_is_nothing_changed() -> None:
    image, label = patch()
    x, y = applied(Draws(seed=8), image, label)
    assert np.array_equal(x, image)
    assert np.array_equal(y, label)


def test_patches_of_a_batch_do_not_mix() -> None:
    a, b = patch(1), patch(2)
    draws = [Draws(rotation_rad=0.1, gamma=0.8, noise_sigma=0.05, seed=1), Draws()]
    images = torch.from_numpy(np.stack([a[0], b[0]]))
    kept = images.clone()
    x, y = apply(draws, images, torch.from_numpy(np.stack([a[1], b[1]])))
    alone = apply(draws[:1], images[:1], torch.from_numpy(a[1])[None])
    assert torch.equal(x[:1], alone[0])
    assert torch.equal(y[:1], alone[1])
    assert torch.equal(x[1:], images[1:])
    assert torch.equal(images, kept)


def test_draws_fill_the_ranges_of_the_settings() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw(TrainingConfiguration(), rng) for _ in range(4000)]
    affine = np.array([d.translation_voxels for d in drawn if d.translation_voxels != (0.0, 0.0, 0.0)])
    assert len(affine) / 4000 == pytest.approx(0.5, abs=0.03)
    assert np.abs(affine).max() == pytest.approx(10.0, abs=0.05)
    turned = np.abs([d.rotation_rad for d in drawn])
    assert turned.max() == pytest.approx(np.pi / 12, abs=0.002)
    scale = np.array([d.scale for d in drawn])
    assert scale.min() == pytest.approx(0.9, abs=0.002)
    assert scale.max() == pytest.approx(1.1, abs=0.002)
    gamma = np.array([d.gamma for d in drawn if d.gamma != 1])
    assert len(gamma) / 4000 == pytest.approx(0.3, abs=0.03)
    assert (gamma.min(), gamma.max()) == (pytest.approx(0.7, abs=0.01), pytest.approx(1.5, abs=0.01))
    noise = np.array([d.noise_sigma for d in drawn if d.noise_sigma])
    assert len(noise) / 4000 == pytest.approx(0.5, abs=0.03)
    assert noise.max() <= 0.1
    elastic = [d for d in drawn if d.elastic_magnitude]
    assert len(elastic) / 4000 == pytest.approx(0.5, abs=0.03)
    assert max(d.elastic_sigma for d in elastic) <= 1.0
    assert all(d.suv_factor == 1 for d in drawn)


def test_mirroring_is_asked_for() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw(replace(PRESETS["starter"], flip_probability=0.5), rng) for _ in range(500)]
    assert np.mean([[s < 0 for s in d.scale] for d in drawn]) == pytest.approx(0.5, abs=0.05)


def test_the_starter_preset_scales_the_pet_and_keeps_left_and_right() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw(PRESETS["starter"], rng) for _ in range(500)]
    assert all(s > 0 for d in drawn for s in d.scale)
    factors = [d.suv_factor for d in drawn if d.suv_factor != 1]
    assert len(factors) / 500 == pytest.approx(0.5, abs=0.08)
    assert min(factors) >= 0.8
    assert max(factors) <= 1.25
