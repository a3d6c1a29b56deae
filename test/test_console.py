"""What a run does to the machine it shares with others."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from autosegnet import __version__
from autosegnet.runtime.exit import attempt, is_lack_of_memory, run_program

ROOT = Path(__file__).resolve().parents[1]
VARIABLES = ("OMP_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")


def threads_after_run(monkeypatch: pytest.MonkeyPatch, cores: int, **given: str) -> list[str | None]:
    for name in VARIABLES:
        monkeypatch.setenv(name, "x")  # so that it is restored
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)))
    assert run_program(lambda: None) == 0
    return [os.environ.get(name) for name in VARIABLES]


@pytest.mark.parametrize(
    "greedy",
    [
        lambda: np.empty(1 << 60, np.uint8),
        lambda: sitk.Image([30000] * 3, sitk.sitkFloat64),
        lambda: torch.empty(1 << 55),
    ],
    ids=["numpy", "ITK", "torch"],
)
def test_a_lack_of_memory_is_one_line(greedy: Callable[[], object], capsys: pytest.CaptureFixture[str]) -> None:
    """ITK and torch raise a RuntimeError for it, which was a traceback and exit code 1."""
    assert attempt(lambda: (greedy(), None)[1]).exit_code == 3
    assert capsys.readouterr().err.startswith("autosegnet: error: out of memory")


@pytest.mark.parametrize("words", ["Failed to allocate 134217728 bytes of memory", "can't alloc"])
def test_what_openvino_says_is_a_lack_of_memory(words: str) -> None:
    """Seen with a window of 128^3, a fold of the paper's network and the address space limited to 0.3 and 0.6 GiB."""
    where = "Exception from src/inference/src/cpp/core.cpp:117:\nException from src/inference/src/dev/plugin.cpp:54:"
    assert is_lack_of_memory(RuntimeError(f"{where}\n{words}\n"))


def test_another_error_is_a_bug(capsys: pytest.CaptureFixture[str]) -> None:
    assert attempt(lambda: sitk.ReadImage("none")[1]).exit_code == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
class TestSignals:
    def ended(self, action: str, signum: int) -> tuple[int, str]:
        """Return exit code and output of a run of the action, which gets the signal a second time while it unwinds."""
        code = (
            "import os, signal, sys, threading, time\n"
            "from concurrent.futures import ThreadPoolExecutor\n"
            "from autosegnet.runtime import exit\n"
            "exit._SECONDS_TO_UNWIND = 1\n"
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # as at a terminal
            f"{action}\n"
            "sys.exit(exit.run_program(action))\n"
        )
        with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == "begun\n"
                process.send_signal(signum)
                return process.wait(30), process.stdout.read()
            finally:
                process.kill()

    def test_a_run_unwinds_and_a_second_signal_does_not_cut_that_short(self, signum: int, code: int) -> None:
        action = (
            "def action():\n"
            "    try: print('begun', flush=True); time.sleep(60)\n"
            f"    finally: os.kill(os.getpid(), {int(signum)}); time.sleep(0.2); print('unwound', flush=True)"
        )
        assert self.ended(action, signum) == (code, "unwound\n")

    def test_the_import_system_is_let_finish(self, signum: int, code: int) -> None:
        """It takes a lock in one line and gives it back in another, which an exception in between would prevent."""
        action = (
            "bootstrap = '''def hold(seconds):\n"
            "    print('begun', flush=True)\n"
            "    end = time.monotonic() + seconds\n"
            "    while time.monotonic() < end: pass\n"
            "    print('given back', flush=True)'''\n"
            "exec(compile(bootstrap, '<frozen importlib._bootstrap>', 'exec'))\n"
            "def action():\n"
            "    hold(0.5); time.sleep(60)"
        )
        assert self.ended(action, signum) == (code, "given back\n")
        assert self.ended(action.replace("0.5", "60"), signum) == (code, "")  # not for ever

    def test_a_thread_that_never_ends_does_not_keep_the_run(self, signum: int, code: int) -> None:
        """As one that waits for a lock which the signal kept from being given back."""
        action = (
            "def action():\n"
            "    with ThreadPoolExecutor(1) as pool:\n"
            "        pool.submit(threading.Event().wait); print('begun', flush=True); time.sleep(60)"
        )
        assert self.ended(action, signum) == (code, "")


class TestThreads:
    def test_many_cores_are_not_all_taken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert threads_after_run(monkeypatch, 128) == ["64", "64"]

    def test_few_cores_are_left_to_the_libraries(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert threads_after_run(monkeypatch, 64) == [None, None]

    def test_what_the_user_has_set_stays(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert threads_after_run(monkeypatch, 128, OMP_NUM_THREADS="100") == ["100", "64"]


@pytest.mark.parametrize("module", ["autosegnet.__main__", "process"])
def test_no_thread_is_started_for_blas(module: str) -> None:
    tasks = "[pathlib.Path(f'/proc/self/task/{task}/comm').read_text() for task in os.listdir('/proc/self/task')]"
    named = "sum(name.startswith('python') for name in tasks)"  # pyarrow's, which pandas takes, has a name of its own
    code = f"import {module}, numpy, scipy.linalg, os, pathlib; tasks = {tasks}; print({named})"
    environment = {name: value for name, value in os.environ.items() if not name.endswith("NUM_THREADS")}
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == ["1"]


@pytest.mark.parametrize("program", [["-m", "autosegnet"], ["-m", "autosegnet_training"], ["process.py"]])
def test_every_program_prints_its_version(program: list[str]) -> None:
    command = [sys.executable, *program, "--version"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "resources")])}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == __version__


class TestStandardStreams:
    def ended(self, redirection: str) -> tuple[int, str]:
        """Return exit code and stderr of `weights info` with a redirection of the shell."""
        shell = f'"$1" -m autosegnet weights info {redirection}'
        done = subprocess.run(
            ["bash", "-c", shell, "bash", sys.executable], cwd=ROOT, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stderr

    def test_a_full_standard_output_is_one_line(self) -> None:
        code, err = self.ended("> /dev/full")
        assert (code, err.splitlines()[-1]) == (
            5,
            "autosegnet: error: cannot write to standard output: No space left on device",
        )
        assert "Traceback" not in err

    @pytest.mark.parametrize("redirection", [">&-", "<&- >&-", ">&- 2>&-", "2> /dev/full", "| head -c 1"])
    def test_closed_streams_and_readers_that_have_gone_end_nothing(self, redirection: str) -> None:
        code, err = self.ended(redirection)
        assert (code, "error" in err.lower()) == (0, False)
