"""Two batches never write to one OUTPUT, unless they do different parts of it."""

import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from autosegnet.batch.found_study import CohortStudy
from autosegnet.batch.output_lock import Part, lock_output
from autosegnet.batch.plan import choose_part
from autosegnet.errors import UsageError


def hold(output: Path, part: Part, holds) -> None:
    with lock_output(output, part):
        holds.set()
        signal.pause()


@pytest.fixture
def held(tmp_path):
    """Hold OUTPUT in another process."""
    started = []

    def start(part: Part) -> multiprocessing.Process:
        context = multiprocessing.get_context("spawn")
        holds = context.Event()
        process = context.Process(target=hold, args=(tmp_path, part, holds))
        process.start()
        started.append(process)
        assert holds.wait(60)
        return process

    yield start
    for process in started:
        process.kill()
        process.join()


@pytest.mark.parametrize(
    ("first", "second"),
    [(Part(), Part()), (Part(), Part(2, 3)), (Part(2, 3), Part()), (Part(2, 3), Part(2, 3)), (Part(2, 3), Part(1, 2))],
)
def test_a_second_batch_is_refused_at_once_and_told_by_whom(tmp_path, held, first: Part, second: Part) -> None:
    process = held(first)
    with (
        pytest.raises(UsageError, match=f"another batch is writing to .* \\(process {process.pid} on "),
        lock_output(tmp_path, second),
    ):
        pass


def test_different_parts_run_together(tmp_path, held) -> None:
    held(Part(1, 3))
    with lock_output(tmp_path, Part(2, 3)):
        pass


def test_a_batch_that_was_killed_holds_nothing(tmp_path, held) -> None:
    process = held(Part())
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with lock_output(tmp_path, Part()):
        pass


def test_parts_divide_the_studies() -> None:
    studies = [CohortStudy(case=f"case_{k}") for k in range(300)]
    parts = [choose_part(studies, Part(k, 3)) for k in (1, 2, 3)]
    assert sorted(study.case for part in parts for study in part) == sorted(study.case for study in studies)
    assert all(70 < len(part) < 130 for part in parts)
    assert choose_part(studies[50:], Part(2, 3)) == [study for study in parts[1] if study in studies[50:]]
