"""Files appear whole or not at all, and what cannot be written or is not one image is said so."""

import errno
import fcntl
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from autosegnet.errors import AutosegnetError, InputError, OutputError, UsageError
from autosegnet.io import (
    atomic,
    find_only_image,
    probe_output,
    read_image,
    read_mask,
    strip_suffix,
    write_bytes,
    write_image,
    write_text,
)

ROOT = Path(__file__).parents[1]


def image(values=((0, 1), (1, 0)), dtype=np.uint8):
    return SimpleITK.GetImageFromArray(np.array([values] * 3, dtype))


def everything_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_text_and_bytes_are_written_as_they_are(tmp_path):
    write_text("µ\n", tmp_path / "a.txt")
    write_bytes(b"\0\xff", tmp_path / "b.bin")
    assert (tmp_path / "a.txt").read_bytes() == b"\xc2\xb5\n"
    assert (tmp_path / "b.bin").read_bytes() == b"\0\xff"
    assert everything_in(tmp_path) == ["a.txt", "b.bin"]


def test_missing_folders_are_made(tmp_path):
    write_text("x", tmp_path / "a" / "b" / "c.txt")
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "x"


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_mode_is_the_one_that_umask_leaves(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_text("x", tmp_path / "a.txt")
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, RuntimeError, MemoryError])
def test_interruption_leaves_the_old_file_and_nothing_else(tmp_path, error):
    write_text("old", tmp_path / "a.txt")

    def chunks():
        yield b"new"
        raise error

    with pytest.raises(error):
        atomic.write_files({tmp_path / "a.txt": chunks()})
    assert everything_in(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


@pytest.mark.parametrize("error", [SystemExit, OSError(errno.EIO, "input/output error")])
@pytest.mark.parametrize("has_happened", [False, True])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_interruption_between_the_names_of_several_files_leaves_none(
    tmp_path, monkeypatch, error, has_happened, number
):
    """A signal may come before a rename or after it, and so may the error of a network disk."""
    real_replace, calls = os.replace, []

    def replace(source, target):
        calls.append(target.name)
        if len(calls) < number or has_happened:
            real_replace(source, target)
        if len(calls) == number:
            raise error

    monkeypatch.setattr(os, "replace", replace)
    names = ["c.mha", "a.json", "b.bin"]
    with pytest.raises((SystemExit, OutputError)):
        atomic.write_files({tmp_path / name: (b"x",) for name in names})
    assert calls == names[:number]
    assert everything_in(tmp_path) == []


def test_interruption_of_the_last_removal_leaves_nothing(tmp_path, monkeypatch):
    """A signal may come after everything is done, when the temporary file of a probe is about to go."""
    real_unlink, calls = Path.unlink, []

    def unlink(path, missing_ok=False):
        calls.append(path.name)
        if len(calls) == 1:
            raise SystemExit
        real_unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    with pytest.raises(SystemExit):
        probe_output(tmp_path / "a.mha")
    assert len(calls) == 2
    assert everything_in(tmp_path) == []


def test_no_file_has_its_name_before_all_are_on_the_disk(tmp_path):
    seen = []

    def chunks():
        seen.extend(path.name for path in tmp_path.iterdir() if not path.name.startswith("."))
        yield b"x"

    atomic.write_files({tmp_path / name: chunks() for name in "abc"})
    assert seen == []
    assert everything_in(tmp_path) == ["a", "b", "c"]


def test_error_of_the_program_is_not_taken_for_one_of_the_disk(tmp_path):
    def chunks():
        yield b"new"
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        atomic.write_files({tmp_path / "a.txt": chunks()})


def test_error_of_the_program_is_not_taken_for_a_bad_file(tmp_path, monkeypatch):
    def broken(*_):
        raise ValueError("a bug")

    write_image(image(), tmp_path / "a.mha")
    monkeypatch.setattr("autosegnet.io.metaimage.parse_tags", broken)
    with pytest.raises(ValueError, match="a bug"):
        read_image(tmp_path / "a.mha")


def test_what_reads_back_differently_is_not_renamed(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "_digest", lambda path: b"another")
    with pytest.raises(OutputError, match="differs"):
        write_text("x", tmp_path / "a.txt")
    assert everything_in(tmp_path) == []


def test_file_is_on_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    calls = []
    real_fsync, real_replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append("fsync"), real_fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("rename"), real_replace(a, b)))
    write_text("x", tmp_path / "a.txt")
    assert calls == ["fsync", "rename", "fsync"]


@pytest.fixture
def small_disk(tmp_path):
    """Mount a disk of 64 KiB, if this user may."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("a small disk cannot be mounted here; the limit on file size stands in for it")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def write_large_image(path):
    values = np.random.default_rng(0).random((30, 30, 30), np.float32)  # 100 kB that do not compress
    write_image(SimpleITK.GetImageFromArray(values), path)


@pytest.mark.parametrize("write", [probe_output, lambda path: write_bytes(bytes(100_000), path), write_large_image])
class TestUnwritable:
    def refusal(self, write, path):
        with pytest.raises(OutputError) as caught:
            write(path)
        message = str(caught.value)
        assert message.isprintable()
        assert message.startswith("cannot write ")
        return message

    def test_folder_of_that_name(self, write, tmp_path):
        (tmp_path / "a.mha").mkdir()
        assert "a folder has that name" in self.refusal(write, tmp_path / "a.mha")
        assert everything_in(tmp_path) == ["a.mha"]

    def test_pipe_of_that_name(self, write, tmp_path):
        os.mkfifo(tmp_path / "a.mha")
        assert "not a file" in self.refusal(write, tmp_path / "a.mha")
        assert (tmp_path / "a.mha").is_fifo()

    def test_file_where_a_folder_should_be(self, write, tmp_path):
        (tmp_path / "file").write_text("x")
        assert "part of the path is a file" in self.refusal(write, tmp_path / "file" / "a.mha")
        assert "part of the path is a file" in self.refusal(write, tmp_path / "file" / "b" / "a.mha")
        assert everything_in(tmp_path) == ["file"]

    def test_name_too_long(self, write, tmp_path):
        assert "shorter name" in self.refusal(write, tmp_path / ("a" * 300 + ".mha"))
        assert everything_in(tmp_path) == []

    def test_nul_in_name(self, write, tmp_path):
        assert "not a usable file name" in self.refusal(write, tmp_path / "a\0.mha")

    def test_folder_that_cannot_be_made(self, write):
        self.refusal(write, Path("/proc/none/a.mha"))

    def test_link_to_nowhere_as_folder(self, write, tmp_path):
        (tmp_path / "link").symlink_to(tmp_path / "file")
        self.refusal(write, tmp_path / "link" / "a.mha")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_folder_without_permission(self, write, tmp_path):
        (tmp_path / "locked").mkdir(mode=0o555)
        assert "can be written to" in self.refusal(write, tmp_path / "locked" / "a.mha")

    def test_limit_on_file_size(self, write, tmp_path):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (16, before[1]))
        try:
            assert "limit on file size" in self.refusal(write, tmp_path / "a.mha")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert everything_in(tmp_path) == []

    def test_full_disk(self, write, small_disk):
        (small_disk / "filler").write_bytes(bytes(48 * 1024))
        (small_disk / "a.mha").write_text("old")
        assert "No space left on device; free some space there" in self.refusal(write, small_disk / "a.mha")
        assert everything_in(small_disk) == ["a.mha", "filler"]
        assert (small_disk / "a.mha").read_text() == "old"


def test_folder_without_permission_is_refused_for_an_ordinary_user(tmp_path):
    """As root the check above cannot run, so another user tries it in a process of its own."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user; the check above has run")
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    for folder in (locked, *locked.parents):
        if folder != Path("/") and folder.stat().st_mode & 0o005 != 0o005:
            folder.chmod(folder.stat().st_mode | 0o005)
    code = (
        "import os, sys; from pathlib import Path\n"
        "from autosegnet.io import probe_output\n"
        "from autosegnet.errors import OutputError\n"
        "os.setuid(65534)\n"
        "try: probe_output(Path(sys.argv[1]) / 'a.mha')\n"
        "except OutputError as error: print(error)\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, str(locked)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "choose a folder that can be written to" in found.stdout


def test_probe_leaves_the_folder_and_nothing_in_it(tmp_path):
    probe_output(tmp_path / "new" / "a.mha")
    assert everything_in(tmp_path) == ["new"]


def test_probe_leaves_an_earlier_result_alone(tmp_path):
    write_text("old", tmp_path / "a.mha")
    probe_output(tmp_path / "a.mha")
    assert (tmp_path / "a.mha").read_text() == "old"


LEFTOVER = ".0123456789abcdef.part"


def test_next_run_removes_what_a_killed_one_left(tmp_path):
    for name in (LEFTOVER, ".fedcba9876543210.part"):
        (tmp_path / name).write_bytes(b"half")
    probe_output(tmp_path / "a.mha")
    assert everything_in(tmp_path) == []


def test_what_a_killed_run_left_in_any_folder_of_the_outputs_goes_too(tmp_path):
    for folder in ("records", "reports"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / LEFTOVER).write_bytes(b"half")
    atomic.write_files({tmp_path / folder / name: [b"x"] for folder in ("records", "reports") for name in "ab"})
    assert everything_in(tmp_path) == ["records", "records/a", "records/b", "reports", "reports/a", "reports/b"]


def test_nobody_elses_files_are_removed(tmp_path):
    names = [".part", "0123456789abcdef.part", ".0123456789abcdeg.part", ".0123456789abcdef.part.mha", "a.mha.part"]
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / LEFTOVER).write_bytes(b"x")
    (tmp_path / LEFTOVER).symlink_to("a.mha.part")
    probe_output(tmp_path / "a.mha")
    assert everything_in(tmp_path) == sorted([*names, "elsewhere", f"elsewhere/{LEFTOVER}", LEFTOVER])


def test_temporary_file_of_a_living_run_is_left_alone(tmp_path):
    seen = []

    def chunks():
        yield b"first half"
        probe_output(tmp_path / "b.mha")  # as another run in the same folder
        seen.extend(everything_in(tmp_path))
        yield b", second half"

    atomic.write_files({tmp_path / "a.txt": chunks()})
    assert len(seen) == 1
    assert everything_in(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_bytes() == b"first half, second half"


def test_file_taken_for_a_leftover_before_its_lock_is_made_anew(tmp_path, monkeypatch):
    lock, calls = atomic._lock_file, []

    def late(descriptor, how):
        if not calls:
            calls.append(how)
            (temporary,) = tmp_path.iterdir()
            temporary.unlink()  # as another run's cleaning would
        return lock(descriptor, how)

    monkeypatch.setattr(atomic, "_lock_file", late)
    write_text("x", tmp_path / "a.txt")
    assert calls
    assert everything_in(tmp_path) == ["a.txt"]


def test_file_system_without_locks_is_written_to_and_not_cleaned(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", flock)
    (tmp_path / LEFTOVER).write_bytes(b"x")
    probe_output(tmp_path / "a.txt")
    write_text("x", tmp_path / "a.txt")
    assert everything_in(tmp_path) == [LEFTOVER, "a.txt"]


WRITER = """
import sys
from pathlib import Path
import numpy as np, SimpleITK
from autosegnet.io import write_image
image = SimpleITK.GetImageFromArray(np.random.default_rng(0).random((60, 100, 100), np.float32))
print("ready", flush=True)
for _ in range(1000):
    write_image(image, Path(sys.argv[1]))
"""


def kill_while_writing(path, delay_s):
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay_s)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()


def check_kills(folder, count, seed):
    """Kill a writing process at random moments; what it leaves is whole or absent. How often it is there."""
    draw = random.Random(seed)
    present = 0
    for _ in range(count):
        path = folder / "image.mha"
        path.unlink(missing_ok=True)
        kill_while_writing(path, draw.uniform(0, 0.25))
        if path.exists():
            present += 1
            assert read_image(path).GetSize() == (100, 100, 60)
    return present


def test_kill_while_writing_leaves_no_partial_file(tmp_path):
    check_kills(tmp_path, count=3, seed=0)


@pytest.mark.slow
def test_200_kills_while_writing_leave_no_partial_file(tmp_path):
    present = check_kills(tmp_path, count=200, seed=1)
    print(f"{present} of 200 kills left a whole file, the others none")
    assert 0 < present < 200


def test_unknown_suffix_is_not_written(tmp_path):
    for name in ("a.tif", "a", "a.mhd", "a.nii.zip"):
        with pytest.raises(UsageError, match=r"\.mha, \.nii or \.nii\.gz"):
            write_image(image(), tmp_path / name)
    assert everything_in(tmp_path) == []


def test_unknown_suffix_is_not_read(tmp_path):
    for name in ("a.tif", "a", "a.mhd", "a.gz"):
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(InputError, match=r"\.mha, \.nii or \.nii\.gz"):
            read_image(tmp_path / name)


def test_nul_in_the_name_of_an_image_is_said_so():
    with pytest.raises(InputError, match="not a usable file name"):
        read_image(Path("a\0.mha"))


def test_missing_image_is_said_so(tmp_path):
    with pytest.raises(InputError, match=r"a\.mha: No such file"):
        read_image(tmp_path / "a.mha")
    with pytest.raises(InputError, match="no_such_folder: No such file"):
        read_image(tmp_path / "no_such_folder")


def test_folder_in_place_of_an_image_is_said_so(tmp_path):
    (tmp_path / "a.mha").mkdir()
    with pytest.raises(InputError, match="Is a directory"):
        read_image(tmp_path / "a.mha")


def test_suffix_may_be_in_capitals(tmp_path):
    write_image(image(), tmp_path / "A.NII.GZ")
    assert find_only_image(tmp_path) == tmp_path / "A.NII.GZ"
    assert read_image(tmp_path / "A.NII.GZ").GetSize() == (2, 2, 3)
    assert strip_suffix(Path("A.NII.GZ")) == "A"


@pytest.mark.parametrize(
    ("name", "stem"), [("a.mha", "a"), ("a.nii", "a"), ("x/a.nii.gz", "a"), ("a.b.mha", "a.b"), ("a", "a")]
)
def test_stem_is_the_name_without_suffix(name, stem):
    assert strip_suffix(Path(name)) == stem


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64, np.int64])
def test_mask_of_any_type_with_0_and_1_is_read_as_uint8(tmp_path, dtype):
    SimpleITK.WriteImage(image(dtype=dtype), str(tmp_path / "a.mha"))
    mask = read_mask(tmp_path / "a.mha")
    assert mask.GetPixelID() == SimpleITK.sitkUInt8
    assert np.array_equal(SimpleITK.GetArrayViewFromImage(mask), SimpleITK.GetArrayViewFromImage(image()))


@pytest.mark.parametrize(
    ("values", "dtype", "named"),
    [
        (((0, 2), (1, 255)), np.uint8, "2, 255"),
        (((0, -1), (1, 0)), np.int16, "-1"),
        (((0, 0.5), (1, 0)), np.float32, "0.5"),
        (((0, 256), (257, 0)), np.int16, "256, 257"),
    ],
)
def test_mask_with_other_values_is_refused_with_them(tmp_path, values, dtype, named):
    SimpleITK.WriteImage(image(values, dtype), str(tmp_path / "a.mha"))
    with pytest.raises(InputError, match=f"values {named}, expected only 0 and 1"):
        read_mask(tmp_path / "a.mha")


def test_mask_that_is_almost_0_and_1_is_refused(tmp_path):
    # 1 + 1e-12 is 1 in float32: the check has to come before the conversion.
    SimpleITK.WriteImage(image(((0, 1 + 1e-12), (1, 0)), np.float64), str(tmp_path / "a.mha"))
    with pytest.raises(InputError, match="expected only 0 and 1"):
        read_mask(tmp_path / "a.mha")


class TestOnlyImage:
    def refusal(self, folder):
        with pytest.raises(InputError) as caught:
            find_only_image(folder)
        assert str(caught.value).isprintable()
        return str(caught.value)

    def test_one_image_is_found_besides_other_files(self, tmp_path):
        for name in ("a.mha", "readme.txt", ".hidden.mha", ".DS_Store"):
            (tmp_path / name).write_bytes(b"x")
        assert find_only_image(tmp_path) == tmp_path / "a.mha"

    def test_missing_folder(self, tmp_path):
        assert "No such file or directory" in self.refusal(tmp_path / "pet")

    def test_file_in_place_of_the_folder(self, tmp_path):
        (tmp_path / "pet").write_text("x")
        assert "Not a directory" in self.refusal(tmp_path / "pet")

    def test_empty_folder(self, tmp_path):
        assert "which is empty" in self.refusal(tmp_path)

    def test_no_image_lists_what_is_there(self, tmp_path):
        (tmp_path / "sub").mkdir()
        (tmp_path / "a.txt").write_text("x")
        assert "holds a.txt, sub/" in self.refusal(tmp_path)

    def test_two_images_are_listed(self, tmp_path):
        for name in ("a.mha", "b.nii.gz"):
            (tmp_path / name).write_text("x")
        message = self.refusal(tmp_path)
        assert "found 2 images" in message
        assert "a.mha, b.nii.gz" in message

    def test_long_lists_are_cut(self, tmp_path):
        for number in range(100):
            (tmp_path / f"{number:03d}.mha").write_text("x")
        message = self.refusal(tmp_path)
        assert "007.mha and 92 more" in message
        assert len(message) < 500

    @pytest.mark.parametrize("name", ["a.tif", "a.TIFF", "a.mhd", "a.nrrd", "a.dcm", "a.hdr"])
    @pytest.mark.parametrize("besides", [True, False])
    def test_unsupported_image_is_named(self, tmp_path, name, besides):
        (tmp_path / name).write_text("x")
        if besides:
            (tmp_path / "b.mha").write_text("x")
        message = self.refusal(tmp_path)
        assert name in message
        assert "not read" in message

    def test_link_within_the_folder_is_followed(self, tmp_path):
        (tmp_path / ".store").mkdir()
        (tmp_path / ".store" / "x").write_text("x")
        (tmp_path / "a.mha").symlink_to(".store/x")
        assert find_only_image(tmp_path) == tmp_path / "a.mha"

    def test_link_out_of_the_folder_is_refused(self, tmp_path):
        (tmp_path / "secret").write_text("x")
        (tmp_path / "pet").mkdir()
        (tmp_path / "pet" / "a.mha").symlink_to("../secret")
        assert "is a link to outside" in self.refusal(tmp_path / "pet")

    def test_link_that_goes_in_circles_is_refused(self, tmp_path):
        (tmp_path / "a.mha").symlink_to("a.mha")
        with pytest.raises(AutosegnetError):
            read_image(find_only_image(tmp_path))

    def test_name_with_control_characters_stays_on_one_line(self, tmp_path):
        for name in ("a\nb.mha", "c\x1b[31m.mha"):
            (tmp_path / name).write_text("x")
        said = self.refusal(tmp_path)
        assert "a\\nb.mha" in said
        assert "c\\x1b[31m.mha" in said


def test_an_output_that_is_a_link_is_written_where_it_leads(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "link.txt"
    link.symlink_to(tmp_path / "elsewhere" / "a.txt")
    probe_output(link)
    write_text("x", link)
    assert link.is_symlink()
    assert (tmp_path / "elsewhere" / "a.txt").read_text() == "x"


def test_an_output_that_is_a_link_into_no_folder_is_refused(tmp_path):
    link = tmp_path / "link.txt"
    link.symlink_to(tmp_path / "absent" / "a.txt")
    with pytest.raises(OutputError, match="link into a folder that does not exist"):
        write_text("x", link)
    assert not (tmp_path / "absent").exists()
