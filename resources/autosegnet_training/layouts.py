"""Finds the cases of a data folder, in the layouts in which people have FDG-PET-CT-Lesions.

Tree: `<patient>/<study>/{SUV,CTres,SEG}.nii.gz` as tcia2nifti writes it. nnU-Net: `imagesTr/<case>_0000` (CT),
`_0001` (PET), `labelsTr/<case>`. Table: a CSV as `cases` describes it. Cohorts come from a metadata CSV, if given.
"""

from __future__ import annotations

import csv
import io
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from autosegnet.errors import InputError
from autosegnet.io import image_stem
from autosegnet_training.cases import UNKNOWN, Case, read_cases, refuse_doubles

log = logging.getLogger(__name__)

_TREE = {"pet": "SUV", "ct": "CTres", "mask": "SEG"}
_CT, _PET = "_0000", "_0001"
_SUFFIXES = (".nii.gz", ".nii", ".mha")
_COHORT_HEADINGS = ("cohort", "diagnosis")


def find_cases(data: Path) -> list[Case]:
    """Return the cases of a folder or a CSV, sorted by name, without folds unless the CSV names them.

    Raises:
        InputError: nothing of a known layout, or a case with a file missing.
    """
    if data.is_file():
        cases = read_cases(data)
    elif (data / "imagesTr").is_dir():
        cases = _nnunet(data)
    else:
        cases = _tree(data)
    if not cases:
        raise InputError(f"no case in {data}; expected SUV, CTres and SEG files, imagesTr and labelsTr, or a CSV")
    for case in cases:
        for file in (case.pet, case.ct, case.mask):
            if not file.is_file():
                raise InputError(f"case {case.name} lacks {file}; expected PET, CT and mask of every case")
    refuse_doubles(cases, data)
    return sorted(cases, key=lambda case: case.name)


def _tree(data: Path) -> list[Case]:
    cases = []
    for folder, subfolders, names in os.walk(data, followlinks=True):
        subfolders.sort()
        files = {image_stem(Path(name)): Path(folder, name) for name in names if name.lower().endswith(_SUFFIXES)}
        if _TREE["mask"] not in files:
            continue
        parts = Path(folder).relative_to(data).parts or (Path(folder).name,)
        missing = [stem for stem in _TREE.values() if stem not in files]
        if missing:
            raise InputError(f"{folder} has a mask but no {' and no '.join(missing)}; expected all three")
        pet, ct, mask = (files[_TREE[kind]] for kind in ("pet", "ct", "mask"))
        cases.append(Case("_".join(parts).replace(" ", "-"), parts[0], UNKNOWN, pet, ct, mask))
    return cases


def _nnunet(data: Path) -> list[Case]:
    cases = []
    for ct in sorted((data / "imagesTr").iterdir()):
        stem = image_stem(ct)
        if not stem.endswith(_CT):
            continue
        name, suffix = stem.removesuffix(_CT), ct.name[len(stem) :]
        pet, mask = ct.parent / f"{name}{_PET}{suffix}", data / "labelsTr" / f"{name}{suffix}"
        cases.append(Case(name, _patient(name), UNKNOWN, pet, ct, mask))
    return cases


def _patient(name: str) -> str:
    """Return the patient in the challenge's case names, `fdg_<patient>_<study>`; else the case is its own patient."""
    tracer, _, rest = name.partition("_")
    return rest.split("_")[0] if tracer in ("fdg", "psma") and rest else name


def with_cohorts(cases: Sequence[Case], metadata: Path) -> list[Case]:
    """Return the cases that a metadata CSV, such as the data set's `fdg_metadata.csv`, lists, with its cohorts.

    Cases that it does not list are left out, with a warning that counts them: the challenge's archive holds FDG and
    PSMA, and each has a CSV of its own. A row speaks for a case if one of its cells is the case's name or its study
    folder; where no row does so, if one of its cells is the patient. A column `patient` in a row found by name also
    sets the patient.

    Raises:
        InputError: no column cohort or diagnosis, no row for any case, or rows that disagree.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(metadata.read_text(encoding="utf-8-sig"))))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{metadata} cannot be read as a table ({error})") from error
    heading = next((h for h in (rows[0] if rows else ()) if h and h.strip().lower() in _COHORT_HEADINGS), None)
    if heading is None:
        raise InputError(f"{metadata} has no column {' or '.join(_COHORT_HEADINGS)}; expected one with the cohorts")
    by_key: dict[str, list[Mapping[str, str]]] = {}
    for row in rows:
        for key in {key for column, cell in row.items() if column != heading for key in _keys(cell)}:
            by_key.setdefault(key, []).append(row)
    found = [_with_cohort(case, by_key, heading, metadata) for case in cases]
    listed = [case for case in found if case is not None]
    absent = sorted({case.name for case in cases} - {case.name for case in listed})
    if not listed:
        raise InputError(f"{metadata} has no row for any of {len(cases)} cases, {absent[0]} among them")
    if absent:
        log.warning("%s has no row for %d of %d cases, %s among them: left out",
                    metadata, len(absent), len(cases), absent[0])  # fmt: skip
    return listed


def _keys(cell: str | None) -> Iterable[str]:
    """Return a cell, and what a path in it, `./FDG-PET-CT-Lesions/PETCT_0123/01-02-2003-study/`, calls a study.

    Folder and subfolder, and the challenge's name for it, `fdg_0123_01-02-2003-study`.
    """
    text = (cell or "").strip()
    parts = PurePosixPath(text).parts
    pairs = list(zip(parts[:-1], parts[1:], strict=True))
    names = [f"fdg_{patient.removeprefix('PETCT_')}_{study}" for patient, study in pairs]
    return [text, *(f"{patient}/{study}" for patient, study in pairs), *names]


def _with_cohort(case: Case, by_key: Mapping[str, list[Mapping[str, str]]], heading: str, where: Path) -> Case | None:
    """Return the case with its cohort; None if no row speaks for it."""
    study = "/".join(case.mask.parent.parts[-2:])
    for key in (case.name, study, case.patient, f"PETCT_{case.patient}"):
        rows = by_key.get(key, [])
        cohorts = sorted({row[heading].strip().lower() for row in rows})
        if len(cohorts) > 1:
            raise InputError(f"{where} gives case {case.name} the cohorts {' and '.join(cohorts)}; expected one")
        if cohorts:
            patient = rows[0].get("patient") if key == case.name else None
            return replace(case, cohort=cohorts[0] or UNKNOWN, patient=patient or case.patient)
    return None
