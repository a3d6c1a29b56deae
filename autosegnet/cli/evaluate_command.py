"""The commands `evaluate` and `rank`: their arguments and what they print and write."""

import argparse
import sys
from pathlib import Path

from autosegnet.errors import UsageError
from autosegnet.evaluation.mask_folders import evaluate_folders, format_csv
from autosegnet.evaluation.metrics import CONVENTIONS
from autosegnet.evaluation.ranking import format_standings, rank_teams, standings_csv
from autosegnet.evaluation.statistics import format_summary
from autosegnet.io import probe_output, write_text


def add_evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `evaluate`."""
    folder = "folder of masks: <case>.mha, .nii or .nii.gz, nnU-Net raw folder, or <patient>/<study>/SEG.nii.gz"
    parser.add_argument("--prediction", type=Path, required=True, metavar="DIR", help=folder)
    parser.add_argument("--truth", type=Path, required=True, metavar="DIR", help="the same; cases match by name")
    parser.add_argument("--output", type=Path, required=True, metavar="CSV", help="file for the metrics of every case")
    parser.add_argument(
        "--convention",
        choices=CONVENTIONS,
        default=CONVENTIONS[0],
        help="a case without lesions scores DSC 0 (autopet2, the default) or NaN (autopet3)",
    )


def run_evaluate(args: argparse.Namespace) -> None:
    """Measures every case, writes the CSV and prints the summary.

    Raises:
        InputError: a mask is missing or cannot be measured    OutputError: the CSV cannot be written
    """
    probe_output(args.output)
    table = evaluate_folders(args.prediction, args.truth, convention=args.convention)
    write_text(format_csv(table), args.output)
    sys.stdout.write(f"{format_summary(table)}\n\nAn empty truth is scored as in {args.convention}.\n")


def add_rank_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `rank`."""
    parser.add_argument("--output", type=Path, required=True, metavar="CSV", help="file for the standings")
    parser.add_argument("teams", nargs="+", metavar="TEAM=CSV", help="a team and its metrics as evaluate writes them")


def run_rank(args: argparse.Namespace) -> None:
    """Ranks the teams, writes the standings and prints them.

    Raises:
        UsageError: an argument is not TEAM=CSV, or a team stands twice
        InputError: the CSVs cannot be compared    OutputError: the CSV cannot be written
    """
    files = _team_files(args.teams)
    probe_output(args.output)
    standings = rank_teams(files)
    write_text(standings_csv(standings), args.output)
    sys.stdout.write(f"{format_standings(standings)}\n")


def _team_files(arguments: list[str]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for argument in arguments:
        team, _, path = argument.partition("=")
        if not team or not path:
            raise UsageError(f"argument {argument!r} of rank; expected TEAM=CSV")
        if team in files:
            raise UsageError(f"team {team} stands twice among the arguments of rank; expected once")
        files[team] = Path(path)
    return files
