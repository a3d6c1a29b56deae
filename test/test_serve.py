"""The `invoke` convention: a server whose jobs are the entry point's, one after the other."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import THRESHOLD_RECIPE, phantom
from threshold import CountingEngine, ThresholdEngine

from autosegnet.errors import InputError, UsageError
from autosegnet.grandchallenge.job import parse_job
from autosegnet.grandchallenge.server import serve
from autosegnet.model.recipe import Fold, Recipe
from autosegnet.model.weights import Weights
from autosegnet.segmenter import Segmenter

ROOT = Path(__file__).resolve().parents[1]
MASK = "images/automated-petct-lesion-segmentation/ct.mha"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def request(port: int, path: str, method: str = "GET") -> tuple[int, str]:
    """Return status and body, once the server answers at all."""
    deadline = time.monotonic() + 240
    while True:
        call = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
        try:
            with urllib.request.urlopen(call, timeout=240) as answer:
                return answer.status, answer.read().decode().strip()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode().strip()
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


Invoke = Callable[[], tuple[int, str]]
Serve = Callable[[Callable[[], None]], int]


@pytest.fixture
def serving() -> Iterator[Serve]:
    """Start servers in this process, and end them as SIGTERM does: by SystemExit in the thread of the jobs."""
    ends: list[tuple[int, Thread, Event]] = []

    def start(job: Callable[[], None]) -> int:
        port, end = free_port(), Event()

        def job_or_end() -> None:
            if end.is_set():
                raise SystemExit(143)
            job()

        thread = Thread(target=serve, args=[job_or_end], kwargs={"host": "127.0.0.1", "port": port})
        thread.start()
        ends.append((port, thread, end))
        return port

    yield start
    for port, thread, end in ends:
        end.set()
        assert request(port, "/invoke", "POST")[0] == 503
        thread.join(timeout=60)
        assert not thread.is_alive()


def test_health_and_invoke_answer_as_the_platform_expects(serving: Serve) -> None:
    done: list[int] = []
    port = serving(lambda: done.append(1))
    assert request(port, "/health") == (200, "ready")
    assert request(port, "/invoke", "POST") == (201, "done")
    assert request(port, "/invoke", "POST") == (201, "done")
    assert done == [1, 1]
    assert request(port, "/invoke")[0] == 405
    assert request(port, "/health", "POST")[0] == 405
    assert request(port, "/")[0] == 404
    assert done == [1, 1]


def test_errors_are_answered_and_the_server_stays_up(serving: Serve, capfd: pytest.CaptureFixture[str]) -> None:
    errors = [InputError("no image\nin ct"), UsageError("no such edition"), MemoryError(), ZeroDivisionError("a / 0")]

    def job() -> None:
        if errors:
            raise errors.pop(0)

    port = serving(job)
    assert request(port, "/invoke", "POST") == (422, "autosegnet: error: no image in ct")
    assert request(port, "/invoke", "POST") == (500, "autosegnet: error: no such edition")
    status, line = request(port, "/invoke", "POST")
    assert (status, line.startswith("autosegnet: error: out of memory")) == (422, True)
    status, line = request(port, "/invoke", "POST")
    assert (status, "a bug, ZeroDivisionError" in line, "a / 0" in line) == (500, True, False)
    assert request(port, "/health")[0] == 200
    assert request(port, "/invoke", "POST") == (201, "done")
    written = capfd.readouterr().err.splitlines()
    assert written[:2] == ["autosegnet: error: no image in ct", "autosegnet: error: no such edition"]
    assert "ZeroDivisionError: a / 0" in written


def test_jobs_run_one_at_a_time_while_health_answers(serving: Serve) -> None:
    running: list[int] = []
    together: list[int] = []
    begun, go_on = Event(), Event()

    def job() -> None:
        running.append(1)
        together.append(len(running))
        begun.set()
        assert go_on.wait(60)
        running.pop()

    port = serving(job)
    answers: list[int] = []
    callers = [Thread(target=lambda: answers.append(request(port, "/invoke", "POST")[0])) for _ in range(3)]
    for caller in callers:
        caller.start()
    assert begun.wait(60)
    assert request(port, "/health") == (200, "ready")
    go_on.set()
    for caller in callers:
        caller.join(60)
    assert answers == [201, 201, 201]
    assert together == [1, 1, 1]


def test_health_answers_however_many_calls_wait(serving: Serve) -> None:
    go_on = Event()
    port = serving(lambda: go_on.wait(60) and None)
    answers: list[tuple[int, str]] = []
    callers = [Thread(target=lambda: answers.append(request(port, "/invoke", "POST"))) for _ in range(12)]
    for caller in callers:
        caller.start()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=20) as answer:
        assert answer.status == 200
    deadline = time.monotonic() + 20
    while len(answers) < 5 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert answers == [(503, "autosegnet: error: 7 calls wait already; call again later")] * 5
    go_on.set()
    for caller in callers:
        caller.join(60)
    assert sorted(status for status, _ in answers) == [201] * 7 + [503] * 5


@pytest.mark.parametrize("port", ["-1", "65536", "99999", "http", "9" * 5000])
def test_a_port_that_cannot_be_is_wrong_usage(port: str) -> None:
    with pytest.raises(UsageError, match="expected 0 to 65535"):
        parse_job(prog="", about=None, words=[f"--port={port}"])


def test_a_port_that_is_taken_is_wrong_usage() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UsageError, match="cannot listen on 127.0.0.1, port"):
            serve(lambda: None, host="127.0.0.1", port=taken.getsockname()[1])


@contextmanager
def started(command: list[str], environment: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """Return a process of the repository, which never outlives its test."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_sigterm_ends_a_running_job_and_the_server() -> None:
    """In a process of its own, as in a container; the job would take a minute."""
    code = (
        "import sys, time\n"
        "from autosegnet.runtime.exit import run_program\n"
        "from autosegnet.grandchallenge.server import serve\n"
        "def job():\n"
        "    try: print('begun', flush=True); time.sleep(60)\n"
        "    finally: print('unwound', flush=True)\n"
        "sys.exit(run_program(lambda: serve(job, host='127.0.0.1', port=int(sys.argv[1]))))"
    )
    port = free_port()
    with subprocess.Popen(
        [sys.executable, "-c", code, str(port)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as server:
        answers: list[tuple[int, str]] = []
        callers = [Thread(target=lambda: answers.append(request(port, "/invoke", "POST"))) for _ in range(2)]
        for caller in callers:
            caller.start()
        assert server.stdout is not None
        assert server.stdout.readline() == "begun\n"
        time.sleep(0.5)  # so that the second call waits
        server.send_signal(signal.SIGTERM)
        for caller in callers:
            caller.join(60)
        assert server.wait(60) == 0
        assert server.stdout.read() == "unwound\n"
    line = "autosegnet: error: the server was stopped before the job was done"
    assert answers == [(503, line), (503, line)]


def test_sigterm_that_another_thread_takes_ends_the_server() -> None:
    """It does not interrupt the wait for calls: neither does one that comes just before the wait."""
    code = (
        "import signal, sys, threading\n"
        "from autosegnet.runtime.exit import run_program\n"
        "from autosegnet.grandchallenge.server import serve\n"
        "take = lambda: signal.pthread_kill(threading.get_ident(), signal.SIGTERM)\n"
        "def job(): threading.Timer(0.5, take).start()\n"
        "sys.exit(run_program(lambda: serve(job, host='127.0.0.1', port=int(sys.argv[1]))))"
    )
    port = free_port()
    with started([sys.executable, "-c", code, str(port)]) as server:
        assert request(port, "/invoke", "POST") == (201, "done")
        assert server.wait(60) == 0


def test_a_call_from_a_web_page_is_refused(serving: Serve) -> None:
    done: list[int] = []
    port = serving(lambda: done.append(1))
    assert request(port, "/health")[0] == 200
    call = urllib.request.Request(f"http://127.0.0.1:{port}/invoke", method="POST", headers={"Origin": "http://x"})
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(call, timeout=60)
    assert done == []


def test_a_slow_call_is_closed_however_steadily_it_comes(serving: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autosegnet.grandchallenge.server._SECONDS_TO_CALL", 2)
    port = serving(lambda: None)
    assert request(port, "/health")[0] == 200
    end = time.monotonic() + 20
    with socket.create_connection(("127.0.0.1", port)) as slow, suppress(ConnectionError):
        while time.monotonic() < end:
            slow.send(b"G")
            time.sleep(0.05)
    assert time.monotonic() < end
    assert request(port, "/health")[0] == 200


def test_120_slow_calls_leave_health_answering(serving: Serve) -> None:
    port = serving(lambda: None)
    assert request(port, "/health")[0] == 200
    slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(120)]
    for connection in slow:
        connection.send(b"GET /hea")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=20) as answer:
        assert answer.status == 200
    for connection in slow:
        connection.close()


def test_a_stop_that_the_other_thread_has_seen_already_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have closed everything before it is woken up."""
    from waitress.server import TcpWSGIServer

    def closed(server: TcpWSGIServer) -> None:
        raise OSError(9, "Bad file descriptor")

    def stop() -> None:
        monkeypatch.setattr(TcpWSGIServer, "pull_trigger", closed)
        raise SystemExit(143)

    port = free_port()
    server = Thread(target=serve, args=[stop], kwargs={"port": port})
    with warnings_of_threads() as raised:
        server.start()
        wait_for(port)
        with suppress(OSError):  # the answer may be lost with the trigger
            urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/invoke", method="POST"), timeout=5)
        server.join(60)
    assert (server.is_alive(), raised) == (False, [])


def wait_for(port: int) -> None:
    """Wait until something listens on a port."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
            return
        time.sleep(0.05)


@contextmanager
def warnings_of_threads() -> Iterator[list[BaseException | None]]:
    """Return what threads raise meanwhile."""
    raised: list[BaseException | None] = []
    before, threading.excepthook = threading.excepthook, lambda args: raised.append(args.exc_value)
    try:
        yield raised
    finally:
        threading.excepthook = before


def test_the_server_listens_on_this_machine_alone_unless_told_otherwise() -> None:
    assert parse_job(prog="", about=None, words=[]).host == "127.0.0.1"
    assert parse_job(prog="", about=None, words=["--host", "0.0.0.0"]).host == "0.0.0.0"


def test_a_host_that_cannot_be_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="cannot listen on"):
        serve(lambda: None, host="a" * 300, port=0)


# The entry point's own job.


def provide(folder: Path, *, moved: bool) -> Path:
    """Return a study in the platform's folders, always under the same names; the other one is mirrored."""
    study = phantom()
    for name, image in (("pet", study.pet), ("ct", study.ct)):
        (folder / "images" / name).mkdir(parents=True, exist_ok=True)
        kept = sitk.Flip(image, (True, False, False)) if moved else image
        kept.CopyInformation(image)
        sitk.WriteImage(kept, str(folder / "images" / name / f"{name}.mha"))
    return folder


def voxels(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def job_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *words: str, recipe: Recipe = THRESHOLD_RECIPE):
    """Return the entry point's job, with an engine that marks SUV above 4."""
    monkeypatch.chdir(ROOT)
    import process
    from autosegnet.grandchallenge.job import parse_job

    folders = ["--input", str(tmp_path / "in"), "--output", str(tmp_path / "out")]
    args = parse_job(prog="process.py", about=None, words=[*folders, *words])
    segmenter = Segmenter.from_engine(
        lambda weights: ThresholdEngine(folds=len(recipe.folds)), Weights(tmp_path, recipe)
    )
    return lambda: process.run_job(args, lambda: segmenter)


def test_nothing_of_one_case_is_in_the_next(serving: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cases have files of the same names; a bad one lies between."""
    port = serving(job_of(monkeypatch, tmp_path))
    masks = []
    for moved in (False, True):
        provide(tmp_path / "in", moved=moved)
        assert request(port, "/invoke", "POST") == (201, "done")
        masks.append(voxels(tmp_path / "out" / MASK))
        shutil.rmtree(tmp_path / "out")
        (tmp_path / "in/images/pet/pet.mha").write_bytes(b"not an image")
        status, line = request(port, "/invoke", "POST")
        assert (status, "pet.mha" in line) == (422, True)
        assert not [p for p in (tmp_path / "out").rglob("*") if p.is_file()]
    assert masks[0].any()
    np.testing.assert_array_equal(masks[1], masks[0][:, :, ::-1])


def test_a_refused_job_leaves_nothing_of_the_job_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_of(monkeypatch, tmp_path, "--edition", "autopet3")
    provide(tmp_path / "in", moved=False)
    job()
    (tmp_path / "in/images/pet/pet.mha").unlink()
    with pytest.raises(InputError):
        job()
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


def test_a_job_with_another_ct_leaves_one_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The platform takes exactly one image from the socket's folder."""
    job = job_of(monkeypatch, tmp_path)
    provide(tmp_path / "in", moved=False)
    job()
    (tmp_path / "in/images/ct/ct.mha").rename(tmp_path / "in/images/ct/other.mha")
    job()
    assert [path.name for path in (tmp_path / "out" / MASK).parent.iterdir()] == ["other.mha"]


@pytest.mark.parametrize("edition", ["autopet1", "autopet2", "autopet3", "autopet4", "autopet5"])
def test_every_edition_gets_its_files(edition: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provide(tmp_path / "in", moved=False)
    if edition in ("autopet4", "autopet5"):
        (tmp_path / "in/lesion-clicks.json").write_text('{"points": []}')
    job_of(monkeypatch, tmp_path, "--edition", edition)()
    socket_name = (
        "tumor-lesion-segmentation" if edition in ("autopet4", "autopet5") else "automated-petct-lesion-segmentation"
    )
    files = [f"images/{socket_name}/ct.mha", "results.json"]
    found = sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*") if p.is_file())
    assert found == (["data-centric-model.json", *files] if edition == "autopet3" else files)
    if edition == "autopet3":
        assert json.loads((tmp_path / "out/data-centric-model.json").read_text()) is False
    (result,) = json.loads((tmp_path / "out/results.json").read_text())
    assert result == {
        "outputs": [{"type": "metaio_image", "filename": "ct.mha"}],
        "inputs": [{"type": "metaio_image", "filename": name} for name in ("pet.mha", "ct.mha")],
        "error_messages": [],
        "engine": "threshold, CPU",
    }


def test_the_list_of_sockets_leads_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provide(tmp_path / "in", moved=False)
    (tmp_path / "in/images/pet").rename(tmp_path / "in/images/elsewhere")
    entries = [{"socket": {"slug": "pet", "relative_path": "images/elsewhere"}, "image": {"name": "x"}}]
    entries += [{"socket": {"slug": "ct", "relative_path": "images/ct"}, "image": None}]
    (tmp_path / "in/inputs.json").write_text(json.dumps(entries))
    job_of(monkeypatch, tmp_path)()
    assert voxels(tmp_path / "out" / MASK).any()


def test_results_say_that_fewer_folds_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provide(tmp_path / "in", moved=False)
    recipe = Recipe(
        folds=tuple(Fold(f"fold_{k}", "0" * 64) for k in range(2)),
        patch=(32, 32, 32),
        spacing_mm=(4.0, 4.0, 4.0),
    )
    job_of(monkeypatch, tmp_path, "--time-limit", "1e-9", "--degrade", recipe=recipe)()
    (result,) = json.loads((tmp_path / "out/results.json").read_text())
    assert result["time_limit"]["ran"] == "1 of 2 folds, fast mode (fold_0)"
    assert result["time_limit"]["degraded"] is True
    assert result["time_limit"]["estimate_s"] > 0
    job_of(monkeypatch, tmp_path, "--time-limit", "3600", "--degrade", recipe=recipe)()
    (result,) = json.loads((tmp_path / "out/results.json").read_text())
    assert (result["time_limit"]["ran"], result["time_limit"]["degraded"]) == ("all 2 folds", False)


def test_the_entry_point_serves(tmp_path: Path, tiny_weights: Weights) -> None:
    """The real program with real folds: weights once, two cases, a bad one between, SIGTERM."""
    port = free_port()
    command = [sys.executable, "process.py", "--api", "invoke", "--port", str(port), "--device", "cpu"]
    command += ["--input", str(tmp_path / "in"), "--output", str(tmp_path / "out")]
    command += ["--weights", str(tiny_weights.folder)]
    with started(command) as server:
        assert request(port, "/health") == (200, "ready")
        provide(tmp_path / "in", moved=False)
        assert request(port, "/invoke", "POST") == (201, "done")
        first = voxels(tmp_path / "out" / MASK)
        (tmp_path / "in/images/ct/ct.mha").unlink()
        status, line = request(port, "/invoke", "POST")
        assert (status, "no image" in line) == (422, True)
        provide(tmp_path / "in", moved=True)
        assert request(port, "/invoke", "POST") == (201, "done")
        assert not np.array_equal(voxels(tmp_path / "out" / MASK), first)
        server.send_signal(signal.SIGTERM)
        out, err = server.communicate(timeout=60)
    assert server.returncode == 0
    assert err.splitlines() == [line]
    assert out.count("folds, weights") == 1
    assert sorted(os.listdir(tmp_path / "out")) == ["images", "results.json"]


def test_clicks_correct_the_mask_and_a_server_keeps_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provide(tmp_path / "in", moved=False)
    monkeypatch.chdir(ROOT)
    import process
    from autosegnet.grandchallenge.rounds import LastStudy

    engine = CountingEngine()
    words = ["--input", str(tmp_path / "in"), "--output", str(tmp_path / "out"), "--edition", "autopet4"]
    args = parse_job(prog="process.py", about=None, words=words)
    segmenter = Segmenter.from_engine(lambda weights: engine, Weights(tmp_path, THRESHOLD_RECIPE))
    rounds: process.Rounds = LastStudy()
    mask = tmp_path / "out/images/tumor-lesion-segmentation/ct.mha"
    process.run_job(args, lambda: segmenter, rounds)
    first, done = voxels(mask), len(engine.passes)
    z, y, x = (int(at) for at in np.argwhere(first)[0])
    points = [{"point": [x, y, z], "name": "background"}, {"point": [24, 20, 18], "name": "tumor"}]
    (tmp_path / "in/lesion-clicks.json").write_text(json.dumps({"points": points}))
    process.run_job(args, lambda: segmenter, rounds)
    kept = voxels(mask)
    assert len(engine.passes) == done
    assert (kept[z, y, x], kept[18, 20, 24]) == (0, 1)
    (result,) = json.loads((tmp_path / "out/results.json").read_text())
    assert result["clicks"] == {"tumor": 1, "background": 1}
    process.run_job(args, lambda: segmenter)  # as a program that runs once per job
    assert len(engine.passes) > done
    np.testing.assert_array_equal(voxels(mask), kept)
    (tmp_path / "in/lesion-clicks.json").write_text('{"points": [{"point": [1, 2')
    process.run_job(args, lambda: segmenter, rounds)
    np.testing.assert_array_equal(voxels(mask), first)
    (result,) = json.loads((tmp_path / "out/results.json").read_text())
    assert "lesion-clicks.json" in result["clicks"]["refused"]


def test_a_server_runs_the_network_on_a_study_that_differs_in_one_voxel_of_a_file_of_the_same_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    import process
    from autosegnet.grandchallenge.rounds import LastStudy

    engine = CountingEngine()
    words = ["--input", str(tmp_path / "in"), "--output", str(tmp_path / "out"), "--edition", "autopet4"]
    args = parse_job(prog="process.py", about=None, words=words)
    segmenter = Segmenter.from_engine(lambda weights: engine, Weights(tmp_path, THRESHOLD_RECIPE))
    rounds: process.Rounds = LastStudy()

    def run() -> int:
        before = len(engine.passes)
        process.run_job(args, lambda: segmenter, rounds)
        return len(engine.passes) - before

    provide(tmp_path / "in", moved=False)
    passes = run()
    assert passes > 0
    assert run() == 0
    for kind, name in (("pet", "pet"), ("ct", "ct")):
        path = tmp_path / f"in/images/{kind}/{name}.mha"
        image = sitk.ReadImage(str(path))
        image[5, 5, 5] = image[5, 5, 5] + 1
        sitk.WriteImage(image, str(path))
        assert run() == passes
        assert run() == 0
    provide(tmp_path / "in", moved=True)
    assert run() == passes
    moved = voxels(tmp_path / "out/images/tumor-lesion-segmentation/ct.mha")
    process.run_job(args, lambda: segmenter)
    np.testing.assert_array_equal(voxels(tmp_path / "out/images/tumor-lesion-segmentation/ct.mha"), moved)
