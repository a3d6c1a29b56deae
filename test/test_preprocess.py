from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from phantoms import all_orders, pad_with_air, phantom, rotation, stored_as

from autosegnet.geometry import (
    Grid,
    cut,
    find_occupied_box,
    is_same_grid,
    make_image,
    resample,
    resample_labels,
    view_voxels,
)
from autosegnet.model.recipe import CT_CHANNEL, PET_CHANNEL, Anchor, Recipe
from autosegnet.preprocess import find_body_region, find_placement, prepare
from autosegnet.study import Study

FOREGROUND = Recipe(crop="ct_foreground")
LATTICE = Recipe(anchor="lattice")


def with_values(image: sitk.Image, change) -> sitk.Image:
    array = view_voxels(image).copy()
    change(array)
    return make_image(array, Grid.from_image(image))


def covers(region: Grid, image: sitk.Image, inside: np.ndarray) -> bool:
    """Return whether a region of the image's grid holds every voxel of a mask (z, y, x)."""
    (x0, x1), (y0, y1), (z0, z1) = Grid.from_image(image).find_box(region)
    return int(inside[z0:z1, y0:y1, x0:x1].sum()) == int(inside.sum())


def test_array_is_ct_in_0_to_1_then_suv_in_ras() -> None:
    study = phantom()
    prepared = prepare(study, FOREGROUND)
    assert prepared.array.dtype == np.float32
    assert prepared.array.shape[1:] == prepared.grid.size[::-1]
    ct = prepared.array[CT_CHANNEL]
    assert 0.0 <= ct.min() < 0.05
    assert ct.max() == pytest.approx((60 + 1024) / 2048, abs=0.01)
    # The larger lesion is at LPS (30, -10, 20): to the left, anterior and superior of the centre.
    hot = np.unravel_index(np.argmax(prepared.array[PET_CHANNEL]), prepared.array.shape[1:])
    x, y, z = np.array(hot) / (np.array(prepared.array.shape[1:]) - 1)
    assert x < 0.5
    assert y > 0.5
    assert z > 0.5


def test_ct_is_clipped_before_it_is_interpolated() -> None:
    study = phantom(spacing=(6.0, 6.0, 6.0))
    metal = with_values(study.ct, lambda a: a.__setitem__((18, 20, 24), 30000))
    array = prepare(Study(study.pet, metal), FOREGROUND).array[CT_CHANNEL]
    assert array.max() == pytest.approx(1.0, abs=0.02)
    # Interpolated first, a voxel of 30,000 HU would fill the whole of its neighbourhood with 1.
    assert int((array > 0.95).sum()) <= 8


def test_negative_suv_is_noise() -> None:
    study = phantom()
    noisy = with_values(study.pet, lambda a: a.__setitem__((0, 0, slice(None)), -0.3))
    assert prepare(Study(noisy, study.ct), FOREGROUND).array[PET_CHANNEL].min() == 0.0


@pytest.mark.parametrize("recipe", [Recipe(), LATTICE, FOREGROUND])
def test_all_storage_orders_give_the_same_input(recipe: Recipe) -> None:
    study = phantom(direction=rotation(degrees=(10, 5, -12)))
    expected = prepare(study, recipe)
    for order, flips in all_orders():
        prepared = prepare(Study(stored_as(study.pet, order, flips), stored_as(study.ct, order, flips)), recipe)
        np.testing.assert_allclose(prepared.array, expected.array, atol=2e-5)


@pytest.mark.parametrize("spacing", [(4.0, 4.0, 5.0), (3.3, 4.7, 3.0)])
def test_padding_with_air_changes_no_voxel_on_a_lattice(spacing: tuple[float, float, float]) -> None:
    study = phantom(spacing=spacing)
    expected = prepare(study, LATTICE)
    padded = prepare(pad_with_air(study, before=(7, 0, 3), after=(2, 11, 5)), LATTICE)
    np.testing.assert_array_equal(padded.array, expected.array)
    assert is_same_grid(padded.grid, expected.grid, tolerance=1e-9)


def test_cutting_air_away_changes_no_voxel_that_is_left_on_a_lattice() -> None:
    study = phantom()
    expected = prepare(study, LATTICE)
    x, y, z = Grid.from_image(study.pet).find_box(find_body_region(study, anchor="lattice"))
    part = Grid.from_image(study.pet).crop(((x[0] + 1, x[1] - 1), (y[0] + 1, y[1]), (z[0], z[1] - 1)))
    prepared = prepare(Study(cut(study.pet, part), cut(study.ct, part)), LATTICE)
    # Both in whole blocks of one lattice: where the part lies in the whole is a number of blocks.
    steps = np.linalg.solve(expected.grid.steps_mm, np.subtract(prepared.grid.origin_mm, expected.grid.origin_mm))
    np.testing.assert_allclose(steps / 16, np.rint(steps / 16), atol=1e-9)
    begin = np.rint(steps).astype(int)[::-1]
    theirs = tuple(slice(max(0, -b), None) for b in begin)
    ours = expected.array[(slice(None), *(slice(max(0, b), None) for b in begin))]
    found = prepared.array[(slice(None), *theirs)]
    shape = tuple(slice(0, min(a, b)) for a, b in zip(ours.shape, found.shape, strict=True))
    both = (found[shape][CT_CHANNEL] > 0) & (ours[shape][CT_CHANNEL] > 0)
    assert both.sum() > 1000
    np.testing.assert_allclose(found[shape][:, both], ours[shape][:, both], atol=1e-5)


def test_an_array_on_a_lattice_is_whole_blocks_of_which_the_rest_is_air() -> None:
    study = phantom(spacing=(3.3, 4.7, 3.0))
    prepared = prepare(study, LATTICE)
    assert all(n % 16 == 0 for n in prepared.array.shape[1:])
    region = prepared.region
    for channel in (CT_CHANNEL, PET_CHANNEL):  # only what was measured holds anything
        for part, n, step in zip(
            find_occupied_box(prepared.array[channel]), region.size, region.spacing_mm, strict=True
        ):
            assert abs(part.stop - part.start - ((n - 1) * step / 2.0 + 1)) <= 1.0 + 1e-6


def test_ct_on_another_grid_is_resampled_to_the_pets_first() -> None:
    """Paper, section 2.2: the CT was downsampled to the coordinates of the PET."""
    study = phantom()
    fine = Grid((90, 80, 100), (2.2, 2.0, 2.0), (-100.0, -80.0, -100.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    ct = resample(study.ct, fine, outside=-1024)
    on_pet = resample(ct, Grid.from_image(study.pet), outside=-1024)
    ours = prepare(Study(study.pet, ct), FOREGROUND)
    expected = prepare(Study(study.pet, on_pet), FOREGROUND)
    np.testing.assert_allclose(ours.array, expected.array, atol=1e-5)


def test_beyond_the_ct_is_air() -> None:
    study = phantom()
    lower = study.ct[:, :, :20]
    array = prepare(Study(study.pet, lower), Recipe()).array[CT_CHANNEL]
    assert array[:, :, -10:].max() == 0.0


def test_foreground_is_the_box_of_all_above_the_window() -> None:
    study = phantom()
    outside = with_values(study.ct, lambda a: np.copyto(a, np.where(a < -500, -1024, a)))
    region = prepare(Study(study.pet, outside), FOREGROUND).region
    kept = np.nonzero(view_voxels(outside) > -1024)
    size = tuple(int(k.max() - k.min() + 1) for k in reversed(kept))
    assert region.size == size


def test_body_leaves_air_and_table_out() -> None:
    study = phantom(size=(60, 70, 36))
    table = with_values(study.ct, lambda a: a.__setitem__((slice(None), slice(64, 66), slice(10, 50)), 100))
    region = find_body_region(Study(study.pet, table))
    body = view_voxels(study.ct) > -500
    assert covers(region, study.ct, body)
    assert not covers(region, study.ct, view_voxels(table) > -500)
    margin_voxels = -(-8 // 4) + 3
    assert region.size[0] <= np.ptp(np.nonzero(body)[2]) + 1 + 2 * margin_voxels


def make_tapered() -> Study:
    """Return a body that is wide above and a leg below, on a table."""
    study = phantom(size=(60, 50, 60))
    leg, size = (slice(15, 25), slice(20, 34)), view_voxels(study.ct).shape
    narrow = np.zeros(size, dtype=bool)
    narrow[:26] = True
    narrow[(slice(0, 26), *leg)] = False

    def taper(air: float, tissue: float) -> Callable[[NDArray[Any]], None]:
        def change(array: NDArray[Any]) -> None:
            array[narrow] = air
            array[(slice(0, 26), *leg)] = tissue

        return change

    ct = with_values(
        with_values(study.ct, taper(-1000, 40)), lambda a: a.__setitem__((slice(None), slice(46, 48)), 100)
    )
    return Study(with_values(study.pet, taper(0, 0.8)), ct)


@pytest.mark.parametrize("anchor", ["region", "lattice"])
def test_the_outline_follows_the_body_plane_by_plane(anchor: Anchor) -> None:
    study = make_tapered()
    placement = find_placement(study, Recipe(passes="layers", anchor=anchor))
    outline = placement.outline
    assert outline is not None
    assert outline.shape == (placement.grid.shape[2], 2, 2)
    tissue = (view_voxels(study.ct) > -500) & (np.arange(50) < 44)[:, None]  # without the table
    image = make_image(tissue.astype(np.uint8), Grid.from_image(study.ct))
    body = view_voxels(resample_labels(image, placement.grid)) > 0
    for z in np.flatnonzero(body.any(axis=(0, 1))):
        for axis, (first, end) in enumerate(outline[z].tolist()):
            occupied = np.flatnonzero(body[:, :, z].any(axis=1 - axis))
            assert first <= occupied[0]
            assert occupied[-1] < end
    widths = outline[:, 0, 1] - outline[:, 0, 0]
    assert widths.min() < 0.7 * widths.max()


def test_the_outline_does_not_depend_on_how_a_study_is_stored() -> None:
    study = make_tapered()
    recipe = Recipe(passes="layers")
    expected = find_placement(study, recipe).outline
    for order, flips in all_orders():
        stored = Study(stored_as(study.pet, order, flips), stored_as(study.ct, order, flips))
        np.testing.assert_array_equal(find_placement(stored, recipe).outline, expected)


def test_windows_need_no_outline() -> None:
    assert find_placement(phantom(), Recipe()).outline is None
    nothing = Study(with_values(phantom().pet, lambda a: a.fill(0)), with_values(phantom().ct, lambda a: a.fill(-1000)))
    assert find_placement(nothing, Recipe(passes="layers")).outline is None


def test_body_keeps_limbs_apart_from_the_trunk() -> None:
    study = phantom(size=(90, 40, 36))
    arm = (slice(5, 30), slice(15, 25), slice(2, 10))
    ct = with_values(study.ct, lambda a: a.__setitem__(arm, 40))
    pet = with_values(study.pet, lambda a: a.__setitem__(arm, 0.7))
    inside = np.zeros(view_voxels(ct).shape, bool)
    inside[arm] = True
    assert covers(find_body_region(Study(pet, ct)), ct, inside)


def test_body_keeps_uptake_beyond_a_truncated_ct() -> None:
    study = phantom(size=(90, 40, 36))
    arm = (slice(10, 20), slice(15, 25), slice(2, 10))
    pet = with_values(study.pet, lambda a: a.__setitem__(arm, 6.0))
    inside = np.zeros(view_voxels(pet).shape, bool)
    inside[arm] = True
    assert covers(find_body_region(Study(pet, study.ct)), pet, inside)


def test_body_keeps_uptake_in_a_finger_and_no_finger_without() -> None:
    """Thinner than what parts a table from the patient, and with a lesion too small to be seen by itself."""
    study = phantom(size=(60, 60, 60))
    tissue = view_voxels(study.ct) > -500
    top = int(np.nonzero(tissue.any(axis=(1, 2)))[0].max())
    y, x = (int(np.median(found)) for found in np.nonzero(tissue[top]))
    finger = (slice(top, top + 12), slice(y, y + 3), slice(x, x + 3))
    tip = (slice(top + 9, top + 12), slice(y, y + 3), slice(x, x + 3))
    ct = with_values(study.ct, lambda a: a.__setitem__(finger, 40))
    hot = with_values(study.pet, lambda a: a.__setitem__(tip, 6.0))
    inside = np.zeros(view_voxels(ct).shape, bool)
    inside[tip] = True
    assert covers(find_body_region(Study(hot, ct)), ct, inside)
    assert not covers(find_body_region(Study(study.pet, ct)), ct, inside)


def test_body_of_nothing_is_the_whole_grid() -> None:
    study = phantom(size=(12, 12, 3))
    assert find_body_region(study) == Grid.from_image(study.pet)


def test_body_holds_every_lesion_of_real_studies(real_data) -> None:
    for folder in sorted((real_data / "sts").glob("STS_*")):
        pet, ct, seg = (sitk.ReadImage(str(folder / f"{n}.nii.gz")) for n in ("SUV", "CTres", "SEG"))
        assert covers(find_body_region(Study(pet, ct)), pet, view_voxels(seg) > 0), folder.name


def test_the_pet_is_limited_where_the_recipe_says_so() -> None:
    study = phantom()
    as_it_is = prepare(study, Recipe()).array
    limited = prepare(study, Recipe(suv_limit=3.0)).array
    assert as_it_is[PET_CHANNEL].max() > 3
    np.testing.assert_array_equal(limited[PET_CHANNEL], np.minimum(as_it_is[PET_CHANNEL], 3))
    np.testing.assert_array_equal(limited[CT_CHANNEL], as_it_is[CT_CHANNEL])
