"""Tasks done one after the other, and the reading ahead of the next."""

import os
import signal
import threading
import time
import weakref
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import pytest

from autosegnet.errors import InputError
from autosegnet.runtime.core_shares import _list_gpus, bind_to_gpu
from autosegnet.runtime.distribute import run, run_each
from autosegnet.runtime.progress import format_duration
from autosegnet.runtime.work import Turn, Unfinished, do_in_turn
from autosegnet.runtime.workers import Workers


class Reader:
    """Work that is the reading of a number."""

    def __init__(self, read):
        self.read = read

    def open(self) -> str:
        return "opened"

    def do(self, opened, task, reading: Future, tell):
        assert opened == "opened"
        tell(0.5)
        return reading.exception() or reading.result()


def test_one_task_is_read_ahead_and_no_more() -> None:
    started: list[int] = []
    reads, present = threading.Semaphore(0), threading.Event()

    def read(task):
        started.append(task)
        reads.release()
        return task

    for number, result in do_in_turn(Reader(read), enumerate(range(5)), lambda number, share: None):
        assert number == result
        for _ in range(2 if number == 0 else 1 if number < 4 else 0):
            assert reads.acquire(timeout=30)  # the next one is read while this one is used
        present.wait(0.02)
        assert started == list(range(min(number + 2, 5)))


def test_no_more_than_two_readings_are_in_memory() -> None:
    class Loaded:
        pass

    alive: weakref.WeakSet[Loaded] = weakref.WeakSet()
    most = []

    def read(task):
        loaded = Loaded()
        alive.add(loaded)
        most.append(len(alive))
        return loaded

    class Forgetful(Reader):
        def do(self, opened, task, reading, tell):
            assert reading.result()

    for _ in do_in_turn(Forgetful(read), enumerate(range(20)), lambda number, share: None):
        time.sleep(0.005)
    assert max(most) == 2


def test_a_task_that_cannot_be_read_fails_when_its_turn_comes() -> None:
    def read(task):
        if task == 1:
            raise InputError("bad")
        return task

    results = [result for _, result in do_in_turn(Reader(read), enumerate(range(3)), lambda number, share: None)]
    assert [type(result) for result in results] == [int, InputError, int]


class Behind(Reader):
    """Work whose tasks are finished behind; each waits until the next one is done."""

    def __init__(self, count: int, *, bad: int = -1):
        super().__init__(lambda task: task)
        self.began = [threading.Event() for _ in range(count)]
        self.most_finishing, self._bad = [], bad

    def do(self, opened, task, reading, tell):
        self.began[task].set()

        def finish():
            if task == self._bad:
                raise InputError("bad")
            return task, task + 1 == len(self.began) or self.began[task + 1].wait(30)

        return Unfinished(finish)


def test_a_task_is_finished_while_the_next_one_is_done() -> None:
    done = list(do_in_turn(Behind(4), enumerate(range(4)), lambda number, share: None))
    assert done == [(k, (k, True)) for k in range(4)]


def test_what_goes_wrong_behind_ends_the_run() -> None:
    done = []
    with pytest.raises(InputError, match="bad"):
        done.extend(do_in_turn(Behind(4, bad=1), enumerate(range(4)), lambda number, share: None))


def test_a_task_that_is_done_alone_meets_no_other() -> None:
    events = []

    class Noting(Reader):
        def do(self, opened, task, reading, tell):
            events.append(("do", task))
            return Unfinished(lambda: events.append(("finish", task)))

    turns = {0: Turn.NOW, 1: Turn.ALONE, 2: Turn.ELSEWHERE, 3: Turn.ALONE}
    done = do_in_turn(Noting(lambda task: task), enumerate(range(4)), lambda number, share: None, turns.__getitem__)
    assert [number for number, _ in done] == [0, 1, 3]
    assert events == [(what, task) for task in (0, 1, 3) for what in ("do", "finish")]


@pytest.mark.parametrize("jobs", [1, 3])
def test_results_come_in_the_order_of_the_tasks(jobs: int) -> None:
    assert run_each(abs, [-3, 2, -1], workers=Workers(jobs), unit="number") == [3, 2, 1]


@dataclass(frozen=True)
class DeadlyOpening:
    """Work whose first process to open it is killed."""

    killed: Path

    def open(self) -> None:
        try:
            self.killed.touch(exist_ok=False)
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)

    def read(self, task):
        return task

    def do(self, opened, task, reading, tell):
        return reading.result()


def test_a_process_killed_before_its_first_task_leaves_the_work_to_the_others(tmp_path: Path) -> None:
    done = run(DeadlyOpening(tmp_path / "killed"), range(4), workers=Workers(2), unit="number")
    assert sorted(done) == [(k, k) for k in range(4)]


def wait_for_others_if_first(task: tuple[int, Path]) -> tuple[int, bool]:
    """Return the process; the first task waits for the other two and returns whether they were done meanwhile."""
    number, folder = task
    if number:
        (folder / str(number)).touch()
        return os.getpid(), True
    for _ in range(300):
        if all((folder / other).exists() for other in "12"):
            return os.getpid(), True
        time.sleep(0.1)
    return os.getpid(), False


def test_a_task_that_was_read_ahead_goes_to_a_process_that_has_nothing_else_to_do(tmp_path: Path) -> None:
    tasks = [(number, tmp_path) for number in range(3)]
    (first, are_done), (second, _), (third, _) = run_each(
        wait_for_others_if_first, tasks, workers=Workers(2), unit="task"
    )
    assert are_done
    assert second == third != first


@pytest.mark.parametrize(
    ("visible", "expected"),
    [("0,1,2", ["0", "1", "2", "0"]), ("GPU-a,GPU-b", ["GPU-a", "GPU-b"] * 2), ("3", ["3"] * 4)],
)
def test_processes_divide_the_gpus_among_them(monkeypatch, visible: str, expected: list[str]) -> None:
    shown = []
    for worker in range(4):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        bind_to_gpu(worker)
        shown.append(os.environ["CUDA_VISIBLE_DEVICES"])
    assert shown == expected


def test_gpus_are_counted_by_their_devices(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert _list_gpus(tmp_path) == ["0", "1"]


def test_no_tasks_start_no_process() -> None:
    assert list(run(Reader(None), [], workers=Workers(8), unit="task")) == []


@pytest.mark.parametrize(
    ("seconds", "text"), [(90, "90 s"), (2700, "45 min"), (19_200, "5 h 20 min"), (302_400, "3.5 days")]
)
def test_times_are_said_as_a_person_would(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
