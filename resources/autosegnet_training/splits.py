"""Splits cases into folds: stratified by cohort, grouped by patient, the same for the same seed.

Source: paper, section 2.1 (each cohort split into five folds); grouping by patient is ours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from autosegnet.errors import InputError
from autosegnet.io.small_files import read_json
from autosegnet_training.cases import FOLDS, Case


def split(cases: Sequence[Case], *, seed: int, folds: int = FOLDS) -> list[Case]:
    """Return the cases with their folds: of every cohort as equal a number as whole patients allow.

    Patients are taken in order of their number of studies, most first, else at random. Each goes to the fold in which
    its cohorts are rarest; in a tie to the fold with the fewest cases, then to a random one.

    Args:
        cases: none of which has a fold.

    Raises:
        InputError: a case already has a fold, or there are fewer patients than folds.
    """
    given = [case.name for case in cases if case.fold is not None]
    if given:
        raise InputError(
            f"{len(given)} of {len(cases)} cases have a fold, for example {given[0]}; expected all of them or none"
        )
    patients: dict[str, Counter[str]] = {}
    for case in sorted(cases, key=lambda case: case.name):
        patients.setdefault(case.patient, Counter())[case.cohort] += 1
    if len(patients) < folds:
        raise InputError(f"{len(patients)} patients cannot be split into {folds} folds; expected at least {folds}")
    rng = np.random.default_rng(seed)
    shuffled = [list(patients)[i] for i in rng.permutation(len(patients))]
    held: list[Counter[str]] = [Counter() for _ in range(folds)]
    chosen: dict[str, int] = {}
    for patient in sorted(shuffled, key=lambda p: -patients[p].total()):
        studies = patients[patient]
        order = rng.permutation(folds)
        best = min(order, key=lambda f: (_compute_imbalance(held[f], studies), held[f].total()))
        held[best].update(studies)
        chosen[patient] = int(best)
    return [replace(case, fold=chosen[case.patient]) for case in cases]


def _compute_imbalance(fold: Counter[str], added: Counter[str]) -> int:
    """Return by how much the sum of squared cohort counts grows. It grows least in the fold with the fewest of them."""
    return sum(n * (2 * fold[cohort] + n) for cohort, n in added.items())


def split_as(cases: Sequence[Case], path: Path) -> list[Case]:
    """Return the cases with the folds of an nnU-Net `splits_final.json`: a list of {"train": [...], "val": [...]}.

    Raises:
        InputError: not such a file; a case in none or in two of its validation lists; a patient in two folds.
    """
    lists = read_json(
        path,
        lambda folds: [set(map(str, fold["val"])) for fold in folds],
        what="splits_final.json of nnU-Net",
        expected='[{"train": [...], "val": [...]}, ...]',
    )
    done = []
    for case in cases:
        found = [fold for fold, names in enumerate(lists) if case.name in names]
        if len(found) != 1:
            raise InputError(f"case {case.name} is in {len(found)} validation lists of {path}; expected one")
        done.append(replace(case, fold=found[0]))
    refuse_shared_patients(done, where=str(path))
    return done


def refuse_shared_patients(cases: Iterable[Case], *, where: str) -> None:
    """Raise InputError if studies of one patient are in two folds: validation would see training patients.

    This includes a fold that is never validated, because its cases train the fold that is validated on the patient.
    """
    fold_of: dict[str, int | None] = {}
    for case in cases:
        if fold_of.setdefault(case.patient, case.fold) != case.fold:
            raise InputError(f"patient {case.patient} is in two folds of {where}; expected all studies in one")


def count_folds(cases: Sequence[Case]) -> dict[str, list[int]]:
    """Count the cases of each cohort in each fold."""
    folds = 1 + max((case.fold for case in cases if case.fold is not None), default=-1)
    table = {cohort: [0] * folds for cohort in sorted({case.cohort for case in cases})}
    for case in cases:
        if case.fold is not None:
            table[case.cohort][case.fold] += 1
    return table
