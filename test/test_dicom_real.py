"""DICOM in on real series and on the reference objects of the IBSI, where they are present.

Sources: IBSI SUV working group, github.com/oncoray/suv_computation (CC BY 4.0); Vallieres et al. 2015, TCIA
Soft-tissue-Sarcoma, doi:10.7937/K9/TCIA.2015.7GO2GSKS (CC BY 3.0).
"""

import csv
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import dcmread
from test_contours import filled

from autosegnet.dicom.choice import choose_pet
from autosegnet.dicom.pet import read_dicom_pet
from autosegnet.dicom.series import gather_series
from autosegnet.geometry import Grid, is_same_grid, view_voxels
from autosegnet.io import read_image
from autosegnet.loading import load_study

DATA = Path(os.environ.get("AUTOSEGNET_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
pytestmark = pytest.mark.skipif(
    not (DATA / "suv_dro").is_dir(), reason="no suv_dro under $AUTOSEGNET_DATA or ../shared/data"
)
OBJECTS = ("DRO_0_0", "DRO_1_0", "DRO_2_0", "DRO_2_4", "DRO_3_1", "DRO_3_2", "DRO_4_0", "DRO_4_2")


def unpacked(archive: Path, folder: Path) -> Path:
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder


@pytest.mark.parametrize("name", OBJECTS)
def test_reference_object_gives_its_suv_to_two_decimals(name, tmp_path):
    folder = unpacked(DATA / "suv_dro" / f"{name}.tar.xz", tmp_path)
    with (DATA / "suv_dro" / "expected.csv").open() as file:
        expected = next(row for row in csv.DictReader(file) if row["ID"] == name)
    suv = view_voxels(read_dicom_pet(choose_pet(gather_series(folder))).image)
    (mask_path,) = folder.rglob("DRO_mask.nii.gz")
    inside = suv[view_voxels(read_image(mask_path)) > 0]
    found = [f"{value:.2f}" for value in (inside.min(), np.median(inside), inside.max())]
    assert found == [expected[f"SUV{which}_expected"] for which in ("min", "med", "max")]


@pytest.mark.parametrize("name", ["STS_002", "STS_025"])
def test_real_study_is_the_one_that_was_published_as_nifti(name, tmp_path):
    folder = unpacked(DATA / "sts_dicom" / f"{name}.tar.xz", tmp_path)
    study = load_study(pet=folder, ct=folder).study
    published = read_image(DATA / "sts" / name / "SUV.nii.gz")
    assert is_same_grid(Grid.from_image(study.pet), Grid.from_image(published))
    np.testing.assert_allclose(
        view_voxels(study.pet), view_voxels(published), rtol=2.4e-7, atol=1e-9
    )  # two steps of float32
    ct = read_image(DATA / "sts" / name / "CTres.nii.gz")
    resampled = sitk.Resample(study.ct, ct, sitk.Transform(), sitk.sitkLinear, -1024.0, sitk.sitkFloat32)
    # The published CT was resampled likewise and rounded to integers.
    assert np.abs(view_voxels(resampled) - view_voxels(ct)).max() < 0.51


@pytest.mark.parametrize("name", ["STS_002", "STS_025"])
def test_real_structure_set_filled_as_ours_is_the_published_mask(name, tmp_path):
    """Ours are read back by the same filling: it agrees with what others made of contours by another program."""
    folder = unpacked(DATA / "sts_dicom" / f"{name}.tar.xz", tmp_path)
    grid = Grid.from_image(read_dicom_pet(choose_pet(gather_series(folder))).image)
    (path,) = folder.glob("*/PET/mask/RS.dcm")
    (region,) = dcmread(path).ROIContourSequence
    found = np.zeros(grid.size[::-1], int)
    for contour in region.ContourSequence:
        points = np.array(contour.ContourData, float).reshape(-1, 3)
        index = np.linalg.solve(grid.steps_mm, (points - grid.origin_mm).T).T
        z = round(index[0, 2])
        np.testing.assert_allclose(index[:, 2], z, atol=0.05)
        found[z] += filled([(x + 0.5, y + 0.5) for x, y in index[:, :2].tolist()], found.shape[1:])
    np.testing.assert_array_equal(found, view_voxels(read_image(DATA / "sts" / name / "SEG.nii.gz")) > 0)
