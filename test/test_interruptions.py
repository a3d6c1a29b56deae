"""Short runs of benchmarks/interruptions.py: kills, terminations and full disks leave whole files or none."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "benchmarks" / "interruptions.py"


def interruptions(**counts: int) -> str:
    """In a process of its own: threads of other tests must not be there when it forks."""
    chosen = [f"--{name}={count}" for name, count in {"kills": 0, "terminations": 0, "disks": 0, **counts}.items()]
    done = subprocess.run(
        [sys.executable, SCRIPT, *chosen], cwd=ROOT, capture_output=True, text=True, timeout=1800, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_interrupted_runs_leave_whole_files_or_none() -> None:
    said = interruptions(kills=6, terminations=3, disks=4)
    assert "next run succeeded" in said
    assert "exit code 0, every file" in said


@pytest.mark.slow
def test_200_kills_50_terminations_and_20_disks() -> None:
    said = interruptions(kills=200, terminations=50, disks=20)
    assert "exit code 143, no file" in said


def test_a_partial_file_would_be_noticed(tmp_path: Path) -> None:
    from benchmarks.interruptions import Runs

    runs = Runs(tmp_path, {"process": {"mask.mha": b"whole"}}, {"process": 1.0})
    runs.find_output("process").mkdir(parents=True)
    (runs.find_output("process") / "mask.mha").write_bytes(b"who")
    with pytest.raises(AssertionError, match="partial"):
        runs.assert_whole("process")
