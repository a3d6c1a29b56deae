"""`autosegnet predict --result` and `autosegnet compare`, from the command line to the files and exit codes."""

import csv
import json
import logging
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from body_phantom import GRID, ball, body_phantom

from autosegnet import __main__ as command
from autosegnet.geometry import make_image, view_voxels
from autosegnet.io import write_image

BROWSER = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), "")
Run = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a study of the body of ellipses and a mask of one lesion."""
    folder = tmp_path_factory.mktemp("study")
    phantom, mask = body_phantom(), ball((-85.0, 0.0, 700.0), 20.0)
    suv = np.where(view_voxels(mask) > 0, 8.0, view_voxels(phantom.pet)).astype(np.float32)
    for image, name in ((make_image(suv, GRID), "SUV"), (phantom.ct, "CTres"), (mask, "SEG")):
        write_image(image, folder / f"{name}.nii.gz")
    return folder


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run a command; return its exit code and the last line on stderr."""
    handlers = logging.getLogger("autosegnet").handlers

    def run(*words: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["autosegnet", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            command.main()
        lines = capsys.readouterr().err.splitlines()
        assert isinstance(stop.value.code, int)
        return stop.value.code, lines[-1] if lines else ""

    yield run
    logger = logging.getLogger("autosegnet")
    logger.handlers, logger.propagate = handlers, True


def compare(study: Path, run: Run, output: Path, *options: object) -> tuple[int, str]:
    mask = study / "SEG.nii.gz"
    return run(
        "compare", study, study, "--baseline-mask", mask, "--followup-mask", mask, "--output", output, *options
    )  # fmt: skip


def test_predict_needs_a_place_for_its_mask(study: Path, run: Run) -> None:
    code, last = run("predict", "--pet", study / "SUV.nii.gz", "--ct", study / "CTres.nii.gz")
    assert code == 2
    assert "--output MASK or --result DIR" in last


def test_a_study_beside_itself_has_no_change_and_the_page_fits_a_phone(study: Path, run: Run, tmp_path: Path) -> None:
    code, _ = compare(study, run, tmp_path, "--save-aligned", "--baseline-size", 75, 172, "F")
    assert code == 0
    with (tmp_path / "changes.csv").open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert row["fate"] == "matched"
    assert {float(row[name]) for name in row if name.startswith("change_") and row[name]} == {0.0}
    assert (tmp_path / "baseline_lesions.nii.gz").is_file()
    if not BROWSER:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    page = (tmp_path / "comparison.html").read_text(encoding="utf-8")
    probe = "document.title = document.documentElement.scrollWidth + ' of ' + window.innerWidth;"
    opened = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    path = tmp_path / "phone.html"
    path.write_text(opened.replace("</body>", f"<script>{probe}</script></body>"), encoding="utf-8")
    words = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--window-size=500,900",
        "--dump-dom",
        path.as_uri(),
    ]
    shown = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True).stdout
    title = re.search(r"<title>(\d+) of (\d+)</title>", shown)
    assert title is not None
    assert int(title[1]) <= int(title[2])


def test_a_mask_that_is_missing_ends_the_run_and_leaves_nothing(study: Path, run: Run, tmp_path: Path) -> None:
    code, last = run("compare", study, study, "--baseline-mask", tmp_path / "no.nii.gz", "--output", tmp_path / "out")
    assert code == 3
    assert "no.nii.gz" in last
    assert not (tmp_path / "out" / "comparison.html").exists()


def test_a_folder_with_two_studies_is_refused(study: Path, run: Run, tmp_path: Path) -> None:
    for name in ("one", "two"):
        shutil.copytree(study, tmp_path / "both" / name)
    code, last = run("compare", tmp_path / "both", study, "--output", tmp_path / "out")
    assert code == 3
    assert "holds 2 studies" in last


@pytest.mark.slow
def test_results_of_predict_are_compared(study: Path, run: Run, tmp_path: Path, tiny_weights) -> None:  # noqa: ANN001
    for name in ("first", "second"):
        code, last = run(
            "predict", "--pet", study / "SUV.nii.gz", "--ct", study / "CTres.nii.gz", "--weights", tiny_weights.folder,
            "--device", "cpu", "--result", tmp_path / name,
        )  # fmt: skip
        assert code == 0, last
        names = {path.name for path in (tmp_path / name).iterdir()}
        assert {"mask.nii.gz", "probability.nii.gz", "study.json", "report.html", "lesions.csv"} <= names
        assert str(tmp_path) not in (tmp_path / name / "report.html").read_text(encoding="utf-8")
    code, last = run("compare", tmp_path / "first", tmp_path / "second", "--output", tmp_path / "out")
    assert code == 0, last
    content = json.loads((tmp_path / "out" / "comparison.json").read_text(encoding="utf-8"))
    assert all(change["fate"] == "matched" for change in content["changes"])
