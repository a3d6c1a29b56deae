import math
from dataclasses import replace
from itertools import pairwise
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phantoms import THRESHOLD_RECIPE, TINY
from threshold import ThresholdEngine

from autosegnet.errors import WeightsError
from autosegnet.model import sliding_window
from autosegnet.model.accumulator import HostAccumulator
from autosegnet.model.devices import open_engine
from autosegnet.model.recipe import Fold, Recipe
from autosegnet.model.sliding_window import (
    Outline,
    count_voxels,
    find_window_starts,
    fit_window,
    predict_probability,
)


@given(st.integers(1, 400), st.integers(1, 200), st.floats(0, 0.9))
def test_windows_cover_every_voxel_and_stay_inside(beyond: int, patch: int, overlap: float) -> None:
    length = patch + beyond - 1
    starts = find_window_starts(length, patch=patch, overlap=overlap)
    assert starts[0] == 0
    assert starts[-1] == length - patch
    assert all(0 < b - a <= patch for a, b in zip(starts, starts[1:], strict=False))


@pytest.mark.parametrize(("length", "count"), [(192, 1), (193, 2), (288, 2), (289, 3), (384, 3)])
def test_number_of_windows_at_overlap_a_half(length: int, count: int) -> None:
    assert len(find_window_starts(length, patch=192, overlap=0.5)) == count


@pytest.mark.parametrize("shape", [(40, 33, 70), (20, 50, 31), (32, 32, 32)])
def test_probability_is_that_of_monais_inferer(tiny_weights, shape) -> None:
    """Per fold MONAI's `SlidingWindowInferer`, then the weighted mean of logits, then softmax."""
    import torch
    from monai.inferers import SlidingWindowInferer

    from autosegnet.model.network import load_fold

    array = np.random.default_rng(1).random((2, *shape), dtype=np.float32)
    recipe = tiny_weights.recipe
    inferer = SlidingWindowInferer(roi_size=recipe.patch, sw_batch_size=2, overlap=recipe.overlap)
    logits = torch.zeros(2, *shape)
    with torch.inference_mode():
        for fold, weight in zip(recipe.folds, recipe.fold_weights, strict=True):
            network = load_fold(tiny_weights.find_path(fold), fold)
            logits += weight * inferer(torch.from_numpy(array)[None], network)[0]
    expected = torch.softmax(logits, dim=0)[1].numpy()

    ours = predict_probability(array, open_engine(tiny_weights, device="cpu"), recipe)
    np.testing.assert_allclose(ours, expected, atol=2e-5)


def test_blending_leaves_no_seams() -> None:
    """An engine that looks at single voxels gives the same answer with any windows."""
    array = np.random.default_rng(0).random((2, 50, 41, 63), dtype=np.float32) * 8
    recipe = replace(THRESHOLD_RECIPE, patch=(32, 16, 32))
    expected = 1 / (1 + np.exp(4.0 - array[1].astype(np.float64)))
    np.testing.assert_allclose(predict_probability(array, ThresholdEngine(), recipe), expected, atol=1e-6)


def test_folds_count_by_their_weights() -> None:
    class Constants:
        name, folds = "constants", 2

        def compute_logits(self, window, fold):
            return np.full(window.shape[1:], [1.0, -2.0][fold], np.float32)

    recipe = replace(TINY, folds=(Fold("a", "", 3.0), Fold("b", "", 1.0)))
    found = predict_probability(np.zeros((2, 32, 32, 32), np.float32), Constants(), recipe)
    assert found == pytest.approx(1 / (1 + np.exp(-(0.75 * 1.0 - 0.25 * 2.0))), abs=1e-6)


def test_progress_counts_windows_times_folds() -> None:
    seen: list[tuple[int, int]] = []
    recipe = Recipe(folds=THRESHOLD_RECIPE.folds, patch=(16, 16, 16))
    array = np.zeros((2, 30, 16, 16), np.float32)
    predict_probability(array, ThresholdEngine(), recipe, progress=lambda done, of: seen.append((done, of)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_input_is_left_as_it_was() -> None:
    array = np.random.default_rng(0).random((2, 20, 20, 20), dtype=np.float32)
    before = array.copy()
    predict_probability(array, ThresholdEngine(), replace(THRESHOLD_RECIPE, patch=(32, 32, 32)))
    np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize(
    ("shape", "patch", "passes"),
    [
        ((50, 34, 50), (64, 48, 64), 1),
        ((180, 160, 480), (192, 160, 272), 2),
        ((255, 184, 426), (256, 192, 240), 2),
        ((300, 250, 900), (304, 256, 176), 7),
        ((100, 100, 1), (112, 112, 16), 1),
    ],
)
def test_the_fast_mode_passes_slabs_that_fit_memory(
    shape: tuple[int, int, int], patch: tuple[int, int, int], passes: int
) -> None:
    recipe = fit_window(replace(THRESHOLD_RECIPE, patch=(192, 192, 192), passes="slabs"), shape)
    assert recipe.patch == patch
    assert all(n % 16 == 0 for n in recipe.patch)
    assert math.prod(recipe.patch) <= 2 * 192**3
    starts = find_window_starts(max(shape[2], patch[2]), patch=patch[2], overlap=recipe.overlap)
    assert len(starts) == passes
    assert all(first + patch[2] - second >= 48 for first, second in pairwise(starts))
    assert count_voxels(recipe, shape) == passes * math.prod(patch)


def test_the_fast_mode_is_exact_for_a_network_that_looks_at_one_voxel() -> None:
    array = np.random.default_rng(1).random((2, 40, 30, 200), dtype=np.float32) * 8
    windows = predict_probability(array, ThresholdEngine(), THRESHOLD_RECIPE)
    slabs = predict_probability(array, ThresholdEngine(), replace(THRESHOLD_RECIPE, passes="slabs"))
    np.testing.assert_array_equal(windows > 0.5, slabs > 0.5)
    np.testing.assert_allclose(windows, slabs, atol=1e-6)


def cylinder_outline(shape: tuple[int, int, int], *, wide: int, narrow: int) -> Outline:
    """Return the outline of a body in the middle: wide in the upper half along z, narrow in the lower."""
    outline = np.empty((shape[2], 2, 2), dtype=np.int64)
    for z in range(shape[2]):
        width = wide if z >= shape[2] // 2 else narrow
        outline[z] = [((n - width) // 2, (n + width) // 2) for n in shape[:2]]
    return outline


@pytest.mark.parametrize("anchor", ["region", "lattice"])
@pytest.mark.parametrize("shape", [(80, 64, 96), (50, 90, 70), (30, 30, 100)])
def test_layers_are_exact_inside_the_body_and_empty_far_outside(
    shape: tuple[int, int, int], anchor: Literal["region", "lattice"]
) -> None:
    array = np.random.default_rng(1).random((2, *shape), dtype=np.float32) * 8
    recipe = replace(THRESHOLD_RECIPE, patch=(32, 32, 32), anchor=anchor)
    outline = cylinder_outline(shape, wide=min(shape[:2]), narrow=8)
    windows = predict_probability(array, ThresholdEngine(), recipe)
    layers = predict_probability(array, ThresholdEngine(), replace(recipe, passes="layers"), outline=outline)
    inside = np.zeros(shape, dtype=bool)
    for z, ((x0, x1), (y0, y1)) in enumerate(outline.tolist()):
        inside[x0:x1, y0:y1, z] = True
    np.testing.assert_allclose(layers[inside], windows[inside], atol=1e-6)
    np.testing.assert_allclose(layers[layers != 0], windows[layers != 0], atol=1e-6)
    if min(shape[:2]) > 60:
        assert not layers[:16, :, 0].any()


def test_layers_count_only_the_windows_of_each_layer() -> None:
    recipe = replace(THRESHOLD_RECIPE, patch=(32, 32, 32), overlap=0.0)
    layered, shape = replace(recipe, passes="layers"), (96, 96, 96)
    outline = cylinder_outline(shape, wide=96, narrow=8)
    outline[:32] = [[96, 0], [96, 0]]  # no body at all
    assert count_voxels(recipe, shape, outline) == 27 * 32**3
    assert count_voxels(layered, shape, outline) == (0 + 9 + 9) * 32**3
    assert count_voxels(layered, shape) == 27 * 32**3  # without an outline, they are windows
    outline[32:64] = [[40, 60], [40, 60]]
    seen: list[tuple[int, int]] = []
    array = np.ones((2, *shape), dtype=np.float32)
    predict_probability(
        array, ThresholdEngine(), layered, outline=outline, progress=lambda done, of: seen.append((done, of))
    )
    assert seen[-1] == (10, 10)


@pytest.mark.parametrize("channels", [1, 2])
def test_where_no_window_lies_there_is_no_lesion(channels: int) -> None:
    ones, half = np.ones(4, np.float32), np.array([1, 1, 0, 0], np.float32)
    parts = [(ones, ones, half), (half, ones, ones - half)]
    shape = (*((2,) if channels == 2 else ()), 4, 4, 4)
    sums = np.zeros(shape, np.float32)
    (sums if channels == 1 else sums[1])[:] = 3.0
    (found,) = HostAccumulator(ThresholdEngine(), np.zeros((2, 4, 4, 4), np.float32), [sums]).blend(parts)
    assert (found[2:, :, 2:] == 0).all()
    assert (found[:, :, :2] > 0.5).all()
    assert (found[:2, :, 2:] > 0.5).all()


@pytest.mark.parametrize("channels", [1, 2])
def test_where_no_window_of_the_only_layer_lies_there_is_no_lesion(channels: int) -> None:
    ones, half = np.ones(4, np.float32), np.array([2, 1, 0, 0], np.float32)
    sums = np.zeros((*((2,) if channels == 2 else ()), 4, 4, 4), np.float32)
    (sums if channels == 1 else sums[1])[..., :2, :, :] = 3.0
    (found,) = HostAccumulator(ThresholdEngine(), np.zeros((2, 4, 4, 4), np.float32), [sums]).blend(
        [(half, ones, ones)]
    )
    assert (found[2:] == 0).all()
    assert (found[:2] > 0.5).all()


def test_logits_that_are_not_finite_are_refused() -> None:
    class Broken(ThresholdEngine):
        def compute_logits(self, window, fold):
            return np.full(window.shape[1:], np.nan, dtype=np.float32)

    with pytest.raises(WeightsError, match="NaN or infinite"):
        predict_probability(np.zeros((2, 16, 16, 16), np.float32), Broken(), THRESHOLD_RECIPE)


def test_on_a_lattice_a_window_longer_than_the_study_starts_at_a_whole_block() -> None:
    recipe = Recipe(patch=(128, 128, 128), anchor="lattice")
    for n in (16, 48, 80, 112, 128):
        (start,) = sliding_window._find_starts(0, n, 0, recipe)
        assert start % 16 == 0
        assert start <= 0
        assert start + 128 >= n
