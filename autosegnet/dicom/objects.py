"""Find the DICOM objects below a folder, and the files that may be what is left of one."""

import logging
from collections.abc import Collection, Iterable
from pathlib import Path
from statistics import median
from typing import Final

from autosegnet.dicom.header import Header
from autosegnet.dicom.parse import PREAMBLE, find_header, get_size, read_start
from autosegnet.errors import InputError, format_count, format_path
from autosegnet.io.folders import advise_to_unzip, refuse_archive, walk_folders

log = logging.getLogger(__name__)

_SAME_SIZE: Final = 0.01  # of the neighbours' median: slices of one series differ in a few characters


def find_headers(folder: Path, known: Iterable[Header] = ()) -> list[Header]:
    """Return the headers of all DICOM objects below a folder, in the order of their paths.

    Files of other kinds, hidden files and hidden folders are left alone; linked folders are followed. Objects that
    cannot be slices, such as DICOMDIR under any name, are left alone even if they are damaged.

    Args:
        folder: to be searched.
        known: headers that were read before, of which some may lie in the folder, too.

    Raises:
        InputError: no such folder, no DICOM object in it, or one that is cut or damaged and may be a slice.
    """
    refuse_archive(folder)
    if not folder.is_dir():
        raise InputError(f"found no folder, expected one with DICOM files, at {format_path(folder)}")
    by_folder = {place.resolve(): (place, names) for place, names in walk_folders(folder)}  # a linked one once
    paths = sorted(place / name for place, names in by_folder.values() for name in names if name.upper() != "DICOMDIR")
    before = {header.path.resolve(): header for header in known}
    headers, objects, others = list[Header](), list[Path](), list[Path]()
    for path in paths:
        header = (before.get(path.resolve()) if before else None) or find_header(path)
        if header is None:
            others.append(path)
        else:
            headers.append(header)
            objects.append(path)
    if not headers:
        raise InputError(
            f"found {format_count(len(paths), 'file')} but no DICOM object; expected a folder with a DICOM series, "
            f"in {format_path(folder)}{advise_to_unzip(paths)}"
        )
    for path in find_lost(objects, others):
        raise InputError(describe_lost(path))
    return headers


def find_lost(objects: Collection[Path], others: Iterable[Path]) -> list[Path]:
    """Return the files that may be what is left of a slice, and log those that only look a little like one.

    Such a file lies beside an object and is empty, or holds zeros as a preamble does, or has an object's size.

    Args:
        objects: files that are DICOM.
        others: files that are not.
    """
    sizes: dict[Path, list[int]] = {}
    for path in objects:
        sizes.setdefault(path.parent, []).append(get_size(path))
    lost, odd = [], 0
    for path in others:
        if path.parent not in sizes:
            continue
        usual = median(sizes[path.parent])
        of_that_size = abs(get_size(path) - usual) <= _SAME_SIZE * usual
        of_other_kind = path.suffix[1:2].isalpha()  # not the end of a UID
        if of_other_kind and of_that_size:
            odd += 1
            log.info("not DICOM, but of the size of the DICOM files beside it: %s", format_path(path.name, 80))
        elif not of_other_kind and (of_that_size or _may_be_cut(path)):
            lost.append(path)
    if odd:  # without names, because a report repeats warnings
        log.warning(
            "%s beside the slices: of their size, but not DICOM. Is a slice damaged? The log gives the names",
            format_count(odd, "file"),
        )
    return lost


def describe_lost(path: Path) -> str:
    """Return what is wrong with a file of `find_lost`."""
    name = format_path(path.name, 80)
    if _may_be_cut(path):
        return f"found a file among DICOM objects that is cut before its header: {name}; copy it again"
    return f"found a file that is not DICOM but has the size of the DICOM files beside it: {name}; copy it again"


def _may_be_cut(path: Path) -> bool:
    if not any(char.isdigit() for char in path.name):  # LOCKFILE, VERSION: names of slices count
        return False
    start = read_start(path)
    return len(start) < PREAMBLE + 4 and not start[:PREAMBLE].strip(b"\0")
