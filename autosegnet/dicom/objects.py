"""Finds the DICOM objects below a folder and reads their headers, with pydicom."""

import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from autosegnet.dicom.header import Header, undamaged
from autosegnet.errors import InputError, format_path
from autosegnet.io.folders import folders_below

if TYPE_CHECKING:
    from pydicom import Dataset

_PREAMBLE = 128


def find_headers(folder: Path) -> list[Header]:
    """The headers of all DICOM objects below a folder, in the order of their paths.

    Files of other kinds, DICOMDIR, hidden files and hidden folders are left alone; linked folders are followed.

    Raises:
        InputError: no such folder, no DICOM object in it, or one that is cut or damaged.
    """
    if not folder.is_dir():
        raise InputError(f"found no folder, expected one with DICOM files, at {format_path(folder)}")
    by_folder = {place.resolve(): (place, names) for place, names in folders_below(folder)}  # a linked one once
    paths = sorted(place / name for place, names in by_folder.values() for name in names if name.upper() != "DICOMDIR")
    headers = [header for path in paths if (header := find_header(path)) is not None]
    if not headers:
        raise InputError(f"found {len(paths)} files and no DICOM object among them, in {format_path(folder)}")
    known = {header.path for header in headers}
    for path in cut_beside(known, (path for path in paths if path not in known)):
        raise InputError(cut_before_header(path))
    return headers


def cut_beside(objects: Collection[Path], others: Iterable[Path]) -> list[Path]:
    """The files that may be what is left of an object: beside one, empty or with zeros as a preamble has them.

    Args:
        objects: files that are DICOM.
        others: files that are not.
    """
    folders = {path.parent for path in objects}
    return [path for path in others if path.parent in folders and _may_be_cut(path)]


def cut_before_header(path: Path) -> str:
    """What is wrong with a file of `cut_beside`."""
    return (
        f"found a file among DICOM objects that is cut before its header: {format_path(path.name, 80)}; copy it again"
    )


def _may_be_cut(path: Path) -> bool:
    name_of_other_kind = path.suffix[1:2].isalpha()  # not the end of a UID
    if name_of_other_kind:
        return False
    start = _start(path)
    return len(start) < _PREAMBLE + 4 and not start[:_PREAMBLE].strip(b"\0")


def read_header(path: Path) -> Header:
    """The header of a file that is known to be DICOM.

    Raises:
        InputError: it is gone, no DICOM, or damaged.
    """
    header = find_header(path)
    if header is None:
        raise InputError(f"found a file that is no longer DICOM: {format_path(path.name, 80)}")
    return header


def find_header(path: Path) -> Header | None:
    """The header of a file, None where it is no DICOM.

    Raises:
        InputError: it is called DICOM and is none, or is damaged.
    """
    if _kind(path) is None:
        if path.suffix.lower() in (".dcm", ".dicom"):
            raise InputError(f"found a file that is not DICOM although its name says so: {format_path(path.name, 80)}")
        return None
    damaged = f"the DICOM header is cut or damaged in {format_path(path.name, 80)}"
    with undamaged(damaged):
        dataset = read_dataset(path, pixels=False)
        complete = bool(dataset.get("SOPClassUID")) and bool(dataset.get("SOPInstanceUID"))
    if not complete:
        raise InputError(f"{damaged}; copy the series again")
    return Header(path, dataset)


def read_dataset(path: Path, *, pixels: bool = True) -> "Dataset":
    """The dataset of a file that is DICOM; one without the preamble of PS3.10 is taken to be uncompressed.

    Raises:
        Whatever pydicom raises on a damaged file: `undamaged` refuses it.
    """
    from pydicom import dcmread
    from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

    bare = _kind(path) == "bare"
    dataset = dcmread(path, stop_before_pixels=not pixels, force=bare)
    if bare:
        implicit, _ = dataset.original_encoding
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    return dataset


def _kind(path: Path) -> str | None:
    """'file' with the preamble of PS3.10, 'bare' for a dataset that begins with group 0008, None for anything else."""
    start = _start(path)
    if start[_PREAMBLE:] == b"DICM":
        return "file"
    return "bare" if start[:2] == b"\x08\x00" and start[2:4] in (b"\x05\x00", b"\x08\x00", b"\x16\x00") else None


def _start(path: Path) -> bytes:
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            return file.read(_PREAMBLE + 4)
    except OSError as error:
        raise InputError(f"cannot read {format_path(path.name, 80)}: {error.strerror}") from error
