import logging

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import phantom

from autosegnet.errors import InputError
from autosegnet.geometry import Grid, make_image, view_voxels
from autosegnet.study import Study, check_study


def changed(image: sitk.Image, function) -> sitk.Image:
    return make_image(function(view_voxels(image).astype(np.float32)).astype(np.float32), Grid.from_image(image))


def beside(array, value):
    """Return a padding value beyond a round field of view."""
    z, y, x = np.ogrid[tuple(slice(-1, 1, n * 1j) for n in array.shape)]
    return np.where(y**2 + x**2 + 0 * z > 1, value, array)


def corner(array, value):
    """Return a value in 1 of 1000 voxels, which no percentile shows."""
    array[:4, :4, :4] = value
    return array


def without_air(image: sitk.Image) -> sitk.Image:
    return image[16:32, 14:26, 12:24]


def refusal(study: Study) -> str:
    with pytest.raises(InputError) as caught:
        check_study(pet=study.pet, ct=study.ct)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_good_study_passes() -> None:
    study = phantom()
    assert check_study(pet=study.pet, ct=study.ct) == study


def test_slightly_negative_pet_passes() -> None:
    study = phantom()
    check_study(pet=changed(study.pet, lambda a: a - 0.05), ct=study.ct)


def noisy(suv):
    rng = np.random.default_rng(0)
    return np.clip(suv + rng.normal(0, 0.5, suv.shape), 0, None)


def test_noise_in_the_air_is_not_taken_for_a_patient_beyond_the_ct() -> None:
    """Where few counts leave SUV 0.3 and more in the air, it outweighed the patient: "CT covers 13 % of the body"."""
    study = phantom(size=(96, 96, 36))
    check_study(pet=changed(study.pet, noisy), ct=study.ct)


def test_a_truncated_ct_passes_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    study = phantom()
    check_study(pet=study.pet, ct=study.ct[16:])
    (warning,) = (record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING)
    assert "CT covers 7" in warning


def test_noise_does_not_hide_that_the_ct_is_elsewhere() -> None:
    study = phantom()
    assert "CT covers" in refusal(Study(changed(study.pet, noisy), study.ct[:, :, :12]))


def test_real_studies_pass(real_data) -> None:
    for folder in sorted((real_data / "sts").glob("STS_*")):
        check_study(pet=sitk.ReadImage(str(folder / "SUV.nii.gz")), ct=sitk.ReadImage(str(folder / "CTres.nii.gz")))


@pytest.mark.parametrize(
    ("pet", "ct", "looks_like"),
    [
        (lambda s: s.ct, lambda s: s.pet, "swapped"),
        (lambda s: s.ct, lambda s: s.ct, "CT in HU"),
        (lambda s: s.pet, lambda s: s.pet, "looks like SUV"),
        (lambda s: s.pet, lambda s: changed(s.ct, lambda a: np.clip(a + 1024, 0, None)), "offset of 1024"),
        (lambda s: s.pet, lambda s: changed(s.ct, lambda a: (a + 1024) / 2048), "scaled"),
        (lambda s: s.pet, lambda s: changed(s.ct, lambda a: a / 1024), "scaled"),
        (lambda s: s.pet, lambda s: changed(s.ct, lambda a: (a - a.mean()) / a.std()), "scaled"),
        (lambda s: s.pet, lambda s: changed(s.ct, lambda a: beside(a + 1024, -2000)), "offset of 1024"),
        (lambda s: without_air(changed(s.ct, lambda a: a - 90)), lambda s: without_air(s.pet), "swapped"),
        (lambda s: changed(s.pet, lambda a: a * 70), lambda s: s.ct, "Bq/ml"),
        (lambda s: changed(s.pet, lambda a: np.where(a > 2, a, 0.01)), lambda s: s.ct, "another patient"),
        (lambda s: changed(s.pet, lambda a: corner(a, -1000)), lambda s: s.ct, "padding"),
        (lambda s: changed(s.pet, lambda a: a * 5000), lambda s: s.ct, "Bq/ml"),
        (lambda s: changed(s.pet, lambda a: a - 5), lambda s: s.ct, "at or above 0"),
        (lambda s: changed(s.pet, lambda a: a * 0 + 1), lambda s: s.ct, "PET is constant"),
        (lambda s: changed(s.pet, lambda a: (a - a.max()) / a.max()), lambda s: s.ct, "no voxel above 0"),
        (lambda s: s.pet, lambda s: changed(s.ct, lambda a: a * 0 - 1000), "CT is constant"),
        (lambda s: changed(s.pet, lambda a: a / 100), lambda s: s.ct, "no voxel above SUV 0.3"),
        (lambda s: s.pet[:, :, :2], lambda s: s.ct, "at least 3"),
        (lambda s: s.pet, lambda s: s.ct[:2], "at least 3"),
        (lambda s: s.pet, lambda s: s.ct[:, :, :12], "CT covers"),
    ],
)
def test_what_a_file_alone_does_not_show_is_refused(pet, ct, looks_like: str) -> None:
    study = phantom()
    assert looks_like in refusal(Study(pet(study), ct(study)))


def test_a_ct_elsewhere_is_refused() -> None:
    study = phantom()
    elsewhere = sitk.Image(study.ct)
    elsewhere.SetOrigin((2000.0, 0.0, 0.0))
    assert "CT covers 0%" in refusal(Study(study.pet, elsewhere))
