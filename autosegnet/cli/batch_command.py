"""`autosegnet batch`: every study below a folder, resumed where an earlier run ended."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from autosegnet.cli.options import add_engine_arguments, choose_weights
from autosegnet.cli.suv_command import add_mode_argument
from autosegnet.errors import UsageError

if TYPE_CHECKING:
    from autosegnet.batch.parallel import Ensemble
    from autosegnet.batch.plan import Task
    from autosegnet.batch.record import Outcome
    from autosegnet.batch.summary import State

log = logging.getLogger(__name__)


def add_batch_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `autosegnet batch`."""
    parser.add_argument("input", type=Path, metavar="INPUT", help="folder with studies in any mix of layouts")
    parser.add_argument("output", type=Path, metavar="OUTPUT", help="folder for <case> masks, records and summary.csv")
    parser.add_argument("--format", choices=["mha", "nii.gz"], help="of the masks (default: the PET's; DICOM: nii.gz)")
    parser.add_argument("--report", action="store_true", help="also a report a study, in OUTPUT/reports/<case>")
    parser.add_argument("--overwrite", action="store_true", help="do finished studies again, replace any mask")
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="processes, each with its share of the cores (default: 1)"
    )
    group = parser.add_argument_group("reading DICOM and Bq/ml")
    add_mode_argument(group)
    group.add_argument(
        "--pet-unit",
        choices=["suv", "bqml"],
        default="suv",
        help="of PET files not called SUV; bqml needs a PET-BIDS sidecar, <name>.json, beside each (default: suv)",
    )
    add_engine_arguments(parser)


def run_batch(args: argparse.Namespace) -> None:
    """Segments every study that is not done; bad ones do not stop the others.

    Raises:
        InputError: some studies failed.
    """
    from autosegnet.batch.find import find_studies
    from autosegnet.batch.parallel import Ensemble
    from autosegnet.batch.plan import planned
    from autosegnet.batch.summary import SUMMARY, State
    from autosegnet.io import probe_output
    from autosegnet.model.devices import open_engine

    _check(args)
    probe_output(args.output / SUMMARY)
    weights = choose_weights(args)
    studies = find_studies(args.input, leave_out=args.output)
    _warn_of_others(args.output, {study.case for study in studies})
    rows, tasks = planned(args, studies, weights.recipe)
    state = State(args.output, rows)
    log.info("%d studies: %s", len(studies), state.counts)
    state.write()
    if tasks:
        _run(tasks, Ensemble(weights, args.device, open_engine), state, jobs=args.jobs)
    state.close()


def _check(args: argparse.Namespace) -> None:
    from autosegnet.errors import format_path

    if args.jobs < 1:
        raise UsageError(f"--jobs is {args.jobs}; expected at least 1")
    if args.input.resolve().is_relative_to(args.output.resolve()):
        raise UsageError(f"OUTPUT {format_path(args.output)} must not be INPUT or contain it; choose another folder")


def _warn_of_others(output: Path, cases: set[str]) -> None:
    from autosegnet.errors import format_list

    others = {path.stem for path in (output / "records").glob("*.json")} - cases
    if others:
        log.warning("%d masks in OUTPUT are of studies no longer in INPUT: %s", len(others), format_list([*others]))


def _run(tasks: list[Task], ensemble: Ensemble, state: State, *, jobs: int) -> None:
    """Does the tasks; `summary.csv` is up to date after each."""
    from autosegnet.batch.parallel import work_in_processes
    from autosegnet.batch.run import work_through
    from autosegnet.runtime.progress import show_studies

    jobs = min(jobs, len(tasks))
    with show_studies(sys.stderr, len(tasks)) as progress:
        outcomes: Generator[Outcome, None, None]
        if jobs == 1:
            outcomes = work_through(tasks, ensemble.open, ensemble.weights, progress.tell)
        else:
            outcomes = work_in_processes(tasks, ensemble, jobs=jobs, tell=progress.tell)
        with closing(outcomes):
            for outcome in outcomes:
                state.keep(outcome)
                progress.finish(outcome.row.case)
