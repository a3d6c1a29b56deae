"""Other systems lack some of Linux' functions; here each is taken away, and the commands do their work."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from phantoms import TINY, phantom
from untrained_folds import write_untrained_weights

from autosegnet.io import write_image

ROOT = Path(__file__).resolve().parents[1]

# Run before the program: what macOS lacks, and what Windows lacks.
_MACOS = "import os; del os.sched_getaffinity, os.sched_setaffinity"
_WINDOWS = f"""{_MACOS}
import errno, signal, sys
for name in ("fcntl", "resource", "termios", "pwd", "grp"):
    sys.modules[name] = None
for name in ("O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "fork", "getuid", "geteuid", "killpg"):
    delattr(os, name)
del errno.EDQUOT
for name in ("setitimer", "SIGALRM", "alarm", "SIGHUP", "SIGKILL", "pthread_kill"):
    delattr(signal, name)
"""
_PROGRAM = "import runpy; runpy.run_module('autosegnet', run_name='__main__', alter_sys=True)"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_untrained_weights(folder / "weights", folds=1, recipe=TINY)
    case = folder / "in" / "case"
    case.mkdir(parents=True)
    write_image(phantom().pet, case / "SUV.nii.gz")
    write_image(phantom().ct, case / "CTres.nii.gz")
    return folder


def run(without: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    return subprocess.run(
        [sys.executable, "-c", f"{without}\n{_PROGRAM}", *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("without", [_MACOS, _WINDOWS], ids=["macOS", "Windows"])
def test_predict_and_batch_run_without_functions_of_linux(study: Path, tmp_path: Path, without: str) -> None:
    case, rest = study / "in" / "case", ["--weights", study / "weights", "--device", "cpu"]
    images = ["--pet", case / "SUV.nii.gz", "--ct", case / "CTres.nii.gz"]
    done = run(without, "predict", *images, "--output", tmp_path / "mask.mha", *rest)
    assert (done.returncode, "openvino" in done.stderr) == (0, True), done.stderr
    done = run(without, "batch", study / "in", tmp_path / "out", *rest)
    assert done.returncode == 0, done.stderr
    written = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert {"case.json", "case.nii.gz", "mask.mha", "summary.csv"} <= written
    assert not {name for name in written if name.startswith(".") and name != ".batch.lock"}  # no temporary file


def test_a_temporary_file_of_today_stays_where_there_are_no_locks(tmp_path: Path) -> None:
    today, old = tmp_path / f".{'0' * 16}.part", tmp_path / f".{'1' * 16}.part"
    for path in (today, old):
        path.touch()
    os.utime(old, (0, 0))
    code = (
        "from autosegnet.io import write_text; from pathlib import Path; import sys; write_text('x', Path(sys.argv[1]))"
    )
    command = [sys.executable, "-c", f"{_WINDOWS}\n{code}", str(tmp_path / "a.txt")]
    subprocess.run(command, cwd=ROOT, check=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [today.name, "a.txt"]


@pytest.mark.parametrize(
    "words",
    [
        ("batch", "{long}", "{out}"),
        ("suv", "{long}", "--output", "{out}/s.mha"),
        ("summarize", "{long}"),
        ("evaluate", "--prediction", "{long}", "--truth", "{long}", "--output", "{out}/m.csv"),
        ("predict", "--pet", "{long}", "--ct", "{long}", "--output", "{out}/m.mha"),
        ("measure", "--pet", "{long}", "--mask", "{long}", "--output", "{out}/m.mha"),
    ],
    ids=lambda words: words[0],
)
def test_a_name_that_no_file_system_takes_is_one_line_for_every_command(words, tmp_path, monkeypatch, capsys) -> None:
    from autosegnet import __main__

    named = {"long": tmp_path / ("n" * 300), "out": tmp_path / "out"}
    monkeypatch.setattr("sys.argv", ["autosegnet", *(word.format_map(named) for word in words)])
    with pytest.raises(SystemExit) as ended:
        __main__.main()
    assert ended.value.code == 3
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert said.splitlines()[-1].startswith("autosegnet: error: ")
