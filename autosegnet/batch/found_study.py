"""One study of a cohort: its name and its files, before anything is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortStudy:
    """A study, or what there is of one.

    Args:
        case: its name, fit for a file's.
        pet, ct: image files; None in DICOM, or where it is missing.
        dicom: every PET and CT object of the study, sorted.
        fault: why it cannot be segmented, '' where nothing is known against it.
    """

    case: str
    pet: Path | None = None
    ct: Path | None = None
    dicom: tuple[Path, ...] = ()
    fault: str = ""

    @property
    def files(self) -> tuple[Path, ...]:
        """All of them."""
        return (*self.dicom, *(path for path in (self.pet, self.ct) if path is not None))
