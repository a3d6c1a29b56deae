"""The page in a browser: its policy lets its own script run and no other; it works without, on paper and on a phone."""

import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from phantoms import phantom
from PIL import Image

from autosegnet.geometry import Grid, make_image, view_voxels
from autosegnet.lesions import measure_lesions
from autosegnet.report import Provenance, report_files

BROWSER = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), "")

pytestmark = pytest.mark.skipif(not BROWSER, reason="no Chromium is installed: apt-get install chromium")


def browse(*words: str) -> str:
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def picture(page: str, folder: Path, *, size: str = "1120,700") -> np.ndarray:
    path, shot = folder / "page.html", folder / "shot.png"
    path.write_text(page, encoding="utf-8")
    browse(f"--window-size={size}", f"--screenshot={shot}", path.as_uri())
    return np.asarray(Image.open(shot).convert("RGB")).astype(int)


def reddish(shot: np.ndarray) -> int:
    left = shot[130:480, :760]  # the projections
    return int(((left[..., 0] - left[..., 1] > 60) & (left[..., 0] > 150)).sum())


@pytest.fixture(scope="module")
def page() -> str:
    study = phantom()
    mask = make_image((view_voxels(study.pet) > 4.0).astype(np.uint8), Grid.from_image(study.pet))
    made_by = Provenance("autosegnet 0.0", "none", "0" * 12, "none", (), (), datetime(2026, 1, 2, tzinfo=UTC))
    return str(report_files(study, mask, measure_lesions(mask, study.pet), made_by)["report.html"])


def test_the_script_runs_and_a_changed_one_does_not(page, tmp_path) -> None:
    for name, text, runs in (("own", page, True), ("other", page.replace('"use strict"', '"use  strict"'), False)):
        path = tmp_path / f"{name}.html"
        path.write_text(text, encoding="utf-8")
        assert ('class="js"' in browse("--dump-dom", path.as_uri())) == runs


def test_outlines_vanish_if_switched_off_and_the_window_changes_the_grey(page, tmp_path) -> None:
    shown = picture(page, tmp_path)
    hidden = picture(page.replace('id="outlines" checked', 'id="outlines"'), tmp_path)
    assert reddish(shown) > 300
    assert reddish(hidden) < 20
    black = re.sub(r'(id="black"[^>]*) value="10"', r'\1 value="20"', page)
    assert black != page
    wide = picture(black.replace('id="outlines" checked', 'id="outlines"'), tmp_path)
    dark = [(shot[130:480, :760].mean(axis=2) < 60).sum() for shot in (hidden, wide)]
    assert dark[1] < 0.7 * dark[0]


def test_without_script_the_page_shows_projections_and_slices(page, tmp_path) -> None:
    without = picture(page.replace('"use strict"', '"use  strict"'), tmp_path)
    assert reddish(without) > 300


def test_nothing_is_wider_than_a_phone(page, tmp_path) -> None:
    probe = "document.title = document.documentElement.scrollWidth + ' of ' + window.innerWidth;"
    open_page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    path = tmp_path / "phone.html"
    path.write_text(open_page.replace("</body>", f"<script>{probe}</script></body>"), encoding="utf-8")
    title = re.search(r"<title>(\d+) of (\d+)</title>", browse("--window-size=500,900", "--dump-dom", path.as_uri()))
    assert title is not None
    assert int(title[1]) <= int(title[2])


def test_it_prints_on_a4(page, tmp_path) -> None:
    path, printed = tmp_path / "page.html", tmp_path / "page.pdf"
    path.write_text(page, encoding="utf-8")
    browse("--no-pdf-header-footer", f"--print-to-pdf={printed}", path.as_uri())
    data = printed.read_bytes()
    boxes = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", data)
    assert 1 <= len(boxes) <= 2
    assert all((round(float(w)), round(float(h))) == (595, 842) for w, h in boxes)
