"""Walks a folder and gathers the studies of all layouts."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from autosegnet.batch.case_list import read_case_list
from autosegnet.batch.dicom_search import FolderFinds, may_be_dicom, search_folder
from autosegnet.batch.dicom_studies import find_dicom_studies
from autosegnet.batch.found_study import CohortStudy
from autosegnet.batch.globs import find_by_globs
from autosegnet.batch.layouts import (
    BidsSession,
    find_challenge_studies,
    find_in_folder,
    group_by_stem,
    name_bids_image,
)
from autosegnet.errors import InputError, format_count, format_list, format_path
from autosegnet.io import IMAGE_SUFFIXES, strip_suffix
from autosegnet.io.folders import advise_to_unzip, name_case, refuse_archive, walk_folders
from autosegnet.io.layout_names import LABEL_FOLDERS, MASK_STEM, TREE_STEMS
from autosegnet.runtime.workers import Workers

log = logging.getLogger(__name__)

_SOCKETS = ("pet", "ct")
_EXPECTED = (
    "expected one folder per study with SUV and CTres images, <case>_0000 and _0001 as for nnU-Net, <case>_CT and _PT, "
    "CT_ and PT_ images, BIDS, images/pet and images/ct, or DICOM; else name them: a CSV with case,pet,ct as INPUT, or "
    "--pet-glob and --ct-glob"
)
_HERE = Workers()
_WORTH_PROCESSES = 5000  # files; below, they are read before other processes have started
_LONGEST_CASE = 200  # bytes; file systems allow 255 for a name with its suffix


def find_studies(
    root: Path,
    *,
    leave_out: Path,
    globs: tuple[str, str] | None = None,
    search: Callable[[Path], FolderFinds] = search_folder,
    workers: Workers = _HERE,
) -> list[CohortStudy]:
    """Return every study of a cohort, the faulty ones too, in the order of their names, which are unique.

    Hidden files and folders are skipped. Linked folders are followed.

    Args:
        root: a folder, or a CSV that lists the studies.
        leave_out: a folder to skip.
        globs: of PET and CT images, if the user says how they are called.
        search: searches one folder for DICOM; another one does it in a store.
        workers: where folders are searched for DICOM.

    Raises:
        InputError: no such folder, or no study in it.
        OutputError: the disk of temporary files is full.
    """
    refuse_archive(root)
    if root.is_file():
        return _name_once(read_case_list(root))
    if not root.is_dir():
        raise InputError(f"found no folder, expected one with studies, at {format_path(root)}")
    if globs is not None:
        studies = find_by_globs(root, *globs, leave_out=leave_out)
        if not studies:
            raise InputError(f"--pet-glob {globs[0]!r} finds no image below {format_path(root)}")
        return _name_once(studies)
    walk = _Walk(root, leave_out)
    studies = walk.find_studies(search, workers)
    if not studies:
        raise InputError(f"found no study in {format_path(root)}; {_EXPECTED}{_advise(root, leave_out)}")
    if walk.left_alone:
        count = format_count(len(walk.left_alone), "image")
        log.warning("ignored %s in no known layout: %s", count, format_list(walk.left_alone))
    return _name_once(studies)


def _advise(root: Path, leave_out: Path) -> str:
    folders = walk_folders(root, leave_out=leave_out, unlisted=lambda error: None)
    return advise_to_unzip(folder / name for folder, names in folders for name in names)


class _Walk:
    """One pass over the folders."""

    def __init__(self, root: Path, leave_out: Path) -> None:
        self.left_alone: list[str] = []
        self._root, self._leave_out = root, leave_out
        self._found: list[CohortStudy] = []
        self._sockets: dict[Path, dict[str, list[Path]]] = {}
        self._sessions: dict[tuple[tuple[str, ...], str, str], BidsSession] = {}

    def find_studies(self, search: Callable[[Path], FolderFinds], workers: Workers) -> list[CohortStudy]:
        folders, files = list[Path](), 0
        for folder, names in walk_folders(self._root, leave_out=self._leave_out, unlisted=self._keep_unlisted):
            images = [folder / name for name in names if name.lower().endswith(IMAGE_SUFFIXES)]
            if maybe_dicom := sum(map(may_be_dicom, names)):
                folders.append(folder)
                files += maybe_dicom
            if images:
                self._sort_images(folder, images)
        for folder, sockets in self._sockets.items():
            pet, ct = (group_by_stem(sockets.get(socket, [])) for socket in _SOCKETS)
            self._found += find_challenge_studies(pet, ct, self._list_parts(folder.parent))
        for session in self._sessions.values():
            self._found += session.find_studies()
            self.left_alone += [str(path.relative_to(self._root)) for path in session.unpaired]
        if files:
            log.info("looking for DICOM in %s", format_count(files, "file"))  # a few milliseconds each
        where = workers if files >= _WORTH_PROCESSES else None
        cases = {study.case for study in self._found}  # beside images, an unreadable file is not reported as a study
        dicom = find_dicom_studies(folders, self._root, search, where)
        return self._found + [study for study in dicom if study.dicom or study.case not in cases]

    def _keep_unlisted(self, error: OSError) -> None:
        folder = Path(error.filename)
        case = name_case(self._list_parts(folder), self._root)
        self._found.append(CohortStudy(case=case, fault=f"its folder cannot be listed: {error.strerror}"))

    def _list_parts(self, folder: Path) -> tuple[str, ...]:
        """Return the names of the folders from the root down to a folder; none for a folder above the root."""
        return folder.relative_to(self._root).parts if folder.is_relative_to(self._root) else ()

    def _sort_images(self, folder: Path, images: list[Path]) -> None:
        real = folder.resolve()
        if real.name in _SOCKETS and real.parent.name == "images":
            self._sockets.setdefault(folder.parent, {})[real.name] = images
            return
        parts = self._list_parts(folder)
        if "derivatives" in parts:  # of BIDS: made from what is found elsewhere
            self.left_alone += [str(path.relative_to(self._root)) for path in images]
            return
        others = []
        for path in images:
            named = name_bids_image(path, parts)
            if named is None:
                others.append(path)
            else:
                session, kind = named
                self._sessions.setdefault(session, BidsSession(session[0])).add(kind, path)
        studies = find_in_folder(others, parts, self._root)
        self._found += studies
        if not studies and real.name.lower() not in LABEL_FOLDERS:
            known = (*TREE_STEMS, MASK_STEM)
            unknown = [path for path in others if strip_suffix(path).lower() not in known]
            self.left_alone += [str(path.relative_to(self._root)) for path in unknown]


def _name_once(studies: list[CohortStudy]) -> list[CohortStudy]:
    """Return the studies by name. Studies of the same name become one with a fault."""
    groups: dict[str, list[CohortStudy]] = {}
    for study in studies:
        groups.setdefault(study.case, []).append(study)
    return [_keep_one(case, group) for case, group in sorted(groups.items())]


def _keep_one(case: str, group: list[CohortStudy]) -> CohortStudy:
    if len(group) > 1:
        folders = sorted({str(study.files[0].parent) for study in group if study.files})
        fault = f"{len(group)} studies have this name ({', '.join(map(format_path, folders))}); rename a folder"
        return CohortStudy(case=case, fault=fault)
    if case.lower() == MASK_STEM:
        return replace(
            group[0], fault=f"`evaluate` would find no other mask beside one called {case}; rename the study"
        )
    if len(os.fsencode(case)) > _LONGEST_CASE:
        return CohortStudy(
            case=case[:40], fault=f"its name, {format_path(case)}, is too long for a file; rename its folders"
        )
    return group[0]
