"""How the studies of a batch stand: `summary.csv` after each, and the failures at the end."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

from autosegnet.batch.record import Outcome, Row, summary_text
from autosegnet.errors import AutosegnetError, InputError, format_list, format_path
from autosegnet.io import write_text

log = logging.getLogger(__name__)

SUMMARY = "summary.csv"


@dataclass(slots=True)
class State:
    """The rows of all studies by case, and those that failed by a bug.

    Args:
        output: folder of `summary.csv`.
    """

    output: Path
    rows: dict[str, Row]
    bugs: set[str] = field(default_factory=set)

    def keep(self, outcome: Outcome) -> None:
        """Takes what became of a study, and writes and logs it."""
        row = outcome.row
        self.rows[row.case] = row
        if outcome.is_bug:
            self.bugs.add(row.case)
        self.write()
        if row.status == "done":
            log.info("%s: %s lesions, %.2f ml, %.0f s", row.case, row.lesions, row.tmtv_ml, row.seconds)
        else:
            log.warning("%s failed: %s", row.case, row.reason)

    def write(self) -> None:
        """Writes `summary.csv`, which is whole at any moment; raises OutputError where it cannot."""
        write_text(summary_text(self.rows.values()), self.output / SUMMARY)

    def close(self) -> None:
        """Logs how the studies stand, and each that failed with its reason.

        Raises:
            InputError: some failed.
            AutosegnetError: some failed by a bug.
        """
        where = format_path(self.output / SUMMARY)
        log.info("%d studies: %s; %s", len(self.rows), self.counts, where)
        failed = [row for row in self.rows.values() if row.status == "failed"]
        for row in failed:
            log.error("failed: %s: %s", row.case, row.reason)
        if not failed:
            return
        cases = format_list([row.case for row in failed])
        message = f"{len(failed)} of {len(self.rows)} studies failed, expected none: {cases}; {where} has the reasons"
        if self.bugs:
            raise AutosegnetError(f"{message}; {format_list([*self.bugs])} by a bug, whose traceback is above")
        raise InputError(message)

    @property
    def counts(self) -> str:
        """How many are done, pending and failed."""
        states = [row.status for row in self.rows.values()]
        return ", ".join(f"{states.count(status)} {status}" for status in ("done", "pending", "failed"))
