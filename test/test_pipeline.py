from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import THRESHOLD_RECIPE, all_orders, pad_with_air, phantom, rotation, stored_as
from threshold import ThresholdEngine

from autosegnet.geometry import Grid, resample, view_voxels
from autosegnet.model.recipe import Anchor, Crop
from autosegnet.pipeline import segment_study
from autosegnet.study import Study, check_study

# With an engine that finds SUV > 4 the right mask is known: the PET's own voxels above 4, but for interpolation.


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * np.sum(a & b) / (a.sum() + b.sum()))


def found(study: Study, **recipe) -> sitk.Image:
    return segment_study(study, ThresholdEngine(), replace(THRESHOLD_RECIPE, **recipe)).mask


@pytest.mark.parametrize("crop", ["body", "ct_foreground"])
@pytest.mark.parametrize(
    ("size", "spacing", "degrees"),
    [
        ((48, 40, 36), (4.0, 4.0, 5.0), (0, 0, 0)),
        ((48, 40, 36), (4.0, 4.0, 5.0), (15, -10, 30)),
        ((96, 80, 28), (2.04, 2.04, 7.0), (0, 0, 0)),  # anisotropic
        ((36, 30, 90), (5.5, 5.5, 2.0), (0, 20, 0)),
        ((140, 110, 140), (1.3, 1.3, 1.3), (0, 0, 8)),  # finer than the network's grid
    ],
)
def test_the_mask_lies_where_the_uptake_is(crop: Crop, size, spacing, degrees) -> None:
    study = phantom(size=size, spacing=spacing, direction=rotation(degrees=degrees))
    mask = found(study, crop=crop)
    assert Grid.from_image(mask) == Grid.from_image(study.pet)
    assert dice(view_voxels(mask) > 0, view_voxels(study.pet) > 4) > 0.97


@pytest.mark.parametrize("crop", ["body", "ct_foreground"])
def test_all_storage_orders_give_the_same_physical_mask(crop: Crop) -> None:
    study = phantom(direction=rotation(degrees=(10, 5, -12)))
    expected = found(study, crop=crop)
    for order, flips in all_orders():
        mask = found(Study(stored_as(study.pet, order, flips), stored_as(study.ct, order, flips)), crop=crop)
        apart = view_voxels(mask) != view_voxels(stored_as(expected, order, flips))
        # Positions agree to the last bits only, so a voxel that lies on 0.5 exactly may differ.
        assert apart.sum() <= 1


def test_padding_with_air_changes_no_voxel_of_the_mask_on_a_lattice() -> None:
    study = phantom(direction=rotation(degrees=(10, 5, -12)))
    expected = view_voxels(found(study, anchor="lattice"))
    mask = view_voxels(found(pad_with_air(study, before=(8, 8, 8), after=(8, 8, 8)), anchor="lattice"))
    np.testing.assert_array_equal(mask[8:-8, 8:-8, 8:-8], expected)
    assert mask.sum() == expected.sum()


def test_pet_and_ct_may_be_stored_in_different_orders_and_grids() -> None:
    study = phantom()
    fine = Grid((110, 95, 120), (2.0, 2.0, 1.7), (105.0, -93.0, 100.0), rotation(degrees=(0, 180, 0)))
    ct = resample(study.ct, fine, outside=-1024)
    assert dice(view_voxels(found(Study(study.pet, ct))) > 0, view_voxels(found(study)) > 0) > 0.99


def test_a_field_of_view_below_the_window_is_padded() -> None:
    study = phantom(size=(20, 20, 12), spacing=(4.0, 4.0, 4.0))
    assert found(study, patch=(192, 192, 192)).GetSize() == (20, 20, 12)


def test_number_of_windows_does_not_matter_to_voxelwise_answers() -> None:
    study = phantom()
    one, many = found(study, patch=(192, 192, 192)), found(study, patch=(32, 48, 16))
    assert int(np.sum(view_voxels(one) != view_voxels(many))) <= 1


@pytest.mark.parametrize("anchor", ["region", "lattice"])
def test_windows_by_layers_do_not_matter_to_voxelwise_answers(anchor: Anchor) -> None:
    study = phantom(direction=rotation(degrees=(10, 5, -12)))
    windows = found(study, patch=(48, 32, 16), anchor=anchor)
    layers = found(study, patch=(48, 32, 16), anchor=anchor, passes="layers")
    assert view_voxels(windows).any()
    assert int(np.sum(view_voxels(windows) != view_voxels(layers))) <= 1


def test_nothing_of_the_study_is_changed() -> None:
    study = phantom()
    before = [(view_voxels(i).copy(), Grid.from_image(i)) for i in (study.pet, study.ct)]
    found(study)
    for image, (array, grid) in zip((study.pet, study.ct), before, strict=True):
        np.testing.assert_array_equal(view_voxels(image), array)
        assert Grid.from_image(image) == grid


def test_thresholding_real_studies_agrees_with_thresholding_their_voxels(real_data) -> None:
    """Through the whole geometry of the product, SUV > 4 stays SUV > 4 on real grids."""
    for name in ("STS_002", "STS_012", "STS_044"):
        folder = real_data / "sts" / name
        pet, ct = (sitk.ReadImage(str(folder / f"{n}.nii.gz")) for n in ("SUV", "CTres"))
        mask = found(check_study(pet=pet, ct=ct))
        assert dice(view_voxels(mask) > 0, view_voxels(pet) > 4) > 0.9, name
