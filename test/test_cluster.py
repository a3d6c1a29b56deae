"""The same commands on a Dask cluster of real processes, and the faults that a cluster survives."""

import functools
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from clusters import Cluster
from test_batch import batch, masks, rows, run_apart, tree, weights  # noqa: F401  (fixtures)
from test_parse_once import SLICES, write_dicom_studies
from threshold import open_counting, open_deadly, open_deadly_once, open_nothing

from autosegnet.__main__ import _run_command_line
from autosegnet.errors import UsageError
from autosegnet.runtime.distribute import run_each
from autosegnet.runtime.exit import run_program
from autosegnet.runtime.workers import Workers
from autosegnet_training.__main__ import main as train

distributed = pytest.importorskip("distributed", reason="needs autosegnet[cluster]")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    for _ in range(2):
        cluster.start_worker()
    yield cluster
    cluster.close()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.nii.gz"))}


@pytest.fixture
def expected(tmp_path, batch) -> dict[str, bytes]:  # noqa: F811
    """Return the masks of --jobs 1, whose OUTPUT is removed."""
    tree(tmp_path / "in", a=1.0, b=1.2, c=0.9, d=1.4, e=1.1, f=1.3)
    assert batch().code == 0
    made = contents(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    return made


def test_masks_of_a_cluster_equal_those_of_one_process(tmp_path, batch, cluster, expected) -> None:  # noqa: F811
    done = batch("--scheduler-file", cluster.file)
    assert done.code == 0, done.log
    assert contents(tmp_path / "out") == expected
    assert "[b] PET 24 x 20 x 18" in done.log


def test_a_worker_takes_what_the_client_parsed(tmp_path, batch, cluster) -> None:  # noqa: F811
    write_dicom_studies(tmp_path / "in")
    assert batch().code == 0
    expected = contents(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    done = batch("--scheduler-file", cluster.file, engine=functools.partial(open_counting, tmp_path / "parsed"))
    assert done.code == 0, done.log
    assert contents(tmp_path / "out") == expected
    assert len((tmp_path / "parsed").read_text().splitlines()) == 2 * SLICES  # the pixels of each file alone


def test_a_worker_killed_in_the_middle_costs_no_study(tmp_path, batch, cluster) -> None:  # noqa: F811
    tree(tmp_path / "in", a=1.0, b=50.0, c=0.9, d=1.4)
    assert batch().code == 0
    expected = contents(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    done = batch("--scheduler-file", cluster.file, engine=functools.partial(open_deadly_once, tmp_path / "killed"))
    assert done.code == 0, done.log
    assert (tmp_path / "killed").exists()
    assert contents(tmp_path / "out") == expected


def test_a_study_that_kills_its_worker_fails_alone(tmp_path, batch, cluster) -> None:  # noqa: F811
    tree(tmp_path / "in", a=1.0, b=50.0, c=0.9, d=1.4)
    done = batch("--scheduler", cluster.address, engine=open_deadly)
    assert done.code == 3, done.log
    assert "worker was killed" in rows(tmp_path)["b"]["reason"]
    assert list(masks(tmp_path)) == ["a.nii.gz", "c.nii.gz", "d.nii.gz"]


def test_a_full_disk_at_the_output_ends_the_run_with_whole_masks(tmp_path, batch, cluster) -> None:  # noqa: F811
    tree(tmp_path / "in", **{f"p{k}": 1.0 + k / 20 for k in range(12)})
    assert batch().code == 0
    expected = contents(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "out").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(tmp_path / "out")]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("cannot mount a small file system here")
    try:
        (tmp_path / "out" / "filler").write_bytes(bytes(290_000))
        done = batch("--scheduler-file", cluster.file)
        assert done.code == 5, done.log
        assert "No space left on device" in done.log.splitlines()[-1]
        assert contents(tmp_path / "out").items() < expected.items()
        (tmp_path / "out" / "filler").unlink()
        assert batch("--scheduler-file", cluster.file).code == 0
        assert contents(tmp_path / "out") == expected
    finally:
        subprocess.run(["umount", str(tmp_path / "out")], check=True)


def test_an_error_of_a_task_reaches_the_client(cluster) -> None:
    workers = Workers(scheduler_file=cluster.file)
    assert run_each(abs, [-3, 2, -1], workers=workers, unit="number") == [3, 2, 1]
    with pytest.raises(TypeError, match="bad operand"):
        run_each(abs, [1, "x"], workers=workers, unit="number")


@pytest.mark.slow
def test_a_cluster_evaluates_and_simulates_as_one_process_does(tmp_path, batch, cluster, monkeypatch) -> None:  # noqa: F811
    source = tree(tmp_path / "in", a=1.0, b=1.2)
    assert batch().code == 0
    tables, studies = [], []
    for name, options in (("here", []), ("there", ["--scheduler-file", str(cluster.file)])):
        table = tmp_path / f"{name}.csv"
        command = ["--prediction", tmp_path / "out", "--truth", source, "--output", table, *options]
        monkeypatch.setattr(sys, "argv", ["autosegnet", "evaluate", *map(str, command)])
        assert run_program(_run_command_line) == 0
        tables.append(table.read_bytes())
        command = ["simulate", "--output", tmp_path / name, "--number", 2, "--spacing", 12, 12, 12, *options]
        assert train(list(map(str, command))) == 0
        studies.append({path.name: path.read_bytes() for path in sorted((tmp_path / name).rglob("*.nii.gz"))})
    assert tables[0] == tables[1]
    assert studies[0] == studies[1]
    assert studies[0]


def test_weights_that_a_worker_cannot_open_end_the_run(tmp_path, batch, cluster) -> None:  # noqa: F811
    tree(tmp_path / "in", a=1.0, b=1.2)
    assert batch("--scheduler-file", cluster.file, engine=open_nothing).code == 4


def test_a_scheduler_that_nobody_started_is_named(monkeypatch) -> None:
    monkeypatch.setattr("autosegnet.runtime.cluster._SECONDS_TO_CONNECT", 0.5)
    with pytest.raises(UsageError, match="no Dask scheduler answers at tcp://127.0.0.1:9"):
        run_each(abs, [1], workers=Workers(scheduler="tcp://127.0.0.1:9"), unit="number")


def test_without_dask_the_extra_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UsageError, match=r"pip install 'autosegnet\[cluster\]'"):
        run_each(abs, [1], workers=Workers(scheduler="tcp://127.0.0.1:9"), unit="number")


@pytest.mark.slow
def test_a_worker_that_joins_late_does_the_work(tmp_path, batch, weights, expected) -> None:  # noqa: F811
    cluster = Cluster(tmp_path)
    try:
        run = run_apart(tmp_path / "in", tmp_path / "out", "--weights", weights, "--scheduler-file", cluster.file,
                        engine="open_threshold")  # fmt: skip
        time.sleep(12)
        assert run.poll() is None
        assert not contents(tmp_path / "out")
        cluster.start_worker()
        _, log = run.communicate(timeout=120)
        assert run.returncode == 0, log
        assert "the scheduler has no workers yet" in log
        assert contents(tmp_path / "out") == expected
    finally:
        cluster.close()


def wait_for_masks(output: Path, count: int) -> None:
    for _ in range(600):
        if len(contents(output)) >= count:
            return
        time.sleep(0.1)
    raise AssertionError(f"no {count} masks in {output}")


@pytest.mark.slow
def test_a_client_that_is_killed_is_started_again(tmp_path, batch, weights, cluster, expected) -> None:  # noqa: F811
    command = (tmp_path / "in", tmp_path / "out", "--weights", weights, "--scheduler-file", cluster.file)
    run = run_apart(*command, engine="open_slow")
    wait_for_masks(tmp_path / "out", 1)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.nii.gz")}
    assert len(before) < len(expected)
    time.sleep(3)  # workers end what they were at
    run = run_apart(*command, engine="open_slow")
    _, log = run.communicate(timeout=120)
    assert run.returncode == 0, log
    assert contents(tmp_path / "out") == expected
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.nii.gz")}
    assert before.items() <= after.items()


@pytest.mark.slow
def test_a_scheduler_that_is_gone_ends_the_run_and_it_can_go_on(tmp_path, batch, weights, expected) -> None:  # noqa: F811
    cluster = Cluster(tmp_path)
    try:
        cluster.start_worker()
        run = run_apart(tmp_path / "in", tmp_path / "out", "--weights", weights, "--scheduler-file", cluster.file,
                        engine="open_slow")  # fmt: skip
        wait_for_masks(tmp_path / "out", 1)
        cluster.scheduler.kill()
        _, log = run.communicate(timeout=120)
        assert run.returncode == 2, log
        assert "the Dask scheduler is gone; start it again" in log.splitlines()[-1]
    finally:
        cluster.close()
    assert contents(tmp_path / "out").items() <= expected.items()
    assert batch().code == 0
    assert contents(tmp_path / "out") == expected
