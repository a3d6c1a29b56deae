"""The table of cases: what `index` writes and every other command reads.

A CSV with the columns case, patient, cohort, fold, pet, ct, mask, box, repeat. Paths are relative to the table's
folder, or absolute. `box` is empty, or `x0:x1,y0:y1,z0:z1`: the half-open range of PET voxels that the case is cut to.
`repeat` is how often an epoch of training sees the case: with few real studies among many simulated ones, it keeps the
balance. A case whose fold is not trained (5, if there are five folds) is never validated and always trained on.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autosegnet.errors import InputError
from autosegnet.geometry import Box
from autosegnet.io.small_files import read_table
from autosegnet.io.tables import format_table_csv

CASE_COLUMNS = ("case", "patient", "cohort", "fold", "pet", "ct", "mask", "box", "repeat")
UNKNOWN = "unknown"
FOLDS = 5

# Headings that other tables use for the same columns.
_ALIASES = {"pet": ("pet", "suv"), "mask": ("mask", "seg", "truth", "label"), "cohort": ("cohort", "diagnosis")}


@dataclass(frozen=True, slots=True)
class Case:
    """One study with its truth.

    Args:
        name: unique in the table; also a folder name.
        patient: studies of one patient share a fold.
        cohort: the folds are stratified by it.
        pet, ct, mask: files.
        fold: whose validation case it is; None before the folds are made.
        box: PET voxels that the case is cut to; None for the whole study.
        repeat: how often an epoch of training sees the case, at least 1.
    """

    name: str
    patient: str
    cohort: str
    pet: Path
    ct: Path
    mask: Path
    fold: int | None = None
    box: Box | None = None
    repeat: int = 1


def write_cases(cases: Sequence[Case], path: Path) -> None:
    """Write the table; paths below its folder are written relative to it."""
    from autosegnet.io import write_text

    rows = []
    for case in cases:
        fold = "" if case.fold is None else case.fold
        files = [_make_relative(file, path.parent) for file in (case.pet, case.ct, case.mask)]
        rows.append([case.name, case.patient, case.cohort, fold, *files, format_box(case.box), case.repeat])
    write_text(format_table_csv(CASE_COLUMNS, rows, show=str), path)


def read_cases(path: Path) -> list[Case]:
    """Return the cases of a table.

    Other columns are ignored. The columns patient, cohort, fold, box and repeat may be missing.

    Raises:
        InputError: no such file, a column missing, a case named twice, or a value that cannot be read.
    """
    rows = read_table(path, what="a table of cases", other_bytes="surrogateescape")
    cases = [_parse_case(row, path, line) for line, row in enumerate(rows, start=2)]
    if not cases:
        raise InputError(f"{path} lists no case")
    refuse_doubles(cases, path)
    return cases


def refuse_doubles(cases: Sequence[Case], where: Path) -> None:
    """Raise InputError if two cases have one name."""
    seen: set[str] = set()
    for case in cases:
        if case.name in seen:
            raise InputError(f"case {case.name} appears twice in {where}; expected once")
        seen.add(case.name)


def _parse_case(row: Mapping[str, str | None], path: Path, line: int) -> Case:
    where = f"{path}, line {line}"
    values = {(k or "").strip().lower(): (v or "").strip() for k, v in row.items() if isinstance(v, str)}
    name = values.get("case", "")
    if not name or name in (".", "..") or "/" in name or "\\" in name:
        raise InputError(f"column case holds {name!r} in {where}; expected a name without slashes")
    pet, ct, mask = (path.parent / _read_column(values, column, where) for column in ("pet", "ct", "mask"))
    fold = values.get("fold", "")
    if fold and not _is_count(fold):
        raise InputError(f"column fold holds {fold!r} in {where}; expected a number or nothing")
    repeat = values.get("repeat") or "1"
    if not _is_count(repeat) or int(repeat) < 1:
        raise InputError(f"column repeat holds {repeat!r} in {where}; expected a number from 1")
    return Case(
        name=name,
        patient=values.get("patient") or name,
        cohort=next((values[c].lower() for c in _ALIASES["cohort"] if values.get(c)), UNKNOWN),
        pet=pet,
        ct=ct,
        mask=mask,
        fold=int(fold) if fold else None,
        box=parse_box(values.get("box", ""), where=where),
        repeat=int(repeat),
    )


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 6


def _read_column(values: Mapping[str, str], column: str, where: str) -> str:
    for alias in _ALIASES.get(column, (column,)):
        if values.get(alias):
            return values[alias]
    raise InputError(f"column {column} is missing or empty in {where}; expected a file")


def format_box(box: Box | None) -> str:
    """Return the box as the table writes it."""
    return "" if box is None else ",".join(f"{first}:{end}" for first, end in box)


def parse_box(text: str, *, where: str) -> Box | None:
    """Return the box in a table's cell; None for an empty one.

    Raises:
        InputError: not three half-open ranges.
    """
    if not text:
        return None
    try:
        x, y, z = (tuple(map(int, part.split(":"))) for part in text.split(","))
        (x0, x1), (y0, y1), (z0, z1) = x, y, z
    except ValueError as error:
        raise InputError(f"box {text!r} in {where}; expected x0:x1,y0:y1,z0:z1 in PET voxels") from error
    if not (0 <= x0 < x1 and 0 <= y0 < y1 and 0 <= z0 < z1):
        raise InputError(f"box {text!r} in {where} is empty or negative; expected half-open ranges of PET voxels")
    return (x0, x1), (y0, y1), (z0, z1)


def _make_relative(file: Path, folder: Path) -> str:
    file, folder = Path(os.path.abspath(file)), Path(os.path.abspath(folder))
    return file.relative_to(folder).as_posix() if file.is_relative_to(folder) else str(file)


def split_fold(cases: Sequence[Case], fold: int) -> tuple[list[Case], list[Case]]:
    """Return the training and the validation cases of a fold.

    Raises:
        InputError: a case without a fold, or one of the two would be empty.
    """
    without = [case.name for case in cases if case.fold is None]
    if without:
        raise InputError(f"{len(without)} cases have no fold, for example {without[0]}; run index first")
    training = [case for case in cases if case.fold != fold]
    validation = [case for case in cases if case.fold == fold]
    if not training or not validation:
        raise InputError(
            f"fold {fold} has {len(training)} training and {len(validation)} validation cases; expected both"
        )
    return training, validation
