"""What of an earlier result must not stay beside a new mask."""

import logging
import sys
from pathlib import Path

import numpy as np
import pytest
from phantoms import phantom

from autosegnet import __main__ as command
from autosegnet.geometry import Grid, make_image, view_voxels
from autosegnet.io import write_image
from autosegnet.report import digest_mask
from autosegnet.result_files import find_pages_of, is_page_file, is_result_file, remove_unwritten


def touch(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"of an earlier run")


def list_names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_pages_of_an_earlier_run_are_removed_and_nothing_else(tmp_path: Path) -> None:
    touch(tmp_path, "lesion_1.png", "lesion_7.png", "viewer.html", "lesion_a.png", "mine.png", "mask.nii.gz")
    remove_unwritten(tmp_path, is_page_file, [tmp_path / "lesion_1.png", tmp_path / "elsewhere" / "lesion_7.png"])
    assert list_names(tmp_path) == {"lesion_1.png", "lesion_a.png", "mine.png", "mask.nii.gz"}


def test_a_folder_of_a_result_loses_every_file_of_an_earlier_one(tmp_path: Path) -> None:
    touch(tmp_path, "mask.nii.gz", "probability.nii.gz", "uncertainty.nii.gz", "study.json", "report.html", "notes.txt")
    remove_unwritten(tmp_path, is_result_file, [tmp_path / "mask.nii.gz"])
    assert list_names(tmp_path) == {"mask.nii.gz", "notes.txt"}


def test_a_folder_that_is_missing_has_nothing_to_remove(tmp_path: Path) -> None:
    remove_unwritten(tmp_path / "none", is_result_file, [])


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, study = tmp_path_factory.mktemp("study"), phantom()
    for name, image in (("pet", study.pet), ("ct", study.ct)):
        write_image(image, folder / f"{name}.mha")
    return folder


@pytest.fixture
def run(inputs, tiny_weights, monkeypatch):
    """Run `predict` or `measure` on the phantom; return its exit code."""
    handlers = logging.getLogger("autosegnet").handlers

    def run(name: str, *options: object) -> object:
        words = [name, "--pet", inputs / "pet.mha", "--ct", inputs / "ct.mha", *options]
        if name == "predict":
            words += ["--weights", tiny_weights.folder, "--device", "cpu"]
        monkeypatch.setattr(sys, "argv", ["autosegnet", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            command.main()
        return stop.value.code

    yield run
    logger = logging.getLogger("autosegnet")
    logger.handlers, logger.propagate = handlers, True


def test_a_result_folder_holds_its_viewers_page_and_loses_what_a_second_run_does_not_write(run, tmp_path: Path) -> None:
    folder = tmp_path / "result"
    assert run("predict", "--result", folder, "--uncertainty", folder / "doubt.nii.gz") == 0
    assert {"mask.nii.gz", "probability.nii.gz", "study.json", "report.html", "viewer.html", "doubt.nii.gz"} <= (
        list_names(folder)
    )
    (folder / "notes.txt").write_text("a reader's")
    assert run("predict", "--result", folder, "--report", tmp_path / "r", "--viewer", tmp_path / "v.html") == 0
    assert list_names(folder) == {"mask.nii.gz", "probability.nii.gz", "study.json", "notes.txt"}


def test_a_report_beside_an_older_viewers_page_removes_the_page(run, tmp_path: Path) -> None:
    mask, report = tmp_path / "mask.nii.gz", tmp_path / "report"
    assert run("predict", "--output", mask, "--report", report, "--viewer", report / "viewer.html") == 0
    assert (report / "viewer.html").exists()
    assert run("predict", "--output", mask, "--report", report) == 0
    assert not (report / "viewer.html").exists()


def test_a_new_mask_removes_the_pages_that_show_the_old_one_under_any_name(run, tmp_path: Path) -> None:
    mask, other = tmp_path / "mask.nii.gz", tmp_path / "other.nii.gz"
    assert run("predict", "--output", mask, "--viewer", tmp_path / "look at me.html") == 0
    voxels = np.zeros_like(view_voxels(phantom().pet), dtype=np.uint8)
    voxels[10:14, 10:14, 10:14] = 1
    write_image(make_image(voxels, Grid.from_image(phantom().pet)), other)
    assert run("measure", "--mask", other, "--viewer", tmp_path / "others.html") == 0
    (tmp_path / "mine.html").write_text("<html></html>")
    assert run("predict", "--output", mask) == 0
    assert list_names(tmp_path) == {"mask.nii.gz", "other.nii.gz", "others.html", "mine.html"}
    assert run("measure", "--mask", mask, "--output", other) == 0
    assert list_names(tmp_path) == {"mask.nii.gz", "other.nii.gz", "mine.html"}


def test_a_mask_has_one_digest_in_every_format(tmp_path: Path) -> None:
    from autosegnet.io import read_image

    study = phantom()
    mask = make_image((view_voxels(study.pet) > 4).astype(np.uint8), Grid.from_image(study.pet))
    for name in ("mask.mha", "mask.nii.gz"):
        write_image(mask, tmp_path / name)
        assert digest_mask(read_image(tmp_path / name)) == digest_mask(mask)


def test_a_file_that_is_no_image_has_no_pages(tmp_path: Path) -> None:
    touch(tmp_path, "mask.nii.gz")
    assert find_pages_of(tmp_path / "mask.nii.gz", [tmp_path]) == []
