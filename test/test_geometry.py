import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from phantoms import all_orders, phantom, rotation, stored_as

from autosegnet.geometry import (
    Box,
    Grid,
    cut,
    find_occupied_box,
    is_same_grid,
    make_image,
    make_lattice_grid,
    make_working_grid,
    resample,
    view_voxels,
)

angles = st.tuples(*[st.integers(-30, 30)] * 3)
spacings = st.tuples(*[st.floats(0.5, 6.0)] * 3)


@st.composite
def grids_and_boxes(draw: st.DrawFn) -> tuple[Grid, Box]:
    size = draw(st.tuples(*[st.integers(2, 200)] * 3))
    box = []
    for n in size:
        start = draw(st.integers(0, n - 1))
        box.append((start, draw(st.integers(start + 1, n))))
    origin = draw(st.tuples(*[st.floats(-1000, 1000)] * 3))
    return Grid(size, draw(spacings), origin, rotation(degrees=draw(angles))), (box[0], box[1], box[2])


@given(grids_and_boxes())
def test_box_of_undoes_crop(case: tuple[Grid, Box]) -> None:
    grid, box = case
    assert grid.find_box(grid.crop(box)) == box


def test_voxels_outlive_their_image() -> None:
    view = view_voxels(sitk.Image((200, 200, 200), sitk.sitkFloat32) + 3.0)
    others = [sitk.Image((200, 200, 200), sitk.sitkFloat32) + 7.0 for _ in range(3)]  # would take freed memory
    assert view.min() == view.max() == 3.0
    assert len(others) == 3


def test_voxels_are_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        view_voxels(sitk.Image((3, 3, 3), sitk.sitkFloat32))[0] = 1


def test_grid_positions_are_those_of_simpleitk() -> None:
    image = phantom(direction=rotation(degrees=(10, -20, 30))).pet
    expected = image.TransformContinuousIndexToPhysicalPoint((3.0, 2.5, 7.0))
    assert Grid.from_image(image).find_position_mm((3, 2.5, 7)) == pytest.approx(expected, abs=1e-9)


def test_image_on_a_grid_has_that_grid() -> None:
    grid = Grid.from_image(phantom(direction=rotation(degrees=(5, 6, 7))).pet)
    assert Grid.from_image(make_image(np.zeros(grid.size[::-1], np.float32), grid)) == grid


@settings(max_examples=30, deadline=None)
@given(angles, st.tuples(*[st.floats(2.03, 6.0)] * 3), st.sampled_from(list(all_orders())))
def test_working_grid_and_values_are_those_of_monai(
    degrees: tuple[float, float, float],
    spacing: tuple[float, float, float],
    order: tuple[tuple[int, int, int], tuple[bool, bool, bool]],
) -> None:
    """MONAI `Orientation("RAS")` and `Spacing` are what the published folds were fed by.

    A size that falls on a half is left out: MONAI rounds it by the last bit of a rotated affine, we by the spacing.
    Spacings start above 2 mm: within a few thousandths of it MONAI returns the image as it is, drifting by a voxel
    over a body, and below it the last half voxel is extrapolated otherwise (see `resample`).
    """
    from monai.data import MetaTensor
    from monai.transforms import Orientation, Spacing

    sizes = [(n - 1) * step / 2.0 + 1 for n, step in zip((20, 17, 15), spacing, strict=True)]
    assume(all(abs(size % 1.0 - 0.5) > 1e-6 for size in sizes))
    image = stored_as(phantom(size=(20, 17, 15), spacing=spacing, direction=rotation(degrees=degrees)).pet, *order)
    ras = np.diag([-1.0, -1.0, 1.0, 1.0])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = Grid.from_image(image).steps_mm, image.GetOrigin()
    theirs = MetaTensor(sitk.GetArrayFromImage(image).transpose(2, 1, 0)[None], affine=ras @ affine)
    theirs = Spacing((2.0, 2.0, 2.0), mode="bilinear")(Orientation("RAS", labels=None)(theirs))

    grid = make_working_grid(Grid.from_image(image), spacing_mm=(2.0, 2.0, 2.0))
    ours = view_voxels(resample(image, grid, outside=None))
    assert ours.shape == tuple(theirs.shape[1:])
    np.testing.assert_allclose(ours, theirs[0].numpy(), atol=2e-5)
    ours_affine = np.eye(4)
    ours_affine[:3, :3], ours_affine[:3, 3] = grid.steps_mm[:, ::-1], grid.origin_mm
    np.testing.assert_allclose(ras @ ours_affine, theirs.affine.numpy(), atol=1e-6)


def test_working_grid_does_not_depend_on_the_storage_order() -> None:
    image = phantom(direction=rotation(degrees=(8, -15, 40))).pet
    expected = make_working_grid(Grid.from_image(image), spacing_mm=(2.0, 3.0, 4.0))
    for order, flips in all_orders():
        grid = make_working_grid(Grid.from_image(stored_as(image, order, flips)), spacing_mm=(2.0, 3.0, 4.0))
        assert grid.size == expected.size
        assert is_same_grid(grid, expected, tolerance=1e-9)


def test_working_spacing_follows_the_networks_axes() -> None:
    grid = make_working_grid(Grid.from_image(phantom().pet), spacing_mm=(2.0, 3.0, 4.0))
    assert grid.spacing_mm == (4.0, 3.0, 2.0)  # Superior, Anterior, Right: the array's axes in reverse


@pytest.mark.parametrize("degrees", [(0, 0, 0), (8, -15, 40)])
def test_lattice_voxels_stay_where_they_are_when_the_region_is_cut(degrees: tuple[float, float, float]) -> None:
    whole = Grid.from_image(phantom(direction=rotation(degrees=degrees)).pet)
    expected = make_lattice_grid(whole, spacing_mm=(2.0, 3.0, 4.0))
    grid = make_lattice_grid(whole.crop(((1, 40), (2, 39), (3, 30))), spacing_mm=(2.0, 3.0, 4.0))
    steps = np.linalg.solve(expected.steps_mm, np.array(grid.origin_mm) - np.array(expected.origin_mm))
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-9)
    assert grid.direction == expected.direction


def test_the_lattice_covers_its_region_to_half_a_spacing() -> None:
    region = Grid((40, 30, 20), (1.7, 2.3, 3.1), (-31.2, 7.7, 100.9), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    grid = make_lattice_grid(region, spacing_mm=(4.0, 4.0, 4.0))
    first, last = (0, 0, 0), (39, 29, 19)
    own = sorted([region.find_position_mm(first), region.find_position_mm(last)])
    ends = np.array([grid.find_position_mm((0, 0, 0)), grid.find_position_mm(tuple(n - 1 for n in grid.size))])
    assert np.all(np.abs(ends.min(axis=0) - np.min(own, axis=0)) <= 2.0 + 1e-5)
    assert np.all(np.abs(ends.max(axis=0) - np.max(own, axis=0)) <= 2.0 + 1e-5)


def test_the_last_plane_is_interpolated_along_the_border() -> None:
    rows = np.tile(np.arange(6, dtype=np.float32), (3, 5, 1))  # rises along x, the same in every plane
    image = make_image(rows, Grid((6, 5, 3), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1)))
    beyond = Grid((5, 4, 1), (1.0, 1.0, 1.0), (0.4, 0.4, 3.6), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    np.testing.assert_allclose(view_voxels(resample(image, beyond, outside=None))[0, 0], np.arange(5) + 0.4, atol=1e-6)


def test_resample_fills_or_repeats_beyond_the_border() -> None:
    image = sitk.Image((4, 4, 4), sitk.sitkFloat32) + 5.0
    wider = Grid((8, 8, 8), (1.0, 1.0, 1.0), (-2.0, -2.0, -2.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    assert view_voxels(resample(image, wider, outside=-7.0)).min() == -7.0
    assert view_voxels(resample(image, wider, outside=None)).min() == 5.0


def test_cut_takes_the_voxels_of_the_box() -> None:
    image = phantom(direction=rotation(degrees=(3, 4, 5))).pet
    part = cut(image, Grid.from_image(image).crop(((3, 9), (4, 8), (5, 7))))
    np.testing.assert_array_equal(view_voxels(part), view_voxels(image)[5:7, 4:8, 3:9])
    assert is_same_grid(Grid.from_image(part), Grid.from_image(image).crop(((3, 9), (4, 8), (5, 7))), tolerance=1e-9)


@pytest.mark.parametrize(("moved_mm", "same"), [(0.0, True), (1e-4, True), (0.1, False)])
def test_same_grid_is_a_matter_of_voxel_centres(moved_mm: float, same: bool) -> None:
    grid = Grid.from_image(phantom().pet)
    other = Grid(grid.size, grid.spacing_mm, (grid.origin_mm[0] + moved_mm, *grid.origin_mm[1:]), grid.direction)
    assert is_same_grid(grid, other) is same


@given(st.lists(st.tuples(*[st.integers(0, n - 1) for n in (4, 5, 6)]), max_size=4))
def test_the_occupied_box_is_the_smallest_that_holds_everything(at: list[tuple[int, int, int]]) -> None:
    mask = np.zeros((4, 5, 6), np.uint8)
    for index in at:
        mask[index] = 2
    box = find_occupied_box(mask)
    assert np.count_nonzero(mask[box]) == np.count_nonzero(mask)
    if not at:
        assert mask[box].size == 0
        return
    for axis in range(3):
        across = np.moveaxis(mask[box], axis, 0)
        assert across[0].any()
        assert across[-1].any()
