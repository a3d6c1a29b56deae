import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phantoms import THRESHOLD_RECIPE, TINY
from threshold import ThresholdEngine

from autosegnet.errors import WeightsError
from autosegnet.model import sliding_window
from autosegnet.model.devices import open_engine
from autosegnet.model.recipe import Fold, Recipe
from autosegnet.model.sliding_window import count_voxels, find_window_starts, fit_window, predict_probability


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


def test_logits_that_are_not_finite_are_refused() -> None:
    class Broken(ThresholdEngine):
        def compute_logits(self, window, fold):
            return np.full(window.shape[1:], np.nan, dtype=np.float32)

    with pytest.raises(WeightsError, match="NaN or infinite"):
        predict_probability(np.zeros((2, 16, 16, 16), np.float32), Broken(), THRESHOLD_RECIPE)


def test_on_a_lattice_a_window_longer_than_the_study_starts_at_a_whole_block() -> None:
    recipe = Recipe(patch=(128, 128, 128), anchor="lattice")
    for n in (16, 48, 80, 112, 128):
        (start,) = sliding_window._list_starts((n, n, n), recipe)[0]
        assert start % 16 == 0
        assert start <= 0
        assert start + 128 >= n
