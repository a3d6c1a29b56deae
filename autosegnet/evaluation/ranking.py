"""Ranks teams as the challenge does, from the CSV of each.

autopet2 (I and II): rank per mean metric (DSC: higher is better; FPV, FNV: lower). Equal values share the best rank and
the next one is left out (1, 1, 3), as grand-challenge.org ranks (comic/grand-challenge.org,
app/grandchallenge/evaluation/utils.py).
autopet3 (autopet-iii.grand-challenge.org/evaluation-and-ranking, "Updated Ranking"): the same within every subset of
centre and tracer; a metric's rank is the mean of its ranks in the subsets.
autopet3-tukey (the same page, as first announced; it was given up because the model did not fit the results): mixed
model and Tukey's test per metric; a team's rank is 1 + the number of teams that are significantly better.
All: 0.5 rank_DSC + 0.25 rank_FPV + 0.25 rank_FNV, lowest first, ties by DSC (section 2.6 of the paper).

NaN, the value of healthy cases in the convention of autoPET III, is left out of the mean. It depends only on the truth,
so every team must have it in the same cases. Means are correctly rounded sums over counts, so that the order of
the cases never breaks a tie.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from autosegnet.errors import InputError, UsageError
from autosegnet.evaluation.score_tables import RANKED_METRICS, Scores, check_same_cases, read_scores, read_subsets
from autosegnet.evaluation.statistics import format_markdown
from autosegnet.io.tables import format_table_csv

RankingEdition = Literal["autopet2", "autopet3", "autopet3-tukey"]
EDITIONS: tuple[RankingEdition, ...] = get_args(RankingEdition)

_SIGNS = (-1, 1, 1)  # of the metrics, so that the lowest is the best


@dataclass(frozen=True, slots=True)
class Standing:
    """Hold a team's result: position, weighted rank, mean metrics and the rank in each."""

    position: int
    team: str
    score: float
    dsc: float
    fpv_ml: float
    fnv_ml: float
    rank_dsc: float
    rank_fpv: float
    rank_fnv: float
    n_cases: int


def rank_teams(
    files: Mapping[str, Path], *, edition: RankingEdition = "autopet2", subsets: Path | None = None
) -> list[Standing]:
    """Return the standings, best team first; teams equal in score and DSC share a position.

    Args:
        files: by team, a CSV as `evaluate` writes it; of its columns case, dsc, fpv_ml and fnv_ml are read
        edition: whose rules
        subsets: of autopet3, a CSV with the columns case and subset; None takes all cases as one subset
    Raises:
        InputError: a CSV cannot be read, or the teams do not hold the same cases
        UsageError: subsets for an edition that has none
    """
    if subsets is not None and edition != "autopet3":
        raise UsageError(f"{edition} ranks all cases together; subsets belong to autopet3")
    tables = {team: read_scores(path) for team, path in files.items()}
    check_same_cases(tables)
    cases = frozenset(next(iter(tables.values())))
    parts = {"": sorted(cases)} if subsets is None else read_subsets(subsets, cases)
    if edition == "autopet3-tukey":
        dsc, fpv, fnv = (_sum_ranks([_rank_by_tests(tables, column)]) for column in range(3))
    else:
        dsc, fpv, fnv = (
            _sum_ranks([_rank_by_means(tables, column, part) for part in parts.values()]) for column in range(3)
        )
    # Sums of whole numbers, divided once: equal scores are equal floats.
    scores = {team: (2 * dsc[team] + fpv[team] + fnv[team]) / (4 * len(parts)) for team in tables}
    means = {team: [_mean(team, table, column, sorted(cases)) for column in range(3)] for team, table in tables.items()}
    positions = _rank_values({team: (scores[team], -mean[0]) for team, mean in means.items()})
    standings = [
        Standing(
            position=positions[team],
            team=team,
            score=scores[team],
            dsc=mean[0],
            fpv_ml=mean[1],
            fnv_ml=mean[2],
            rank_dsc=_divide(dsc[team], len(parts)),
            rank_fpv=_divide(fpv[team], len(parts)),
            rank_fnv=_divide(fnv[team], len(parts)),
            n_cases=len(tables[team]),
        )
        for team, mean in means.items()
    ]
    return sorted(standings, key=lambda standing: (standing.position, standing.team))


def format_standings(standings: Sequence[Standing]) -> str:
    """Return the standings as a Markdown table."""
    heading = ["Team", "Position", "Score", "DSC", "FPV (ml)", "FNV (ml)", "Rank DSC", "Rank FPV", "Rank FNV"]
    rows = [
        [s.team, str(s.position), f"{s.score:.2f}", f"{s.dsc:.4f}", f"{s.fpv_ml:.4f}", f"{s.fnv_ml:.4f}"]
        + [f"{rank:.4g}" for rank in (s.rank_dsc, s.rank_fpv, s.rank_fnv)]
        for s in standings
    ]
    return format_markdown(heading, rows)


def format_standings_csv(standings: Sequence[Standing]) -> str:
    """Return the standings as CSV with a heading, with all digits."""
    return format_table_csv([field.name for field in fields(Standing)], map(astuple, standings))


def _mean(team: str, table: Scores, column: int, cases: Sequence[str]) -> float:
    kept = [table[case][column] for case in cases if not math.isnan(table[case][column])]
    if not kept:
        raise InputError(
            f"{RANKED_METRICS[column]} of {team} is NaN in every case of a subset; expected a case that can be ranked"
        )
    return math.fsum(kept) / len(kept)


def _rank_by_means(tables: Mapping[str, Scores], column: int, cases: Sequence[str]) -> dict[str, int]:
    """Return the ranks of the teams' means over some cases."""
    sign = _SIGNS[column]
    return _rank_values({team: (sign * _mean(team, table, column, cases),) for team, table in tables.items()})


def _sum_ranks(ranks: Sequence[Mapping[str, int]]) -> dict[str, int]:
    return {team: sum(part[team] for part in ranks) for team in ranks[0]}


def _divide(total: int, count: int) -> float:
    """Return a mean rank; a whole number stays one, as it is without subsets."""
    return total // count if total % count == 0 else total / count


def _rank_values(values: Mapping[str, tuple[float, ...]]) -> dict[str, int]:
    """Return ranks from 1 for the lowest value; equal values share the best."""
    ordered = sorted(values.values())
    return {team: ordered.index(value) + 1 for team, value in values.items()}


def _rank_by_tests(tables: Mapping[str, Scores], column: int) -> dict[str, int]:
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
