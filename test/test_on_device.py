"""The way to the network's grid and back on an engine's device, which here is torch's CPU, against SimpleITK's."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from numpy.typing import NDArray
from phantoms import THRESHOLD_RECIPE, all_orders, phantom, rotation, stored_as
from threshold import ThresholdEngine

from autosegnet import postprocess, preprocess
from autosegnet.corrections import Clicks
from autosegnet.geometry import Grid, make_image, resample, view_voxels
from autosegnet.model.engine import Engine
from autosegnet.model.out_of_memory import FallbackEngine
from autosegnet.model.recipe import ClickChannels, Recipe
from autosegnet.model.sliding_window import predict_probability
from autosegnet.model.torch_engine import _FACTOR, TorchEngine
from autosegnet.model.weights import Weights
from autosegnet.on_device import fill_on_device, interpolation, restore_map_on_device, restore_on_device
from autosegnet.on_device.shared_axes import find_shared_axes
from autosegnet.pipeline import Segmentation, segment_study
from autosegnet.study import AIR_HU, Study

CPU = torch.device("cpu")
PUBLISHED = replace(THRESHOLD_RECIPE, crop="ct_foreground")
LATTICE = replace(THRESHOLD_RECIPE, anchor="lattice", spacing_mm=(4.0, 3.0, 5.0), suv_limit=8.0)


class Thresholds(TorchEngine):
    """The engine for CUDA, on the CPU, with `ThresholdEngine`'s answers instead of folds."""

    def __init__(self) -> None:
        self.device, self.dtype, self.channel_multiple = CPU, torch.float32, 8
        self._most_voxels, self._inputs, self._channels = 2 * 192**3, 2, 1
        self._networks = [None]

    def run(self, windows: torch.Tensor, fold: int) -> torch.Tensor:
        return windows[:, 1:2] - 4 * _FACTOR


def moved(image: sitk.Image, mm: tuple[float, float, float]) -> sitk.Image:
    copy = sitk.Image(image)
    copy.SetOrigin([a + b for a, b in zip(image.GetOrigin(), mm, strict=True)])
    return copy


def make_studies() -> dict[str, Study]:
    """Return a study for each way in which PET and CT can lie in space and be stored."""
    plain, oblique = phantom(), phantom(direction=rotation(degrees=(12, -9, 20)))
    odd = phantom(size=(47, 39, 21), spacing=(3.3, 4.1, 7.7))
    orders = list(all_orders())
    fine = Grid((101, 83, 77), (1.7, 1.9, 2.1), (-80.0, -70.0, -75.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    turned = replace(fine, direction=rotation(degrees=(0, 0, 7)))
    return {
        "one grid": plain,
        "oblique": oblique,
        "odd sizes, anisotropic": odd,
        "axes in another order, flipped": Study(*(stored_as(image, *orders[29]) for image in (odd.pet, odd.ct))),
        "oblique, axes in another order, flipped": Study(
            *(stored_as(image, *orders[13]) for image in (oblique.pet, oblique.ct))
        ),
        "CT finer, smaller": Study(plain.pet, resample(plain.ct, fine, outside=AIR_HU)),
        "CT stored in another order": Study(odd.pet, stored_as(odd.ct, *orders[44])),
        "CT half a voxel away": Study(plain.pet, moved(plain.ct, (2.0, -2.0, 2.5))),
        "CT of 16 bits": Study(plain.pet, sitk.Cast(resample(plain.ct, fine, outside=AIR_HU), sitk.sitkInt16)),
        "both of float64": Study(*(sitk.Cast(image, sitk.sitkFloat64) for image in (odd.pet, odd.ct))),
        "CT turned": Study(plain.pet, resample(plain.ct, turned, outside=AIR_HU)),
        "noise below 0": Study(plain.pet - 0.3, plain.ct),
    }


STUDIES = make_studies()


@pytest.mark.parametrize("recipe", [THRESHOLD_RECIPE, PUBLISHED, LATTICE], ids=["body", "foreground", "lattice"])
@pytest.mark.parametrize("name", STUDIES)
def test_the_input_differs_from_simpleitks_in_the_last_bit_at_most(name: str, recipe: Recipe) -> None:
    study = STUDIES[name]
    placement = preprocess.find_placement(study, recipe)
    expected = preprocess.fill(study, placement, recipe)
    found = fill_on_device(study, placement, recipe, CPU).numpy()
    assert found.dtype == np.float32
    assert expected[0].std() > 0.1
    assert expected[1].std() > 0.1
    # An HU that the first of two interpolations rounds otherwise is one of at most 1024, in a window that is 1.
    np.testing.assert_allclose(found, expected, rtol=2e-7, atol=2e-7)


@pytest.mark.parametrize("name", STUDIES)
def test_mask_and_map_of_a_probability_are_simpleitks(name: str) -> None:
    study = STUDIES[name]
    placement, whole = preprocess.find_placement(study, LATTICE), Grid.from_image(study.pet)
    probability = np.random.default_rng(1).random(placement.grid.shape, dtype=np.float32)
    grids = {"grid": placement.grid, "region": placement.region, "whole": whole}
    mask = restore_on_device(torch.from_numpy(probability), placement, whole)
    chance = restore_map_on_device(torch.from_numpy(probability), placement, whole)
    assert Grid.from_image(mask) == Grid.from_image(chance) == whole
    assert mask.GetPixelID() == sitk.sitkUInt8
    np.testing.assert_array_equal(view_voxels(mask), view_voxels(postprocess.restore(probability, **grids)))
    np.testing.assert_array_max_ulp(view_voxels(chance), view_voxels(postprocess.restore_map(probability, **grids)))
    np.testing.assert_array_equal(view_voxels(mask), view_voxels(chance) > 0.5)


@pytest.mark.parametrize("name", STUDIES)
def test_the_mask_of_a_study_is_the_same_to_the_last_voxel(name: str) -> None:
    recipe = replace(THRESHOLD_RECIPE, patch=(64, 64, 64))
    expected = view_voxels(segment_study(STUDIES[name], ThresholdEngine(), recipe).mask)
    assert expected.any()
    np.testing.assert_array_equal(view_voxels(segment_study(STUDIES[name], Thresholds(), recipe).mask), expected)


def test_a_real_study_differs_from_simpleitks_in_the_last_bit_at_most(real_data: Path) -> None:
    folder = real_data / "sts" / "STS_012"
    study = Study(*(sitk.ReadImage(str(folder / f"{name}.nii.gz")) for name in ("SUV", "CTres")))
    placement, whole = preprocess.find_placement(study, LATTICE), Grid.from_image(study.pet)
    array = fill_on_device(study, placement, LATTICE, CPU)
    np.testing.assert_array_max_ulp(array.numpy(), preprocess.fill(study, placement, LATTICE))
    chance = (array[1] - 3).sigmoid()
    grids = {"grid": placement.grid, "region": placement.region, "whole": whole}
    expected = view_voxels(postprocess.restore(chance.numpy(), **grids))
    assert expected.any()
    np.testing.assert_array_equal(view_voxels(restore_on_device(chance, placement, whole)), expected)


@pytest.mark.parametrize("voxels", [1, 5000])
def test_slabs_change_no_bit(monkeypatch: pytest.MonkeyPatch, voxels: int) -> None:
    study = STUDIES["CT finer, smaller"]
    placement = preprocess.find_placement(study, LATTICE)
    whole = fill_on_device(study, placement, LATTICE, CPU)
    monkeypatch.setattr(interpolation, "_SLAB_VOXELS", voxels)
    assert torch.equal(fill_on_device(study, placement, LATTICE, CPU), whole)


@pytest.mark.parametrize("outside", [None, -7.0])
def test_beyond_the_source_is_its_border_or_the_value_outside(outside: float | None) -> None:
    """To half a voxel beyond the outer centres ITK interpolates; there, the lower end belongs to the image."""
    source = Grid((4, 5, 6), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    target = Grid((24, 28, 32), (0.5, 0.5, 0.5), (-2.0, -2.0, -2.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    voxels = np.random.default_rng(2).random(source.shape, dtype=np.float32)
    axes = find_shared_axes(source, target)
    assert axes is not None
    found = torch.empty(target.shape)
    interpolation.interpolate_into(torch.from_numpy(voxels), axes, into=found, outside=outside)
    expected = view_voxels(resample(make_image(voxels, source), target, outside=outside))
    assert (expected == -7.0).any() == (outside is not None)
    np.testing.assert_array_max_ulp(found.numpy(), expected)


def test_grids_whose_axes_lean_share_none() -> None:
    grid = Grid((400, 400, 300), (2.0, 2.0, 3.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    assert find_shared_axes(grid, grid) is not None
    assert find_shared_axes(grid, replace(grid, direction=rotation(degrees=(0, 0, 1e-5)))) is None
    assert find_shared_axes(grid, replace(grid, direction=rotation(degrees=(0, 0, 90)))) is not None


def test_only_the_part_of_a_ct_that_is_needed_goes_up() -> None:
    small = Grid((10, 10, 10), (2.0, 2.0, 2.0), (10.0, 20.0, 30.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    large = Grid((100, 100, 100), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    axes = find_shared_axes(large, small)
    assert axes is not None
    assert axes.find_box(large) == ((10, 30), (20, 40), (30, 50))
    beside = find_shared_axes(large, replace(small, origin_mm=(-50.0, 20.0, 95.0)))
    assert beside is not None
    assert beside.find_box(large) == ((0, 1), (20, 40), (95, 100))


def test_probabilities_stay_where_the_input_is() -> None:
    array = np.random.default_rng(0).random((2, 24, 20, 28), dtype=np.float32) * 8
    recipe = replace(THRESHOLD_RECIPE, patch=(16, 16, 16))
    expected = predict_probability(array, ThresholdEngine(), recipe)
    on_host = predict_probability(array, Thresholds(), recipe)
    assert isinstance(on_host, np.ndarray)
    on_it = predict_probability(torch.from_numpy(array), Thresholds(), recipe)
    assert isinstance(on_it, torch.Tensor)
    np.testing.assert_array_equal(on_it.numpy(), on_host)
    np.testing.assert_allclose(on_host, expected, atol=1e-6)


def segment_all_maps(engine: Engine, weights: Weights) -> Segmentation:
    return segment_study(STUDIES["CT finer, smaller"], engine, weights.recipe, maps="probability and uncertainty")


class OnHost:
    """An engine's folds without its device."""

    def __init__(self, engine: Engine) -> None:
        self.name, self.folds, self.compute_logits = engine.name, engine.folds, engine.compute_logits


def test_folds_give_one_mask_and_one_uncertainty_on_both_ways(tiny_weights: Weights) -> None:
    engine = TorchEngine(tiny_weights, device="cpu", dtype=torch.float32)
    found, expected = segment_all_maps(engine, tiny_weights), segment_all_maps(OnHost(engine), tiny_weights)
    assert view_voxels(expected.mask).any()
    np.testing.assert_array_equal(view_voxels(found.mask), view_voxels(expected.mask))
    for name in ("probability", "uncertainty"):
        np.testing.assert_allclose(
            view_voxels(getattr(found, name)), view_voxels(getattr(expected, name)), atol=2e-6, err_msg=name
        )


class Crowded(Thresholds):
    """A device whose memory runs out at some of the calls of `lend_device` and of passes."""

    name = "GPU"

    def __init__(self, fails_at: set[int], fails_from_pass: int = 1000) -> None:
        super().__init__()
        self.calls, self.passes, self._fails_at, self._fails_from = 0, 0, fails_at, fails_from_pass

    def lend_device(self, use: Callable, instead: Callable) -> object:
        self.calls += 1
        if self.calls - 1 in self._fails_at:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().lend_device(use, instead)

    def run(self, windows: torch.Tensor, fold: int) -> torch.Tensor:
        self.passes += 1
        if self.passes > self._fails_from:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().run(windows, fold)


@pytest.mark.parametrize(
    ("fails_at", "fails_from_pass", "engine_at_the_end"),
    [
        (set(), 1000, "GPU"),
        ({0}, 1000, "GPU"),
        ({0, 1}, 1000, "threshold, CPU"),  # while the input is made
        (set(), 0, "threshold, CPU"),
        (set(), 1, "threshold, CPU"),  # in the midst of the windows
        ({1}, 1000, "GPU"),
        ({1, 2}, 1000, "threshold, CPU"),  # while the mask is made
    ],
)
def test_a_device_without_memory_leaves_the_rest_to_the_cpu(
    fails_at: set[int], fails_from_pass: int, engine_at_the_end: str
) -> None:
    study, recipe = STUDIES["odd sizes, anisotropic"], replace(THRESHOLD_RECIPE, patch=(64, 64, 64))
    expected: NDArray[np.uint8] = view_voxels(segment_study(study, ThresholdEngine(), recipe).mask)
    engine = FallbackEngine(lambda: Crowded(fails_at, fails_from_pass), ThresholdEngine)
    np.testing.assert_array_equal(view_voxels(segment_study(study, engine, recipe).mask), expected)
    assert engine.name == engine_at_the_end


def test_clicks_are_those_of_the_cpu() -> None:
    study, recipe = STUDIES["odd sizes, anisotropic"], replace(LATTICE, click_channels=ClickChannels(20.0))
    placement = preprocess.find_placement(study, recipe)
    middle = tuple(n // 2 for n in study.pet.GetSize())
    clicks = Clicks((middle,), ((middle[0] + 2, *middle[1:]),))
    expected = preprocess.fill(study, placement, recipe, clicks)
    assert expected[2:].any(axis=(1, 2, 3)).all()
    np.testing.assert_array_equal(
        fill_on_device(study, placement, recipe, CPU, clicks=clicks).numpy()[2:], expected[2:]
    )
    assert not fill_on_device(study, placement, recipe, CPU).numpy()[2:].any()
