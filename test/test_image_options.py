"""What `--nonfinite air` and `--nifti-form` make of a study, and that its report is told."""

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import phantom

from autosegnet.errors import InputError
from autosegnet.geometry import Grid, make_image, view_voxels
from autosegnet.loading import InputOptions, LoadedStudy, load_study
from autosegnet.runtime.log import keep_study_warnings


def with_border(image: sitk.Image, value: float) -> sitk.Image:
    array = view_voxels(image).copy()
    array[:, :2] = value
    return make_image(array, Grid.from_image(image))


def load(tmp_path, pet: sitk.Image, ct: sitk.Image, **options: str) -> LoadedStudy:
    for image, name in ((pet, "pet.nii.gz"), (ct, "ct.nii.gz")):
        sitk.WriteImage(image, str(tmp_path / name))
    return load_study(pet=tmp_path / "pet.nii.gz", ct=tmp_path / "ct.nii.gz", options=InputOptions(**options))


def test_nan_outside_the_field_of_view_is_read_as_air(tmp_path):
    study = phantom()
    spoilt = with_border(study.pet, np.nan), with_border(study.ct, np.nan)
    with pytest.raises(InputError, match="--nonfinite air"):
        load(tmp_path, *spoilt)
    with keep_study_warnings() as warnings:
        found = load(tmp_path, *spoilt, nonfinite="air").study
    assert np.array_equal(view_voxels(found.pet), view_voxels(with_border(study.pet, 0.0)))
    assert np.array_equal(view_voxels(found.ct), view_voxels(with_border(study.ct, -1024.0)))
    assert sum("NaN or infinite" in warning for warning in warnings) == 2  # the CT is read by a thread of its own


def test_the_named_form_is_used_for_both_images(tmp_path):
    import nibabel

    study = phantom()
    for name in ("pet", "ct"):
        sitk.WriteImage(getattr(study, name), str(tmp_path / f"{name}.nii"))
        image = nibabel.load(tmp_path / f"{name}.nii")
        moved = image.affine.copy()
        moved[0, 3] += 50
        image.set_sform(moved, code=2)
        nibabel.save(image, tmp_path / f"{name}.nii.gz")
    with pytest.raises(InputError, match="voxels apart"):
        load_study(pet=tmp_path / "pet.nii.gz", ct=tmp_path / "ct.nii.gz")
    for form, shift_mm in (("qform", 0.0), ("sform", -50.0)):
        options = InputOptions(nifti_form=form)
        found = load_study(pet=tmp_path / "pet.nii.gz", ct=tmp_path / "ct.nii.gz", options=options).study
        assert found.pet.GetOrigin()[0] == pytest.approx(study.pet.GetOrigin()[0] + shift_mm, abs=1e-3)
        assert found.ct.GetOrigin()[0] == pytest.approx(study.ct.GetOrigin()[0] + shift_mm, abs=1e-3)
