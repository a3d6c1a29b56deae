"""Whatever arrives broken ends with the contract's exit code, one line that says why, and nothing written."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from bad_inputs import ROWS, Job, Row, expanded

from autosegnet import __main__
from autosegnet.model.weights import Weights
from autosegnet.runtime.exit import run_program

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = {"predict": ["-m", "autosegnet"], "process": ["process.py"]}
# Each of these runs as a program of its own in the default tests; all of them do with -m slow.
BY_DEFAULT = {
    ("several images", "process"),
    ("compressed voxels flipped", "predict"),
    (".nii.gz cut", "predict"),
    ("DimSize 2^32", "process"),
    ("PET and CT swapped", "predict"),
    ("recipe of endless depth", "predict"),
    ("output folder a file", "predict"),
}
SECONDS_OF_CPU = 10.0


def named(entries: list[tuple[Row, str]]) -> list[object]:
    return [pytest.param(row, program, id=f"{program}: {row.name}") for row, program in entries]


def assert_refused(row: Row, job: Job, code: int | None, stdout: str, stderr: str) -> None:
    assert code == row.code, stderr
    last = stderr.splitlines()[-1]
    assert last.startswith("autosegnet: error: ")
    assert last.isprintable()
    assert len(last) < 1000
    for words in row.says:
        assert words in last
    assert "Traceback" not in stdout + stderr
    assert job.written() == []
    assert not list(ROOT.glob("pickled_code_ran"))


def run_here(program: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Run the command line in this process, which has loaded its packages already."""
    monkeypatch.setattr(sys, "argv", [program, *arguments])
    if program == "process":
        import process

        return run_program(process.main)
    return run_program(__main__._run_command_line)


@pytest.fixture(autouse=True)
def _wait_for_engines() -> Iterator[None]:
    """Let no engine that a refused run was still opening log into the next test."""
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("engine"):
            thread.join()


def test_rows_have_names_of_their_own() -> None:
    names = [row.name for row in ROWS]
    assert len(names) == len(set(names))
    assert {name for name, _ in BY_DEFAULT} <= set(names)


@pytest.mark.parametrize("program", ["predict", "process"])
def test_the_job_is_good_before_it_is_spoilt(
    program: str, tmp_path: Path, tiny_weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job.good(tmp_path, tiny_weights.folder)
    assert run_here(program, job.arguments(program), monkeypatch) == 0
    assert job.written()


@pytest.mark.parametrize(("row", "program"), named(list(expanded())))
def test_it_is_refused(
    row: Row,
    program: str,
    tmp_path: Path,
    tiny_weights: Weights,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    job = Job.good(tmp_path, tiny_weights.folder)
    row.spoil(job)
    code = run_here(program, job.arguments(program), monkeypatch)
    assert_refused(row, job, code, *capfd.readouterr())


def refuse_as_a_program(row: Row, program: str, folder: Path, weights: Path) -> None:
    job = Job.good(folder, weights)
    row.spoil(job)
    command = [sys.executable, *PROGRAM[program], *job.arguments(program)]
    with (folder / "stdout").open("w+b") as stdout, (folder / "stderr").open("w+b") as stderr:
        process = subprocess.Popen(command, cwd=ROOT, stdout=stdout, stderr=stderr, stdin=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    texts = [(folder / name).read_text() for name in ("stdout", "stderr")]
    assert_refused(row, job, process.returncode, *texts)
    # Time of the processor, so that a busy machine does not count; the wall clock of an idle one says no more.
    assert usage.ru_utime + usage.ru_stime < SECONDS_OF_CPU


@pytest.mark.parametrize(
    ("row", "program"), named([(row, program) for row, program in expanded() if (row.name, program) in BY_DEFAULT])
)
def test_a_program_of_its_own_refuses_it(row: Row, program: str, tmp_path: Path, tiny_weights: Weights) -> None:
    refuse_as_a_program(row, program, tmp_path, tiny_weights.folder)


@pytest.mark.slow
@pytest.mark.parametrize(("row", "program"), named(list(expanded())))
def test_programs_of_their_own_refuse_it(row: Row, program: str, tmp_path: Path, tiny_weights: Weights) -> None:
    refuse_as_a_program(row, program, tmp_path, tiny_weights.folder)
