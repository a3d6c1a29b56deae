"""The command `prepare`: turns the table of cases into arrays on disk, in parallel and resumable.

The input is `autosegnet.preprocess.prepare`'s, voxel for voxel; the truth is brought to the same grid by nearest
neighbour (paper, section 2.2 (iv)).
"""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autosegnet.errors import AutosegnetError, InputError, UsageError
from autosegnet.geometry import Grid, resample_labels, view_voxels
from autosegnet.io import probe_output, write_text
from autosegnet.model.recipe import Recipe, format_recipe, parse_recipe
from autosegnet.preprocess import prepare
from autosegnet.runtime.distribute import run_each
from autosegnet.runtime.workers import add_worker_arguments, choose_workers
from autosegnet_training import arrays
from autosegnet_training.cases import Case, format_box, read_cases, write_cases
from autosegnet_training.splits import refuse_shared_patients
from autosegnet_training.studies import read_labelled

if TYPE_CHECKING:
    import SimpleITK as sitk

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PrepareJob:
    """One case to prepare. dtype: float32, or float16 for half the disk space."""

    case: Case
    output: Path
    recipe: Recipe
    dtype: str


def add_arguments(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `prepare` to the parser of `autosegnet-train`."""
    parser = commands.add_parser("prepare", help="turn cases into arrays for training")
    parser.add_argument("cases", type=Path, help="table of cases that index wrote")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for the arrays")
    add_worker_arguments(parser, "--processes")
    default = Recipe()
    spacing, window = (" ".join(f"{v:g}" for v in values) for values in (default.spacing_mm, default.ct_window_hu))
    parser.add_argument(
        "--spacing", type=float, nargs=3, default=default.spacing_mm, metavar="MM",
        help=f"of the network's grid (default: {spacing})",
    )  # fmt: skip
    parser.add_argument(
        "--ct-window", type=float, nargs=2, default=default.ct_window_hu, metavar="HU",
        help=f"to which the CT is clipped (default: {window})",
    )  # fmt: skip
    parser.add_argument("--suv-limit", type=float, metavar="SUV", help="of the PET (default: none, as in the paper)")
    parser.add_argument(
        "--crop",
        choices=["body", "ct_foreground"],
        default=default.crop,
        help="body: the patient and a margin; ct_foreground: as the authors crop (default: %(default)s)",
    )
    parser.add_argument(
        "--anchor",
        choices=["region", "lattice"],
        default=default.anchor,
        help="lattice: masks of the trained folds do not change if air is added or cut away; default: %(default)s",
    )
    parser.add_argument(
        "--dtype",
        choices=["float32", "float16"],
        default="float32",
        help="float32: the input of inference, bit for bit; float16: half the space, rounded (0.5 HU, 0.05 %% of SUV)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Prepare the cases that are not prepared yet.

    Raises:
        InputError: a patient is in two folds (before anything is done), or some cases could not be prepared.
        UsageError: the recipe differs from the folder's.
    """
    workers = choose_workers(args)
    if workers.are_elsewhere:  # because on another machine the current folder may differ
        args.cases, args.output = args.cases.absolute(), args.output.absolute()
    recipe = Recipe(
        spacing_mm=tuple(args.spacing),
        ct_window_hu=tuple(args.ct_window),
        suv_limit=args.suv_limit,
        crop=args.crop,
        anchor=args.anchor,
    )
    cases = read_cases(args.cases)
    refuse_shared_patients(cases, where=str(args.cases))  # before the hours that preparing takes
    _claim(args.output, recipe)
    write_cases(cases, args.output / arrays.CASES)
    jobs = [PrepareJob(case, args.output, recipe, args.dtype) for case in cases]
    waiting = [job for job in jobs if not _is_done(job)]
    log.info("%d of %d cases to prepare", len(waiting), len(jobs))
    messages = run_each(_attempt, waiting, workers=workers, unit="case")
    failures = [message for message in messages if message]
    for message in failures:
        log.error("%s", message)
    done = [job.case.name for job in jobs if arrays.note_of(args.output / job.case.name) is not None]
    used = sum((args.output / name / arrays.INPUT).stat().st_size for name in done)
    sys.stdout.write(f"{len(done)} of {len(jobs)} cases in {args.output}, {used / 1e9:.2f} GB\n")
    if failures:
        raise InputError(f"{len(failures)} of {len(jobs)} cases could not be prepared; the first: {failures[0]}")


def _claim(output: Path, recipe: Recipe) -> None:
    path = output / arrays.PREPARED_RECIPE
    if not path.exists():
        write_text(format_recipe(recipe), path)
    elif parse_recipe(path.read_text(encoding="utf-8"), where=str(path)) != recipe:
        raise UsageError(f"{path} is another recipe than this run's; use its settings or another --output")


def _note(job: PrepareJob) -> dict[str, Any]:
    case = job.case
    files = {kind: str(file.absolute()) for kind, file in (("pet", case.pet), ("ct", case.ct), ("mask", case.mask))}
    return {**files, "box": format_box(case.box), "dtype": job.dtype}


def _is_done(job: PrepareJob) -> bool:
    """Return whether the case is prepared from the same input and its arrays are intact."""
    folder = job.output / job.case.name
    if arrays.note_of(folder) != _note(job):
        return False
    try:
        arrays.check_sums(folder)
    except InputError as error:
        log.warning("%s", error)
        return False
    return True


def _attempt(job: PrepareJob) -> str:
    """Prepare a case, and return what is wrong with it, or nothing."""
    try:
        prepare_case(job)
    except AutosegnetError as error:
        return str(error)
    return ""


def prepare_case(job: PrepareJob) -> None:
    """Write the arrays of a case.

    Raises:
        InputError: a study or a mask that cannot be trusted.    OutputError: the arrays cannot be written.
    """
    probe_output(job.output / job.case.name / arrays.NOTE)  # removes leftovers of a killed run
    labelled = read_labelled(job.case)
    prepared = prepare(labelled.study, job.recipe)
    truth = resample_truth(prepared.grid, labelled.truth)
    lost = bool(view_voxels(labelled.truth).any()) and not truth.any()
    if lost:
        log.warning("case %s: its lesions lie outside the body or fall between the voxels of the grid", job.case.name)
    array = prepared.array.astype(job.dtype, copy=False)
    if not bool(np.isfinite(array).all()):
        raise InputError(f"case {job.case.name}: SUV up to {prepared.array.max():g} is beyond {job.dtype} (65504)")
    arrays.save(job.output / job.case.name, array=array, truth=truth, note=_note(job))


def resample_truth(grid: Grid, truth: sitk.Image) -> NDArray[np.bool_]:
    """Return the truth on the network's grid: (X, Y, Z), by nearest neighbour, no lesion outside the mask."""
    return np.array(view_voxels(resample_labels(truth, grid)) != 0)
