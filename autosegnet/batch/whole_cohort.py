"""Files about a whole cohort: `summary.csv`, the tables, the overview; made when a batch ends, and on demand."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from autosegnet.batch.cohort_tables import write_tables
from autosegnet.batch.overview import write_overview
from autosegnet.batch.record import StudyRow, format_summary_csv, make_pending_row, read_record
from autosegnet.batch.summary import SUMMARY
from autosegnet.errors import InputError, format_path
from autosegnet.io import write_text
from autosegnet.io.small_files import read_table


def write_cohort(output: Path, rows: Iterable[StudyRow]) -> None:
    """Write the files about a whole cohort.

    Args:
        output: folder of the batch.
        rows: of all studies, in the order of their cases.

    Raises:
        OutputError: something cannot be written.
    """
    studies = list(rows)
    write_text(format_summary_csv(studies), output / SUMMARY)
    write_tables(output, studies)
    write_overview(output, studies)


def read_cohort(output: Path) -> list[StudyRow]:
    """Return the rows of all studies of the batches in a folder, whole ones or parts.

    A study with a record and a mask is done. The others are listed in the summaries, also in those of parts.

    Raises:
        InputError: no batch wrote there, or a summary cannot be read.
    """
    rows: dict[str, StudyRow] = {}
    for path in sorted(output.glob("summary*.csv")):
        for cells in read_table(path, what="a summary of a batch", other_bytes="surrogateescape"):
            if cells.get("case") and cells.get("status") != "done":
                case, status, reason = (cells.get(name, "") for name in ("case", "status", "reason"))
                rows[case] = StudyRow(case=case, status=status, reason=reason)
    for path in sorted((output / "records").glob("*.json")):
        record = read_record(path)
        if record is not None and (output / record.row.mask).is_file():
            rows[record.row.case] = record.row
        else:
            case = path.name.removesuffix(".json")
            rows.setdefault(case, make_pending_row(case))
    if not rows:
        raise InputError(f"found neither records nor a summary in {format_path(output)}; expected OUTPUT of a batch")
    return [rows[case] for case in sorted(rows)]
