"""The state of a batch's studies: `summary.csv` while it runs, and the failures at the end.

While a batch runs, the row of each study is appended when the study ends, so the cost per study does not grow with the
cohort. At the end the whole file is written again, in the order of the cases, pending ones included. The file is for
readers: the records decide which studies are done.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from autosegnet.batch.output_lock import Part
from autosegnet.batch.record import StudyResult, StudyRow, format_summary_csv, format_summary_line
from autosegnet.errors import AutosegnetError, InputError, OutputError, format_count, format_list, format_path
from autosegnet.io import write_text

log = logging.getLogger(__name__)

SUMMARY = "summary.csv"


class State:
    """The rows of all studies by case, and those that failed by a bug."""

    def __init__(self, path: Path, rows: Mapping[str, StudyRow]) -> None:
        """Start from what is known of the studies before the batch runs.

        Args:
            path: of `summary.csv`.
            rows: of all studies, in the order of their cases.
        """
        self._path, self.rows, self._bugs = path, dict(rows), set[str]()

    @property
    def counts(self) -> str:
        """Count the studies that are done, pending and failed."""
        states = Counter(row.status for row in self.rows.values())
        return ", ".join(f"{states[status]} {status}" for status in ("done", "pending", "failed"))

    def open(self) -> None:
        """Write the rows of the studies that are not pending; raise OutputError if that is impossible."""
        write_text(format_summary_csv(row for row in self.rows.values() if row.status != "pending"), self._path)

    def keep(self, result: StudyResult) -> None:
        """Take the result of a study, append its row and log it.

        Raises:
            OutputError: the row cannot be appended.
        """
        row = result.row
        self.rows[row.case] = row
        if result.is_bug:
            self._bugs.add(row.case)
        try:
            with self._path.open("a", encoding="utf-8", errors="surrogateescape", newline="") as file:
                file.write(format_summary_line(row))
        except OSError as error:
            raise OutputError(f"cannot write {format_path(self._path)}: {error.strerror}") from error
        if row.status == "done":
            log.info("%s: %s lesions, %.2f ml, %.0f s", row.case, row.lesions, row.tmtv_ml, row.seconds)
        else:
            log.warning("%s failed: %s", row.case, row.reason)

    def write(self) -> None:
        """Write all rows, also those of pending studies; raise OutputError if that is impossible."""
        write_text(format_summary_csv(self.rows.values()), self._path)

    def close(self) -> None:
        """Log the counts of studies, and each failed study with its reason.

        Raises:
            InputError: some failed.
            AutosegnetError: some failed because of a bug.
        """
        where = format_path(self._path)
        log.info("%s: %s; see %s", format_count(len(self.rows), "study"), self.counts, where)
        failed = [row for row in self.rows.values() if row.status == "failed"]
        for row in failed:
            log.error("failed: %s: %s", row.case, row.reason)
        if not failed:
            return
        cases = format_list([row.case for row in failed])
        message = f"{len(failed)} of {format_count(len(self.rows), 'study')} failed: {cases}; {where} has the reasons"
        if self._bugs:
            raise AutosegnetError(f"{message}; {format_list([*self._bugs])} because of a bug; the traceback is above")
        raise InputError(message)


def name_summary(part: Part) -> str:
    """Return the name of a run's summary. Each part of a cohort has its own."""
    return SUMMARY if part.of == 1 else f"summary_part_{part.number}_of_{part.of}.csv"
