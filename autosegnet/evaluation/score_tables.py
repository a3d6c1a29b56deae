"""Reads the tables that are ranked: the metrics of a team, and which cases belong to which subset."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from autosegnet.errors import InputError, format_list, format_path
from autosegnet.io.small_files import read_table

RANKED_METRICS = ("dsc", "fpv_ml", "fnv_ml")
Scores = Mapping[str, Sequence[float]]
"""DSC, FPV (ml) and FNV (ml) by case."""


def read_scores(path: Path) -> Scores:
    """Return DSC, FPV and FNV by case; `nan` or an empty cell, as pandas writes it, is NaN.

    Raises:
        InputError: no file, a column or a value is missing, a value is impossible, a case appears twice
    """
    rows = read_table(path, what="a CSV as evaluate writes it", columns=("case", *RANKED_METRICS))
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
        scores[case] = [
            _parse_value(row[metric], metric, f"case {format_path(case)}", path) for metric in RANKED_METRICS
        ]
    if not scores:
        raise InputError(f"no case in {format_path(path)}; expected one case per line")
    return scores


def read_subsets(path: Path, cases: frozenset[str]) -> dict[str, list[str]]:
    """Return the cases of every subset, from a CSV with the columns case and subset.

    Raises:
        InputError: it cannot be read, names a case twice, or leaves one of the cases out.
    """
    subset_of: dict[str, str] = {}
    for row in read_table(path, what="a CSV with a subset for every case", columns=("case", "subset")):
        if row["case"] in subset_of:
            raise InputError(f"case {format_path(row['case'])} appears twice in {format_path(path)}; expected once")
        subset_of[row["case"]] = row["subset"]
    missing = sorted(case for case in cases if not subset_of.get(case))
    if missing:
        raise InputError(
            f"{len(missing)} cases without a subset in {format_path(path)}: {format_list(missing)}; "
            "expected one for every case"
        )
    subsets: dict[str, list[str]] = {}
    for case in sorted(cases):
        subsets.setdefault(subset_of[case], []).append(case)
    return subsets


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


def check_same_cases(tables: Mapping[str, Scores]) -> None:
    """Raise InputError unless all teams hold the same cases, and NaN in the same ones."""
    every = set().union(*tables.values())
    missing = {team: every - table.keys() for team, table in tables.items() if every - table.keys()}
    if missing:
        lacking = "; ".join(f"{team} lacks {len(cases)}: {format_list([*cases])}" for team, cases in missing.items())
        raise InputError(f"{lacking}; expected the same cases from every team")
    first, *others = tables
    for team in others:
        differ = [case for case in every if _find_nan(tables[team][case]) != _find_nan(tables[first][case])]
        if differ:
            raise InputError(
                f"{first} and {team} have NaN in different cases ({format_list(differ)}); expected one convention"
            )


def _find_nan(scores: Sequence[float]) -> list[bool]:
    return [math.isnan(score) for score in scores]
