"""Segments one study of a batch: reads, computes, measures, writes. An error becomes the study's result."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from autosegnet.batch.plan import Task
from autosegnet.batch.record import (
    Places,
    Record,
    StudyResult,
    StudyRow,
    format_record,
    make_failed_row,
    remove_results,
)
from autosegnet.batch.staging import Mirror
from autosegnet.batch.thumbnail import draw_thumbnail
from autosegnet.errors import AutosegnetError, InputError
from autosegnet.loading import LoadedStudy, load_dicom, load_study
from autosegnet.model.devices import is_on_cpu, log_engine
from autosegnet.model.reopening import keep_engine_open
from autosegnet.outputs import describe_origin, make_context, make_report, make_viewer, write_results
from autosegnet.runtime.exit import OUT_OF_MEMORY, is_lack_of_memory
from autosegnet.runtime.log import keep_study_warnings, log_about
from autosegnet.runtime.work import Unfinished

if TYPE_CHECKING:
    import SimpleITK as sitk

    from autosegnet.lesions import BodyFigures
    from autosegnet.model.engine import Engine
    from autosegnet.model.weights import Weights
    from autosegnet.report import Provenance

log = logging.getLogger(__name__)

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class _Reading:
    """A study that was read.

    Args:
        warnings: about it, so far.
        seconds: time that reading took.
    """

    loaded: LoadedStudy
    warnings: list[str]
    seconds: float


@dataclass(frozen=True, slots=True)
class _Computed:
    """A study that was segmented.

    Args:
        seconds: of reading and computing.
    """

    loaded: LoadedStudy
    mask: sitk.Image
    made_by: Provenance
    seconds: float


@dataclass(frozen=True, slots=True)
class SegmentStudies:
    """The work of a batch (`runtime.work.Work`), which any process can do.

    Args:
        weights: of the folds.
        device: for `open_engine`.
        open_engine: called with the weights and the device, and again if a study moved the engine off the GPU.
        source: mirror of INPUT, if that is in a store.
        target: mirror of OUTPUT, if that is in a store.
    """

    weights: Weights
    device: str
    open_engine: Callable[..., Engine]
    source: Mirror | None = None
    target: Mirror | None = None

    def open(self) -> Callable[[], Engine]:
        """Return a function that returns the engine. The folds are loaded and logged now."""
        engine = keep_engine_open(self._open_engine)
        engine()
        return engine

    def _open_engine(self) -> Engine:
        engine = self.open_engine(self.weights, device=self.device)
        log_engine(engine, self.weights)
        return engine

    def read(self, task: Task) -> _Reading:
        """Return the study of a task.

        Raises:
            InputError: it cannot be read, paired, converted or trusted.
        """
        start = time.perf_counter()
        staging = self.source.stage(task) if self.source else nullcontext(task)
        with log_about(task.study.case), keep_study_warnings() as warnings, staging as staged:
            loaded = _load(staged)
        return _Reading(loaded, warnings, time.perf_counter() - start)

    def do(
        self,
        opened: Callable[[], Engine],
        task: Task,
        reading: Future[_Reading],
        tell: Callable[[float], None],
    ) -> StudyResult | Unfinished[StudyResult]:
        """Segment a study; measure it and write its results, or on a GPU, leave that to be done behind.

        Raises:
            OutputError, WeightsError: the error would stop every other study, too.
        """
        engine = opened()
        computed = _attempt(task, lambda: self._compute(task, reading, engine, lambda done, of: tell(done / of)))
        if isinstance(computed, StudyResult):
            return computed
        finish = partial(self._finish, task, computed)
        return finish() if is_on_cpu(engine) else Unfinished(finish)

    def _compute(
        self, task: Task, reading: Future[_Reading], engine: Engine, progress: Callable[[int, int], None]
    ) -> _Computed:
        from autosegnet.pipeline import segment_study

        places = Places(task.mask.parent, task.study.case)
        remove_results(places)  # if the study fails now, old results would contradict its status
        if self.target:
            self.target.remove_results(places)
        read = reading.result()
        start = time.perf_counter()
        with keep_study_warnings() as warnings:
            mask = segment_study(read.loaded.study, engine, self.weights.recipe, progress=progress).mask
        made_by = describe_origin(read.loaded, engine, self.weights, read.warnings + warnings)
        return _Computed(read.loaded, mask, made_by, read.seconds + time.perf_counter() - start)

    def _finish(self, task: Task, computed: _Computed) -> StudyResult:
        finished = _attempt(task, lambda: StudyResult(_write(task, computed)))
        if self.target and finished.row.status == "done":
            self.target.put_results(Places(task.mask.parent, task.study.case), task.mask)
        return finished


def _attempt(task: Task, action: Callable[[], R]) -> R | StudyResult:
    """Return what an action returns; if the study is at fault, its result, so that the others go on."""
    case = task.study.case
    with log_about(case):
        try:
            return action()
        except InputError as error:
            return StudyResult(make_failed_row(case, str(error)))
        except AutosegnetError:
            raise
        except Exception as error:
            if is_lack_of_memory(error):
                return StudyResult(make_failed_row(case, OUT_OF_MEMORY))
            # A bug, exit code 1 by the contract. The other studies are still worth doing.
            log.exception("unexpected error")
            reason = f"unexpected {type(error).__name__}, a bug; the log has its traceback"
            return StudyResult(make_failed_row(case, reason), is_bug=True)


def _load(task: Task) -> LoadedStudy:
    study = task.study
    if study.dicom:
        headers = [header for part in study.dicom for header in part.load_headers()]
        return load_dicom(sorted(headers, key=lambda header: header.path), task.options)
    assert study.pet is not None
    assert study.ct is not None
    return load_study(pet=study.pet, ct=study.ct, options=task.options)


def _write(task: Task, computed: _Computed) -> StudyRow:
    from autosegnet.io import encode_image
    from autosegnet.lesions import format_lesions_json, measure_lesions

    start, loaded, mask, made_by = time.perf_counter(), computed.loaded, computed.mask, computed.made_by
    table = measure_lesions(mask, loaded.study.pet, make_context(loaded))
    places = Places(task.mask.parent, task.study.case)
    pages = make_report(mask, loaded, made_by, table) if task.report else {}
    seconds = round(computed.seconds + time.perf_counter() - start, 3)
    row = _make_row(task, table.body, seconds)
    written, figures = encode_image(mask, task.mask), json.loads(format_lesions_json(table))
    record = Record(
        row=row,
        depends_on=task.depends_on,
        made_by={**asdict(made_by), "made": made_by.made.isoformat()},
        mask_sha256=hashlib.sha256(written).hexdigest(),
        mask_bytes=len(written),
        body=figures["body"],
        lesions=figures["lesions"],
    )
    files: dict[Path, sitk.Image | str | bytes] = {
        places.thumbnail: draw_thumbnail(loaded.study.pet, mask),
        places.record: format_record(record),
        task.mask: written,
    }
    if task.viewer:
        files[places.viewer] = make_viewer(mask, loaded, made_by, table)
    write_results(files, places.report if task.report else None, pages, swept=places.shared_folders)
    return row


def _make_row(task: Task, body: BodyFigures, seconds: float) -> StudyRow:
    return StudyRow(
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
