"""The thumbnail shows the patient from the front, whatever the storage order."""

from io import BytesIO

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import stored_as
from PIL import Image

from autosegnet.batch.thumbnail import draw_thumbnail


def study(spot: tuple[int, int, int]) -> tuple[sitk.Image, sitk.Image]:
    """Return a cold PET with one hot voxel, and its mask; (x, y, z), L, P, S."""
    values = np.full((40, 20, 30), 0.5, np.float32)
    values[spot[::-1]] = 20.0
    pet = sitk.GetImageFromArray(values)
    pet.SetSpacing((4.0, 4.0, 4.0))
    return pet, sitk.Cast(pet > 4, sitk.sitkUInt8)


def shown(pet: sitk.Image, mask: sitk.Image) -> tuple[Image.Image, float, float]:
    """Return the picture, and where its red lies: shares of the width and the height."""
    picture = Image.open(BytesIO(draw_thumbnail(pet, mask))).convert("RGB")
    colours = np.asarray(picture).astype(int)
    rows, columns = np.nonzero(colours[..., 0] - colours[..., 1] > 30)
    return picture, float(columns.mean() / picture.width), float(rows.mean() / picture.height)


@pytest.mark.parametrize(
    "order", [((0, 1, 2), (False,) * 3), ((2, 0, 1), (True, False, True)), ((1, 2, 0), (True,) * 3)]
)
def test_head_is_up_and_the_patients_left_is_right(order) -> None:
    pet, mask = (stored_as(image, *order) for image in study((25, 3, 36)))
    picture, across, down = shown(pet, mask)
    assert picture.size == (120, 160)
    assert across > 0.75
    assert down < 0.2


def test_the_air_around_the_body_is_left_out() -> None:
    pet, mask = study((25, 3, 36))
    wide = (sitk.ConstantPad(image, (40, 5, 0), (40, 5, 0), 0.0) for image in (pet, mask))
    assert shown(*wide)[0].size == shown(pet, mask)[0].size


def test_a_study_without_lesions_and_uptake_is_white() -> None:
    pet, mask = study((0, 0, 0))
    picture = Image.open(BytesIO(draw_thumbnail(pet * 0.0, mask * 0))).convert("L")
    assert np.asarray(picture).min() > 250
