"""The container's contract and the command line, run as a user runs them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import phantom, rotation

from autosegnet.model.weights import Weights

ROOT = Path(__file__).resolve().parents[1]
SOCKET = "images/automated-petct-lesion-segmentation"


def run(*arguments: object, program: tuple[str, ...] = ("process.py",)) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *program, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


def autosegnet(*arguments: object) -> subprocess.CompletedProcess[str]:
    return run(*arguments, program=("-m", "autosegnet"))


def assert_refused(done: subprocess.CompletedProcess[str], code: int, reason: str) -> None:
    assert done.returncode == code, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("autosegnet: error: ")
    assert reason in last
    assert "Traceback" not in done.stderr


def files_in(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """Return the platform's input folder with an oblique study in it."""
    study = phantom(direction=rotation(degrees=(7, -5, 11)))
    for name, image in (("pet", study.pet), ("ct", study.ct)):
        (tmp_path / "in" / "images" / name).mkdir(parents=True)
        sitk.WriteImage(image, str(tmp_path / "in" / "images" / name / f"uuid-of-{name}.mha"), useCompression=True)
    return tmp_path / "in"


def test_one_job_gives_one_mask_on_the_pets_grid(job: Path, tmp_path: Path, tiny_weights: Weights) -> None:
    done = run("--input", job, "--output", tmp_path / "out", "--weights", tiny_weights.folder, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # the platform marks a job with a warning for anything there
    assert files_in(tmp_path / "out") == [f"{SOCKET}/uuid-of-ct.mha", "results.json"]

    path = tmp_path / "out" / SOCKET / "uuid-of-ct.mha"
    mask, pet = sitk.ReadImage(str(path)), sitk.ReadImage(str(job / "images/pet/uuid-of-pet.mha"))
    assert mask.GetPixelID() == sitk.sitkUInt8
    assert set(np.unique(sitk.GetArrayFromImage(mask))) == {0, 1}
    assert mask.GetSize() == pet.GetSize()
    assert mask.GetSpacing() == pet.GetSpacing()
    assert mask.GetOrigin() == pet.GetOrigin()
    assert mask.GetDirection() == pet.GetDirection()
    assert b"CompressedData = True" in path.read_bytes()

    (result,) = json.loads((tmp_path / "out" / "results.json").read_text())
    assert result["outputs"] == [{"type": "metaio_image", "filename": "uuid-of-ct.mha"}]
    assert result["error_messages"] == []


def test_what_is_doubted_of_a_study_stands_in_the_results(job: Path, tmp_path: Path, tiny_weights: Weights) -> None:
    path = str(job / "images/ct/uuid-of-ct.mha")
    ct = sitk.ReadImage(path)
    ct.SetOrigin(ct.TransformContinuousIndexToPhysicalPoint((8.0, 0.0, 0.0)))
    sitk.WriteImage(ct, path, useCompression=True)
    done = run("--input", job, "--output", tmp_path / "out", "--weights", tiny_weights.folder, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    (result,) = json.loads((tmp_path / "out" / "results.json").read_text())
    assert any("CT would fit the PET better shifted" in warning for warning in result["warnings"])


def moved_and_linked(folder: Path, name: str) -> None:
    """Put a file or folder outside of the input, and a link in its place."""
    elsewhere = folder / ".." / ".." / f"elsewhere-{name}"
    shutil.move(folder / name, elsewhere)
    (folder / name).symlink_to(elsewhere.resolve())


def with_sockets(job: Path) -> None:
    """Add the platform's list of sockets, which names the files."""
    sockets = [
        {"socket": {"slug": kind, "relative_path": f"images/{kind}"}, "image": {"name": f"uuid-of-{kind}.mha"}}
        for kind in ("pet", "ct")
    ]
    (job / "inputs.json").write_text(json.dumps(sockets))


def test_a_second_run_gives_the_same_bytes(job: Path, tmp_path: Path, tiny_weights: Weights) -> None:
    for name in ("a", "b"):
        run("--input", job, "--output", tmp_path / name, "--weights", tiny_weights.folder)
    masks = [(tmp_path / name / SOCKET / "uuid-of-ct.mha").read_bytes() for name in ("a", "b")]
    assert masks[0] == masks[1]


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda job: shutil.rmtree(job / "images" / "ct"), "cannot list"),
        (lambda job: (job / "images/ct/uuid-of-ct.mha").unlink(), "no image"),
        (lambda job: shutil.copy(job / "images/ct/uuid-of-ct.mha", job / "images/ct/b.mha"), "2 images"),
        (lambda job: (job / "images/pet/uuid-of-pet.mha").write_bytes(b""), "uuid-of-pet.mha"),
        (lambda job: moved_and_linked(job / "images", "pet"), "is a link to another folder"),
        (lambda job: moved_and_linked(job, "images"), "is a link to another folder"),
        (lambda job: moved_and_linked(job / "images" / "pet", "uuid-of-pet.mha"), "is a link to outside"),
        (
            lambda job: (with_sockets(job), moved_and_linked(job / "images/pet", "uuid-of-pet.mha")),
            "is a link to another",
        ),
        (lambda job: shutil.copy(job / "images/ct/uuid-of-ct.mha", job / "images/pet/uuid-of-pet.mha"), "CT in HU"),
    ],
)
def test_bad_input_is_refused_in_one_line(job: Path, tmp_path: Path, tiny_weights: Weights, spoil, reason: str) -> None:
    spoil(job)
    done = run("--input", job, "--output", tmp_path / "out", "--weights", tiny_weights.folder)
    assert_refused(done, 3, reason)
    assert not (tmp_path / "out").exists() or files_in(tmp_path / "out") == []


def test_missing_weights_are_refused(job: Path, tmp_path: Path) -> None:
    done = run("--input", job, "--output", tmp_path / "out", "--weights", tmp_path)
    assert_refused(done, 4, "recipe.json")
    assert files_in(tmp_path / "out") == []


def test_an_output_that_cannot_be_written_is_refused_first(job: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file where a folder should be")
    assert_refused(run("--input", job, "--output", tmp_path / "out", "--weights", tmp_path), 5, "cannot write")


def test_wrong_usage_is_refused(job: Path, tmp_path: Path) -> None:
    done = run("--input", job, "--output", tmp_path, "--edition", "autopet9")
    assert_refused(done, 2, "autopet9")
    assert_refused(run("--inptu", job), 2, "unrecognized arguments")
    assert_refused(autosegnet("predict", "--pet", "a.mha"), 2, "required")
    assert_refused(autosegnet("predict", "--pet", "a", "--ct", "b", "--output", "c.mha", "--device", "tpu"), 2, "tpu")


@pytest.mark.parametrize("suffix", [".mha", ".nii.gz", ".nii"])
def test_predict_gives_the_containers_mask(job: Path, tmp_path: Path, tiny_weights: Weights, suffix: str) -> None:
    inputs = []
    for name in ("pet", "ct"):
        image = sitk.ReadImage(str(job / "images" / name / f"uuid-of-{name}.mha"))
        inputs.append(tmp_path / f"{name}{suffix}")
        sitk.WriteImage(image, str(inputs[-1]))
    mask = tmp_path / f"mask{suffix}"
    done = autosegnet(
        "predict", "--pet", inputs[0], "--ct", inputs[1], "--output", mask, "--weights", tiny_weights.folder
    )
    assert done.returncode == 0, done.stderr
    assert "lesions" in done.stderr

    run("--input", job, "--output", tmp_path / "out", "--weights", tiny_weights.folder)
    expected = sitk.ReadImage(str(tmp_path / "out" / SOCKET / "uuid-of-ct.mha"))
    found = sitk.ReadImage(str(mask))
    # NIfTI keeps positions in float32: a voxel at 0.5 exactly may fall on the other side.
    apart = sitk.GetArrayFromImage(found) != sitk.GetArrayFromImage(expected)
    assert apart.sum() <= (0 if suffix == ".mha" else 2)
    if suffix != ".mha":
        np.testing.assert_array_equal(nibabel.load(mask).affine, nibabel.load(inputs[0]).affine)


def test_the_log_says_what_ran_but_not_on_whom(job: Path, tmp_path: Path, tiny_weights: Weights) -> None:
    pet = job / "images/pet/uuid-of-pet.mha"
    pet.rename(pet.with_name("CANARY_Name_19500101.mha"))
    done = run("--input", job, "--output", tmp_path / "out", "--weights", tiny_weights.folder)
    assert done.returncode == 0
    for word in ("autosegnet 0", "openvino", "CPU", "folds", "voxels", "s per pass"):
        assert word in done.stdout
    assert "CANARY" not in done.stdout + done.stderr


def test_weights_commands(tiny_weights: Weights, tmp_path: Path) -> None:
    done = autosegnet("weights", "verify", "--weights", tiny_weights.folder)
    assert (done.returncode, done.stdout.startswith("2 folds verified")) == (0, True), done.stderr
    done = autosegnet("weights", "info", "--weights", tiny_weights.folder)
    assert json.loads(done.stdout)["patch"] == [32, 32, 32]
    assert_refused(autosegnet("weights", "verify", "--weights", tmp_path), 4, "recipe.json")
    import torch
    from untrained_folds import untrained_fold

    torch.save(untrained_fold(0).state_dict(), tmp_path / "a.pth")
    done = autosegnet("weights", "import", tmp_path / "a.pth", "--output", tmp_path / "w", "--fold-weights", 0.6)
    assert done.returncode == 0, done.stderr
    assert files_in(tmp_path / "w") == ["fold_0.safetensors", "recipe.json"]
    assert json.loads((tmp_path / "w" / "recipe.json").read_text())["folds"][0]["weight"] == 0.6
    done = autosegnet("weights", "import", tmp_path / "a.pth", "--output", tmp_path / "w", "--fold-weights", 1, 2)
    assert_refused(done, 2, "2 values for 1 folds")
    done = autosegnet("weights", "import", tmp_path / "a.pth", "--output", tmp_path / "w", "--fold-weights", "inf")
    assert_refused(done, 2, "positive and finite")


def test_evaluate_and_rank_commands(tmp_path: Path) -> None:
    for folder, threshold in (("truth", 4.0), ("ours", 4.5), ("theirs", 6.0)):
        (tmp_path / folder).mkdir()
        for k in range(2):
            mask = sitk.Cast(phantom(spacing=(4.0, 4.0, 4.0 + k)).pet > threshold, sitk.sitkUInt8)
            sitk.WriteImage(mask, str(tmp_path / folder / f"case{k}.nii.gz"))
    for team in ("ours", "theirs"):
        done = autosegnet(
            "evaluate", "--prediction", tmp_path / team, "--truth", tmp_path / "truth", "--output",
            tmp_path / f"{team}.csv",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "DSC" in done.stdout
    teams = [f"{team}={tmp_path / team}.csv" for team in ("theirs", "ours")]
    done = autosegnet("rank", "--output", tmp_path / "rank.csv", *teams)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "rank.csv").read_text().splitlines()[1].split(",")[1] == "ours"
    (tmp_path / "ours" / "case1.nii.gz").unlink()
    done = autosegnet(
        "evaluate", "--prediction", tmp_path / "ours", "--truth", tmp_path / "truth", "--output", tmp_path / "x.csv"
    )
    assert_refused(done, 3, "case1")
    assert not (tmp_path / "x.csv").exists()


def test_nan_outside_the_field_of_view_is_air_if_the_environment_says_so(
    job: Path, tmp_path: Path, tiny_weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(job / "images/pet/uuid-of-pet.mha")
    pet = sitk.ReadImage(path)
    voxels = sitk.GetArrayFromImage(pet)
    voxels[:, :2] = np.nan
    spoilt = sitk.GetImageFromArray(voxels)
    spoilt.CopyInformation(pet)
    sitk.WriteImage(spoilt, path)
    choice = ("--input", job, "--output", tmp_path / "out", "--weights", tiny_weights.folder, "--device", "cpu")
    assert_refused(run(*choice), 3, "--nonfinite air")
    monkeypatch.setenv("AUTOSEGNET_NONFINITE", "air")
    done = run(*choice)
    assert done.returncode == 0, done.stderr
    (result,) = json.loads((tmp_path / "out" / "results.json").read_text())
    assert any("NaN or infinite; read as air (0)" in warning for warning in result["warnings"])


def test_the_environment_names_the_form_of_a_nifti_that_states_two(
    job: Path, tmp_path: Path, tiny_weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pet", "ct"):
        path = job / "images" / name / f"uuid-of-{name}.mha"
        sitk.WriteImage(sitk.ReadImage(str(path)), str(path.with_suffix(".nii")))
        path.unlink()
        image = nibabel.load(path.with_suffix(".nii"))
        moved = image.affine.copy()
        moved[0, 3] += 50
        image.set_sform(moved, code=2)
        nibabel.save(image, path.with_suffix(".nii.gz"))
        path.with_suffix(".nii").unlink()
    choice = ("--input", job, "--output", tmp_path / "out", "--weights", tiny_weights.folder, "--device", "cpu")
    assert_refused(run(*choice), 3, "voxels apart")
    monkeypatch.setenv("AUTOSEGNET_NIFTI_FORM", "qform")
    done = run(*choice)
    assert done.returncode == 0, done.stderr


def test_an_unknown_choice_in_the_environment_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOSEGNET_NONFINITE", "zero")
    assert_refused(run(), 2, "$AUTOSEGNET_NONFINITE is 'zero'; expected refuse, air")
