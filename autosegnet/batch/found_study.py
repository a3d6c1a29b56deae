"""One study of a cohort: its name and its files, before any voxel is read."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autosegnet.batch.spool import Bytes

if TYPE_CHECKING:
    from autosegnet.dicom.header import Header


@dataclass(frozen=True, slots=True)
class DicomPart:
    """PET and CT objects of one study in one folder, whose headers were parsed when they were found.

    Args:
        names: of the files, packed by `pack_names`.
        headers: packed by `dicom.packing`.
    """

    folder: Path
    names: Bytes
    headers: Bytes

    def list_files(self) -> list[Path]:
        """Return the files."""
        return [self.folder / os.fsdecode(name) for name in zlib.decompress(self.names.read()).split(b"\0")]

    def load_headers(self) -> list[Header]:
        """Return what was parsed of the files."""
        from autosegnet.dicom.packing import unpack_headers

        return unpack_headers(self.headers.read(), self.folder)


def pack_names(names: list[str]) -> bytes:
    """Return names of files as bytes."""
    return zlib.compress(b"\0".join(map(os.fsencode, names)))


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortStudy:
    """A study, or an incomplete one.

    Args:
        case: its name, fit for a file's.
        pet, ct: image files, or folders of DICOM that a list names; None if `dicom` holds the study, or if missing.
        dicom: every PET and CT object of the study.
        pet_series, ct_series: SeriesInstanceUID, or its end, of the series meant in a folder with several.
        fault: why it cannot be segmented; '' if no reason is known.
    """

    case: str
    pet: Path | None = None
    ct: Path | None = None
    dicom: tuple[DicomPart, ...] = ()
    pet_series: str = ""
    ct_series: str = ""
    fault: str = ""

    @property
    def files(self) -> tuple[Path, ...]:
        """Return all files of PET and CT; those of a folder are looked up."""
        images = [path for path in (self.pet, self.ct) if path is not None]
        listed = {file for path in images if path.is_dir() for file in path.rglob("*") if file.is_file()}
        found = sorted(file for part in self.dicom for file in part.list_files())
        return (*found, *(path for path in images if not path.is_dir()), *sorted(listed))
