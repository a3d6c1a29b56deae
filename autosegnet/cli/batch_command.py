"""`autosegnet batch`: segments every study below a folder, and continues where an earlier run ended."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from autosegnet.cli.options import add_engine_arguments, add_file_arguments, choose_weights
from autosegnet.cli.suv_command import add_mode_argument
from autosegnet.errors import InputError, UsageError, format_count, format_list, format_path
from autosegnet.runtime.workers import Workers, add_worker_arguments, choose_workers

if TYPE_CHECKING:
    from autosegnet.batch.output_lock import Part
    from autosegnet.batch.plan import Task
    from autosegnet.batch.run import SegmentStudies
    from autosegnet.batch.staging import Mirror
    from autosegnet.batch.summary import State

log = logging.getLogger(__name__)


def add_batch_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `autosegnet batch`."""
    parser.add_argument(
        "input",
        metavar="INPUT",
        help="folder or URL (s3://…) with studies in any mix of layouts, or a CSV with the columns case,pet,ct",
    )
    parser.add_argument("output", metavar="OUTPUT", help="folder or URL for <case> masks, records and summary.csv")
    parser.add_argument(
        "--format", choices=["mha", "nii.gz"], help="format of the masks (default: the PET's; for DICOM nii.gz)"
    )
    parser.add_argument("--report", action="store_true", help="also write a report per study, in OUTPUT/reports/<case>")
    parser.add_argument("--viewer", action="store_true", help="also a viewer's page, OUTPUT/reports/<case>/viewer.html")
    parser.add_argument("--overwrite", action="store_true", help="segment finished studies again, and replace any mask")
    parser.add_argument("--pet-glob", metavar="PATTERN", help="PET images in no known layout, e.g. '*/PT*.nii.gz'")
    parser.add_argument("--ct-glob", metavar="PATTERN", help="their CT images, e.g. '*/CT*.nii.gz'")
    group = parser.add_argument_group("where the studies are segmented")
    add_worker_arguments(group)
    group.add_argument(
        "--part",
        default="1/1",
        metavar="K/N",
        help="segment only the Kth of N parts of the studies, as in a Slurm array",
    )
    group = parser.add_argument_group("reading DICOM and Bq/ml")
    add_mode_argument(group)
    group.add_argument(
        "--studies",
        type=Path,
        metavar="FILE.csv",
        help="what files do not say, one row per case as summary.csv names it: columns case, pet_series, ct_series, "
        "injection_time, scan_time, dose_mbq, weight_kg, height_cm, same_frame, attenuation_corrected",
    )
    group.add_argument(
        "--pet-unit",
        choices=["suv", "bqml"],
        default="suv",
        help="of PET files not called SUV; bqml needs a PET-BIDS sidecar, <name>.json, beside each (default: suv)",
    )
    add_file_arguments(group)
    add_engine_arguments(parser)


def run_batch(args: argparse.Namespace) -> None:
    """Segment every study that is not done; bad ones do not stop the others.

    Raises:
        UsageError: options contradict each other, or another batch is writing to OUTPUT.
        InputError: some studies failed.
    """
    from autosegnet.batch.output_lock import lock_output
    from autosegnet.batch.staging import open_place
    from autosegnet.batch.store_lock import lock_store

    workers, part = choose_workers(args), _read_part(args.part)
    with open_place(args.input) as (source, mirror), open_place(args.output) as (output, target):
        if mirror and not mirror.fill():
            raise InputError(f"found nothing at {args.input}; expected a folder with studies, or a CSV that lists them")
        inside = target.find_inside(mirror) if mirror and target else source
        if inside is not None and inside.resolve().is_relative_to(output.resolve()):
            raise UsageError(
                f"OUTPUT {format_path(args.output)} must not be INPUT or contain it; choose another folder"
            )
        args.leave_out = (mirror.find_inside(target) if mirror and target else None) or output
        args.input, args.output, args.output_is_mirror = source, output, target is not None
        if workers.are_elsewhere:  # because on another machine the current folder may differ
            args.input, args.output = args.input.absolute(), args.output.absolute()
        with lock_store(target.remote, part) if target else lock_output(args.output, part) as check_lock:
            stored = target.fill() if target else []
            _run_locked(args, workers, part, mirror, target, stored, check_lock)


def _run_locked(
    args: argparse.Namespace,
    workers: Workers,
    part: Part,
    source: Mirror | None,
    target: Mirror | None,
    stored: list[str],
    check_lock: Callable[[], None],
) -> None:
    from autosegnet.batch.dicom_search import search_folder
    from autosegnet.batch.find import find_studies
    from autosegnet.batch.plan import choose_part, plan_studies
    from autosegnet.batch.record import Places
    from autosegnet.batch.replaced_inputs import refuse_replacing
    from autosegnet.batch.run import SegmentStudies
    from autosegnet.batch.store_search import StoreSearch
    from autosegnet.batch.study_table import read_study_table
    from autosegnet.batch.summary import State, name_summary
    from autosegnet.batch.whole_cohort import write_cohort
    from autosegnet.io import probe_output, sweep_folder
    from autosegnet.model.devices import open_engine

    summary = args.output / name_summary(part)
    probe_output(summary)
    for folder in Places(args.output, "").shared_folders:  # once: the cost per study must not grow with the cohort
        if folder.is_dir():
            sweep_folder(folder)
    weights = choose_weights(args)
    search = StoreSearch(source) if source else search_folder
    globs = _read_globs(args)
    studies = find_studies(args.input, leave_out=args.leave_out, globs=globs, search=search, workers=workers)
    listed = args.input if args.studies is None and args.input.is_file() else None
    cases = {study.case for study in studies}
    entries = read_study_table(args.studies or listed, cases, is_list=listed is not None)
    _warn_of_others(args.output, cases)
    read = {"--studies": args.studies, "--scheduler-file": args.scheduler_file, "--weights": weights.folder}
    refuse_replacing(args.output, summary, studies, root=args.input, others=read)
    rows, tasks = plan_studies(args, choose_part(studies, part), weights.recipe, entries)
    if target:
        target.remove_missing(stored)  # what planning removed of studies that fail now
    state = State(summary, rows)
    log.info("%s: %s", format_count(len(rows), "study"), state.counts)
    state.open()
    try:
        work = SegmentStudies(weights, args.device, open_engine, source, target)
        _segment_all(work, tasks, state, workers, check_lock)
    except BaseException:
        state.write()
        raise
    if target:
        target.fetch_records(state.rows.values())
    if part.of == 1:
        write_cohort(args.output, state.rows.values())
    else:
        state.write()
    if target:
        target.put_cohort()
    state.close()


def _read_globs(args: argparse.Namespace) -> tuple[str, str] | None:
    if (args.pet_glob is None) != (args.ct_glob is None):
        raise UsageError("--pet-glob and --ct-glob belong together; give both or neither")
    return None if args.pet_glob is None else (args.pet_glob, args.ct_glob)


def _read_part(text: str) -> Part:
    from autosegnet.batch.output_lock import Part

    number, _, of = text.partition("/")
    if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise UsageError(f"--part is {text!r}; expected K/N with K from 1 to N, such as 3/8")
    return Part(int(number), int(of))


def _warn_of_others(output: Path, cases: set[str]) -> None:
    others = {path.stem for path in (output / "records").glob("*.json")} - cases
    if others:
        log.warning("%d masks in OUTPUT are of studies no longer in INPUT: %s", len(others), format_list([*others]))


def _segment_all(
    work: SegmentStudies, tasks: list[Task], state: State, workers: Workers, check_lock: Callable[[], None]
) -> None:
    from autosegnet.batch.record import StudyResult, make_failed_row
    from autosegnet.runtime.distribute import run
    from autosegnet.runtime.work import Lost

    with closing(run(work, tasks, workers=workers, unit="study")) as results:
        for number, result in results:
            if isinstance(result, Lost):
                result = StudyResult(make_failed_row(tasks[number].study.case, result.reason))
            state.keep(result)
            check_lock()
