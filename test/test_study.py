import numpy as np
import pytest
import SimpleITK as sitk
from conftest import phantom

from autosegnet.errors import InputError
from autosegnet.geometry import Grid, image_on, voxels
from autosegnet.study import Study, checked_study


def changed(image: sitk.Image, function) -> sitk.Image:
    return image_on(function(voxels(image).astype(np.float32)).astype(np.float32), Grid.of(image))


def refusal(study: Study) -> str:
    with pytest.raises(InputError) as caught:
        checked_study(pet=study.pet, ct=study.ct)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_good_study_passes() -> None:
    study = phantom()
    assert checked_study(pet=study.pet, ct=study.ct) == study


def test_slightly_negative_pet_passes() -> None:
    study = phantom()
    checked_study(pet=changed(study.pet, lambda a: a - 0.05), ct=study.ct)


def test_real_studies_pass(real_data) -> None:
    for folder in sorted((real_data / "sts").glob("STS_*")):
        checked_study(pet=sitk.ReadImage(str(folder / "SUV.nii.gz")), ct=sitk.ReadImage(str(folder / "CTres.nii.gz")))


@pytest.mark.parametrize(
    ("pet", "ct", "looks_like"),
    [
        (lambda s: s.ct, lambda s: s.pet, "swapped"),
        (lambda s: s.ct, lambda s: s.ct, "CT in HU"),
        (lambda s: s.pet, lambda s: s.pet, "looks like SUV"),
        (lambda s: s.pet, lambda s: changed(s.ct, lambda a: np.clip(a + 1024, 0, None)), "offset of 1024"),
        (lambda s: s.pet, lambda s: changed(s.ct, lambda a: (a + 1024) / 2048), "scaled"),
        (lambda s: changed(s.pet, lambda a: a * 5000), lambda s: s.ct, "Bq/ml"),
        (lambda s: changed(s.pet, lambda a: a - 5), lambda s: s.ct, "at or above 0"),
        (lambda s: changed(s.pet, lambda a: a * 0 + 1), lambda s: s.ct, "PET is constant"),
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
