"""Each DICOM file is parsed once, from its first attribute to its pixels, by whichever processes do it."""

import functools
import pickle
import sys
from itertools import pairwise
from pathlib import Path

import pydicom.filereader
import pytest
from dicom_phantoms import write_image as write_dicom
from dicom_phantoms import write_series
from test_batch import SMALL, batch, weights  # noqa: F401  (fixtures)
from threshold import count_parses, open_counting, open_threshold

from autosegnet.__main__ import _run_command_line
from autosegnet.batch.find import find_studies
from autosegnet.batch.spool import Kept
from autosegnet.dicom.objects import find_headers
from autosegnet.dicom.packing import pack_headers, unpack_headers
from autosegnet.dicom.parse import read_pixels
from autosegnet.runtime.exit import run_program

SLICES = 36  # of one study


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a folder with two studies."""
    return write_dicom_studies(tmp_path / "in")


def write_dicom_studies(root: Path) -> Path:
    for case in ("a", "b"):
        write_dicom(SMALL.pet, root / case / "PT", kind="PET", slope=0.001)
        write_dicom(SMALL.ct, root / case / "CT", kind="CT", slope=1.0, intercept=-1024.0)
    for path in (root / "b").rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        dataset.StudyInstanceUID = "1.2.3"
        dataset.save_as(path)
    return root


@pytest.fixture
def parsed(tmp_path: Path, monkeypatch) -> Path:
    """Count the parses of this process, too; return where they are noted."""
    monkeypatch.setattr(pydicom.filereader, "read_dataset", pydicom.filereader.read_dataset)  # restored at the end
    count_parses(tmp_path / "parsed")
    return tmp_path / "parsed"


def assert_nothing_is_read_twice(parsed: Path, files: int) -> None:
    ranges: dict[str, list[tuple[int, int]]] = {}
    for line in parsed.read_text().splitlines():
        name, begin, end = line.split("\t")
        ranges.setdefault(name, []).append((int(begin), int(end)))
    assert len(ranges) == files
    for of_file in ranges.values():
        assert all(end <= begin for (_, end), (begin, _) in pairwise(sorted(of_file)))


@pytest.mark.parametrize("with_results", [False, True])
def test_predict_parses_a_file_once(
    tmp_path, source: Path, parsed: Path, weights: Path, monkeypatch, with_results: bool  # noqa: F811
) -> None:  # fmt: skip
    monkeypatch.setattr("autosegnet.segmenter.open_engine", open_threshold)
    options = ["--dicom-seg", str(tmp_path / "seg.dcm"), "--dicom-sr", str(tmp_path / "sr.dcm")] if with_results else []
    command = ["--pet", source / "a", "--ct", source / "a" / "CT", "--output", tmp_path / "m.mha", "--weights", weights]
    monkeypatch.setattr(sys, "argv", ["autosegnet", "predict", *map(str, command), *options])
    assert run_program(_run_command_line) == 0
    assert_nothing_is_read_twice(parsed, SLICES)


@pytest.mark.parametrize("jobs", [1, 2])
def test_batch_parses_a_file_once(source: Path, parsed: Path, batch, jobs: int) -> None:  # noqa: F811
    engine = open_threshold if jobs == 1 else functools.partial(open_counting, parsed)
    done = batch("--jobs", jobs, engine=engine)
    assert done.code == 0, done.log
    assert_nothing_is_read_twice(parsed, 2 * SLICES)


def test_folders_are_searched_by_other_processes_if_there_is_much_to_read(
    tmp_path, source: Path, parsed: Path, batch, monkeypatch  # noqa: F811
) -> None:  # fmt: skip
    assert batch().code == 0
    expected = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.nii.gz")}
    parsed.unlink()
    monkeypatch.setattr("autosegnet.batch.find._WORTH_PROCESSES", 1)
    done = batch("--jobs", 2, "--overwrite", engine=functools.partial(open_counting, parsed))
    assert done.code == 0, done.log
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.nii.gz")} == expected
    ranges = parsed.read_text().splitlines()
    assert len(ranges) == 2 * SLICES  # the pixels alone, by the processes that segment; nothing here


def test_headers_that_travel_are_those_that_were_parsed(source: Path) -> None:
    headers = find_headers(source / "a")
    folder = headers[0].path.parent
    of_folder = [header for header in headers if header.path.parent == folder]
    travelled = unpack_headers(pack_headers(of_folder), folder)
    assert [header.path for header in travelled] == [header.path for header in of_folder]
    for one, other in zip(of_folder, travelled, strict=True):
        assert one.dataset == other.dataset
        assert one.dataset.file_meta == other.dataset.file_meta
        assert one.dataset.original_encoding == other.dataset.original_encoding
        assert read_pixels(one) == read_pixels(other)


def test_an_object_that_is_no_slice_is_read_no_further_than_its_identity(tmp_path: Path, parsed: Path) -> None:
    def as_structure_set(dataset, k):
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.481.3"
        dataset.Modality = "RTSTRUCT"

    write_series(tmp_path / "rs", edit=as_structure_set, slices=1)
    (header,) = find_headers(tmp_path / "rs")
    assert "Rows" not in header.dataset
    ends = [int(line.split("\t")[2]) for line in parsed.read_text().splitlines()]
    assert max(ends) < header.path.stat().st_size - 128  # its pixels, if it had any


@pytest.mark.parametrize("most", [5, 10_000])
def test_a_plan_holds_little_of_each_dicom_study(source: Path, monkeypatch, most: int) -> None:
    monkeypatch.setattr("autosegnet.batch.dicom_search._MOST_HEADERS", most)
    studies = find_studies(source, leave_out=source / "out")
    assert [len(study.files) for study in studies] == [SLICES, SLICES]
    assert [len([h for part in study.dicom for h in part.load_headers()]) for study in studies] == [SLICES, SLICES]
    sent = pickle.dumps(studies[0])  # to another process
    assert len(sent) < 2000 * SLICES
    assert pickle.loads(sent).files == studies[0].files  # noqa: S301
    assert all(isinstance(part.headers, Kept) and isinstance(part.names, Kept) for part in studies[0].dicom)
