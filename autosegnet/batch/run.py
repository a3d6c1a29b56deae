"""One study of a batch after the other: read ahead by a thread, segmented, written; what goes wrong is its result."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

from autosegnet.batch.plan import Task
from autosegnet.batch.record import Outcome, Places, Row, clear, failed, record_text
from autosegnet.errors import AutosegnetError, InputError
from autosegnet.loading import LoadedStudy, load_dicom, load_study
from autosegnet.model.reopening import keep_engine_open
from autosegnet.outputs import pages_of, provenance, write_results
from autosegnet.runtime.exit import OUT_OF_MEMORY, is_lack_of_memory
from autosegnet.runtime.log import keep_study_warnings, log_about

if TYPE_CHECKING:
    from autosegnet.lesions import BodyFigures
    from autosegnet.model.engine import Engine
    from autosegnet.model.weights import Weights

log = logging.getLogger(__name__)

Tell = Callable[[str, float], None]
"""Called with a case and the share of it that is done."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """A study that was read.

    Args:
        warnings: about it, until now.
        seconds: that it took.
    """

    loaded: LoadedStudy
    warnings: list[str]
    seconds: float


def work_through(
    tasks: Iterable[Task], open_engine: Callable[[], Engine], weights: Weights, tell: Tell
) -> Generator[Outcome, None, None]:
    """Does the tasks in turn; the next study is read while the present one is computed.

    Args:
        open_engine: called before the first task is taken, and again where a study took the engine from the GPU.

    Raises:
        OutputError, WeightsError: what would stop every other study, too.
    """
    engine = keep_engine_open(open_engine)
    engine()
    for task, reading in _read_ahead(tasks):
        with log_about(task.study.case):
            outcome = _outcome(task, reading, engine(), weights, tell)
        del reading  # its images go before the next but one is read
        yield outcome


def _read_ahead(tasks: Iterable[Task]) -> Iterator[tuple[Task, Future[_Reading]]]:
    """Each task with its study, of which one is being read while the one before is used, never more."""
    before: tuple[Task, Future[_Reading]] | None = None
    pool = ThreadPoolExecutor(1, "reader")
    try:
        for task in tasks:
            present = (task, pool.submit(_read, task))
            if before is not None:
                yield before
            before = present
        if before is not None:
            yield before
    finally:
        pool.shutdown(cancel_futures=True)


def _read(task: Task) -> _Reading:
    study, start = task.study, time.perf_counter()
    with log_about(study.case), keep_study_warnings() as warnings:
        if study.dicom:
            loaded = load_dicom(study.dicom, task.options)
        else:
            assert study.pet is not None
            assert study.ct is not None
            loaded = load_study(pet=study.pet, ct=study.ct, options=task.options)
    return _Reading(loaded, warnings, time.perf_counter() - start)


def _outcome(task: Task, reading: Future[_Reading], engine: Engine, weights: Weights, tell: Tell) -> Outcome:
    case = task.study.case
    try:
        clear(Places(task.mask.parent, case))  # where the study fails now, what is outdated would belie it
        return Outcome(_segmented(task, reading.result(), engine, weights, partial(_tell_share, tell, case)))
    except InputError as error:
        return Outcome(failed(case, str(error)))
    except AutosegnetError:
        raise
    except Exception as error:
        if is_lack_of_memory(error):
            return Outcome(failed(case, OUT_OF_MEMORY))
        # The contract's bug: the others are worth doing all the same.
        log.exception("unexpected error")
        return Outcome(
            failed(case, f"unexpected {type(error).__name__}, a bug; the log has its traceback"), is_bug=True
        )


def _tell_share(tell: Tell, case: str, done: int, of: int) -> None:
    tell(case, done / of)


def _segmented(
    task: Task, reading: _Reading, engine: Engine, weights: Weights, progress: Callable[[int, int], None]
) -> Row:
    from autosegnet.lesions import measure_lesions
    from autosegnet.pipeline import segment_study

    start, loaded = time.perf_counter(), reading.loaded
    with keep_study_warnings() as warnings:
        mask = segment_study(loaded.study, engine, weights.recipe, progress=progress).mask
    table = measure_lesions(mask, loaded.study.pet)
    made_by = provenance(loaded, engine, weights, reading.warnings + warnings)
    places = Places(task.mask.parent, task.study.case)
    pages = pages_of(mask, loaded, made_by, table=table) if task.report else {}
    seconds = round(reading.seconds + time.perf_counter() - start, 3)
    row = _row(task, table.body, seconds)
    record = record_text(row, task.depends_on, {**asdict(made_by), "made": made_by.made.isoformat()})
    write_results({places.record: record, task.mask: mask}, places.report if task.report else None, pages)
    return row


def _row(task: Task, body: BodyFigures, seconds: float) -> Row:
    return Row(
        case=task.study.case,
        status="done",
        lesions=body.lesions,
        tmtv_ml=body.tmtv_ml,
        tlg_g=body.tlg_g,
        suv_max_g_per_ml=body.suv_max,
        dmax_centroids_mm=body.dmax_centroids_mm,
        dmax_voxels_mm=body.dmax_voxels_mm,
        seconds=seconds,
        mask=task.mask.name,
    )
