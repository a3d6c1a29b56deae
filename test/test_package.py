"""The wheel: everything that a run needs is in it, the folds included."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from autosegnet.model.weights import open_weights

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = "autosegnet/bundled_weights/"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, ROOT]
    subprocess.run(command, check=True, env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_holds_the_folds_and_what_is_read_at_run_time(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    tracked = subprocess.run(
        ["git", "ls-files", "autosegnet", "resources/autosegnet_training", "resources/petct_simulator"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    expected = {path.removeprefix("resources/") for path in tracked if (ROOT / path).is_file()}
    assert expected <= names
    folds = [fold.file for fold in open_weights(ROOT / "weights").recipe.folds]
    assert {f"{WEIGHTS}{name}" for name in ("README.md", "recipe.json", *folds)} <= names


def test_the_installed_wheel_segments(wheel: Path, tmp_path: Path) -> None:
    """From a folder of its own, so that nothing of the checkout is at hand."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    code = "import autosegnet; from autosegnet.model.weights import open_weights; print(open_weights().folder)"
    for command in ([sys.executable, "-c", code], [sys.executable, "-m", "autosegnet", "weights", "verify"]):
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        if command[1] == "-c":
            assert done.stdout.strip() == str(tmp_path / "site" / "autosegnet" / "bundled_weights")
