"""Studies are judged by what cannot lie: air, the body's place, and the amount of activity."""

import logging

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import stored_as

from autosegnet.errors import InputError
from autosegnet.geometry import Grid, make_image, view_voxels
from autosegnet.study import Study, check_study

SPACING_MM = (8.0, 8.0, 8.0)


def grid_of(size: tuple[int, int, int]) -> Grid:
    x, y, z = (-(n - 1) * 4.0 for n in size)
    return Grid(size, SPACING_MM, (x, y, z), (1, 0, 0, 0, 1, 0, 0, 0, 1))


def patient(*, girth: float = 1.0, length: float = 1.0, suv_of_tumour: float = 2.4) -> Study:
    """Return a trunk with head, arm, lungs, liver, spine and heart: about 45 l if girth and length are unchanged."""
    grid = grid_of((76, 50, 110))
    z, y, x = (
        (np.arange(n) - (n - 1) / 2).reshape(shape) * 8.0
        for n, shape in zip(grid.shape, ((-1, 1, 1), (1, -1, 1), (1, 1, -1)), strict=True)
    )
    x, y, z = x / girth, y / girth, z / length
    trunk = ((x / 185) ** 2 + (y / 140) ** 2 < 1) & (z < 160) & (z > -330)
    head = (x / 75) ** 2 + ((y + 15) / 90) ** 2 + ((z - 260) / 110) ** 2 < 1
    arm = ((x - 225) / 30) ** 2 + (y / 30) ** 2 + 0 * z < 1
    body = trunk | head | (arm & (z < 120) & (z > -200))
    lungs = trunk & ((((np.abs(x) - 75) / 55) ** 2 + (y / 65) ** 2 + ((z - 90) / 60) ** 2) < 1)
    liver = trunk & (((x + 70) / 75) ** 2 + (y / 70) ** 2 + ((z + 20) / 60) ** 2 < 1)
    heart = ((x - 30) / 35) ** 2 + ((y + 50) / 35) ** 2 + ((z - 60) / 40) ** 2 < 1
    tumour = ((x - 60) / 40) ** 2 + ((y + 20) / 40) ** 2 + ((z + 180) / 40) ** 2 < 1
    suv = np.where(body, 0.9, 0.02) + 1.6 * liver + 4.0 * (head & (z > 250)) - 0.4 * lungs + 3.0 * heart
    suv = np.where(tumour, suv_of_tumour, suv)
    hu = np.where(body, 40.0, -1000.0)
    hu = np.where(lungs, -800.0, np.where(liver, 65.0, hu))
    hu = np.where(body & (np.abs(x) < 18) & (np.abs(y - 70) < 18), 300.0, hu)
    rng = np.random.default_rng(0)
    suv = suv * np.exp(rng.normal(0, 0.1, suv.shape))
    hu = hu + rng.normal(0, 15, hu.shape)
    return Study(make_image(suv.astype(np.float32), grid), make_image(hu.astype(np.float32), grid))


@pytest.fixture(scope="module")
def study() -> Study:
    return patient()


def told(caplog: pytest.LogCaptureFixture, pet: sitk.Image, ct: sitk.Image) -> str:
    """Return what is said of a study, whether it is warned of or refused."""
    with caplog.at_level(logging.WARNING, "autosegnet"):
        try:
            check_study(pet=pet, ct=ct)
        except InputError as error:
            return str(error)
    return "\n".join(record.getMessage() for record in caplog.records)


def with_array(image: sitk.Image, array: np.ndarray) -> sitk.Image:
    return make_image(np.ascontiguousarray(array, np.float32), Grid.from_image(image))


SOUND = {
    "a usual patient": {},
    "an obese one": {"girth": 1.2},
    "a child": {"girth": 0.6, "length": 0.6},
    "one with a large tumour": {"suv_of_tumour": 40.0},
}


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_patient_is_not_doubted(caplog, name):
    sound = patient(**SOUND[name])
    assert told(caplog, sound.pet, sound.ct) == ""


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_a_phantom_that_is_its_own_mirror_image_is_not_doubted(caplog, noise):
    grid = grid_of((60, 60, 80))
    z, y, x = np.meshgrid(*[(np.arange(n) - (n - 1) / 2) * 8 for n in grid.shape], indexing="ij")
    inside = (np.hypot(x, y) < 150) & (np.abs(z) < 260)
    rng = np.random.default_rng(1)
    suv = np.where(inside, 1.0, 0.0) * np.exp(rng.normal(0, noise, inside.shape))
    hu = np.where(inside, 0.0, -1000.0) + rng.normal(0, 100 * noise, inside.shape)
    assert told(caplog, *(make_image(v.astype(np.float32), grid) for v in (suv, hu))) == ""


def test_the_figures_are_kept_with_the_study(study, caplog):
    with caplog.at_level(logging.INFO, "autosegnet"):
        judged = check_study(pet=study.pet, ct=study.ct).judgement
    assert 35 < judged.body_l < 60
    assert 0.9 < judged.mean_suv < 1.5
    assert judged.air_hu < -900
    assert judged.rival.gain < 0.95
    assert "mean SUV" in caplog.text


@pytest.mark.parametrize("factor", [2.8, 10.0, 0.1])
def test_another_scale_of_the_pet_is_told(study, caplog, factor):
    assert "PET has a mean SUV of" in told(caplog, study.pet * factor, study.ct)


def test_more_activity_than_any_patient_holds_is_refused(study):
    with pytest.raises(InputError, match="mean SUV"):
        check_study(pet=study.pet * 10.0, ct=study.ct)


def test_the_amount_in_a_small_part_of_the_body_is_not_judged(study, caplog):
    thorax = slice(None), slice(None), slice(60, 74)
    assert "mean SUV" not in told(caplog, (study.pet * 2.8)[thorax], study.ct[thorax])


def with_fat(study: Study, suv: float) -> Study:
    """Return 10 l of a patient's chest whose left side is fat of a given SUV."""
    pet, ct = (view_voxels(image)[60:75].copy() for image in (study.pet, study.ct))
    side = (ct > 0) & (np.arange(ct.shape[2]) > 52)
    noise = np.random.default_rng(1).normal(0, 0.1, pet.shape)
    pet[side], ct[side] = (suv * np.exp(noise))[side], (-100 + 100 * noise)[side]
    grid = grid_of(pet.shape[::-1])
    return Study(make_image(pet, grid), make_image(ct, grid))


@pytest.mark.parametrize(("suv", "is_doubted"), [(0.21, False), (0.88, False), (0.05, True), (2.0, True)])
def test_a_wrong_scale_of_a_small_part_shows_in_its_fat(study, caplog, suv, is_doubted):
    part = with_fat(study, suv)
    assert ("in fat; expected 0.1 to 1.2" in told(caplog, part.pet, part.ct)) == is_doubted


def test_a_body_whose_amount_is_doubted_is_not_doubted_twice(study, caplog):
    assert "in fat" not in told(caplog, study.pet * 10.0, study.ct)


def test_an_inverted_ct_is_told(study, caplog):
    assert "inverted" in told(caplog, study.pet, study.ct * -1.0)


@pytest.mark.parametrize("padding", [3071.0, 32767.0, 63536.0])
@pytest.mark.parametrize("radius_mm", [175.0, 250.0])
def test_dense_padding_outside_the_field_of_view_is_told(study, caplog, padding, radius_mm):
    hu = view_voxels(study.ct)
    y, x = ((np.arange(n) - (n - 1) / 2) * 8 for n in hu.shape[1:])
    outside = np.hypot(x[None, :], y[:, None]) > radius_mm
    assert "padded" in told(caplog, study.pet, with_array(study.ct, np.where(outside, padding, hu)))


MIRRORED = {
    "head to feet": np.s_[::-1],
    "front to back": np.s_[:, ::-1],
    "left to right": np.s_[:, :, ::-1],
    "left to right and front to back": np.s_[:, ::-1, ::-1],
    "all three": np.s_[::-1, ::-1, ::-1],
}


@pytest.mark.parametrize("name", MIRRORED)
@pytest.mark.parametrize("spoilt", ["pet", "ct"])
def test_a_mirrored_image_is_told(study, caplog, name, spoilt):
    images = {"pet": study.pet, "ct": study.ct}
    images[spoilt] = with_array(images[spoilt], view_voxels(images[spoilt])[MIRRORED[name]])
    assert "CT would fit the PET better mirrored" in told(caplog, images["pet"], images["ct"])


@pytest.mark.parametrize("axes", [(0, 1), (1, 2), (0, 2)])
@pytest.mark.parametrize("quarters", [1, 3])
def test_a_ct_turned_by_a_right_angle_is_told(caplog, axes, quarters):
    cube = sitk.ConstantPad(patient().pet, (17, 30, 0), (17, 30, 0), 0.0)
    ct = sitk.ConstantPad(patient().ct, (17, 30, 0), (17, 30, 0), -1000.0)
    turned = with_array(ct, np.rot90(view_voxels(ct), quarters, axes))
    assert told(caplog, cube, turned) != ""


@pytest.mark.parametrize("shift_mm", [20.0, 30.0, 50.0, 100.0])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_shifted_ct_is_told(study, caplog, shift_mm, axis, sign):
    moved = sitk.Image(study.ct)
    origin = list(moved.GetOrigin())
    origin[axis] += sign * shift_mm
    moved.SetOrigin(origin)
    assert told(caplog, study.pet, moved) != ""


def test_how_the_axes_are_stored_does_not_matter(study, caplog):
    for order, flips in (((2, 0, 1), (True, False, True)), ((1, 0, 2), (False, True, False))):
        assert told(caplog, stored_as(study.pet, order, flips), study.ct) == ""
        assert told(caplog, study.pet, stored_as(study.ct, order, flips)) == ""


@pytest.mark.parametrize("padding", [-2000, -3024, -32768])
def test_padding_below_air_becomes_air(study, padding):
    hu = view_voxels(study.ct).astype(np.int16)
    hu[:, :, :6] = padding
    ct = make_image(hu, Grid.from_image(study.ct))
    found = view_voxels(check_study(pet=study.pet, ct=ct).ct)
    assert found.dtype == np.int16
    assert found[:, :, :6].min() == found[:, :, :6].max() == -1024
    assert np.array_equal(found[:, :, 6:], np.maximum(hu[:, :, 6:], -1024))
