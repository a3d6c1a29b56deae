"""The table of studies of `batch`: which series are meant, and facts that files do not say."""

import csv
import shutil
import sys

import pytest
from dicom_phantoms import CT_SERIES, write_image
from phantoms import phantom
from pydicom import dcmread
from pydicom.uid import generate_uid

from autosegnet.__main__ import _run_command_line
from autosegnet.batch.study_table import StudyEntry, read_study_table
from autosegnet.errors import InputError
from autosegnet.runtime.exit import run_program
from autosegnet.suv import StatedFacts


def write_table(tmp_path, text):
    path = tmp_path / "studies.csv"
    path.write_text(text)
    return path


def test_a_row_says_series_and_facts(tmp_path):
    path = write_table(
        tmp_path,
        "case,ct_series,weight_kg,same_frame,injection_time\n"
        "p1,1.2.3,70.5,yes,10:00\n"
        "p2,,,no,\n",
    )  # fmt: skip
    entries = read_study_table(path, {"p1", "p2", "p3"})
    facts = StatedFacts(weight_kg=70.5, same_frame=True, injection_time="10:00", way="table")
    assert entries == {"p1": StudyEntry(ct_series="1.2.3", facts=facts), "p2": StudyEntry()}
    assert entries["p2"].describe() == ""
    assert "70.5" in entries["p1"].describe()


def test_without_a_table_nothing_is_said():
    assert read_study_table(None, {"p1"}) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case,weigth_kg\np1,70\n", "the columns weigth_kg .* expected case and any of pet_series"),
        ("ct_series\n1\n", "no column case"),
        ("case\np1\np1\n", "p1 appears in two rows, line 3"),
        ("case\nq\n", "q is not among the cases found, line 2"),
        ("case,weight_kg\np1,heavy\n", "column weight_kg is 'heavy'; expected a number, line 2"),
        ("case,dose_mbq\np1,-3\n", "column dose_mbq of --studies is -3; expected more than 0"),
        ("case,same_frame\np1,perhaps\n", "expected yes or no, line 2"),
    ],
)
def test_a_table_that_cannot_be_right_is_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read_study_table(write_table(tmp_path, text), {"p1"})


@pytest.fixture
def cohort(tmp_path):
    """One study with two CTs of one rank."""
    study = phantom(size=(20, 18, 16), spacing=(9.0, 8.0, 11.0))
    folder = tmp_path / "in" / "p1"
    write_image(study.pet, folder / "pet", kind="PET", slope=0.001)
    write_image(study.ct, folder / "ct", kind="CT", slope=1.0)
    shutil.copytree(folder / "ct", folder / "twin")
    uid = generate_uid()
    for path in (folder / "twin").iterdir():
        dataset = dcmread(path)
        dataset.SeriesInstanceUID = uid
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.save_as(path)
    return tmp_path / "in"


def run_batch(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["autosegnet", "batch", *map(str, words), "--device", "cpu"])
    return run_program(_run_command_line)


def test_batch_takes_the_ct_that_the_table_names(cohort, tmp_path, tiny_weights, monkeypatch):
    words = (cohort, tmp_path / "out", "--weights", tiny_weights.folder)
    assert run_batch(monkeypatch, *words) == 3
    (row,) = csv.DictReader((tmp_path / "out" / "summary.csv").read_text().splitlines())
    assert "choose one with column ct_series of --studies" in row["reason"]
    table = write_table(tmp_path, f"case,ct_series\np1,{CT_SERIES[-12:]}\n")
    assert run_batch(monkeypatch, *words, "--studies", table) == 0
    (row,) = csv.DictReader((tmp_path / "out" / "summary.csv").read_text().splitlines())
    assert row["status"] == "done"
