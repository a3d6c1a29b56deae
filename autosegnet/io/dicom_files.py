"""Finds the DICOM objects below a folder and reads their headers, with pydicom.

What pydicom says about odd headers goes nowhere: its warnings quote values, and values are the patient's.
"""

import logging
import os
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autosegnet.errors import InputError
from autosegnet.io.wording import shown

if TYPE_CHECKING:
    from pydicom import Dataset

_PREAMBLE = 128
_ONE_AT_A_TIME = threading.RLock()  # what `quiet` changes, it changes for all threads
# What pydicom raises, besides its own errors, on damaged files.
DAMAGE = (ValueError, EOFError, OSError, KeyError, AttributeError, TypeError, NotImplementedError, struct.error)


@dataclass(frozen=True, slots=True)
class Header:
    """A DICOM object without its pixels; its text holds no value, so that none gets into a message."""

    path: Path
    dataset: "Dataset"

    def __repr__(self) -> str:
        return f"Header({self.path.name!r})"

    def text(self, keyword: str) -> str:
        """An attribute's text, '' where it is missing or empty; several values joined by a backslash."""
        with quiet():
            value = self.dataset.get(keyword)
        if value is None:
            return ""
        values = value if isinstance(value, list | tuple) or hasattr(value, "append") else [value]
        return "\\".join(str(v).strip() for v in values)

    def number(self, keyword: str) -> float | None:
        """An attribute's number, None where it is missing or empty.

        Raises:
            InputError: it is not one number.
        """
        text = self.text(keyword)
        if not text:
            return None
        try:
            return float(text)
        except ValueError:
            raise InputError(f"{named(keyword)} is not a number, in {self.where}") from None

    def numbers(self, keyword: str, count: int) -> tuple[float, ...]:
        """The numbers of an attribute.

        Raises:
            InputError: it is missing or does not hold so many numbers.
        """
        try:
            values = tuple(float(v) for v in self.text(keyword).split("\\"))
        except ValueError:
            values = ()
        if len(values) != count:
            raise InputError(f"{named(keyword)} is missing or does not hold {count} numbers, in {self.where}")
        return values

    @property
    def where(self) -> str:
        """The file's name, for a message; folders above it may be named after the patient."""
        return shown(self.path.name, 80)


def named(keyword: str) -> str:
    """An attribute for a message: 'PatientWeight (0010,1030)'."""
    from pydicom.datadict import tag_for_keyword
    from pydicom.tag import Tag

    tag = Tag(tag_for_keyword(keyword) or 0)
    return f"{keyword} ({tag.group:04X},{tag.element:04X})"


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps pydicom and highdicom from warning, because their warnings quote values."""
    from pydicom import config

    logs, settings = [logging.getLogger(name) for name in ("pydicom", "highdicom")], config.settings
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        levels = [log.level for log in logs]
        reading, writing = settings.reading_validation_mode, settings.writing_validation_mode
        warnings.simplefilter("ignore")
        for log in logs:
            log.setLevel(logging.CRITICAL + 1)
        settings.reading_validation_mode = settings.writing_validation_mode = config.IGNORE
        try:
            yield
        finally:
            settings.reading_validation_mode, settings.writing_validation_mode = reading, writing
            for log, level in zip(logs, levels, strict=True):
                log.setLevel(level)


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
    headers = [header for path in paths if (header := _read(path)) is not None]
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
    header = _read(path)
    if header is None:
        raise InputError(f"found a file that is no longer DICOM: {shown(path.name, 80)}")
    return header


def _read(path: Path) -> Header | None:
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    kind = _kind(path)
    if kind is None:
        if path.suffix.lower() in (".dcm", ".dicom"):
            raise InputError(f"found a file that is not DICOM although its name says so: {shown(path.name, 80)}")
        return None
    try:
        with quiet():
            dataset = dcmread(path, stop_before_pixels=True, force=kind == "bare")
            complete = bool(dataset.get("SOPClassUID")) and bool(dataset.get("SOPInstanceUID"))
            str(dataset.get("SeriesInstanceUID"))
    except (InvalidDicomError, *DAMAGE):
        complete = False
    if not complete:
        raise InputError(f"the DICOM header is cut or damaged in {shown(path.name, 80)}; copy the series again")
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


def private(header: Header, group: int, creator: str, element: int) -> Any:
    """The value of a vendor's private attribute, None where it is missing.

    Where no creator is named in the group, as anonymisers leave it, the vendor's usual block, 10, is taken.
    """
    from pydicom.tag import Tag

    with quiet():
        of_group = header.dataset.group_dataset(group)
        owners = {e.tag.element: str(e.value).strip() for e in of_group if 0x10 <= e.tag.element <= 0xFF}
        blocks = [block for block, owner in owners.items() if owner.upper() == creator.upper()]
        block = blocks[0] if blocks else None if owners else 0x10
        found = None if block is None else header.dataset.get(Tag(group, block << 8 | element))
        value = None if found is None else found.value
    if isinstance(value, bytes):  # implicit VR without a dictionary entry
        value = value.decode("ascii", "replace").strip("\0 ")
    return None if value is None or str(value).strip() == "" else value
