"""The tables and the overview of a cohort."""

import csv
import hashlib
import html.parser
import json
import re
import sys
from base64 import b64encode
from pathlib import Path

import pytest
from test_batch import SMALL, batch, rows, tree, weights, write  # noqa: F401  (fixtures)

from autosegnet.__main__ import _run_command_line
from autosegnet.batch.bids_derivatives import write_bids_derivatives
from autosegnet.batch.cohort_tables import COHORT_LESION_COLUMNS, STUDY_COLUMNS
from autosegnet.batch.overview import write_overview
from autosegnet.batch.record import StudyRow
from autosegnet.errors import InputError
from autosegnet.runtime.exit import run_program


@pytest.fixture
def cohort(tmp_path, batch) -> Path:  # noqa: F811
    source = tree(tmp_path / "in", a=1.0, b=1.2, c=1.0)
    (source / "c" / "CTres.nii.gz").unlink()
    assert batch("--report").code == 3
    return tmp_path / "out"


def read(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_the_tables_hold_every_study_and_lesion_with_their_origin(cohort: Path) -> None:
    studies, lesions = read(cohort / "tables/studies.csv"), read(cohort / "tables/lesions.csv")
    assert [(row["case"], row["status"]) for row in studies] == [("a", "done"), ("b", "done"), ("c", "failed")]
    assert tuple(studies[0]) == STUDY_COLUMNS
    assert tuple(lesions[0]) == COHORT_LESION_COLUMNS
    assert [row["case"] for row in lesions] == ["a"] * int(studies[0]["lesions"]) + ["b"] * int(studies[1]["lesions"])
    assert sum(float(row["volume_ml"]) for row in lesions if row["case"] == "a") == pytest.approx(
        float(studies[0]["tmtv_ml"])
    )
    record = json.loads((cohort / "records/a.json").read_text())
    for row in (studies[0], lesions[0]):
        assert row["software"] == record["made_by"]["software"]
        assert row["weights"] == record["made_by"]["weights"]
        assert row["suv"].startswith("The PET was given in SUV")
        assert row["mask_sha256"] == hashlib.sha256((cohort / "a.nii.gz").read_bytes()).hexdigest()


def test_all_figures_of_the_body_reach_the_table(cohort: Path) -> None:
    assert json.loads((cohort / "records/a.json").read_text())["body"].keys() <= {*STUDY_COLUMNS}


def test_the_tables_of_a_cohort_hold_the_report_of_a_study(cohort: Path) -> None:
    (first, *_) = read(cohort / "reports/a/lesions.csv")
    (ours, *_) = read(cohort / "tables/lesions.csv")
    assert {name: ours[name] for name in first} == first


def test_parquet_holds_what_csv_holds(cohort: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs autosegnet[tables]")
    for name in ("studies", "lesions"):
        table = parquet.read_table(cohort / "tables" / f"{name}.parquet")
        expected = read(cohort / "tables" / f"{name}.csv")
        assert table.column_names == list(expected[0])
        assert table["case"].to_pylist() == [row["case"] for row in expected]
    assert table["volume_ml"].to_pylist() == [float(row["volume_ml"]) for row in expected]


def test_without_pyarrow_an_outdated_parquet_file_goes(cohort: Path, batch, monkeypatch) -> None:  # noqa: F811
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    batch()
    assert {path.name for path in (cohort / "tables").iterdir()} == {"studies.csv", "lesions.csv"}


def test_summarize_makes_the_same_from_parts(cohort: Path, tmp_path, batch, monkeypatch) -> None:  # noqa: F811
    expected = (cohort / "summary.csv").read_text(), (cohort / "tables/lesions.csv").read_text()
    for name in ("summary.csv", "tables/lesions.csv", "tables/studies.csv", "overview.html"):
        (cohort / name).unlink()
    for part in ("1/2", "2/2"):
        batch("--part", part)
    monkeypatch.setattr(sys, "argv", ["autosegnet", "summarize", str(cohort)])
    assert run_program(_run_command_line) == 0
    assert ((cohort / "summary.csv").read_text(), (cohort / "tables/lesions.csv").read_text()) == expected
    assert (cohort / "overview.html").is_file()


def test_masks_of_bids_studies_become_a_derivative_dataset(tmp_path, batch, monkeypatch) -> None:  # noqa: F811
    for name in ("sub-1/ses-a/pet/sub-1_ses-a_trc-FDG_pet", "sub-2/pet/sub-2_pet"):
        ct = name.replace("trc-FDG_", "").replace("pet", "ct")
        write(SMALL, tmp_path / "in" / f"{name}.nii.gz", tmp_path / "in" / f"{ct}.nii.gz")
    assert batch().code == 0
    made = tmp_path / "derived"
    monkeypatch.setattr(sys, "argv", ["autosegnet", "summarize", str(tmp_path / "out"), "--bids", str(made)])
    assert run_program(_run_command_line) == 0
    for case, place in (
        ("sub-1_ses-a_trc-FDG", "sub-1/ses-a/pet/sub-1_ses-a_trc-FDG_label-lesion_mask"),
        ("sub-2", "sub-2/pet/sub-2_label-lesion_mask"),
    ):
        assert (made / f"{place}.nii.gz").read_bytes() == (tmp_path / "out" / f"{case}.nii.gz").read_bytes()
        assert json.loads((made / f"{place}.json").read_text())["GeneratedFrom"]["software"].startswith("autosegnet")
    assert json.loads((made / "dataset_description.json").read_text())["DatasetType"] == "derivative"


def test_subjects_of_one_name_in_two_datasets_are_refused_as_derivatives(tmp_path) -> None:
    studies = [
        StudyRow(case=f"{site}_sub-1_ses-a", status="done", mask=f"{site}.nii.gz") for site in ("north", "south")
    ]
    with pytest.raises(InputError, match=r"north_sub-1_ses-a and south_sub-1_ses-a would be one mask .* sub-1/ses-a/"):
        write_bids_derivatives(tmp_path, studies, tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_summarize_refuses_a_folder_of_something_else(tmp_path, monkeypatch, capfd) -> None:
    monkeypatch.setattr(sys, "argv", ["autosegnet", "summarize", str(tmp_path)])
    assert run_program(_run_command_line) == 3
    assert "expected OUTPUT of a batch" in capfd.readouterr().err


class Page(html.parser.HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.policy = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.links += [values[name] for name in ("src", "href") if name in values]
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policy = values["content"]


def test_the_overview_shows_failures_first_and_needs_nothing_from_elsewhere(cohort: Path) -> None:
    text = (cohort / "overview.html").read_text()
    assert re.findall(r'<tr class="(\w+)">', text) == ["failed", "done", "done"]
    assert "3 studies: 2 done, 0 pending, 1 failed" in text
    page = Page(text)
    assert sorted(page.links) == [
        "reports/a/report.html",
        "reports/b/report.html",
        "thumbnails/a.png",
        "thumbnails/b.png",
    ]
    assert all((cohort / link).is_file() for link in page.links)
    for tag in ("style", "script"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.S)
        digest = b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in page.policy
    assert "default-src 'none'" in page.policy


def test_nothing_in_a_name_or_reason_becomes_markup(tmp_path: Path) -> None:
    row = StudyRow(case="<img src=x>&\"'", status="failed", reason="<script>alert(1)</script>\x1b[31m")
    write_overview(tmp_path, [row])
    text = (tmp_path / "overview.html").read_text()
    assert "<img src=x>" not in text
    assert "<script>alert" not in text
    assert "\x1b" not in text
