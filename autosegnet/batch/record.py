"""What a batch records about each study: a file for its mask, and a row of `summary.csv`.

A study is done when its mask is in place and its record says that the mask was made from the same input by the same
weights, software and options. The record holds the mask's SHA-256, so a truncated or replaced mask is noticed. The
record is written before the mask, and an outdated mask and its report are removed before either. So a run that is
killed at any moment leaves no mask that its record does not describe.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields, replace
from pathlib import Path
from typing import Any

from autosegnet.errors import InputError, OutputError, format_path
from autosegnet.io import IMAGE_SUFFIXES
from autosegnet.io.tables import format_table_csv
from autosegnet.result_files import VIEWER_PAGE, is_page_file, remove_unwritten

_FORMAT = 1
_READ_BYTES = 1 << 20

DependsOn = Mapping[str, str]
"""What a mask was made from, as texts or digests by name: input, weights, software, options."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRow:
    """One study in `summary.csv`, whose columns are these fields; None for an empty cell.

    Args:
        status: 'done', 'failed' or 'pending'.
        reason: why it failed.
        seconds: time for reading, computing and writing.
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
    """The result of one study.

    Args:
        is_bug: whether it failed with an error that no input should cause.
    """

    row: StudyRow
    is_bug: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is known of a finished study. Fields that an old record lacks are empty.

    Args:
        row: of the summary.
        depends_on: what the mask was made from.
        made_by: `report.Provenance` in values of JSON.
        mask_sha256: of the mask's file.
        mask_bytes: its size.
        body: whole-body figures by name, as in `lesions.json`.
        lesions: figures of each lesion by name, as in `lesions.csv`.
    """

    row: StudyRow
    depends_on: DependsOn
    made_by: Mapping[str, Any]
    mask_sha256: str = ""
    mask_bytes: int = 0
    body: Mapping[str, Any] | None = None
    lesions: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Places:
    """Paths of the results of a case.

    Args:
        output: folder of the batch.
    """

    output: Path
    case: str

    @property
    def record(self) -> Path:
        """Return the path of the record."""
        return self.output / "records" / f"{self.case}.json"

    @property
    def report(self) -> Path:
        """Return the folder of the report."""
        return self.output / "reports" / self.case

    @property
    def viewer(self) -> Path:
        """Return the path of the viewer's page."""
        return self.report / VIEWER_PAGE

    @property
    def thumbnail(self) -> Path:
        """Return the path of the picture for the overview."""
        return self.output / "thumbnails" / f"{self.case}.png"

    @property
    def masks(self) -> list[Path]:
        """Return the masks in place, in any format."""
        paths = [self.output / f"{self.case}{suffix}" for suffix in IMAGE_SUFFIXES]
        return [path for path in paths if path.exists()]

    @property
    def shared_folders(self) -> tuple[Path, ...]:
        """Return the folders that hold something of every case."""
        return self.output, self.record.parent, self.thumbnail.parent


def digest_input(files: Sequence[Path], root: Path) -> str:
    """Return a digest that changes when a file of a study is added, removed, renamed or written.

    It covers the path below the root, the size and the modification time of each file. Contents are not read.

    Raises:
        InputError: a file is gone.
    """
    digest = hashlib.sha256()
    for path in sorted(files):
        try:
            state = path.stat()
        except OSError as error:
            raise InputError(f"cannot read size and time of {format_path(path.name)}: {error.strerror}") from error
        place = path.relative_to(root) if path.is_relative_to(root) else path  # a list may name files anywhere
        digest.update(f"{place}\n{state.st_size}\n{state.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def format_record(record: Record) -> str:
    """Return the text of a record. Lesions are stored as a table, so that hundreds of them stay small."""
    columns = list(record.lesions[0]) if record.lesions else []
    content = {
        "format": _FORMAT,
        "depends_on": dict(record.depends_on),
        "made_by": dict(record.made_by),
        "row": asdict(record.row),
        "mask_sha256": record.mask_sha256,
        "mask_bytes": record.mask_bytes,
        "body": None if record.body is None else dict(record.body),
    }
    lesions = {"columns": columns, "rows": [[lesion[name] for name in columns] for lesion in record.lesions]}
    head = json.dumps(content, indent=2, allow_nan=False).removesuffix("\n}")
    return f'{head},\n  "lesions": {json.dumps(lesions, allow_nan=False)}\n}}\n'


def read_record(path: Path) -> Record | None:
    """Return a record; None if it is missing or cannot be understood."""
    try:
        content = json.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
        if content["format"] != _FORMAT:
            return None
        table = content.get("lesions", {"columns": [], "rows": []})
        return Record(
            row=replace(StudyRow(case="", status=""), **content["row"]),
            depends_on=dict(content["depends_on"]),
            made_by=dict(content["made_by"]),
            mask_sha256=str(content.get("mask_sha256", "")),
            mask_bytes=int(content.get("mask_bytes", 0)),
            body=content.get("body"),
            lesions=[dict(zip(table["columns"], row, strict=True)) for row in table["rows"]],
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def read_finished_row(places: Places, depends_on: DependsOn, *, is_mirror: bool = False) -> StudyRow | str:
    """Return the row of a finished study, or why it must be done: '' if it was never done.

    Args:
        places: of the study.
        depends_on: what the mask would depend on now.
        is_mirror: whether masks are placeholders of the right size, so that only sizes can be compared.

    Raises:
        InputError: there is a mask that no record describes.
    """
    record = read_record(places.record)
    name, masks = record.row.mask if record else "", places.masks
    others = [path.name for path in masks if path.name != name]
    if others:
        raise InputError(
            f"found {format_path(others[0])} in the output folder, which no batch made there; "
            "move it away, or --overwrite"
        )
    if record is None:
        return ""
    if not masks:
        return "its mask is missing"
    changed = [name for name, value in depends_on.items() if record.depends_on.get(name) != value]
    if changed:
        return f"changed since: {', '.join(changed)}"
    return record.row if _is_intact(masks[0], record, is_mirror) else "its mask was changed"


def _is_intact(mask: Path, record: Record, is_mirror: bool) -> bool:
    """Return whether a mask is the one in its record. If an old record has no digest, any non-empty mask counts."""
    digest = hashlib.sha256()
    try:
        if is_mirror:
            return mask.stat().st_size == record.mask_bytes
        if not record.mask_sha256:
            return mask.stat().st_size > 0
        with mask.open("rb") as file:
            while chunk := file.read(_READ_BYTES):
                digest.update(chunk)
    except OSError:
        return False
    return digest.hexdigest() == record.mask_sha256


def remove_results(places: Places) -> None:
    """Remove the masks and the report of a case, so that no mask outlives the record that describes it.

    Raises:
        OutputError: they cannot be removed.
    """
    _remove(places.masks, places)


def remove_recorded_results(places: Places) -> None:
    """Remove the mask that the record names, and the report. A mask that no batch made stays.

    Raises:
        OutputError: they cannot be removed.
    """
    record = read_record(places.record)
    if record is not None:
        _remove([path for path in places.masks if path.name == record.row.mask], places)


def _remove(masks: Iterable[Path], places: Places) -> None:
    try:
        for path in (*masks, places.thumbnail):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot replace what {places.case} has in the output folder: {error.strerror}") from error
    remove_unwritten(places.report, is_page_file, ())


def make_failed_row(case: str, reason: str) -> StudyRow:
    """Return the row of a study that failed, its reason on one line."""
    return StudyRow(case=case, status="failed", reason=" ".join(reason.split()))


def make_pending_row(case: str) -> StudyRow:
    """Return the row of a study that has not been segmented yet."""
    return StudyRow(case=case, status="pending")


def format_summary_csv(rows: Iterable[StudyRow]) -> str:
    """Return the text of `summary.csv`: the names of the columns and a line per study."""
    return format_table_csv([field.name for field in fields(StudyRow)], map(astuple, rows))


def format_summary_line(row: StudyRow) -> str:
    """Return the line of `summary.csv` for one study."""
    return format_table_csv(astuple(row), ())
