"""Gathers DICOM objects into studies by StudyInstanceUID, in whatever folders they lie.

Folders are searched by the processes that segment studies later, if there are many files. What they parsed waits on the
disk (`spool`) and travels with the task of its study, so that no file is parsed twice and memory holds little of each.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path

from autosegnet.batch.dicom_search import FolderFinds
from autosegnet.batch.found_study import CohortStudy, DicomPart
from autosegnet.batch.spool import Spool
from autosegnet.io.folders import name_case
from autosegnet.runtime.distribute import run
from autosegnet.runtime.work import Apply, Lost
from autosegnet.runtime.workers import Workers


def find_dicom_studies(
    folders: Sequence[Path], root: Path, search: Callable[[Path], FolderFinds], workers: Workers | None
) -> list[CohortStudy]:
    """Return the PET/CT studies in folders, of which any may hold something else.

    A study is named by the folder that holds all of it. If that folder holds several studies, the first eight
    digits of the SHA-256 of each one's StudyInstanceUID follow. A study with a damaged file in one of its folders has a
    fault, because the file may be one of its slices.

    Args:
        folders: each searched without the folders in it.
        root: of the cohort.
        search: `dicom_search.search_folder`, or what does the same in a store.
        workers: where folders are searched, with their progress; None for here, without.

    Raises:
        OutputError: the disk of temporary files is full.
    """
    spool = Spool()
    if workers is None:
        return _name_studies([_Folder(search(folder), spool) for folder in folders], root)
    found: dict[int, _Folder] = {}
    with closing(run(Apply(search), folders, workers=workers, unit="folder")) as results:
        for number, result in results:
            finds = FolderFinds(folders[number], damage=result.reason) if isinstance(result, Lost) else result
            found[number] = _Folder(finds, spool)
    return _name_studies([found[number] for number in sorted(found)], root)


class _Folder:
    """What a folder holds, with its headers on the disk."""

    def __init__(self, finds: FolderFinds, spool: Spool) -> None:
        self.path, self.damage = finds.folder, finds.damage
        self.parts = [
            (part.study_uid, part.kinds, DicomPart(finds.folder, spool.keep(part.names), spool.keep(part.headers)))
            for part in finds.parts
        ]


def _name_studies(found: Iterable[_Folder], root: Path) -> list[CohortStudy]:
    parts: dict[str, list[DicomPart]] = {}
    kinds: dict[str, set[str]] = {}
    damage: dict[Path, str] = {}
    for folder in found:
        if folder.damage:
            damage[folder.path] = folder.damage
        for uid, of_kinds, part in folder.parts:
            parts.setdefault(uid, []).append(part)
            kinds.setdefault(uid, set()).update(of_kinds)
    places = {uid: Path(os.path.commonpath([part.folder for part in group])) for uid, group in parts.items()}
    shared = Counter(places.values())
    studies = []
    for uid, group in parts.items():
        case = name_case(places[uid].relative_to(root).parts, root)
        if shared[places[uid]] > 1:
            case += "_" + hashlib.sha256(uid.encode(errors="surrogateescape")).hexdigest()[:8]
        fault = _describe_fault(kinds[uid], sorted({part.folder for part in group}), damage)
        studies.append(CohortStudy(case=case, dicom=tuple(group), fault=fault))
    known = {part.folder for group in parts.values() for part in group}
    for path, fault in damage.items():
        if path not in known:
            studies.append(CohortStudy(case=name_case(path.relative_to(root).parts, root), fault=fault))
    return studies


def _describe_fault(kinds: set[str], folders: list[Path], damage: dict[Path, str]) -> str:
    for folder in folders:
        if folder in damage:
            return damage[folder]
    if len(kinds) == 2:
        return ""
    (kind,) = kinds
    return f"no {'CT' if kind == 'PET' else 'PET'} series in the DICOM study, only {kind}; expected both"
