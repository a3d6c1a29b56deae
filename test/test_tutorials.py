"""The commands and the Python code of the tutorials run as a reader would type them, on the bundled sample."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SAVED = ("lesions.csv", "lesions.json", "mask.nii.gz", "probability.nii.gz")
# What each tutorial leaves in the folder in which it runs.
TUTORIALS = {
    "get-started/first-study.md": {
        "masks/sample.mha",
        "metrics.csv",
        "probability.nii.gz",
        "report/report.html",
        "truth/sample.mha",
        "uncertainty.nii.gz",
    },
    "get-started/first-submission.md": {
        "output/images/automated-petct-lesion-segmentation/5fb204b0-b140-4836-bba8-a57f998490cb.mha",
        "output/results.json",
    },
    "how-to/python.md": {
        "CT.nii.gz",
        "SUV.nii.gz",
        "mask.nii.gz",
        *(f"out/{name}" for name in (*SAVED, "report.html")),
        *(f"results/first/{name}" for name in SAVED),
    },
}
IN_FAST_MODE = """
import autosegnet
from functools import partial
autosegnet.Segmenter = partial(autosegnet.Segmenter, fast=True)
autosegnet.segment = partial(autosegnet.segment, fast=True)
"""
BLOCK = re.compile(
    r"(?P<skip><!-- not run by the tests: [^\n]+ -->\n)?^```(?P<language>bash|python)\n(?P<code>.*?)^```$", re.M | re.S
)


def read_blocks(page: str, language: str) -> list[str]:
    """Return the fenced blocks of a page in one language, without those that say why they are not run."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return [found["code"] for found in BLOCK.finditer(text) if found["language"] == language and not found["skip"]]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Return a folder that looks like a clone of the repository, into which the tutorial may write."""
    for name in ("test", "weights", "process.py", "autosegnet"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def run_in(clone: Path, program: list[str], code: str, *, fast: bool) -> str:
    """Run code in the clone and return what it printed; `fast` gives every segmentation the fast mode."""
    commands = clone / ".commands"
    commands.mkdir(exist_ok=True)
    words = {"autosegnet": f"{sys.executable} -m autosegnet", "python": sys.executable}
    for name, start in words.items():
        with_fast = 'case "$1" in predict | process.py) set -- "$@" --fast ;; esac\n' if fast else ""
        (commands / name).write_text(f'#!/bin/sh\n{with_fast}exec {start} "$@"\n')
        (commands / name).chmod(0o755)
    path = f"{commands}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'resources'}"}
    done = subprocess.run([*program, code], cwd=clone, env=environment, capture_output=True, text=True, timeout=550)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("page", TUTORIALS)
@pytest.mark.parametrize("fast", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_tutorial_runs_from_top_to_bottom(page: str, fast: bool, clone: Path) -> None:
    commands, code = read_blocks(page, "bash"), read_blocks(page, "python")
    assert len(commands) + len(code) >= 2
    run_in(clone, ["bash", "-euc"], "\n".join(commands), fast=fast)
    if code:
        run_in(clone, [sys.executable, "-c"], "\n".join([IN_FAST_MODE if fast else "", *code]), fast=fast)
    made = {str(path.relative_to(clone)) for path in clone.rglob("*") if path.is_file() and not path.is_symlink()}
    pictures_and_tables = re.compile(r"(?:report|out)/(?:lesion_\d+|mip_\w+)\.png|report/lesions\.\w+|\.commands/\w+")
    assert {name for name in made if not pictures_and_tables.fullmatch(name)} == TUTORIALS[page]


def test_a_block_is_left_out_only_with_a_reason() -> None:
    for page in TUTORIALS:
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        shown = len(re.findall(r"^```(?:bash|python)$", text, re.M))
        run = len(read_blocks(page, "bash")) + len(read_blocks(page, "python"))
        assert shown - run == text.count("<!-- not run by the tests: ")
