"""Worker processes end with the one that started them."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_distributed import ENVIRONMENT

from autosegnet.runtime.distribute import run_each
from autosegnet.runtime.workers import Workers

PROGRAM = Path(__file__).parent / "sleepers.py"


@pytest.mark.parametrize(
    ("how", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_workers_end_with_their_parent(how: signal.Signals, code: int) -> None:
    parent = subprocess.Popen(
        [sys.executable, PROGRAM], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert parent.stdout is not None
    assert [parent.stdout.readline() for _ in range(2)] == [b"at work\n"] * 2
    parent.send_signal(how)
    parent.communicate(timeout=60)  # to the end of the pipes, which the workers hold too
    assert parent.returncode == code


def test_an_error_of_a_job_reaches_the_caller_and_ends_the_others() -> None:
    began = time.monotonic()
    with pytest.raises(TypeError):
        run_each(time.sleep, ["x", 600, 600], workers=Workers(jobs=2), unit="job")
    assert time.monotonic() - began < 60
