"""Studies as DICOM objects, gathered by StudyInstanceUID wherever they lie."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from autosegnet.batch.found_study import CohortStudy
from autosegnet.errors import InputError
from autosegnet.io.folders import name_case


@dataclass(slots=True)
class _Scan:
    """What the files hold: objects by study and kind, and the first damage of each folder."""

    studies: dict[str, dict[str, list[Path]]] = field(default_factory=dict)
    damage: dict[Path, str] = field(default_factory=dict)


def group_dicom_studies(files: Iterable[Path], root: Path) -> list[CohortStudy]:
    """Return the PET/CT studies among files, of which any may be something else.

    A study is named by the folder that holds all of it. If that folder holds several studies, the first eight
    digits of the SHA-256 of each one's StudyInstanceUID follow. A study with a damaged file in one of its folders has a
    fault, because the file may be one of its slices.
    """
    scan = _scan(files)
    places = {
        uid: _find_common_folder([p for paths in kinds.values() for p in paths]) for uid, kinds in scan.studies.items()
    }
    shared = Counter(places.values())
    studies = []
    for uid, kinds in scan.studies.items():
        case = name_case(places[uid].relative_to(root).parts, root)
        if shared[places[uid]] > 1:
            case += "_" + hashlib.sha256(uid.encode()).hexdigest()[:8]
        paths = tuple(sorted(path for paths in kinds.values() for path in paths))
        studies.append(CohortStudy(case=case, dicom=paths, fault=_describe_fault(kinds, scan.damage)))
    known = {path.parent for study in studies for path in study.dicom}
    for folder, fault in scan.damage.items():
        if folder not in known:
            studies.append(CohortStudy(case=name_case(folder.relative_to(root).parts, root), fault=fault))
    return studies


def _scan(files: Iterable[Path]) -> _Scan:
    """Look at the first attributes of each file; whole headers are read study by study, or they would fill memory."""
    from autosegnet.dicom.kinds import find_kind
    from autosegnet.dicom.objects import describe_lost, find_lost
    from autosegnet.dicom.parse import identify_file

    scan = _Scan()
    others: list[Path] = []
    for path in files:
        try:
            header = identify_file(path)
            if header is None:
                others.append(path)
            if header is None or (kind := find_kind(header)) is None:
                continue
            uid = header.read_text("StudyInstanceUID") or str(path.parent)
        except InputError as error:
            scan.damage.setdefault(path.parent, str(error))
        else:
            scan.studies.setdefault(uid, {}).setdefault(kind, []).append(path)
    objects = [path for kinds in scan.studies.values() for paths in kinds.values() for path in paths]
    for path in find_lost(objects, others):
        scan.damage.setdefault(path.parent, describe_lost(path))
    return scan


def _find_common_folder(paths: list[Path]) -> Path:
    return Path(os.path.commonpath([path.parent for path in paths]))


def _describe_fault(kinds: dict[str, list[Path]], damage: dict[Path, str]) -> str:
    for folder in sorted({path.parent for paths in kinds.values() for path in paths}):
        if folder in damage:
            return damage[folder]
    if len(kinds) == 2:
        return ""
    (kind,) = kinds
    return f"no {'CT' if kind == 'PET' else 'PET'} series in the DICOM study, only {kind}; expected both"
