"""The commands `evaluate` and `rank`: their arguments and what they print and write."""

import argparse
from pathlib import Path

from autosegnet.cli.options import add_file_arguments
from autosegnet.errors import InputError, UsageError, format_list
from autosegnet.evaluation.case_result import ANY_LABEL, CaseResult, EvaluationOptions
from autosegnet.evaluation.detection import IOU_THRESHOLDS
from autosegnet.evaluation.mask_folders import evaluate_cases, format_results, is_mask_file
from autosegnet.evaluation.metrics import CONVENTIONS
from autosegnet.evaluation.ranking import EDITIONS, format_standings, format_standings_csv, rank_teams
from autosegnet.evaluation.statistics import format_summary
from autosegnet.evaluation.summary_of_results import format_intervals
from autosegnet.evaluation.surface import NSD_TOLERANCE_MM
from autosegnet.io import probe_output, write_text
from autosegnet.io.places import check_outputs, remove_older
from autosegnet.runtime.standard_streams import print_result
from autosegnet.runtime.workers import add_worker_arguments, choose_workers


def add_evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `evaluate`."""
    folder = "folder of masks: <case>.mha, .nii or .nii.gz, nnU-Net raw folder, or <patient>/<study>/SEG.nii.gz"
    parser.add_argument(
        "--prediction", type=Path, required=True, nargs="+", metavar="DIR",
        help=f"{folder}; several: one per interaction, in order, for areas under the curve",
    )  # fmt: skip
    parser.add_argument("--truth", type=Path, required=True, metavar="DIR", help="the same; cases match by name")
    parser.add_argument("--output", type=Path, required=True, metavar="CSV", help="file for the metrics of every case")
    parser.add_argument("--pet", type=Path, metavar="DIR", help="PETs in SUV, for the errors of TLG and SUVmax")
    parser.add_argument(
        "--convention",
        choices=CONVENTIONS,
        default=CONVENTIONS[0],
        help="score of a case without lesions: DSC 0 (autopet2, the default), NaN (autopet3), or NaN only if the "
        "prediction is empty, too (nnunet, valscript); or 1 for an empty prediction, else 0 (autopet5)",
    )
    parser.add_argument(
        "--label", default="", metavar="N|any", help="which label is lesion in masks with several: N, or any but 0"
    )
    parser.add_argument(
        "--iou", type=float, nargs="+", default=IOU_THRESHOLDS, metavar="T",
        help=f"a lesion is found if its IoU is above T (default: {' '.join(map(str, IOU_THRESHOLDS))})",
    )  # fmt: skip
    parser.add_argument(
        "--nsd-tolerance", type=float, default=NSD_TOLERANCE_MM, metavar="MM",
        help="surfaces this near count as equal in NSD (default: %(default)s)",
    )  # fmt: skip
    add_file_arguments(parser)
    add_worker_arguments(parser)


def run_evaluate(args: argparse.Namespace) -> None:
    """Measure every case, write the CSV and print the summary.

    Raises:
        InputError: the folders hold other cases, or, after the CSV was written, a case could not be measured
        UsageError: an option is out of range    OutputError: the CSV cannot be written
    """
    options, workers = _read_options(args), choose_workers(args)
    if workers.are_elsewhere:  # because on another machine the current folder may differ
        args.prediction, args.truth = [path.absolute() for path in args.prediction], args.truth.absolute()
        args.pet = None if args.pet is None else args.pet.absolute()
    output = {"--output": args.output}
    folders = {"--truth": args.truth, "--pet": args.pet, **{f"--prediction {path}": path for path in args.prediction}}
    check_outputs(output, inputs=folders, is_read=is_mask_file)
    probe_output(args.output)
    remove_older(output)
    results = evaluate_cases(args.prediction, args.truth, pet=args.pet, options=options, workers=workers)
    write_text(format_results(results, options), args.output)
    _print_summary(results, options)
    failed = {case: result.error for case, result in results.items() if result.error}
    if failed:
        first = next(iter(failed))
        raise InputError(
            f"{len(failed)} of {len(results)} cases could not be measured ({format_list([*failed])}); "
            f"the others are in the CSV. {first}: {failed[first]}"
        )


def _print_summary(results: dict[str, CaseResult], options: EvaluationOptions) -> None:
    measured = {case: result.metrics for case, result in results.items() if result.metrics is not None}
    print_result(
        f"{format_summary(measured)}\n\n{format_intervals([*results.values()], options)}\n\n"
        f"An empty truth is scored as in {options.convention}. Intervals: bootstrap over cases. "
        f"NSD: within {options.nsd_tolerance_mm:g} mm.\n"
    )


def _read_options(args: argparse.Namespace) -> EvaluationOptions:
    if args.label not in ("", ANY_LABEL) and not (args.label.isdecimal() and int(args.label) > 0):
        raise UsageError(f"--label is {args.label!r}; expected a whole number above 0, or any")
    if not all(0 <= threshold < 1 for threshold in args.iou):
        raise UsageError("--iou holds a threshold outside 0 to 1")
    if not args.nsd_tolerance >= 0:
        raise UsageError("--nsd-tolerance is below 0 mm")
    return EvaluationOptions(
        convention=args.convention,
        iou=tuple(dict.fromkeys(args.iou)),
        nsd_tolerance_mm=args.nsd_tolerance,
        label=args.label,
        nifti_form=args.nifti_form,
        nonfinite=args.nonfinite,
    )


def add_rank_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `rank`."""
    parser.add_argument("--output", type=Path, required=True, metavar="CSV", help="file for the standings")
    parser.add_argument(
        "--edition", choices=EDITIONS, default=EDITIONS[0],
        help="autopet2: rank the means (default); autopet3: the same in every subset; autopet3-tukey: teams that do "
        "not differ significantly share a rank",
    )  # fmt: skip
    parser.add_argument(
        "--subsets", type=Path, metavar="CSV", help="for autopet3: columns case and subset (centre and tracer)"
    )
    parser.add_argument("teams", nargs="+", metavar="TEAM=CSV", help="a team and its metrics as evaluate writes them")


def run_rank(args: argparse.Namespace) -> None:
    """Rank the teams, write the standings and print them.

    Raises:
        UsageError: an argument is not TEAM=CSV, or a team appears twice
        InputError: the CSVs cannot be compared    OutputError: the CSV cannot be written
    """
    files = _parse_teams(args.teams)
    output = {"--output": args.output}
    tables = {f"the table of {team}": path for team, path in files.items()}
    check_outputs(output, inputs={**tables, "--subsets": args.subsets})
    probe_output(args.output)
    remove_older(output)
    standings = rank_teams(files, edition=args.edition, subsets=args.subsets)
    write_text(format_standings_csv(standings), args.output)
    print_result(f"{format_standings(standings)}\n")


def _parse_teams(arguments: list[str]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for argument in arguments:
        team, _, path = argument.partition("=")
        if not team or not path:
            raise UsageError(f"argument {argument!r} of rank; expected TEAM=CSV")
        if team in files:
            raise UsageError(f"team {team} appears twice among the arguments of rank; expected once")
        files[team] = Path(path)
    return files
