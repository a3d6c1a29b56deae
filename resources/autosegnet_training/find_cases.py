"""Finds the cases of a data folder: studies as in `autosegnet batch`, masks as in `autosegnet evaluate`.

So every layout of `autosegnet.batch.layouts` can be trained on. A table is a CSV as `cases` describes it. Cohorts come
from a metadata CSV, if given.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from autosegnet.batch.find import find_studies
from autosegnet.batch.found_study import CohortStudy
from autosegnet.errors import InputError, format_list
from autosegnet.evaluation import find_masks
from autosegnet.io import strip_suffix
from autosegnet.io.layout_names import IMAGE_FOLDERS, MASK_STEM
from autosegnet.io.small_files import read_table
from autosegnet_training.cases import UNKNOWN, Case, read_cases, refuse_doubles

log = logging.getLogger(__name__)

_COHORT_HEADINGS = ("cohort", "diagnosis")


def find_cases(data: Path) -> list[Case]:
    """Return the cases of a folder or a CSV, sorted by name, without folds unless the CSV names them.

    Studies without a mask are left out, unless they lie beside others in `imagesTr`.

    Raises:
        InputError: the folder has no known layout, or a case lacks a file.
    """
    cases = read_cases(data) if data.is_file() else _find_in_folder(data)
    if not cases:
        raise InputError(f"no case in {data}; expected SUV, CTres and SEG files, imagesTr and labelsTr, or a CSV")
    for case in cases:
        for file in (case.pet, case.ct, case.mask):
            if not file.is_file():
                raise InputError(f"case {case.name} lacks {file}; expected PET, CT and mask of every case")
    refuse_doubles(cases, data)
    return sorted(cases, key=lambda case: case.name)


def _find_in_folder(data: Path) -> list[Case]:
    masks = find_masks(data)
    cases, without = [], []
    for study in find_studies(data, leave_out=data / ".none"):
        if study.case in masks:
            cases.append(_make_case(study, masks[study.case], data))
        elif study.pet is not None and study.pet.parent.name.lower() == IMAGE_FOLDERS[0]:
            raise InputError(f"case {study.case} lacks a mask in labelsTr; expected PET, CT and mask of every case")
        else:
            without.append(study.case)
    if without and cases:
        log.warning("%d studies have no mask and are left out: %s", len(without), format_list(without))
    return cases


def _make_case(study: CohortStudy, mask: Path, data: Path) -> Case:
    if study.fault:
        raise InputError(f"case {study.case} has a mask, but {study.fault}")
    if study.pet is None or study.ct is None:
        raise InputError(f"case {study.case} is DICOM, which cannot be trained on; convert it to SUV and CTres images")
    parts = mask.parent.relative_to(data).parts
    if strip_suffix(mask).lower() != MASK_STEM:
        return Case(study.case, _name_patient(study.case), UNKNOWN, study.pet, study.ct, mask)
    patient = parts[0] if parts else study.case
    return Case(study.case.replace(" ", "-"), patient, UNKNOWN, study.pet, study.ct, mask)


def _name_patient(name: str) -> str:
    """Return the patient in the names of the challenge, `fdg_<patient>_<study>`, and of BIDS; else the name itself."""
    tracer, _, rest = name.partition("_")
    if tracer.startswith("sub-"):
        return tracer
    return rest.split("_")[0] if tracer in ("fdg", "psma") and rest else name


def add_cohorts(cases: Sequence[Case], metadata: Path) -> list[Case]:
    """Return the cases that a metadata CSV lists, such as `fdg_metadata.csv` of the data set, with its cohorts.

    Cases that it does not list are left out, with a warning that counts them: the challenge's archive holds FDG and
    PSMA, and each has a CSV of its own. A row belongs to a case if one of its cells is the case's name or its study
    folder; if there is no such row, if one of its cells is the patient. A column `patient` in a row found by name also
    sets the patient.

    Raises:
        InputError: no column cohort or diagnosis, no row for any case, or rows that disagree.
    """
    rows = read_table(metadata, what="a table of cohorts", other_bytes="surrogateescape")
    heading = next((h for h in (rows[0] if rows else ()) if h and h.strip().lower() in _COHORT_HEADINGS), None)
    if heading is None:
        raise InputError(f"{metadata} has no column {' or '.join(_COHORT_HEADINGS)}; expected one with the cohorts")
    by_key: dict[str, list[Mapping[str, str]]] = {}
    for row in rows:
        for key in {key for column, cell in row.items() if column != heading for key in _list_keys(cell)}:
            by_key.setdefault(key, []).append(row)
    found = [_find_cohort(case, by_key, heading, metadata) for case in cases]
    listed = [case for case in found if case is not None]
    absent = sorted({case.name for case in cases} - {case.name for case in listed})
    if not listed:
        raise InputError(f"{metadata} has no row for any of {len(cases)} cases, for example {absent[0]}")
    if absent:
        log.warning("%s has no row for %d of %d cases, for example %s; they are left out",
                    metadata, len(absent), len(cases), absent[0])  # fmt: skip
    return listed


def _list_keys(cell: str | None) -> Iterable[str]:
    """Return a cell, and the study's names in a path such as `./FDG-PET-CT-Lesions/PETCT_0123/01-02-2003-study/`.

    They are folder and subfolder, and the challenge's name, `fdg_0123_01-02-2003-study`.
    """
    text = (cell or "").strip()
    parts = PurePosixPath(text).parts
    pairs = list(zip(parts[:-1], parts[1:], strict=True))
    names = [f"fdg_{patient.removeprefix('PETCT_')}_{study}" for patient, study in pairs]
    return [text, *(f"{patient}/{study}" for patient, study in pairs), *names]


def _find_cohort(case: Case, by_key: Mapping[str, list[Mapping[str, str]]], heading: str, where: Path) -> Case | None:
    """Return the case with its cohort; None if no row belongs to it."""
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
