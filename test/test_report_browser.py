"""The page in a browser: its policy lets its own script run and no other; it works without, on paper and on a phone."""

import os
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
from autosegnet.study import Study

BROWSER = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), "")

EXPECTED = Path(__file__).parent / "expected"

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


# --- pixels ----------------------------------------------------------------------------------------------------------

CHEST = Grid((50, 40, 30), (4.0, 4.0, 4.0), (-98.0, -78.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))


def locate(page: str, folder: Path, selector: str, *, size: str = "1120,2400") -> list[tuple[int, int, int, int]]:
    """Return (left, top, right, bottom) in pixels of everything that a selector names."""
    probe = (
        f"document.title = Array.from(document.querySelectorAll('{selector}')).map(e => {{"
        "const r = e.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom].map(Math.round).join(',')"
        "}).join(' ')"
    )
    open_page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    path = folder / "probe.html"
    path.write_text(open_page.replace("</body>", f"<script>{probe}</script></body>"), encoding="utf-8")
    title = re.search(r"<title>([^<]*)</title>", browse(f"--window-size={size}", "--dump-dom", path.as_uri()))
    assert title is not None
    boxes = [tuple(int(value) for value in box.split(",")) for box in title[1].split()]
    return [(a, b, c, d) for a, b, c, d in boxes]


@pytest.fixture(scope="module")
def chest() -> tuple[Study, str]:
    """Return a study with one lesion beside bone, and its page."""
    z, y, x = np.meshgrid(*(np.arange(n) for n in CHEST.size[::-1]), indexing="ij")
    body = ((x - 25) / 20) ** 2 + ((y - 20) / 15) ** 2 < 1
    lesion = (x - 30) ** 2 + (y - 16) ** 2 + (z - 15) ** 2 < 16
    suv = np.where(body, 1.0 + 3.0 * (x > 38) + (z < 8) + (y > 25), 0.0) + 7.0 * lesion
    hu = np.where(body, 40.0, -1000.0)
    hu[:, 26:30, 18:24] = 700.0
    study = Study(make_image(suv.astype(np.float32), CHEST), make_image(hu.astype(np.float32), CHEST))
    mask = make_image(lesion.astype(np.uint8), CHEST)
    made_by = Provenance("autosegnet 0.0", "none", "0" * 12, "none", (), (), datetime(2026, 1, 2, tzinfo=UTC))
    return study, str(report_files(study, mask, measure_lesions(mask, study.pet), made_by)["report.html"])


def expect_grey(values: np.ndarray, low: float, high: float, side: int) -> np.ndarray:
    """Return what a tile of a slice shows: 260 mm around the lesion's middle, the given range from black to white."""
    steps = (np.arange(side) + 0.5) * 260 / side - 130
    at = [(22.0 - CHEST.origin_mm[0] + steps) / 4, (-14.0 - CHEST.origin_mm[1] + steps) / 4]
    columns, rows = (np.clip(np.floor(a).astype(int), 0, n - 2) for a, n in zip(at, CHEST.size, strict=False))
    p, q = at[0] - columns, (at[1] - rows)[:, None]
    upper = values[rows][:, columns] * (1 - p) + values[rows][:, columns + 1] * p
    lower = values[rows + 1][:, columns] * (1 - p) + values[rows + 1][:, columns + 1] * p
    inside = ((at[1] >= 0) & (at[1] <= 39))[:, None] & (at[0] >= 0) & (at[0] <= 49)
    shown = np.where(inside, upper * (1 - q) + lower * q, values.min())
    return 255 * np.clip((shown - low) / (high - low), 0, 1)


@pytest.mark.parametrize("switch", ["show-ct", "show-pet"])
def test_a_slice_shows_every_voxel_in_its_place_and_grey(chest, tmp_path, switch) -> None:
    study, page = chest
    chosen = page.replace('id="show-fusion" checked', 'id="show-fusion"')
    chosen = chosen.replace(f'id="{switch}"', f'id="{switch}" checked').replace(
        'id="outlines" checked', 'id="outlines"'
    )
    ((left, top, right, bottom),) = locate(chosen, tmp_path, "#lesion-1 .layers")
    assert right - left == bottom - top
    shot = picture(chosen, tmp_path, size="1120,2400")[top:bottom, left:right].mean(axis=2)
    if switch == "show-ct":
        expected = expect_grey(view_voxels(study.ct)[15], -160, 240, right - left)
    else:
        expected = 255 - expect_grey(view_voxels(study.pet)[15], 0, 10, right - left)
    away = np.abs(shot - expected)
    away[:, :24] = away[:, -24:] = 0  # the letters R and L
    assert away.mean() < 3
    assert np.percentile(away, 99) < 30
    assert np.percentile(np.abs(shot[:, ::-1] - expected), 99) > 60  # what the same measure says of a mirrored slice


def shrink(shot: np.ndarray, box: tuple[int, int, int, int]) -> Image.Image:
    """Return a part of a screenshot at a quarter of its size."""
    left, top, right, bottom = box
    part = Image.fromarray(shot[top:bottom, left:right].astype(np.uint8))
    return part.resize((part.width // 4, part.height // 4), Image.Resampling.BOX)


@pytest.mark.parametrize("view", ["coronal", "sagittal", "turned"])
def test_projections_look_as_they_did_when_a_person_looked(chest, tmp_path, view) -> None:
    """The pictures in test/expected were looked at; `AUTOSEGNET_NEW_EXPECTED=1 pytest` writes new ones, to look at."""
    _, page = chest
    selector = {"turned": "#turn .layers:not([hidden])"}.get(view, f".{view}")
    (box,) = locate(page, tmp_path, selector)
    shown = shrink(picture(page, tmp_path, size="1120,2400"), box)
    path = EXPECTED / f"report_{view}.png"
    if os.environ.get("AUTOSEGNET_NEW_EXPECTED"):
        shown.save(path, optimize=True)
    expected = Image.open(path)
    assert np.abs(np.subtract(shown.size, expected.size)).max() <= 1  # widths depend on the fonts beside
    away = np.abs(np.asarray(shown.resize(expected.size)).astype(int) - np.asarray(expected).astype(int))
    assert away.mean() < 3
    assert np.percentile(away, 99) < 60  # letters and the scale's figures
