"""Our pipeline against the published one, written from MONAI's parts (`benchmarks/published_pipeline.py`)."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import phantom, rotation, stored_as
from scipy import ndimage

from autosegnet.geometry import view_voxels
from autosegnet.model.devices import open_engine
from autosegnet.model.recipe import LastStep
from autosegnet.model.weights import Weights
from autosegnet.pipeline import segment_study
from autosegnet.study import Study


@pytest.mark.filterwarnings("ignore")  # MONAI's own
@pytest.mark.parametrize(
    ("degrees", "flips"), [((0, 0, 0), (False, False, False)), ((12, -8, 20), (True, False, True))]
)
@pytest.mark.parametrize("last_step", ["softmax", "two_sigmoids"])
def test_same_mask_but_for_interpolated_borders(
    tiny_weights: Weights, tmp_path, degrees, flips, last_step: LastStep
) -> None:
    """With the published last step the same at borders, too."""
    from benchmarks.published_pipeline import segment_as_published

    study = phantom(size=(60, 54, 40), spacing=(4.0, 4.0, 4.3), direction=rotation(degrees=degrees))
    study = Study(*(stored_as(image, (0, 1, 2), flips) for image in (study.pet, study.ct)))
    for image, name in ((study.pet, "pet"), (study.ct, "ct")):
        sitk.WriteImage(image, str(tmp_path / f"{name}.nii"))
    read = Study(*(sitk.ReadImage(str(tmp_path / f"{name}.nii")) for name in ("pet", "ct")))

    recipe = replace(tiny_weights.recipe, crop="ct_foreground", last_step=last_step)
    weights = Weights(tiny_weights.folder, recipe)
    ours = view_voxels(segment_study(read, open_engine(weights, device="cpu"), recipe).mask) > 0
    theirs = view_voxels(segment_as_published(tmp_path / "pet.nii", tmp_path / "ct.nii", weights)) > 0
    assert theirs.sum() > 500
    assert 2 * np.sum(ours & theirs) / (ours.sum() + theirs.sum()) > (0.98 if last_step == "softmax" else 0.9995)
    border = ndimage.binary_dilation(theirs) & ~ndimage.binary_erosion(theirs)
    assert not np.any((ours != theirs) & ~border)
