"""A table of studies: which series of a case to use, and facts that its files do not state."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

from autosegnet.errors import InputError, UsageError, format_list, format_path
from autosegnet.io.small_files import read_table
from autosegnet.suv import StatedFacts

_FLAGS: Final = {"": False, "no": False, "false": False, "0": False, "yes": True, "true": True, "1": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyEntry:
    """One row of the table.

    Args:
        pet_series: SeriesInstanceUID of the PET, or its end; "" for any.
        ct_series: of the CT, likewise.
        facts: stated facts.
    """

    pet_series: str = ""
    ct_series: str = ""
    facts: StatedFacts = StatedFacts(way="table")

    def describe(self) -> str:
        """Return the row's content as a text, "" if the row is empty. The text changes if the row does."""
        if self == StudyEntry():
            return ""
        facts = {name: getattr(self.facts, name) for name in self.facts.list_given()}
        return f"PET ...{self.pet_series}, CT ...{self.ct_series}, stated {facts}"


_SERIES: Final = ("pet_series", "ct_series")
_FACTS: Final = tuple(field.name for field in fields(StatedFacts) if field.name != "way")
COLUMNS_OF_STUDIES: Final = ("case", *_SERIES, *_FACTS)
"""Columns of the table; all but `case` may be missing."""


def read_study_table(path: Path | None, cases: Collection[str], *, is_list: bool = False) -> dict[str, StudyEntry]:
    """Return the entries of a table by case; none without a table.

    Args:
        path: CSV with some of `COLUMNS_OF_STUDIES`.
        cases: those that were found. A row of another case is refused, because its name is probably misspelt.
        is_list: the table is INPUT, which lists studies and their series, and may have any other columns.

    Raises:
        InputError: the table is missing, a column is unknown, a case was not found or appears twice, or a value is
            invalid.
    """
    if path is None:
        return {}
    rows = [{k.lower(): v for k, v in row.items()} for row in read_table(path, what="the table of studies")]
    where = f"in {format_path(path)}"
    unknown = [name for name in (rows[0] if rows and not is_list else {}) if name not in COLUMNS_OF_STUDIES]
    if unknown or (rows and "case" not in rows[0]):
        found = f"the columns {format_list(unknown)}" if unknown else "no column case"
        raise InputError(f"found {found} {where}; expected case and any of {', '.join(COLUMNS_OF_STUDIES[1:])}")
    entries: dict[str, StudyEntry] = {}
    for number, row in enumerate(rows, start=2):
        case = row["case"]
        if case in entries or case not in cases:
            found = "appears in two rows" if case in entries else "is not among the cases found"
            raise InputError(f"{format_path(case, 80)} {found}, line {number} {where}; use the names in summary.csv")
        try:
            entries[case] = _read_row({**row, **dict.fromkeys(_SERIES, "")} if is_list else row)
        except UsageError as error:
            raise InputError(f"{error}, line {number} {where}") from error
    return entries


def _read_row(row: Mapping[str, str]) -> StudyEntry:
    facts = StatedFacts(
        injection_time=row.get("injection_time", ""),
        scan_time=row.get("scan_time", ""),
        dose_mbq=_read_number(row, "dose_mbq"),
        weight_kg=_read_number(row, "weight_kg"),
        height_cm=_read_number(row, "height_cm"),
        same_frame=_read_flag(row, "same_frame"),
        attenuation_corrected=_read_flag(row, "attenuation_corrected"),
        way="table",
    )
    return StudyEntry(pet_series=row.get("pet_series", ""), ct_series=row.get("ct_series", ""), facts=facts)


def _read_number(row: Mapping[str, str], name: str) -> float | None:
    text = row.get(name, "")
    try:
        return float(text) if text else None
    except ValueError:
        raise UsageError(f"column {name} is {text[:30]!r}; expected a number") from None


def _read_flag(row: Mapping[str, str], name: str) -> bool:
    text = row.get(name, "")
    if text.lower() not in _FLAGS:
        raise UsageError(f"column {name} is {text[:30]!r}; expected yes or no")
    return _FLAGS[text.lower()]
