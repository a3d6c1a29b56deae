"""Ranks teams as the challenge does, from the CSV of each.

autopet2 (I and II): rank per mean metric (DSC: higher is better; FPV, FNV: lower). Equal values share the best rank and
the next one is left out (1, 1, 3), as grand-challenge.org ranks (comic/grand-challenge.org,
app/grandchallenge/evaluation/utils.py). autopet3 (autopet-iii.grand-challenge.org/evaluation-and-ranking): mixed model
and Tukey's test per metric; a team's rank is 1 + the number of teams that are significantly better.
Both: 0.5 rank_DSC + 0.25 rank_FPV + 0.25 rank_FNV, lowest first, ties by DSC (section 2.6 of the paper).

NaN, as healthy cases hold under the convention of autoPET III, is left out of the mean; since it depends on the truth
alone, every team must hold it in the same cases. Means are correctly rounded sums over counts, so that the order of
the cases never breaks a tie.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from autosegnet.errors import InputError, format_list, format_path
from autosegnet.evaluation.statistics import format_markdown
from autosegnet.io.small_files import read_table
from autosegnet.io.tables import format_table_csv

RankingEdition = Literal["autopet2", "autopet3"]
EDITIONS: tuple[RankingEdition, ...] = get_args(RankingEdition)

_METRICS = ("dsc", "fpv_ml", "fnv_ml")
_SIGNS = (-1, 1, 1)  # of the metrics, so that the lowest is the best
_Scores = Mapping[str, Sequence[float]]
"""DSC, FPV (ml) and FNV (ml) by case."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Hold where a team stands: position, weighted rank, mean metrics and the rank in each."""

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


def rank_teams(files: Mapping[str, Path], *, edition: RankingEdition = "autopet2") -> list[Standing]:
    """Return the standings, best team first; teams equal in score and DSC share a position.

    Args:
        files: by team, a CSV as `evaluate` writes it; of its columns case, dsc, fpv_ml and fnv_ml are read
        edition: whose rules; autopet3 gives teams that do not differ significantly the same rank per metric
    Raises:
        InputError: a CSV cannot be read, or the teams do not hold the same cases
    """
    tables = {team: read_scores(path) for team, path in files.items()}
    _check_same_cases(tables)
    means = {team: [_mean(team, table, column) for column in range(3)] for team, table in tables.items()}
    if edition == "autopet3":
        dsc, fpv, fnv = (_rank_by_tests(tables, column) for column in range(3))
    else:
        dsc, fpv, fnv = (
            _rank_values({team: (sign * mean[column],) for team, mean in means.items()})
            for column, sign in enumerate(_SIGNS)
        )
    # Multiples of 1/4 are exact in binary: equal scores are equal floats.
    scores = {team: 0.5 * dsc[team] + 0.25 * fpv[team] + 0.25 * fnv[team] for team in means}
    positions = _rank_values({team: (scores[team], -mean[0]) for team, mean in means.items()})
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


def read_scores(path: Path) -> _Scores:
    """Return DSC, FPV and FNV by case; `nan` or an empty cell, as pandas writes it, is NaN.

    Raises:
        InputError: no file, a column or a value is missing, a value is impossible, a case appears twice
    """
    rows = read_table(path, what="a CSV as evaluate writes it", columns=("case", *_METRICS))
    failed = [row["case"] for row in rows if row.get("error")]
    if failed:
        raise InputError(
            f"{len(failed)} cases could not be measured in {format_path(path)}: {format_list(failed)}; "
            "expected metrics of every case"
        )
    scores: dict[str, Sequence[float]] = {}
    for line, row in enumerate(rows, start=1):
        case = row["case"]
        if not case:
            raise InputError(f"case {line} has no name in {format_path(path)}; expected one")
        if case in scores:
            raise InputError(f"case {format_path(case)} appears twice in {format_path(path)}; expected once")
        scores[case] = [_parse_value(row[metric], metric, f"case {format_path(case)}", path) for metric in _METRICS]
    if not scores:
        raise InputError(f"no case in {format_path(path)}; expected one a line")
    return scores


def format_standings(standings: Sequence[Standing]) -> str:
    """Return the standings as a Markdown table."""
    heading = ["Team", "Position", "Score", "DSC", "FPV (ml)", "FNV (ml)", "Rank DSC", "Rank FPV", "Rank FNV"]
    rows = [
        [s.team, str(s.position), f"{s.score:.2f}", f"{s.dsc:.4f}", f"{s.fpv_ml:.4f}", f"{s.fnv_ml:.4f}"]
        + [str(s.rank_dsc), str(s.rank_fpv), str(s.rank_fnv)]
        for s in standings
    ]
    return format_markdown(heading, rows)


def format_standings_csv(standings: Sequence[Standing]) -> str:
    """Return the standings as CSV with a heading, with all digits."""
    return format_table_csv([field.name for field in fields(Standing)], map(astuple, standings))


def _parse_value(text: str, metric: str, case: str, path: Path) -> float:
    try:
        value = math.inf if "_" in text else float(text or "nan")
    except ValueError:
        value = math.inf
    if math.isinf(value) or value < 0 or (metric == "dsc" and value > 1):
        raise InputError(
            f"{metric} of {case} is {text!r} in {format_path(path)}; expected a number from 0, DSC up to 1"
        )
    return value


def _check_same_cases(tables: Mapping[str, _Scores]) -> None:
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


def _mean(team: str, table: _Scores, column: int) -> float:
    kept = [scores[column] for scores in table.values() if not math.isnan(scores[column])]
    if not kept:
        raise InputError(f"{_METRICS[column]} of {team} is NaN in every case; expected a case that can be ranked")
    return math.fsum(kept) / len(kept)


def _rank_values(values: Mapping[str, tuple[float, ...]]) -> dict[str, int]:
    """Return ranks from 1 for the lowest value; equal values share the best."""
    ordered = sorted(values.values())
    return {team: ordered.index(value) + 1 for team, value in values.items()}


def _rank_by_tests(tables: Mapping[str, _Scores], column: int) -> dict[str, int]:
    """Return 1 + the number of teams that are significantly better in a metric (p < 0.05).

    Every team has the same cases, so the fixed effect of a team in a mixed model with cases (and their centre and
    tracer) as random effects is its mean. Pairs are compared by Tukey's test on the residuals of teams and cases.
    """
    from scipy.stats import studentized_range

    teams = list(tables)
    first = tables[teams[0]]
    cases = [case for case, scores in first.items() if not math.isnan(scores[column])]
    values = _SIGNS[column] * np.array([[tables[team][case][column] for case in cases] for team in teams])
    k, n = values.shape
    means = values.mean(axis=1)
    if k < 2 or n < 2:
        return _rank_values({team: (float(mean),) for team, mean in zip(teams, means, strict=True)})
    residuals = values - means[:, None] - values.mean(axis=0) + values.mean()
    error = math.sqrt(float((residuals**2).sum()) / ((k - 1) * (n - 1)) / n)
    needed = error * float(studentized_range.ppf(0.95, k, (k - 1) * (n - 1)))
    return {
        team: 1 + int((means < mean - max(needed, 1e-12)).sum())
        for team, mean in zip(teams, means.tolist(), strict=True)
    }
