"""The challenge's ranking of teams, from the CSV of each.

Rank per mean metric (DSC: higher is better; FPV, FNV: lower), then 0.5 rank_DSC + 0.25 rank_FPV + 0.25 rank_FNV,
lowest first, ties by DSC (section 2.6 of the paper; the challenge's page on evaluation and ranking). Equal values
share the best rank and the next one is left out (1, 1, 3), as grand-challenge.org ranks
(comic/grand-challenge.org, app/grandchallenge/evaluation/utils.py).

NaN, as healthy cases hold under the convention of autoPET III, is left out of the mean; since it depends on the truth
alone, every team must hold it in the same cases. Means are correctly rounded sums over counts, so that the order of
the cases never breaks a tie.
"""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from io import StringIO
from pathlib import Path

from autosegnet.errors import InputError, format_list, format_path
from autosegnet.evaluation.statistics import markdown

METRICS = ("dsc", "fpv_ml", "fnv_ml")
SIGNS = (-1, 1, 1)  # of the metrics, so that the lowest is the best
Scores = Mapping[str, Sequence[float]]
"""DSC, FPV (ml) and FNV (ml) by case."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a team stands: position, weighted rank, mean metrics and the rank in each."""

    position: int
    team: str
    score: float
    dsc: float
    fpv_ml: float
    fnv_ml: float
    rank_dsc: int
    rank_fpv: int
    rank_fnv: int
    n_cases: int


def rank_teams(files: Mapping[str, Path]) -> list[Standing]:
    """The standings, best team first; teams equal in score and DSC share a position.

    Args:
        files: by team, a CSV as `evaluate` writes it; of its columns case, dsc, fpv_ml and fnv_ml are read
    Raises:
        InputError: a CSV cannot be read, or the teams do not hold the same cases
    """
    tables = {team: read_scores(path) for team, path in files.items()}
    _check_same_cases(tables)
    means = {team: [_mean(team, table, column) for column in range(3)] for team, table in tables.items()}
    dsc, fpv, fnv = (
        _ranks({team: (sign * mean[column],) for team, mean in means.items()}) for column, sign in enumerate(SIGNS)
    )
    # Multiples of 1/4 are exact in binary: equal scores are equal floats.
    scores = {team: 0.5 * dsc[team] + 0.25 * fpv[team] + 0.25 * fnv[team] for team in means}
    positions = _ranks({team: (scores[team], -mean[0]) for team, mean in means.items()})
    standings = [
        Standing(
            position=positions[team],
            team=team,
            score=scores[team],
            dsc=mean[0],
            fpv_ml=mean[1],
            fnv_ml=mean[2],
            rank_dsc=dsc[team],
            rank_fpv=fpv[team],
            rank_fnv=fnv[team],
            n_cases=len(tables[team]),
        )
        for team, mean in means.items()
    ]
    return sorted(standings, key=lambda standing: (standing.position, standing.team))


def read_scores(path: Path) -> Scores:
    """DSC, FPV and FNV by case; `nan` or an empty cell, as pandas writes it, is NaN.

    Raises:
        InputError: no file, a column or a value is missing, a value is impossible, a case stands twice
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = {"case", *METRICS} - set(reader.fieldnames or ())
            if missing:
                raise InputError(
                    f"no column {', '.join(sorted(missing))} in {format_path(path)}; expected case, dsc, fpv_ml, fnv_ml"
                )
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{format_path(path)} cannot be read as CSV ({error}); expected one as evaluate writes it"
        ) from error
    scores: dict[str, Sequence[float]] = {}
    for line, row in enumerate(rows, start=1):
        case = row["case"]
        if not case or None in row:  # None: cells beyond the heading, as decimal commas make them
            raise InputError(
                f"case {line} has no name or more cells than the heading in {format_path(path)}; expected as many"
            )
        if case in scores:
            raise InputError(f"case {format_path(case)} stands twice in {format_path(path)}; expected once")
        scores[case] = [_value(row[metric], metric, f"case {format_path(case)}", path) for metric in METRICS]
    if not scores:
        raise InputError(f"no case in {format_path(path)}; expected one a line")
    return scores


def format_standings(standings: Sequence[Standing]) -> str:
    """The standings as a Markdown table."""
    heading = ["Team", "Position", "Score", "DSC", "FPV (ml)", "FNV (ml)", "Rank DSC", "Rank FPV", "Rank FNV"]
    rows = [
        [s.team, str(s.position), f"{s.score:.2f}", f"{s.dsc:.4f}", f"{s.fpv_ml:.4f}", f"{s.fnv_ml:.4f}"]
        + [str(s.rank_dsc), str(s.rank_fpv), str(s.rank_fnv)]
        for s in standings
    ]
    return markdown(heading, rows)


def standings_csv(standings: Sequence[Standing]) -> str:
    """The standings as CSV with a heading, with all digits."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in fields(Standing))
    writer.writerows(astuple(standing) for standing in standings)
    return text.getvalue()


def _value(text: str | None, metric: str, case: str, path: Path) -> float:
    try:
        value = float(text or "nan") if text is not None else math.inf
    except ValueError:
        value = math.inf
    if math.isinf(value) or value < 0 or (metric == "dsc" and value > 1):
        raise InputError(
            f"{metric} of {case} is {text!r} in {format_path(path)}; expected a number from 0, DSC up to 1"
        )
    return value


def _check_same_cases(tables: Mapping[str, Scores]) -> None:
    every = set().union(*tables.values())
    missing = {team: every - table.keys() for team, table in tables.items() if every - table.keys()}
    if missing:
        lacking = "; ".join(f"{team} lacks {len(cases)}: {format_list([*cases])}" for team, cases in missing.items())
        raise InputError(f"{lacking}; expected the same cases from every team")
    first, *others = tables
    for team in others:
        differ = [case for case in every if _is_nan(tables[team][case]) != _is_nan(tables[first][case])]
        if differ:
            raise InputError(
                f"{first} and {team} hold NaN in different cases ({format_list(differ)}); expected one convention"
            )


def _is_nan(scores: Sequence[float]) -> list[bool]:
    return [math.isnan(score) for score in scores]


def _mean(team: str, table: Scores, column: int) -> float:
    kept = [scores[column] for scores in table.values() if not math.isnan(scores[column])]
    if not kept:
        raise InputError(f"{METRICS[column]} of {team} is NaN in every case; expected a case that can be ranked")
    return math.fsum(kept) / len(kept)


def _ranks(values: Mapping[str, tuple[float, ...]]) -> dict[str, int]:
    """Ranks from 1 for the lowest value; equal values share the best."""
    ordered = sorted(values.values())
    return {team: ordered.index(value) + 1 for team, value in values.items()}
