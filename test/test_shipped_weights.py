"""The folds in weights/: what they find in the bundled sample, and on a real study the same as plain torch."""

import math
import os
from pathlib import Path

import pytest
import SimpleITK as sitk
from scipy import ndimage

from autosegnet.evaluation import measure_pair
from autosegnet.geometry import view_voxels
from autosegnet.io import find_only_image, read_image, read_mask
from autosegnet.model.devices import open_engine
from autosegnet.model.weights import BUNDLED, Weights, digest, open_weights
from autosegnet.pipeline import segment_study
from autosegnet.study import Study

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("AUTOSEGNET_DATA", HERE.parents[1] / "shared" / "data"))


@pytest.fixture(scope="module")
def weights() -> Weights:
    bundled = open_weights(BUNDLED)
    if digest(bundled) != (HERE / "expected" / "trained.digest").read_text().strip():
        pytest.skip("weights/ holds other folds than the bundled ones, of which nothing is known here")
    return bundled


@pytest.fixture(scope="module")
def sample() -> Study:
    images = HERE / "input" / "images"
    return Study(read_image(find_only_image(images / "pet")), read_image(find_only_image(images / "ct")))


@pytest.fixture(scope="module")
def found(sample: Study, weights: Weights) -> sitk.Image:
    return segment_study(sample, open_engine(weights, device="cpu"), weights.recipe).mask


def test_there_are_five_folds_that_say_what_they_are(weights: Weights) -> None:
    assert len(weights.recipe.folds) == 5
    assert all(fold.validation_dsc is not None and 0 < fold.validation_dsc < 1 for fold in weights.recipe.folds)
    assert weights.recipe.training is not None
    assert "not for clinical use" in weights.recipe.description
    assert all(weights.find_path(fold).stat().st_size < 50e6 for fold in weights.recipe.folds)


def test_the_sample_gives_the_expected_mask(found: sitk.Image) -> None:
    assert measure_pair(found, read_mask(HERE / "expected" / "trained.mha")).dsc >= 0.99


def test_most_of_the_samples_lesions_are_found_and_little_of_its_hot_organs_is(
    found: sitk.Image, sample: Study
) -> None:
    truth, suv = view_voxels(read_mask(HERE / "expected" / "truth.mha")) > 0, view_voxels(sample.pet)
    mask = view_voxels(found) > 0
    assert (mask & truth).sum() > 0.5 * truth.sum()
    assert (
        measure_pair(found, read_mask(HERE / "expected" / "truth.mha")).n_missed <= 4
    )  # of 8: the smallest, 2.4 ml together
    hot = (suv > 4) & ~ndimage.binary_dilation(truth, iterations=2)
    organs, count = ndimage.label(hot)
    voxel_ml = math.prod(sample.pet.GetSpacing()) / 1000
    sizes_ml = ndimage.sum_labels(hot, organs, range(1, count + 1)) * voxel_ml
    marked_ml = ndimage.sum_labels(mask & hot, organs, range(1, count + 1)) * voxel_ml
    large = sizes_ml > 20
    assert large.sum() == 4  # brain, bladder and both kidneys
    assert (marked_ml[large] < 0.25 * sizes_ml[large]).all()  # the bladder, of SUV 89: a quarter
    assert marked_ml[large].sum() < 0.02 * sizes_ml[large].sum()


def test_a_real_study_gives_what_plain_torch_gives(weights: Weights) -> None:
    folder = DATA / "sts" / "STS_002"
    if not folder.is_dir():
        pytest.skip(f"no real studies in {DATA}: set AUTOSEGNET_DATA to a folder that has them")
    study = Study(read_image(folder / "SUV.nii.gz"), read_image(folder / "CTres.nii.gz"))
    masks = [
        segment_study(study, open_engine(weights, device=device), weights.recipe).mask
        for device in ("cpu", "reference")
    ]
    assert view_voxels(masks[0]).any()
    assert measure_pair(*masks).dsc >= 0.9999
