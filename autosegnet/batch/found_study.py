"""One study of a cohort: its name and its files, before anything is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortStudy:
    """A study, or what there is of one.

    Args:
        case: its name, fit for a file's.
        pet, ct: image files, or folders of DICOM that a list names; None if `dicom` holds the study, or if missing.
        dicom: every PET and CT object of the study, sorted.
        pet_series, ct_series: SeriesInstanceUID, or its end, of the series meant in a folder with several.
        fault: why it cannot be segmented, '' if nothing is known against it.
    """

    case: str
    pet: Path | None = None
    ct: Path | None = None
    dicom: tuple[Path, ...] = ()
    pet_series: str = ""
    ct_series: str = ""
    fault: str = ""

    @property
    def files(self) -> tuple[Path, ...]:
        """Return all files of PET and CT; those of a folder are looked up."""
        images = [path for path in (self.pet, self.ct) if path is not None]
        listed = {file for path in images if path.is_dir() for file in path.rglob("*") if file.is_file()}
        return (*self.dicom, *(path for path in images if not path.is_dir()), *sorted(listed))
