"""The command `index`: lists the cases of a data folder with their folds."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from autosegnet.errors import InputError
from autosegnet.io.small_files import read_json
from autosegnet_training.cases import FOLDS, UNKNOWN, Case, parse_box, write_cases
from autosegnet_training.find_cases import add_cohorts, find_cases
from autosegnet_training.splits import count_folds, refuse_shared_patients, split, split_as

log = logging.getLogger(__name__)


def add_arguments(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `index` to the parser of `autosegnet-train`."""
    parser = commands.add_parser("index", help="list the cases of a data folder, with cohort, patient and fold")
    parser.add_argument("data", type=Path, help="<patient>/<study>/{SUV,CTres,SEG}.nii.gz, an nnU-Net folder, or a CSV")
    parser.add_argument("--output", type=Path, required=True, metavar="CSV", help="the table of cases")
    parser.add_argument(
        "--metadata",
        type=Path,
        metavar="CSV",
        help="cohorts, e.g. fdg_metadata.csv of the data set; cases without a row are left out",
    )
    parser.add_argument("--splits", type=Path, metavar="JSON", help="folds of an nnU-Net splits_final.json")
    parser.add_argument("--boxes", type=Path, metavar="JSON", help="box of each case in PET voxels, half-open")
    parser.add_argument("--folds", type=int, default=FOLDS, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the split; default: %(default)s")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Write the table and print the counts.

    Raises:
        InputError: data, metadata, splits or boxes cannot be trusted.
    """
    cases = find_cases(args.data)
    if args.metadata is not None:
        cases = add_cohorts(cases, args.metadata)
    if all(case.cohort == UNKNOWN for case in cases):
        log.info("no cohorts given: reading the masks to tell cases with lesions from cases without")
        cases = [replace(case, cohort=_sign(case)) for case in _select_shown(cases)]
    if args.boxes is not None:
        cases = add_boxes(cases, args.boxes)
    if args.splits is not None:
        cases = split_as(cases, args.splits)
    elif any(case.fold is None for case in cases):
        cases = split(cases, seed=args.seed, folds=args.folds)
    refuse_shared_patients(cases, where=str(args.data))
    write_cases(cases, args.output)
    sys.stdout.write(f"{len(cases)} cases of {len({case.patient for case in cases})} patients in {args.output}\n")
    for cohort, numbers in count_folds(cases).items():
        sys.stdout.write(f"{cohort}: {' + '.join(map(str, numbers))} = {sum(numbers)}\n")


def _select_shown(cases: Sequence[Case]) -> Sequence[Case]:
    from tqdm import tqdm

    shown: Sequence[Case] = tqdm(cases, desc="index", unit="case", disable=None)
    return shown


def _sign(case: Case) -> str:
    from autosegnet.geometry import view_voxels
    from autosegnet.io import read_mask

    return "positive" if view_voxels(read_mask(case.mask)).any() else "negative"


def add_boxes(cases: Sequence[Case], path: Path) -> list[Case]:
    """Return the cases with the boxes of a JSON file: {case: [[x0, x1], [y0, y1], [z0, z1]]}.

    Raises:
        InputError: it is another file, or a case has no box.
    """
    texts = read_json(
        path,
        lambda boxes: {str(case): ",".join(f"{int(a)}:{int(b)}" for a, b in box) for case, box in boxes.items()},
        what="boxes of cases",
        expected="{case: [[x0, x1], [y0, y1], [z0, z1]]}",
    )
    missing = [case.name for case in cases if case.name not in texts]
    if missing:
        raise InputError(f"{path} has no box for {len(missing)} cases, for example {missing[0]}; expected one for each")
    return [replace(case, box=parse_box(texts[case.name], where=f"{path}, {case.name}")) for case in cases]
