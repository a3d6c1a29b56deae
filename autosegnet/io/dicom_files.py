"""Finds the DICOM objects below a folder and reads their headers, with pydicom."""

import os
from pathlib import Path

from autosegnet.errors import InputError
from autosegnet.io.dicom_header import Header, undamaged
from autosegnet.io.wording import shown

_PREAMBLE = 128


def find_headers(folder: Path) -> list[Header]:
    """The headers of all DICOM objects below a folder, in the order of their paths.

    Files of other kinds, hidden files and DICOMDIR are left alone.

    Raises:
        InputError: no such folder, no DICOM object in it, or one that is damaged.
    """
    if not folder.is_dir():
        raise InputError(f"found no folder, expected one with DICOM files, at {shown(folder)}")
    paths = sorted(
        Path(root) / name
        for root, _, names in os.walk(folder, onerror=_refuse_folder)
        for name in names
        if not name.startswith(".") and name.upper() != "DICOMDIR"
    )
    headers = [header for path in paths if (header := find_header(path)) is not None]
    if not headers:
        raise InputError(f"found {len(paths)} files and no DICOM object among them, in {shown(folder)}")
    return headers


def _refuse_folder(error: OSError) -> None:
    raise InputError(f"cannot list a folder of DICOM files: {error.strerror}") from error


def read_header(path: Path) -> Header:
    """The header of a file that is known to be DICOM.

    Raises:
        InputError: it is gone, no DICOM, or damaged.
    """
    header = find_header(path)
    if header is None:
        raise InputError(f"found a file that is no longer DICOM: {shown(path.name, 80)}")
    return header


def find_header(path: Path) -> Header | None:
    """The header of a file, None where it is no DICOM.

    Raises:
        InputError: it is called DICOM and is none, or is damaged.
    """
    from pydicom import dcmread

    kind = _kind(path)
    if kind is None:
        if path.suffix.lower() in (".dcm", ".dicom"):
            raise InputError(f"found a file that is not DICOM although its name says so: {shown(path.name, 80)}")
        return None
    damaged = f"the DICOM header is cut or damaged in {shown(path.name, 80)}"
    with undamaged(damaged):
        dataset = dcmread(path, stop_before_pixels=True, force=kind == "bare")
        complete = bool(dataset.get("SOPClassUID")) and bool(dataset.get("SOPInstanceUID"))
    if not complete:
        raise InputError(f"{damaged}; copy the series again")
    return Header(path, dataset)


def _kind(path: Path) -> str | None:
    """'file' with the preamble of PS3.10, 'bare' for a dataset that begins with group 0008, None for anything else."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            start = file.read(_PREAMBLE + 4)
    except OSError as error:
        raise InputError(f"cannot read {shown(path.name, 80)}: {error.strerror}") from error
    if start[_PREAMBLE:] == b"DICM":
        return "file"
    return "bare" if start[:2] == b"\x08\x00" and start[2:4] in (b"\x05\x00", b"\x08\x00", b"\x16\x00") else None
