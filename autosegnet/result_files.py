"""Names of the files of a study's result, and which of them must go when a new result takes their place.

A folder with a report, or with a whole result, belongs to one run. What that run does not write anew is of an earlier
mask, so it is removed. A page elsewhere is removed if it names the mask that is replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Final

from autosegnet.errors import InputError, OutputError, format_path
from autosegnet.report import digest_mask, is_report_file, read_mask_digest

MASK_FILE: Final = "mask.nii.gz"
PROBABILITY_FILE: Final = "probability.nii.gz"
UNCERTAINTY_FILE: Final = "uncertainty.nii.gz"
VIEWER_PAGE: Final = "viewer.html"
STUDY_FILE: Final = "study.json"

_IMAGES_AND_STUDY: Final = frozenset({MASK_FILE, PROBABILITY_FILE, UNCERTAINTY_FILE, STUDY_FILE})


def is_page_file(name: str) -> bool:
    """Return whether a file of this name belongs to a report, or is the viewer's page beside it."""
    return name == VIEWER_PAGE or is_report_file(name)


def is_result_file(name: str) -> bool:
    """Return whether a file of this name belongs to a folder with a whole result."""
    return name in _IMAGES_AND_STUDY or is_page_file(name)


def remove_unwritten(folder: Path, belongs: Callable[[str], bool], written: Collection[Path]) -> None:
    """Remove files of an earlier result from a folder, which may be missing.

    Args:
        folder: of the result.
        belongs: whether a file of this name is one of a result.
        written: by the current run.

    Raises:
        OutputError: one of them cannot be removed.
    """
    current = {path.name for path in written if path.parent == folder}
    try:
        for path in folder.glob("*"):
            if belongs(path.name) and path.name not in current:
                path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot remove {format_path(path)}, of an earlier run: {error.strerror}; remove it yourself"
        ) from error


def find_pages_of(mask: Path, folders: Iterable[Path]) -> list[Path]:
    """Return the pages of a report or of the viewer, under any name, that show the mask in a file.

    Args:
        mask: that is about to be replaced; it may be missing, or no image.
        folders: to look in, without those below them.
    """
    from autosegnet.io import read_image

    if not mask.is_file():
        return []
    try:
        shown = digest_mask(read_image(mask))
    except InputError:
        return []
    pages = sorted({page for folder in folders for page in folder.glob("*.html")})
    return [page for page in pages if read_mask_digest(page) == shown]
