"""A Dask cluster of real processes, for tests; importing this needs no Dask."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "resources", ROOT / "test"))),
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "10s",
}


class Cluster:
    """A scheduler and workers as the documents start them, each a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "scheduler.json"
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self.scheduler = self._start("scheduler", "--port", "0", "--no-dashboard")
        for _ in range(300):
            if self.file.exists() and self.file.read_text().endswith("}"):
                break
            time.sleep(0.1)
        self.address = json.loads(self.file.read_text())["address"]

    def start_worker(self) -> None:
        folder = ("--local-directory", str(self._folder))
        self._start("worker", "--nworkers", "1", "--nthreads", "2", "--no-dashboard", *folder)

    def _start(self, what: str, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "distributed.cli.dask_" + what, "--scheduler-file", str(self.file), *options]
        with (self._folder / f"{what}.log").open("ab") as log:
            self._processes.append(subprocess.Popen(command, env=ENVIRONMENT, stdout=log, stderr=log))
        return self._processes[-1]

    def close(self) -> None:
        for process in reversed(self._processes):  # the scheduler last
            process.terminate()
        for process in self._processes:
            try:
                process.wait(3)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
