"""The Python interface: every kind of input, and the same masks as the command line."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from dicom_phantoms import write_image as write_dicom
from phantoms import phantom

from autosegnet import Result, Segmenter, segment
from autosegnet.__main__ import main
from autosegnet.errors import InputError, UsageError, WeightsError
from autosegnet.geometry import view_voxels
from autosegnet.interchange import to_sitk
from autosegnet.model.weights import Weights
from autosegnet.study import Study

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def study() -> Study:
    return phantom(size=(40, 36, 32), spacing=(5.0, 5.0, 6.0))


@pytest.fixture(scope="module")
def files(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    sitk.WriteImage(study.pet, str(folder / "SUV.nii.gz"))
    sitk.WriteImage(study.ct, str(folder / "CT.nii.gz"))
    return folder


@pytest.fixture(scope="module")
def segmenter(tiny_weights: Weights) -> Segmenter:
    return Segmenter(tiny_weights.folder, device="cpu")


@pytest.fixture(scope="module")
def result(segmenter: Segmenter, files: Path) -> Result:
    return segmenter(files / "SUV.nii.gz", str(files / "CT.nii.gz"))


def test_the_mask_is_that_of_the_command_line(
    files: Path, result: Result, tiny_weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = tmp_path / "mask.nii.gz"
    words = ["predict", "--pet", files / "SUV.nii.gz", "--ct", files / "CT.nii.gz", "--output", mask]
    monkeypatch.setattr(sys, "argv", ["autosegnet", *map(str, words), "--weights", str(tiny_weights.folder)])
    with pytest.raises(SystemExit, match="0"):
        main()
    assert result.save(tmp_path / "saved").joinpath("mask.nii.gz").read_bytes() == mask.read_bytes()
    assert view_voxels(result.mask).any()


def test_the_readmes_example_runs_as_printed(
    files: Path, tiny_weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    for name in ("SUV.nii.gz", "CT.nii.gz"):
        (tmp_path / name).symlink_to(files / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTOSEGNET_WEIGHTS", str(tiny_weights.folder))
    exec(example, {})  # noqa: S102  (our own README)
    assert {"mask.nii.gz", "probability.nii.gz", "lesions.csv", "report.html"} <= {
        path.name for path in (tmp_path / "out" / "first").iterdir()
    }


def test_a_nibabel_image_gives_a_nibabel_mask_on_its_grid(segmenter: Segmenter, files: Path, result: Result) -> None:
    pet, ct = nibabel.load(files / "SUV.nii.gz"), nibabel.load(files / "CT.nii.gz")
    found = segmenter(pet, ct)
    np.testing.assert_array_equal(found.mask.affine, pet.affine)
    np.testing.assert_array_equal(found.mask.get_fdata(), view_voxels(result.mask).T)
    np.testing.assert_array_equal(found.probability.get_fdata() > 0.5, view_voxels(result.mask).T.astype(bool))


def test_an_array_with_an_affine_gives_an_array_with_that_affine(
    segmenter: Segmenter, files: Path, result: Result
) -> None:
    pet, ct = nibabel.load(files / "SUV.nii.gz"), nibabel.load(files / "CT.nii.gz")
    mask, affine = segmenter((np.asarray(pet.dataobj), pet.affine), (np.asarray(ct.dataobj), ct.affine)).mask
    np.testing.assert_array_equal(affine, pet.affine)
    np.testing.assert_array_equal(mask, view_voxels(result.mask).T)
    assert mask.dtype == np.uint8


def test_a_simpleitk_image_and_a_path_may_be_mixed(
    segmenter: Segmenter, study: Study, files: Path, result: Result
) -> None:
    mask = segmenter(sitk.ReadImage(str(files / "SUV.nii.gz")), files / "CT.nii.gz").mask
    np.testing.assert_array_equal(view_voxels(mask), view_voxels(result.mask))


def test_dicom_folders_are_read(segmenter: Segmenter, study: Study, tmp_path: Path) -> None:
    write_dicom(study.pet, tmp_path / "pet", kind="PET", slope=0.01)
    write_dicom(study.ct, tmp_path / "ct", kind="CT", slope=1.0, intercept=-1024.0)
    found = segmenter(tmp_path / "pet", tmp_path / "ct")
    assert found.loaded.conversion is not None
    assert found.mask.GetSize() == study.pet.GetSize()


def test_lesions_are_measured_and_saved_with_a_report(result: Result, tmp_path: Path) -> None:
    folder = result.save(tmp_path / "out", report=True)
    saved = json.loads((folder / "lesions.json").read_text())
    assert saved["body"]["tmtv_ml"] == result.lesions.body.tmtv_ml > 0
    names = {path.name for path in folder.iterdir()}
    assert {"mask.nii.gz", "probability.nii.gz", "lesions.csv", "report.html"} <= names


def test_lesions_become_a_frame_of_pandas(result: Result, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = result.lesions.to_frame()
    saved = pandas.read_csv(result.save(tmp_path) / "lesions.csv")
    assert list(frame.columns) == list(saved.columns)
    numbers = saved.select_dtypes("number").columns
    np.testing.assert_array_equal(frame[numbers].to_numpy(dtype=float), saved[numbers].to_numpy(dtype=float))


def test_segment_opens_the_weights_for_one_study(files: Path, result: Result, tiny_weights: Weights) -> None:
    found = segment(files / "SUV.nii.gz", files / "CT.nii.gz", weights=tiny_weights.folder, uncertainty=True)
    np.testing.assert_array_equal(view_voxels(found.mask), view_voxels(result.mask))
    assert found.uncertainty.GetPixelID() == sitk.sitkFloat32


def test_missing_weights_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="recipe.json cannot be read"):
        Segmenter(tmp_path)


def test_an_unknown_device_is_refused_with_the_first_study(tiny_weights: Weights, files: Path) -> None:
    with pytest.raises(UsageError, match="device is 'tpu'"):
        Segmenter(tiny_weights.folder, device="tpu")(files / "SUV.nii.gz", files / "CT.nii.gz")


SHEARED = np.diag([4.0, 4.0, 4.0, 1.0])
SHEARED[0, 1] = 1.0


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        ((np.zeros((4, 4, 4, 2)), np.eye(4)), InputError, "shape"),
        ((np.zeros((4, 4, 4), complex), np.eye(4)), InputError, "type complex128"),
        ((np.full((4, 4, 4), np.nan), np.eye(4)), InputError, "NaN or infinite"),
        ((np.zeros((4, 4, 4)), np.zeros((4, 4))), InputError, "singular"),
        ((np.zeros((4, 4, 4)), SHEARED), InputError, "sheared"),
        ((np.zeros((4, 4, 4)), np.eye(3)), InputError, "4 x 4"),
        (sitk.Image([4, 4], sitk.sitkFloat32), InputError, "shape"),
        (np.zeros((4, 4, 4)), UsageError, "ndarray"),
        (None, UsageError, "NoneType"),
    ],
)
def test_what_is_no_image_in_space_is_refused(image: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        to_sitk(image, "PET")


def test_an_oblique_left_handed_affine_survives_the_way_there_and_back() -> None:
    turn = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, -1.0]])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn * [2.0, 3.0, 4.0], [7.0, -8.0, 9.0]
    image, back = to_sitk((np.arange(24.0).reshape(2, 3, 4), affine), "PET")
    at = image.TransformIndexToPhysicalPoint((1, 2, 3))
    np.testing.assert_allclose(at, np.diag([-1, -1, 1]) @ (affine @ [1, 2, 3, 1])[:3])
    array, same = back(image)
    np.testing.assert_array_equal(array, np.arange(24.0).reshape(2, 3, 4))
    np.testing.assert_array_equal(same, affine)


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import autosegnet, sys; autosegnet.__version__; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert not {"torch", "SimpleITK", "openvino", "pydicom", "nibabel"} & set(loaded.split())


def test_an_engine_that_a_study_moved_to_the_cpu_is_opened_anew(tiny_weights: Weights) -> None:
    opened: list[SimpleNamespace] = []

    def open_engine(weights: Weights) -> Any:
        opened.append(SimpleNamespace(name="cuda", folds=2))
        return opened[-1]

    segmenter = Segmenter.from_engine(open_engine, tiny_weights)
    assert segmenter.open_engine() is segmenter.open_engine() is opened[0]
    opened[0].name = "cpu"
    assert segmenter.open_engine() is segmenter.open_engine() is opened[1]


def test_nothing_is_logged_after_the_error_of_a_study_that_cannot_be_read(
    tiny_weights: Weights, tmp_path: Path
) -> None:
    """The last line of a run is its error, although the folds are opened meanwhile."""
    opened = []

    def open_slowly(weights: Weights) -> Any:
        time.sleep(0.2)
        opened.append(weights)
        return SimpleNamespace(name="cpu")

    segmenter = Segmenter.from_engine(open_slowly, tiny_weights)
    with pytest.raises(InputError):
        segmenter(tmp_path / "none.mha", tmp_path / "none.mha")
    assert opened


def test_the_viewers_page_is_saved_on_request(result: Result, tmp_path: Path) -> None:
    assert 'id="volume-probability"' in (result.save(tmp_path, viewer=True) / "viewer.html").read_text()
