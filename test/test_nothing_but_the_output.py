"""Every program does its work with whatever home, user, locale and folder it finds, and leaves nothing but its output.

The programs run in processes of their own, under a hook that notes every connection, every new process and every file
that is opened to be written. Names of studies are those that old zips, foreign systems and jokers leave.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from dicom_phantoms import write_series
from phantoms import TINY, phantom
from test_serve import free_port, request, started
from untrained_folds import untrained_fold, write_untrained_weights

from autosegnet.io import write_image

ROOT = Path(__file__).resolve().parents[1]
STRANGE = b"M\xfcller \x1b[31m\n=1+1 \xe2\x80\xae x"  # Latin-1, ANSI, a line end, a formula, right to left

# Notes on descriptor 9 what must not happen, and where files are written. `pwd` knows nobody, as for a foreign user id.
HOOK = """
import os, pwd, sys
def nobody(_): raise KeyError("uid not found")
pwd.getpwuid = nobody
os.getlogin = lambda: nobody(None)
NETWORK = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "urllib.Request")
PROCESSES = ("os.fork", "os.forkpty", "os.exec", "os.posix_spawn", "subprocess.Popen", "os.system")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
def note(event, args):
    if event in NETWORK or event in PROCESSES:
        os.write(9, f"{event} {args!r}\\n".encode(errors="replace"))
    elif event == "open" and isinstance(args[0], (str, bytes)) and isinstance(args[2], int) and args[2] & WRITES:
        os.write(9, b"write " + os.fsencode(os.path.abspath(args[0])).replace(b"\\n", b"?") + b"\\n")
    elif event in ("os.mkdir", "os.symlink", "os.rename"):
        os.write(9, b"write " + os.fsencode(args[0 if event == "os.mkdir" else 1]).replace(b"\\n", b"?") + b"\\n")
sys.addaudithook(note)
import runpy
"""
NUMERIC = b"socket.getaddrinfo ('0.0.0.0'"  # waitress, of an address that needs no look-up
AUTOSEGNET = f"{HOOK}runpy.run_module('autosegnet', run_name='__main__', alter_sys=True)"
PROCESS = f"{HOOK}sys.argv[0] = 'process.py'\nrunpy.run_path({str(ROOT / 'process.py')!r}, run_name='__main__')"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cohort, the platform's folders, DICOM, masks and folds, below folders of strange names."""
    top = tmp_path_factory.mktemp("place")
    strange = Path(os.fsdecode(STRANGE))
    write_untrained_weights(top / "weights", folds=1, recipe=TINY)
    torch.save(untrained_fold(0).state_dict(), top / "fold.pth")
    study = phantom()
    for folder in (top / "cohort" / strange, top / "cohort" / "plain"):
        folder.mkdir(parents=True)
        write_image(study.pet, folder / "SUV.nii.gz")
        write_image(study.ct, folder / "CTres.nii.gz")
    for name, image in (("pet", study.pet), ("ct", study.ct)):
        (top / "input" / "images" / name).mkdir(parents=True)
        write_image(image, top / "input" / "images" / name / f"{strange}.mha")
    write_series(top / "dicom" / strange, kind="PET")
    for folder in (top / "masks" / strange, top / "masks" / "plain"):
        folder.mkdir(parents=True)
        write_image(study.pet > 4, folder / "SEG.nii.gz")
    return top


class Surroundings:
    """A home, a folder for the output, one for temporary files, and what the hook notes."""

    def __init__(self, folder: Path, home: str) -> None:
        self.output, self.temporary = folder / "output", folder / "tmp"
        self.home, self._notes = folder / "home", folder / "notes"
        self.temporary.mkdir()
        homes = {"missing": None, "unwritable": "/proc", "absent": "/nonexistent/home"}
        if home == "a file":
            self.home.write_text("x")
        elif home == "empty":
            self.home.mkdir()
        named = homes.get(home, str(self.home))
        self._environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "TMPDIR": str(self.temporary),
            "LANG": "C",
            "TZ": "Mars/Olympus_Mons",
            "OMP_NUM_THREADS": "1",
            **({} if named is None else {"HOME": named}),
        }

    def command(self, program: str, *words: object) -> list[str]:
        """Return a command line that begins where nothing can be written, with the notes on descriptor 9."""
        shell = 'cd /proc && exec 9> "$1" && shift && exec "$@"'
        return ["sh", "-c", shell, "sh", str(self._notes), sys.executable, "-c", program, *map(str, words)]

    def run(self, program: str, *words: object) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(self.command(program, *words), env=self._environment, capture_output=True, check=False)

    @property
    def environment(self) -> dict[str, str]:
        return self._environment

    def assert_nothing_else(self) -> None:
        notes = self._notes.read_bytes().splitlines()
        own = (f"write {self.output}".encode(), f"write {self.temporary}".encode(), b"write /dev/null", NUMERIC)
        assert [note for note in notes if not note.startswith(own)] == []
        assert os.listdir(self.temporary) == []
        assert not self.home.is_dir() or os.listdir(self.home) == []
        assert not self.home.is_file() or self.home.read_text() == "x"


@pytest.fixture
def around(tmp_path: Path, request: pytest.FixtureRequest) -> Surroundings:
    return Surroundings(tmp_path, request.param)


def in_home(*homes: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("around", homes, indirect=True)


def printable(text: bytes) -> bool:
    return all(line.isprintable() for line in text.decode("utf-8").splitlines())


@in_home("missing", "a file")
def test_predict_leaves_nothing_but_its_output(place: Path, around: Surroundings) -> None:
    folder = place / "cohort" / os.fsdecode(STRANGE)
    images = ["--pet", folder / "SUV.nii.gz", "--ct", folder / "CTres.nii.gz", "--report", around.output / "report"]
    rest = ["--output", around.output / "mask.mha", "--weights", place / "weights", "--device", "cpu"]
    done = around.run(AUTOSEGNET, "predict", *images, *rest)
    assert (done.returncode, printable(done.stderr), b"openvino" in done.stderr) == (0, True, True), done.stderr
    assert (around.output / "mask.mha").is_file()
    around.assert_nothing_else()


@in_home("empty", "unwritable")
def test_the_entry_point_leaves_nothing_but_its_output(place: Path, around: Surroundings) -> None:
    folders = ["--input", place / "input", "--output", around.output]
    done = around.run(PROCESS, *folders, "--weights", place / "weights", "--device", "cpu")
    assert (done.returncode, done.stderr) == (0, b"")
    files = {path.name for path in around.output.rglob("*") if path.is_file()}
    assert files == {f"{os.fsdecode(STRANGE)}.mha", "results.json"}
    around.assert_nothing_else()


@in_home("absent")
def test_batch_leaves_nothing_but_its_output(place: Path, around: Surroundings) -> None:
    done = around.run(
        AUTOSEGNET, "batch", place / "cohort", around.output, "--weights", place / "weights", "--device=cpu"
    )
    assert (done.returncode, printable(done.stderr)) == (0, True), done.stderr
    assert len(list(around.output.glob("*.nii.gz"))) == 2
    table = (around.output / "summary.csv").read_text(encoding="utf-8")
    assert (len(table.splitlines()), table.count("done"), printable(table.encode())) == (3, 2, True)
    around.assert_nothing_else()


@in_home("missing")
def test_suv_leaves_nothing_but_its_output(place: Path, around: Surroundings) -> None:
    done = around.run(AUTOSEGNET, "suv", place / "dicom", "--output", around.output / "suv.nii.gz")
    assert (done.returncode, printable(done.stderr), printable(done.stdout)) == (0, True, True), done.stderr
    around.assert_nothing_else()


@in_home("a file")
def test_evaluate_leaves_nothing_but_its_output(place: Path, around: Surroundings) -> None:
    table = around.output / "metrics.csv"
    done = around.run(
        AUTOSEGNET, "evaluate", "--prediction", place / "masks", "--truth", place / "masks", "--output", table
    )
    assert (done.returncode, printable(done.stdout)) == (0, True), done.stderr
    assert printable(table.read_bytes())
    done = around.run(AUTOSEGNET, "rank", "--output", around.output / "ranks.csv", f"@SUM(A1)={table}")
    assert done.returncode == 0, done.stderr
    assert "\n1,'@SUM(A1)," in (around.output / "ranks.csv").read_text()
    around.assert_nothing_else()


@in_home("missing")
def test_weights_import_leaves_nothing_but_its_output(place: Path, around: Surroundings) -> None:
    done = around.run(AUTOSEGNET, "weights", "import", place / "fold.pth", "--output", around.output)
    assert done.returncode == 0, done.stderr
    around.assert_nothing_else()


@in_home("empty")
def test_the_server_leaves_nothing_but_its_output(place: Path, around: Surroundings) -> None:
    port = free_port()
    folders = ["--input", place / "input", "--output", around.output, "--weights", place / "weights", "--device", "cpu"]
    with started(around.command(PROCESS, "--api", "invoke", "--port", port, *folders), around.environment) as server:
        assert request(port, "/invoke", "POST") == (201, "done")
        server.send_signal(signal.SIGTERM)
        _, err = server.communicate(timeout=60)
    assert (server.returncode, err) == (0, "")
    around.assert_nothing_else()


def test_a_connection_and_a_file_elsewhere_would_be_noticed(tmp_path: Path) -> None:
    around = Surroundings(tmp_path, "empty")
    elsewhere = tmp_path / "elsewhere"
    for deed, note in (
        ("import socket; socket.socket().connect_ex(('127.0.0.1', 9))", r"socket\.connect"),
        (f"open({str(elsewhere)!r}, 'w')", r"write .*elsewhere"),
        ("os.fork() or os._exit(0)", r"os\.fork"),
    ):
        assert around.run(f"{HOOK}{deed}").returncode == 0
        with pytest.raises(AssertionError, match=note):
            around.assert_nothing_else()
