"""Walks a folder and gathers the studies of all layouts."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path

from autosegnet.batch.dicom_studies import group_dicom_studies
from autosegnet.batch.found_study import CohortStudy
from autosegnet.batch.layouts import (
    MASK,
    SUFFIXES,
    TREE,
    by_stem,
    challenge_studies,
    nnunet_studies,
    tree_study,
)
from autosegnet.errors import InputError, format_list, format_path
from autosegnet.io.folders import case_of, folders_below

log = logging.getLogger(__name__)

_SOCKETS = ("pet", "ct")
_LONGEST_CASE = 200  # bytes; file systems allow 255 for a name with its suffix


def find_studies(root: Path, *, leave_out: Path) -> list[CohortStudy]:
    """Every study below a folder, the faulty ones too, in the order of their names, which are unique.

    Hidden files and folders are left alone; linked folders are followed.

    Args:
        leave_out: a folder that is not looked into.

    Raises:
        InputError: no such folder, or no study in it.
    """
    if not root.is_dir():
        raise InputError(f"found no folder, expected one with studies, at {format_path(root)}")
    walk = _Walk(root, leave_out)
    studies = walk.studies()
    if not studies:
        raise InputError(
            f"found no study in {format_path(root)}; expected one folder per study with "
            "SUV and CTres images, <case>_0000 and _0001 as for nnU-Net, images/pet and images/ct, or DICOM"
        )
    if walk.left_alone:
        log.warning(
            "%d images in no known layout are left alone: %s", len(walk.left_alone), format_list(walk.left_alone)
        )
    return _named_once(studies)


class _Walk:
    """One pass over the folders."""

    def __init__(self, root: Path, leave_out: Path) -> None:
        self.left_alone: list[str] = []
        self._root, self._leave_out = root, leave_out
        self._found: list[CohortStudy] = []
        self._sockets: dict[Path, dict[str, list[Path]]] = {}
        self._others: list[Path] = []

    def studies(self) -> list[CohortStudy]:
        for folder, names in folders_below(self._root, leave_out=self._leave_out, unlisted=self._unlisted):
            images = [folder / name for name in names if name.lower().endswith(SUFFIXES)]
            self._others += [folder / name for name in names if not name.lower().endswith((*SUFFIXES, "dicomdir"))]
            if images:
                self._images(folder, images)
        for folder, sockets in self._sockets.items():
            pet, ct = (by_stem(sockets.get(socket, [])) for socket in _SOCKETS)
            self._found += challenge_studies(pet, ct, self._parts(folder.parent))
        log.info("looking for DICOM in %d files", len(self._others))  # about a millisecond each, on a local disk
        cases = {study.case for study in self._found}  # beside images, a file that cannot be read is no study
        dicom = group_dicom_studies(self._others, self._root)
        return self._found + [study for study in dicom if study.files or study.case not in cases]

    def _unlisted(self, error: OSError) -> None:
        folder = Path(error.filename)
        case = case_of(self._parts(folder), self._root)
        self._found.append(CohortStudy(case=case, fault=f"its folder cannot be listed: {error.strerror}"))

    def _parts(self, folder: Path) -> tuple[str, ...]:
        """Of a folder's place below the root; none for a folder above it."""
        return folder.relative_to(self._root).parts if folder.is_relative_to(self._root) else ()

    def _images(self, folder: Path, images: list[Path]) -> None:
        real = folder.resolve()
        if real.name in _SOCKETS and real.parent.name == "images":
            self._sockets.setdefault(folder.parent, {})[real.name] = images
            return
        stems, parts = by_stem(images), self._parts(folder)
        studies = [*tree_study(stems, parts, self._root), *nnunet_studies(stems, parts)]
        self._found += studies
        if not real.name.startswith("labels"):  # of nnU-Net
            known = {path for study in studies for path in study.files}
            unknown = [p for stem, paths in stems.items() if stem not in (*TREE, MASK) for p in paths if p not in known]
            self.left_alone += [str(path.relative_to(self._root)) for path in unknown if not studies]


def _named_once(studies: list[CohortStudy]) -> list[CohortStudy]:
    """The studies by name, each name once; those that cannot be told apart, or from something else, as one fault."""
    groups: dict[str, list[CohortStudy]] = {}
    for study in studies:
        groups.setdefault(study.case, []).append(study)
    return [_only(case, group) for case, group in sorted(groups.items())]


def _only(case: str, group: list[CohortStudy]) -> CohortStudy:
    if len(group) > 1:
        folders = sorted({str(study.files[0].parent) for study in group if study.files})
        fault = f"{len(group)} studies have this name ({', '.join(map(format_path, folders))}); rename a folder"
        return CohortStudy(case=case, fault=fault)
    if case == MASK:
        return replace(group[0], fault=f"a mask called {MASK} would hide all others from `evaluate`; rename the study")
    if len(os.fsencode(case)) > _LONGEST_CASE:
        return CohortStudy(
            case=case[:40], fault=f"its name, {format_path(case)}, is too long for a file; rename its folders"
        )
    return group[0]
