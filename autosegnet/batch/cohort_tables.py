"""The tables of a cohort: every study and every lesion, with what they were made from, as CSV and as Parquet.

`tables/studies.csv` and `tables/lesions.csv` are made from the records, study by study, so memory does not grow with
the cohort. `.parquet` files of the same columns lie beside them if pyarrow is installed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from autosegnet.batch.record import Places, Record, StudyRow, read_record
from autosegnet.io import encode_text, write_bytes, write_files
from autosegnet.io.tables import format_table_csv
from autosegnet.lesions import LESION_COLUMNS

log = logging.getLogger(__name__)

_BODY_COLUMNS: Final = (
    "suv_peak_g_per_ml",
    "volume_suv_ge_4_ml",
    "volume_suv_ge_2.5_ml",
    "volume_ge_41_percent_of_suv_max_ml",
    "sdmax_per_m",
    "bulk_mm",
)
_ORIGIN_COLUMNS: Final = ("suv", "warnings", "software", "engine", "weights", "input", "made", "mask_sha256")
STUDY_COLUMNS: Final = (*(field.name for field in fields(StudyRow)), *_BODY_COLUMNS, *_ORIGIN_COLUMNS)
"""Columns of `studies.csv`: those of `summary.csv`, more figures of the body, and what the mask was made from."""
COHORT_LESION_COLUMNS: Final = ("case", *LESION_COLUMNS, *_ORIGIN_COLUMNS)
"""Columns of the cohort's `lesions.csv`: the case, the columns of a report, and what the mask was made from."""

_TEXTS: Final = {
    "case", "status", "reason", "mask", "label", "site", "side", "site_source", "maybe_physiological",
    "deauville_suggestion", *_ORIGIN_COLUMNS,
}  # fmt: skip
_WHOLE_NUMBERS: Final = {"lesions", "lesion", "voxels", "connectivity", "touches_border"}
_ROWS_AT_ONCE = 1000

_Cells = Sequence[Any]


def write_tables(output: Path, rows: Iterable[StudyRow]) -> None:
    """Write the tables of a cohort.

    Args:
        output: folder of the batch.
        rows: of all studies.

    Raises:
        OutputError: one of them cannot be written.
    """
    studies = list(rows)
    for name, columns, make_rows in (
        ("studies", STUDY_COLUMNS, _make_study_rows),
        ("lesions", COHORT_LESION_COLUMNS, _make_lesion_rows),
    ):
        path = output / "tables" / f"{name}.csv"
        write_files({path: _format_chunks(columns, _make_all(output, studies, make_rows))})
        _write_parquet(path)


def _make_all(
    output: Path, studies: Iterable[StudyRow], make_rows: Callable[[StudyRow, Record | None], Iterable[_Cells]]
) -> Iterator[_Cells]:
    for row in studies:
        record = read_record(Places(output, row.case).record) if row.status == "done" else None
        yield from make_rows(row, record)


def _make_study_rows(row: StudyRow, record: Record | None) -> list[_Cells]:
    known: Mapping[str, Any] = (record.body or {}) if record else {}
    figures = [getattr(row, field.name) for field in fields(row)]
    return [[*figures, *(known.get(name) for name in _BODY_COLUMNS), *_describe_origin(record)]]


def _make_lesion_rows(row: StudyRow, record: Record | None) -> list[_Cells]:
    if record is None:
        return []
    origin = _describe_origin(record)
    return [[row.case, *(lesion.get(name) for name in LESION_COLUMNS), *origin] for lesion in record.lesions]


def _describe_origin(record: Record | None) -> _Cells:
    if record is None:
        return [None] * len(_ORIGIN_COLUMNS)
    made_by = record.made_by
    return [
        " ".join(made_by.get("suv", ())),
        " ".join(made_by.get("warnings", ())),
        made_by.get("software"),
        made_by.get("engine"),
        made_by.get("weights"),
        record.depends_on.get("input"),
        made_by.get("made"),
        record.mask_sha256,
    ]


def _format_chunks(columns: Sequence[str], rows: Iterator[_Cells]) -> Iterator[bytes]:
    yield encode_text(format_table_csv(columns, ()))
    chunk: list[_Cells] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == _ROWS_AT_ONCE:
            yield encode_text(format_table_csv(chunk[0], chunk[1:]))
            chunk = []
    if chunk:
        yield encode_text(format_table_csv(chunk[0], chunk[1:]))


def _write_parquet(table: Path) -> None:
    """Write a CSV as Parquet beside it. Without pyarrow, remove an outdated Parquet file."""
    path = table.with_suffix(".parquet")
    try:
        import pyarrow as pa
        from pyarrow import csv, parquet
    except ImportError:
        path.unlink(missing_ok=True)
        log.info("no %s: pip install 'autosegnet[tables]' to have it", path.name)
        return
    names = STUDY_COLUMNS if table.stem == "studies" else COHORT_LESION_COLUMNS
    whole, number = pa.int64(), pa.float64()
    types = {n: pa.string() if n in _TEXTS else whole if n in _WHOLE_NUMBERS else number for n in names}
    options = csv.ConvertOptions(column_types=types, strings_can_be_null=True)
    parsing = csv.ParseOptions(newlines_in_values=True)
    buffer = pa.BufferOutputStream()
    with (
        csv.open_csv(table, convert_options=options, parse_options=parsing) as reader,
        parquet.ParquetWriter(buffer, reader.schema, compression="zstd") as writer,
    ):
        for batch in reader:
            writer.write_batch(batch)
    write_bytes(buffer.getvalue().to_pybytes(), path)
