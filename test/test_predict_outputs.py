"""`autosegnet predict --report --probability --uncertainty`, from the command line to the files."""

import csv
import json
import logging
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import TINY, phantom
from untrained_folds import write_untrained_weights

from autosegnet import __main__ as command
from autosegnet.errors import OutputError
from autosegnet.io import write_all, write_image
from autosegnet.study import Study


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("Jane_Roe_19700101")
    study = phantom()
    for name, image in (("pet", study.pet), ("ct", study.ct)):
        write_image(image, folder / f"{name}.mha")
    return folder


@pytest.fixture
def predict(inputs, tiny_weights, monkeypatch, capsys):
    """Run the command; return its exit code and the last line on stderr."""
    handlers = logging.getLogger("autosegnet").handlers

    def run(*options, weights=None) -> tuple[int, str]:
        paths = ["--pet", inputs / "pet.mha", "--ct", inputs / "ct.mha", "--weights", weights or tiny_weights.folder]
        arguments = ["autosegnet", "predict", *paths, "--device", "cpu", *options]
        monkeypatch.setattr(sys, "argv", [str(a) for a in arguments])
        with pytest.raises(SystemExit) as stop:
            command.main()
        lines = capsys.readouterr().err.splitlines()
        return stop.value.code, lines[-1] if lines else ""

    yield run
    logger = logging.getLogger("autosegnet")
    logger.handlers, logger.propagate = handlers, True


def test_everything_that_was_asked_for_is_written(predict, tmp_path) -> None:
    report = tmp_path / "report"
    report.mkdir()
    (report / "lesion_99.png").write_bytes(b"of an earlier report")
    code, last = predict(
        "--output", tmp_path / "mask.mha", "--report", report,
        "--probability", tmp_path / "p.nii.gz", "--uncertainty", tmp_path / "u.mha",
    )  # fmt: skip
    assert (code, "lesions" in last) == (0, True)
    mask, probability, uncertainty = (
        sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / name))) for name in ("mask.mha", "p.nii.gz", "u.mha")
    )
    assert mask.any()
    assert probability.dtype == uncertainty.dtype == np.float32
    np.testing.assert_array_equal(mask, probability > 0.5)
    assert uncertainty.max() > 0
    names = {path.name for path in report.iterdir()}
    assert {
        "report.html",
        "mip_coronal.png",
        "mip_sagittal.png",
        "lesion_1.png",
        "lesions.csv",
        "lesions.json",
    } <= names
    assert "lesion_99.png" not in names


def test_the_report_names_neither_files_nor_folders(predict, tmp_path, tiny_weights) -> None:
    assert predict("--output", tmp_path / "mask.mha", "--report", tmp_path / "r")[0] == 0
    for path in (tmp_path / "r").iterdir():
        content = path.read_bytes()
        for secret in ("Jane_Roe", "pet.mha", "mask.mha", str(tmp_path), str(tiny_weights.folder)):
            assert secret.encode() not in content
    assert "mean nothing" in (tmp_path / "r" / "report.html").read_text()  # what the weights say of themselves


def test_lesions_in_hot_organs_are_marked_and_left_out_only_on_request(predict, inputs, tmp_path) -> None:
    pet = sitk.ReadImage(str(inputs / "pet.mha"))
    write_image(sitk.Cast(pet > -1e9, sitk.sitkUInt8) * 4, tmp_path / "organs.mha")  # brain, everywhere
    organs = ("--organs", tmp_path / "organs.mha", "--organ-table", "moose")
    assert predict("--output", tmp_path / "all.mha", "--report", tmp_path / "report", *organs)[0] == 0
    rows = list(csv.DictReader((tmp_path / "report" / "lesions.csv").read_text().splitlines()))
    assert rows
    assert all(row["maybe_physiological"].startswith("brain") and row["probability_mean"] for row in rows)
    assert predict("--output", tmp_path / "none.mha", *organs, "--drop-flagged")[0] == 0
    masks = [sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / name))) for name in ("all.mha", "none.mha")]
    assert masks[0].any()
    assert not masks[1].any()


def test_the_mask_alone_is_the_default(predict, tmp_path) -> None:
    assert predict("--output", tmp_path / "mask.mha")[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["mask.mha"]


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--probability", "p.png"), 2, "unknown image format"),
        (("--uncertainty", "u"), 2, "unknown image format"),
        (("--probability", "mask.mha"), 2, "the same file"),
        (("--report", "file"), 5, "cannot write"),
        (("--probability", "file/p.mha"), 5, "cannot write"),
    ],
)
def test_what_cannot_be_written_is_refused_before_the_work(
    predict, tmp_path, monkeypatch, options, code, words
) -> None:
    def must_not_run(*_, **__):
        raise AssertionError("the work began")

    monkeypatch.setattr("autosegnet.io.read_image", must_not_run)
    (tmp_path / "file").write_bytes(b"")
    found, last = predict("--output", tmp_path / "mask.mha", options[0], tmp_path / options[1])
    assert (found, words in last) == (code, True), last
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_uncertainty_of_one_fold_is_refused(predict, tmp_path) -> None:
    write_untrained_weights(tmp_path / "one", folds=1, recipe=TINY)
    code, last = predict("--output", tmp_path / "m.mha", "--uncertainty", tmp_path / "u.mha", weights=tmp_path / "one")
    assert (code, "one fold" in last) == (2, True)
    shutil.rmtree(tmp_path / "one")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_fails_takes_the_others_with_it(tmp_path) -> None:
    (tmp_path / "file").write_bytes(b"")
    image = sitk.Image((4, 4, 4), sitk.sitkUInt8)
    with pytest.raises(OutputError):
        write_all({tmp_path / "m.mha": image, tmp_path / "a.png": b"1", tmp_path / "file" / "b.html": "text"})
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_warnings_about_the_study_reach_the_report(predict, tmp_path, monkeypatch) -> None:
    from autosegnet import loading

    def warned(**images):
        # As `loading.log_conversion` passes on what the conversion to SUV found, and as an engine warns.
        loading.log.warning("SUV: the weight was given by --weight-kg")
        logging.getLogger("autosegnet.model.engine").warning("nothing of the reader's concern")
        return Study(**images)

    monkeypatch.setattr(loading, "check_study", warned)
    assert predict("--output", tmp_path / "mask.mha", "--report", tmp_path / "r")[0] == 0
    page = (tmp_path / "r" / "report.html").read_text()
    assert "the weight was given by --weight-kg" in page
    assert "concern" not in page


def write_clicks(path: Path, **points: tuple[int, int, int]) -> Path:
    listed = [{"point": list(point), "name": name} for name, point in points.items()]
    path.write_text(json.dumps({"version": {"major": 1, "minor": 0}, "type": "Multiple points", "points": listed}))
    return path


def test_clicks_are_in_the_mask_and_in_the_report(predict, tmp_path) -> None:
    tumor, background = (31, 17, 21), (10, 10, 10)
    clicks = write_clicks(tmp_path / "clicks.json", tumor=tumor, background=background)
    outputs = ("--output", tmp_path / "mask.mha", "--report", tmp_path / "report")
    assert predict(*outputs, "--clicks", clicks)[0] == 0
    mask = sitk.ReadImage(str(tmp_path / "mask.mha"))
    assert (mask.GetPixel(tumor), mask.GetPixel(background)) == (1, 0)
    assert "1 on tumour, 1 on background" in (tmp_path / "report" / "report.html").read_text()


def test_a_click_outside_the_pet_ends_the_run_before_the_network(predict, tmp_path) -> None:
    clicks = write_clicks(tmp_path / "clicks.json", tumor=(500, 0, 0))
    code, last = predict("--output", tmp_path / "mask.mha", "--clicks", clicks)
    assert (code, "outside the PET" in last) == (3, True)
    assert not (tmp_path / "mask.mha").exists()


@pytest.mark.parametrize("option", [("--min-volume", "1"), ("--drop-flagged", "--organs", "pet.mha")])
def test_clicks_are_not_given_with_what_may_leave_them_out(predict, inputs, tmp_path, option) -> None:
    option = [str(inputs / word) if word.endswith(".mha") else word for word in option]
    clicks = write_clicks(tmp_path / "clicks.json", tumor=(31, 17, 21))
    code, last = predict("--output", tmp_path / "mask.mha", "--clicks", clicks, *option)
    assert code in (2, 3)
    assert not (tmp_path / "mask.mha").exists()


def test_the_viewers_page_is_written_beside_the_mask(predict, tmp_path) -> None:
    clicks = write_clicks(tmp_path / "clicks.json", tumor=(31, 17, 21))
    outputs = ("--output", tmp_path / "mask.mha", "--report", tmp_path, "--viewer", tmp_path / "viewer.html")
    assert predict(*outputs, "--clicks", clicks, "--title", "Case 7")[0] == 0
    page = (tmp_path / "viewer.html").read_text()
    assert "<title>Case 7</title>" in page
    assert 'id="volume-probability"' in page
    assert '"clicks": {"tumor": [[31, 17, 21]], "background": []}' in page
    for secret in ("Jane_Roe", "pet.mha", str(tmp_path)):
        assert secret not in page


def test_the_viewers_page_never_replaces_an_input(predict, inputs, tmp_path) -> None:
    code, last = predict("--output", tmp_path / "mask.mha", "--viewer", inputs / "pet.mha")
    assert (code, "--viewer would replace --pet" in last) == (2, True)
    assert sitk.ReadImage(str(inputs / "pet.mha")).GetSize() == (48, 40, 36)
    clicks = write_clicks(tmp_path / "clicks.json", tumor=(31, 17, 21))
    code, last = predict("--output", tmp_path / "mask.mha", "--viewer", clicks, "--clicks", clicks)
    assert (code, "--viewer would replace --clicks" in last) == (2, True)
    assert clicks.exists()
