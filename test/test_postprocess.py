import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import all_orders, phantom, rotation, stored_as

from autosegnet.geometry import Grid, make_image, make_working_grid, resample, view_voxels
from autosegnet.postprocess import restore


def test_mask_is_where_the_interpolated_probability_is_above_a_half() -> None:
    whole = Grid.from_image(phantom(direction=rotation(degrees=(10, 0, -25))).pet)
    region = whole.crop(((5, 40), (3, 33), (2, 30)))
    grid = make_working_grid(region, spacing_mm=(2.0, 2.0, 2.0))
    rng = np.random.default_rng(0)
    probability = rng.random(grid.size[::-1], dtype=np.float32)
    mask = restore(probability, grid=grid, region=region, whole=whole)
    assert Grid.from_image(mask) == whole
    assert mask.GetPixelID() == sitk.sitkUInt8
    interpolated = view_voxels(resample(make_image(probability, grid), region, outside=None))
    np.testing.assert_array_equal(view_voxels(mask)[2:30, 3:33, 5:40], interpolated > 0.5)


def test_exactly_a_half_is_no_lesion() -> None:
    whole = Grid.from_image(phantom().pet)
    grid = make_working_grid(whole, spacing_mm=(2.0, 2.0, 2.0))
    half = np.full(grid.size[::-1], 0.5, np.float32)
    assert view_voxels(restore(half, grid=grid, region=whole, whole=whole)).max() == 0


def test_outside_the_region_there_is_no_lesion() -> None:
    whole = Grid.from_image(phantom().pet)
    region = whole.crop(((5, 40), (3, 33), (2, 30)))
    grid = make_working_grid(region, spacing_mm=(2.0, 2.0, 2.0))
    mask = view_voxels(restore(np.ones(grid.size[::-1], np.float32), grid=grid, region=region, whole=whole)).copy()
    assert mask[2:30, 3:33, 5:40].min() == 1
    mask[2:30, 3:33, 5:40] = 0
    assert mask.max() == 0


@pytest.mark.parametrize("degrees", [(0, 0, 0), (12, -9, 20)])
def test_the_way_there_and_back_keeps_a_sphere(degrees: tuple[float, float, float]) -> None:
    """A sphere of 30 mm radius drawn on the PET's grid returns through the working grid with Dice above 0.99."""
    pet = phantom(direction=rotation(degrees=degrees)).pet
    whole = Grid.from_image(pet)
    z, y, x = np.indices(whole.size[::-1])
    centres = np.einsum("ij,jabc->iabc", whole.steps_mm, np.stack([x, y, z])) + np.array(whole.origin_mm).reshape(
        3, 1, 1, 1
    )
    distance = np.linalg.norm(centres, axis=0)
    soft = 1 / (1 + np.exp((distance - 30.0) / 2.0)).astype(np.float32)
    grid = make_working_grid(whole, spacing_mm=(2.0, 2.0, 2.0))
    probability = view_voxels(resample(make_image(soft.astype(np.float32), whole), grid, outside=None))
    mask = view_voxels(restore(probability, grid=grid, region=whole, whole=whole)) > 0
    truth = distance < 30.0
    assert 2 * np.sum(mask & truth) / (mask.sum() + truth.sum()) > 0.99


def test_all_storage_orders_give_the_same_mask() -> None:
    pet = phantom(direction=rotation(degrees=(10, 5, -12))).pet
    grid = make_working_grid(Grid.from_image(pet), spacing_mm=(2.0, 2.0, 2.0))
    probability = view_voxels(resample(pet, grid, outside=None)) / np.float32(8.0)
    expected = restore(probability, grid=grid, region=Grid.from_image(pet), whole=Grid.from_image(pet))
    for order, flips in all_orders():
        whole = Grid.from_image(stored_as(pet, order, flips))
        mask = restore(probability, grid=grid, region=whole, whole=whole)
        assert Grid.from_image(mask) == whole
        np.testing.assert_array_equal(view_voxels(mask), view_voxels(stored_as(expected, order, flips)))
