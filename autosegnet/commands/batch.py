"""`autosegnet batch`: every study below a folder, resumed where an earlier run ended."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from autosegnet import console
from autosegnet.commands.suv import add_mode_argument
from autosegnet.errors import UsageError

if TYPE_CHECKING:
    from autosegnet.commands.batch_plan import Task
    from autosegnet.commands.batch_state import State
    from autosegnet.commands.batch_workers import Ensemble
    from autosegnet.records import Outcome

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
    console.add_engine_arguments(parser)


def run_batch(args: argparse.Namespace) -> None:
    """Segments every study that is not done; bad ones do not stop the others.

    Raises:
        InputError: some studies failed.
    """
    from autosegnet.cohort import find_studies
    from autosegnet.commands.batch_plan import planned
    from autosegnet.commands.batch_state import SUMMARY, State
    from autosegnet.commands.batch_workers import Ensemble
    from autosegnet.engines import open_engine
    from autosegnet.io import probe_output

    _check(args)
    probe_output(args.output / SUMMARY)
    weights = console.chosen_weights(args)
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
    from autosegnet.io.wording import shown

    if args.jobs < 1:
        raise UsageError(f"--jobs is {args.jobs}; expected at least 1")
    if args.input.resolve().is_relative_to(args.output.resolve()):
        raise UsageError(
            f"OUTPUT {shown(args.output)} is or holds INPUT, whose images would lie among the masks; choose another"
        )


def _warn_of_others(output: Path, cases: set[str]) -> None:
    from autosegnet.io.wording import listed

    others = {path.stem for path in (output / "records").glob("*.json")} - cases
    if others:
        log.warning("%d masks in OUTPUT are of studies no longer in INPUT: %s", len(others), listed([*others]))


def _run(tasks: list[Task], ensemble: Ensemble, state: State, *, jobs: int) -> None:
    """Does the tasks; `summary.csv` is up to date after each."""
    from autosegnet.commands.batch_progress import progress_shown
    from autosegnet.commands.batch_study import work_through
    from autosegnet.commands.batch_workers import work_in_processes

    jobs = min(jobs, len(tasks))
    with progress_shown(sys.stderr, len(tasks)) as progress:
        outcomes: Generator[Outcome, None, None]
        if jobs == 1:
            outcomes = work_through(tasks, ensemble.open, ensemble.weights, progress.tell)
        else:
            outcomes = work_in_processes(tasks, ensemble, jobs=jobs, tell=progress.tell)
        with closing(outcomes):
            for outcome in outcomes:
                state.keep(outcome)
                progress.finish(outcome.row.case)
