"""Kills runs at random moments, terminates them, and lets them run into full disks; what they leave has to be whole.

    python benchmarks/interruptions.py --kills 200 --terminations 50 --disks 20 --seed 0

Runs are of the real command line, process.py and `autosegnet predict` in turn, with a small study and an untrained fold
on small windows. Each is a fork of a process that has imported the packages, which saves seconds a run; nothing is
written before that. Half of the kills fall anywhere in the run, half right after a file began to be written.
Full disks are tmpfs mounts of different sizes and need root.
"""

import argparse
import importlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# One thread: a process with a pool of threads cannot be forked safely.
os.environ["OMP_NUM_THREADS"] = "1"

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "test")]
PROGRAMS = ("process", "predict")
TERMINATED = 128 + signal.SIGTERM
DISK_FULL = 5
_SECONDS_TO_END = 120.0  # a hundred times what a run takes


@dataclass
class Runs:
    """A job for each program, and what it writes when nothing interrupts it.

    Args:
        folder: holds the jobs, the weights and the log of the last run.
        whole: bytes of each output file, by program and path.
        seconds: that a run takes, by program.
    """

    folder: Path
    whole: dict[str, dict[str, bytes]]
    seconds: dict[str, float]

    @classmethod
    def prepare(cls, folder: Path) -> "Runs":
        """Return the jobs, each run once to its end."""
        untrained, phantoms, jobs = (importlib.import_module(n) for n in ("untrained_folds", "phantoms", "bad_inputs"))
        importlib.import_module("monai.networks.nets")
        importlib.import_module("process")
        untrained.write_untrained_weights(folder / "weights", folds=1, recipe=phantoms.TINY)
        jobs.Job.good(folder, folder / "weights")
        runs = cls(folder, {}, {})
        for program in PROGRAMS:
            start = time.perf_counter()
            code = runs.end_of(runs.start(program))
            runs.seconds[program] = time.perf_counter() - start
            assert code == 0, runs.log
            runs.whole[program] = runs.read_outputs(program)
            runs.clear(program)
        return runs

    def find_output(self, program: str) -> Path:
        """Return the folder of the outputs."""
        return self.folder / "out" / program

    @property
    def log(self) -> str:
        """Return what the last run printed."""
        return (self.folder / "log").read_text()

    def read_outputs(self, program: str) -> dict[str, bytes]:
        """Return the bytes of every file in the output folder, hidden ones included."""
        folder = self.find_output(program)
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def clear(self, program: str) -> None:
        """Empty the output folder, but for hidden files, which only the program may remove."""
        for path in list(self.find_output(program).rglob("*")):
            if path.is_file() and not path.name.startswith("."):
                path.unlink()

    def start(self, program: str) -> int:
        """Start a new run and return its process."""
        process = os.fork()
        if process == 0:
            self._run(program)
        return process

    def _run(self, program: str) -> None:
        """Run the command line in a forked process, as its entry point runs it."""
        from autosegnet import __main__
        from autosegnet.runtime.exit import run_program

        log = os.open(self.folder / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.argv = [program, *self._arguments(program)]
        action = importlib.import_module("process").main if program == "process" else __main__._run_command_line
        code: Any = 1
        try:
            code = run_program(action)
        except SystemExit as end:
            code = end.code
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _arguments(self, program: str) -> list[str]:
        rest = ["--weights", str(self.folder / "weights"), "--device", "cpu"]
        if program == "process":
            return ["--input", str(self.folder / "in"), "--output", str(self.find_output(program)), *rest]
        pet, ct = (str(self.folder / "in" / "images" / name / f"{name}.mha") for name in ("pet", "ct"))
        folder = self.find_output(program)
        files = ["--output", str(folder / "mask.mha"), "--probability", str(folder / "probability.nii")]
        return ["predict", "--pet", pet, "--ct", ct, *files, *rest]

    def end_of(self, process: int) -> int:
        """Return the exit code of a run, negative if a signal ended it; a run that hangs is killed and fails."""
        end = time.monotonic() + _SECONDS_TO_END
        while time.monotonic() < end:
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.005)
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        raise AssertionError(f"a run hangs: {self.log}")

    def assert_whole(self, program: str) -> int:
        """Assert that every visible file is as an undisturbed run writes it, and return how many there are."""
        visible = {
            name: data for name, data in self.read_outputs(program).items() if not Path(name).name.startswith(".")
        }
        for name, data in visible.items():
            assert data == self.whole[program][name], f"{name} is partial"
        return len(visible)

    def assert_next_succeeds(self, program: str) -> None:
        """Check that the next run gives everything and leaves no temporary file, neither its own nor older ones."""
        code = self.end_of(self.start(program))
        assert code == 0, self.log
        assert self.read_outputs(program) == self.whole[program]


def check_kills(runs: Runs, count: int, draw: random.Random) -> Counter[str]:
    """Kill at random moments; after every tenth kill, the next run of each program must succeed."""
    found: Counter[str] = Counter()
    for number in range(count):
        program = PROGRAMS[number % 2]
        process = runs.start(program)
        _wait(runs, program, draw, aimed=number // 2 % 2 == 0)
        os.kill(process, signal.SIGKILL)
        code = runs.end_of(process)
        present = runs.assert_whole(program)
        hidden = len(runs.read_outputs(program)) - present
        found["killed" if code < 0 else "done before"] += 1
        found["left nothing" if not present else "left whole files"] += 1
        found["left a hidden temporary file"] += hidden > 0
        runs.clear(program)
        if number % 10 >= 8 or number >= count - 2:
            runs.assert_next_succeeds(program)
            found["next run succeeded"] += 1
            runs.clear(program)
    return found


def _wait(runs: Runs, program: str, draw: random.Random, *, aimed: bool) -> None:
    """Wait until a random moment of the run or of its writing."""
    seconds = runs.seconds[program]
    if not aimed:
        time.sleep(draw.uniform(0, 1.1 * seconds))
        return
    time.sleep(0.3 * seconds)
    before = _names(runs.find_output(program))
    end = time.monotonic() + 20 * seconds
    while _names(runs.find_output(program)) <= before and time.monotonic() < end:
        time.sleep(0.0001)
    time.sleep(draw.uniform(0, 0.004))


def _names(folder: Path) -> set[str]:
    return {name for _, _, names in os.walk(folder) for name in names}


def check_terminations(runs: Runs, count: int, draw: random.Random) -> Counter[str]:
    """Send SIGTERM at random moments: exit code 143 and no file, or every file if writing was over."""
    found: Counter[str] = Counter()
    for number in range(count):
        program = PROGRAMS[number % 2]
        process = runs.start(program)
        time.sleep(draw.uniform(0.05, 1.0) * runs.seconds[program])
        os.kill(process, signal.SIGTERM)
        code = runs.end_of(process)
        # -15: it fell before the program's first lines, where a signal ends a process by itself.
        assert code in {TERMINATED, -signal.SIGTERM, 0}, f"exit code {code}: {runs.log}"
        outputs = runs.read_outputs(program)
        assert outputs in ({}, runs.whole[program]), f"left {sorted(outputs)}"
        assert "Traceback" not in runs.log, runs.log
        found[f"exit code {code}, {'no' if not outputs else 'every'} file"] += 1
        shutil.rmtree(runs.find_output(program), ignore_errors=True)
    return found


def check_disks(runs: Runs, count: int) -> Counter[str]:
    """Write to disks from 4 KiB to twice what is needed: exit code 5 and no file, or every file."""
    found: Counter[str] = Counter()
    for number in range(count):
        program = PROGRAMS[1 - number % 2]
        needed = 65536 + sum(map(len, runs.whole[program].values()))
        kib = round(4 * (2 * needed / 4096) ** (number / max(1, count - 1)))
        with mount_disk(runs.find_output(program), kib):
            code = runs.end_of(runs.start(program))
            outputs = runs.read_outputs(program)
            assert outputs == (runs.whole[program] if code == 0 else {}), f"{kib} KiB: left {sorted(outputs)}"
            if code:
                last = runs.log.splitlines()[-1]
                assert code == DISK_FULL, f"{kib} KiB: exit code {code}: {runs.log}"
                assert last.startswith("autosegnet: error: cannot write ")
                assert "No space left on device" in last
        found["exit code 5, no file" if code else "exit code 0, every file"] += 1
    return found


@contextmanager
def mount_disk(folder: Path, kib: int) -> Iterator[None]:
    """Mount a separate small disk at the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def can_mount() -> bool:
    """Return whether this user may mount a disk."""
    if os.geteuid() != 0:
        return False
    with tempfile.TemporaryDirectory() as name:
        try:
            with mount_disk(Path(name), 64):
                return True
        except subprocess.CalledProcessError:
            return False


def main() -> None:
    """Run all three, with their counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--terminations", type=int, default=50)
    parser.add_argument("--disks", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    draw = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as name:
        runs = Runs.prepare(Path(name))
        print(f"{args.kills} kills: {dict(check_kills(runs, args.kills, draw))}", flush=True)
        print(
            f"{args.terminations} terminations: {dict(check_terminations(runs, args.terminations, draw))}", flush=True
        )
        if args.disks and not can_mount():
            print("no disks tried: this user may not mount one")
        elif args.disks:
            print(f"{args.disks} sizes of disk: {dict(check_disks(runs, args.disks))}", flush=True)


if __name__ == "__main__":
    main()
