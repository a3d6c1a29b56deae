"""One walk of folders for every command."""

from pathlib import Path

import pytest
from dicom_phantoms import SLICES, write_series

from autosegnet.batch.find import find_studies
from autosegnet.dicom.objects import find_headers
from autosegnet.errors import InputError
from autosegnet.evaluation.mask_folders import find_masks
from autosegnet.io.folders import walk_folders
from autosegnet.loading import load_study


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder with a linked, a hidden, and a self-containing one: a study lies in the first two."""
    root = tmp_path / "root"
    for folder in (root / ".trash" / "s", tmp_path / "elsewhere" / "s"):
        folder.mkdir(parents=True)
        for name in ("SUV.nii", "CT.nii", "SEG.nii", ".SEG.nii"):
            (folder / name).touch()
        for kind in ("PET", "CT"):
            write_series(folder / "dicom", kind=kind)
    (root / "p").symlink_to(tmp_path / "elsewhere")
    (root / "again").symlink_to(root)
    (tmp_path / "elsewhere" / "up").symlink_to(tmp_path / "elsewhere")
    return root


def test_links_are_followed_but_not_in_circles_and_what_is_hidden_is_left_out(root: Path) -> None:
    names = sorted(f"{kind}{k:03d}.dcm" for kind in ("PET", "CT") for k in range(1, SLICES + 1))
    assert list(walk_folders(root)) == [
        (root, []),
        (root / "p", []),
        (root / "p" / "s", ["CT.nii", "SEG.nii", "SUV.nii"]),
        (root / "p" / "s" / "dicom", names),
    ]
    assert [folder for folder, _ in walk_folders(root, leave_out=root / "p" / "s")] == [root, root / "p"]


def test_predict_batch_and_evaluate_walk_alike(root: Path) -> None:
    assert [study.case for study in find_studies(root, leave_out=root / "out")] == ["p_s", "p_s_dicom"]
    assert list(find_masks(root)) == ["p_s"]
    assert len(find_headers(root)) == 2 * SLICES


def test_a_series_that_is_linked_twice_is_read_once(root: Path) -> None:
    (root / "p" / "s" / "latest").symlink_to("dicom")
    assert len(find_headers(root)) == 2 * SLICES


def test_a_folder_that_cannot_be_listed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot list the folder absent: No such file"):
        list(walk_folders(tmp_path / "absent"))


@pytest.mark.parametrize("name", ["study.zip", "study.ZIP", "study.tar.gz", "study.7z"])
def test_an_archive_is_to_be_unzipped(tmp_path, name):
    (tmp_path / name).write_bytes(b"PK\3\4")
    for read in (lambda path: load_study(pet=path, ct=path), lambda path: find_studies(path, leave_out=tmp_path / "o")):
        with pytest.raises(InputError, match=f"found an archive, {name}; unzip it and name the folder"):
            read(tmp_path / name)
    with pytest.raises(InputError, match=f"found no study .*; unzip {name} first"):
        find_studies(tmp_path, leave_out=tmp_path / "o")
