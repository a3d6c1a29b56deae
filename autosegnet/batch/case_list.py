"""Studies listed in a CSV with the columns case, pet and ct, and optional ones. Nothing is guessed.

Paths are relative to the table's folder, or absolute. PET and CT are files or folders of DICOM. Unknown
columns are ignored, so a table may also hold cohort, truth and whatever else belongs to a study.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from autosegnet.batch.found_study import CohortStudy
from autosegnet.errors import InputError, format_path
from autosegnet.io.small_files import read_table

_PET = ("pet", "suv")
_REQUIRED = ("case", "pet", "ct")


def read_case_list(path: Path) -> list[CohortStudy]:
    """Return the studies of a table, in the order of their names; one whose files are missing has a fault.

    Raises:
        InputError: there is no table, column or study, or a case appears twice or cannot be a file's name.
    """
    rows = read_table(path, what="a list of studies", other_bytes="surrogateescape")
    rows = [{name.lower(): value for name, value in row.items()} for row in rows]
    if not rows:
        raise InputError(f"{format_path(path)} lists no study; expected a line per study below {','.join(_REQUIRED)}")
    missing = [name for name in _REQUIRED if name not in rows[0] and not (name == "pet" and "suv" in rows[0])]
    if missing:
        raise InputError(
            f"{format_path(path)} has no column {' and no column '.join(missing)}; expected {', '.join(_REQUIRED)}"
        )
    doubled = [case for case, count in Counter(row["case"] for row in rows).items() if count > 1]
    if doubled:
        raise InputError(f"case {format_path(doubled[0])} appears {Counter(r['case'] for r in rows)[doubled[0]]} times "
                         f"in {format_path(path)}; expected once")  # fmt: skip
    studies = [_make_study(row, path, line) for line, row in enumerate(rows, start=2)]
    return sorted(studies, key=lambda study: study.case)


def _make_study(row: dict[str, str], path: Path, line: int) -> CohortStudy:
    case = row["case"]
    if not case or case.startswith(".") or "/" in case or "\\" in case:
        raise InputError(
            f"column case holds {format_path(case)!r} in line {line} of {format_path(path)}; "
            "expected a name that can be a file's"
        )
    pet, ct = (next((row[name] for name in names if row.get(name)), "") for names in (_PET, ("ct",)))
    if not pet or not ct:
        return CohortStudy(case=case, fault=f"column {'ct' if pet else 'pet'} is empty; expected a file or folder")
    places = [path.parent / pet, path.parent / ct]
    gone = [place for place in places if not place.exists()]
    if gone:
        return CohortStudy(case=case, fault=f"found nothing at {format_path(gone[0])}; expected a file or folder")
    pet_series, ct_series = row.get("pet_series", ""), row.get("ct_series", "")
    return CohortStudy(case=case, pet=places[0], ct=places[1], pet_series=pet_series, ct_series=ct_series)
