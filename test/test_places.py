"""Outputs are neither inputs nor each other, and no older result stays in their places."""

import os
from pathlib import Path

import pytest

from autosegnet.errors import UsageError
from autosegnet.io.places import OutputFolder, check_outputs, remove_older

REPORT = OutputFolder(Path(), lambda name: name.startswith("lesion_"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("pet.mha", "ct/1.dcm", "elsewhere/2.dcm", "report/lesion_1.png", "report/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "ct" / "2.dcm").symlink_to(tmp_path / "elsewhere" / "2.dcm")
    (tmp_path / "link.mha").symlink_to("pet.mha")
    return tmp_path


@pytest.mark.parametrize("output", ["pet.mha", "ct/../pet.mha", "link.mha"])
def test_an_output_in_the_place_of_an_input_file_is_refused(folder: Path, output: str) -> None:
    with pytest.raises(UsageError, match="--output would replace --pet"):
        check_outputs({"--output": folder / output}, inputs={"--pet": folder / "pet.mha"})


@pytest.mark.parametrize("output", ["ct/1.dcm", "elsewhere/2.dcm"])
def test_an_output_in_the_place_of_a_slice_is_refused(folder: Path, output: str) -> None:
    with pytest.raises(UsageError, match="--output would replace a file in the folder of --ct"):
        check_outputs({"--output": folder / output}, inputs={"--ct": folder / "ct"})


def test_new_files_beside_inputs_are_allowed(folder: Path) -> None:
    check_outputs({"--output": folder / "mask.mha"}, inputs={"--pet": folder / "pet.mha", "--ct": folder / "ct"})
    check_outputs({"--output": folder / "ct" / "mask.mha"}, inputs={"--ct": folder / "ct"})


def test_a_file_that_is_not_read_may_be_replaced(folder: Path) -> None:
    check_outputs(
        {"--output": folder / "report" / "notes.txt"},
        inputs={"--truth": folder / "report"},
        is_read=lambda name: name.endswith(".png"),
    )


def test_two_outputs_in_one_place_are_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="--output and --probability name the same file"):
        check_outputs({"--output": folder / "link.mha", "--probability": folder / "pet.mha"}, inputs={})


def test_an_output_among_the_files_of_a_folder_is_refused(folder: Path) -> None:
    report = OutputFolder(folder / "report", REPORT.holds)
    with pytest.raises(UsageError, match="--report and --dicom-seg"):
        check_outputs({"--report": report, "--dicom-seg": folder / "report" / "lesion_9.png"}, inputs={})
    check_outputs({"--report": report, "--dicom-seg": folder / "report" / "seg.dcm"}, inputs={})
    with pytest.raises(UsageError, match="--report would replace --pet-sidecar"):
        check_outputs({"--report": report}, inputs={"--pet-sidecar": folder / "report" / "lesion_1.png"})


def test_older_results_go_and_what_is_not_of_a_run_stays(folder: Path) -> None:
    remove_older({"--report": OutputFolder(folder / "report", REPORT.holds), "--output": folder / "link.mha"})
    assert os.listdir(folder / "report") == ["notes.txt"]
    assert not (folder / "pet.mha").exists()
    assert (folder / "link.mha").is_symlink()
