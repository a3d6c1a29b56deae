"""Probability and uncertainty maps: what they hold, and that who does not ask for them does not pay."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from phantoms import THRESHOLD_RECIPE, phantom, rotation
from threshold import ThresholdEngine

from autosegnet.geometry import Grid, is_same_grid, view_voxels
from autosegnet.model import sliding_window
from autosegnet.model.recipe import PET_CHANNEL, Fold, Recipe
from autosegnet.pipeline import segment_study
from autosegnet.preprocess import prepare

RECIPE = Recipe(
    folds=tuple(Fold(f"fold_{k}", "0" * 64, 1.0 + 0.2 * k) for k in range(3)),
    patch=(32, 32, 32),
    spacing_mm=(5.0, 5.0, 5.0),
)


class Thresholds:
    """Three folds that disagree: each has its own threshold, and noise that depends on the window."""

    name, folds = "thresholds", 3

    def compute_logits(self, window, fold):
        noise = np.random.default_rng([fold, int(window.sum() * 1000)]).normal(0, 0.5, window.shape[1:])
        return (window[PET_CHANNEL] - (3.0, 4.0, 6.0)[fold] + noise).astype(np.float32)


@pytest.fixture(scope="module")
def study():
    return phantom(direction=rotation(degrees=(5, -8, 12)))


@pytest.fixture(scope="module")
def found(study):
    return segment_study(study, Thresholds(), RECIPE, maps="probability and uncertainty")


def test_the_mask_is_exactly_the_probability_above_a_half(found) -> None:
    mask, probability = view_voxels(found.mask), view_voxels(found.probability)
    assert mask.any()
    np.testing.assert_array_equal(mask, probability > 0.5)


def test_maps_are_float32_on_the_grid_of_the_pet(study, found) -> None:
    for image in (found.probability, found.uncertainty):
        assert view_voxels(image).dtype == np.float32
        assert is_same_grid(Grid.from_image(image), Grid.from_image(study.pet), tolerance=1e-12)
    assert 0.0 <= view_voxels(found.probability).min() < 0.1 < 0.9 < view_voxels(found.probability).max() <= 1.0
    assert 0.0 <= view_voxels(found.uncertainty).min() < 0.1 < view_voxels(found.uncertainty).max() <= 0.5


def test_maps_are_0_outside_the_region_that_the_network_saw() -> None:
    # The body's margin is cut off: a large field of view around a small body.
    study = phantom(size=(72, 64, 60))
    region = prepare(study, RECIPE).region
    found = segment_study(study, Thresholds(), RECIPE, maps="probability and uncertainty")
    x, y, z = Grid.from_image(study.pet).find_box(region)
    outside = np.ones(study.pet.GetSize()[::-1], bool)
    outside[slice(*z), slice(*y), slice(*x)] = False
    assert outside.any()
    for image in (found.probability, found.uncertainty):
        assert not view_voxels(image)[outside].any()
        assert view_voxels(image)[~outside].all()


def test_the_mask_does_not_depend_on_the_maps(study, found) -> None:
    plain = segment_study(study, Thresholds(), RECIPE)
    assert plain.probability is plain.uncertainty is None
    np.testing.assert_array_equal(view_voxels(plain.mask), view_voxels(found.mask))
    some = segment_study(study, Thresholds(), RECIPE, maps="probability")
    assert some.uncertainty is None
    np.testing.assert_array_equal(view_voxels(some.probability), view_voxels(found.probability))


def test_uncertainty_is_the_standard_deviation_of_the_folds_probabilities() -> None:
    class One:
        name, folds = "one", 1

        def __init__(self, fold):
            self.fold = fold

        def compute_logits(self, window, fold):
            return Thresholds().compute_logits(window, self.fold)

    array = np.random.default_rng(0).random((2, 40, 33, 50), dtype=np.float32) * 8
    alone = replace(RECIPE, folds=RECIPE.folds[:1])
    each = [sliding_window.predict_probability(array, One(k), alone) for k in range(3)]
    probability, deviation = sliding_window.predict_probability_and_disagreement(array, Thresholds(), RECIPE)
    np.testing.assert_array_equal(probability, sliding_window.predict_probability(array, Thresholds(), RECIPE))
    np.testing.assert_allclose(deviation, np.std(each, axis=0), atol=1e-6)


def test_folds_that_agree_leave_no_uncertainty() -> None:
    array = np.random.default_rng(0).random((2, 20, 20, 20), dtype=np.float32) * 8
    recipe = replace(
        THRESHOLD_RECIPE,
        patch=(16, 16, 16),
        folds=tuple(replace(THRESHOLD_RECIPE.folds[0], file=f"fold_{k}") for k in range(4)),
    )
    _, deviation = sliding_window.predict_probability_and_disagreement(array, ThresholdEngine(folds=4), recipe)
    assert deviation.max() < 1e-7


def test_only_uncertainty_takes_an_accumulator_a_fold() -> None:
    array = np.ones((2, 96, 96, 96), np.float32)
    recipe = replace(RECIPE, patch=(16, 96, 96), overlap=0.0)
    volume = array[0].nbytes

    def peak(function) -> float:
        tracemalloc.start()
        function(array, ThresholdEngine(folds=3), recipe)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used / volume

    assert peak(sliding_window.predict_probability) < 2.0  # one accumulator and the windows, a sixth of the volume each
    assert 4.0 < peak(sliding_window.predict_probability_and_disagreement) < 5.0  # one more a fold
