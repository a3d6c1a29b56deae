"""What a batch remembers of each study: a record beside its mask, and a row of `summary.csv`.

A study is done when its mask is in place and its record says that the mask was made from the same input by the same
weights, software and options. The record is written before the mask, and an outdated mask and its report are removed
before either, so that a run killed at any moment leaves no mask that its record does not describe.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

from autosegnet.errors import InputError, OutputError
from autosegnet.report import remove_outdated

SUFFIXES: Final = (".mha", ".nii.gz", ".nii")
_FORMAT = 1

DependsOn = Mapping[str, str]
"""What a mask was made from, in words or digests by name: input, weights, software, options."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One study in `summary.csv`, whose columns are these fields; None where there is nothing to say.

    Args:
        status: 'done', 'failed' or 'pending'.
        reason: why it failed.
        seconds: of reading, computing and writing.
        mask: file below the output folder.
    """

    case: str
    status: str
    reason: str = ""
    lesions: int | None = None
    tmtv_ml: float | None = None
    tlg_g: float | None = None
    suv_max_g_per_ml: float | None = None
    dmax_centroids_mm: float | None = None
    dmax_voxels_mm: float | None = None
    seconds: float | None = None
    mask: str = ""


@dataclass(frozen=True, slots=True)
class StudyResult:
    """What became of one study.

    Args:
        is_bug: whether it failed by an error that no input should cause.
    """

    row: Row
    is_bug: bool = False


@dataclass(frozen=True, slots=True)
class Places:
    """Where the results of a case lie.

    Args:
        output: folder of the batch.
    """

    output: Path
    case: str

    @property
    def record(self) -> Path:
        """The record."""
        return self.output / "records" / f"{self.case}.json"

    @property
    def report(self) -> Path:
        """Folder of the report."""
        return self.output / "reports" / self.case

    @property
    def masks(self) -> list[Path]:
        """The masks in place, in any format."""
        paths = [self.output / f"{self.case}{suffix}" for suffix in SUFFIXES]
        return [path for path in paths if path.exists()]


def digest_input(files: Sequence[Path], root: Path) -> str:
    """A digest that changes when a file of a study is added, removed, renamed or written.

    Of each file its place below the root, its size and its time of change count; its content is not read.

    Raises:
        InputError: a file that is gone.
    """
    digest = hashlib.sha256()
    for path in sorted(files):
        try:
            state = path.stat()
        except OSError as error:
            raise InputError(f"cannot look at {path.name}: {error.strerror}") from error
        digest.update(
            f"{path.relative_to(root)}\n{state.st_size}\n{state.st_mtime_ns}\n".encode(errors="surrogateescape")
        )
    return digest.hexdigest()


def format_record(row: Row, depends_on: DependsOn, made_by: Mapping[str, Any]) -> str:
    """The text of a record.

    Args:
        made_by: provenance, in values of JSON.
    """
    content = {"format": _FORMAT, "depends_on": dict(depends_on), "made_by": dict(made_by), "row": asdict(row)}
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def read_finished_row(places: Places, depends_on: DependsOn) -> Row | str:
    """The row of a study that is done, or why it is to be done: '' where nothing was done before.

    Raises:
        InputError: a mask is in place that no record describes.
    """
    record = _read(places.record)
    row, before = record or (make_pending_row(places.case), {})
    others = [path.name for path in places.masks if path.name != row.mask]
    if others:
        raise InputError(
            f"found {others[0]} in the output folder, which no batch made there; move it away, or --overwrite"
        )
    if record is None:
        return ""
    if not places.masks:
        return "its mask is not in place"
    changed = [name for name, value in depends_on.items() if before.get(name) != value]
    return f"changed since: {', '.join(changed)}" if changed else row


def remove_results(places: Places) -> None:
    """Removes the masks and the report of a case, so that none outlives the record that describes it.

    Raises:
        OutputError: the folder lets none be removed.
    """
    _remove(places.masks, places)


def remove_recorded_results(places: Places) -> None:
    """Removes the mask that the record of a case names, and the report; a mask that no batch made stays.

    Raises:
        OutputError: the folder lets none be removed.
    """
    record = _read(places.record)
    if record is not None:
        _remove([path for path in places.masks if path.name == record[0].mask], places)


def _remove(masks: Iterable[Path], places: Places) -> None:
    try:
        for path in masks:
            path.unlink(missing_ok=True)
        remove_outdated(places.report, ())
    except OSError as error:
        raise OutputError(f"cannot replace what {places.case} has in the output folder: {error.strerror}") from error


def make_failed_row(case: str, reason: str) -> Row:
    """The row of a study that failed, its reason on one line."""
    return Row(case=case, status="failed", reason=" ".join(reason.split()))


def make_pending_row(case: str) -> Row:
    """The row of a study whose turn is still to come."""
    return Row(case=case, status="pending")


def format_summary_csv(rows: Iterable[Row]) -> str:
    """Return the text of `summary.csv`: the names of the columns and a line per study."""
    return ",".join(field.name for field in fields(Row)) + "\n" + format_rows(rows)


def format_rows(rows: Iterable[Row]) -> str:
    """Return lines of `summary.csv`; floats with all their digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows(["" if value is None else value for value in astuple(row)] for row in rows)
    return text.getvalue()


def _read(path: Path) -> tuple[Row, DependsOn] | None:
    """A record; None where there is none that can be understood."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != _FORMAT:
            return None
        return replace(Row(case="", status=""), **content["row"]), dict(content["depends_on"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
