"""Folds: whole patients, cohorts as equal as they allow, the same for the same seed."""

import csv
import json
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from autosegnet.errors import InputError
from autosegnet_training.cases import Case
from autosegnet_training.splits import count_folds, split, split_as

DATA = Path(os.environ.get("AUTOSEGNET_DATA", Path(__file__).parents[3] / "shared" / "data"))
TABLE = DATA / "autopet_fdg_cases.csv"


def case(name: str, patient: str, cohort: str) -> Case:
    return Case(name, patient, cohort, Path("p"), Path("c"), Path("m"))


@pytest.fixture
def autopet() -> list[Case]:
    if not TABLE.is_file():
        pytest.skip(f"the list of real cases is not there: {TABLE}")
    rows = csv.DictReader(TABLE.read_text().splitlines())
    return [case(row["case"], row["patient"], row["diagnosis"]) for row in rows]


def test_the_real_cases_are_split_as_equally_as_can_be(autopet: list[Case]) -> None:
    done = split(autopet, seed=0)
    assert len(done) == 1014
    folds_of: dict[str, set[int | None]] = {}
    for c in done:
        folds_of.setdefault(c.patient, set()).add(c.fold)
    assert len(folds_of) == 900
    assert all(len(folds) == 1 for folds in folds_of.values())
    table = count_folds(done)
    assert {cohort: sum(n) for cohort, n in table.items()} == {
        "lung_cancer": 169, "lymphoma": 146, "melanoma": 191, "negative": 508,
    }  # fmt: skip
    assert all(max(n) - min(n) <= 1 for n in table.values()), table
    sizes = [sum(n) for n in zip(*table.values(), strict=True)]
    assert max(sizes) - min(sizes) <= 2, sizes


def test_the_seed_decides(autopet: list[Case]) -> None:
    first = split(autopet, seed=1)
    assert split(autopet, seed=1) == first
    assert split(list(reversed(autopet)), seed=1) == list(reversed(first))
    assert split(autopet, seed=2) != first


def test_a_patient_with_many_studies_counts_as_many() -> None:
    cases = [case(f"a{k}", "a", "lymphoma") for k in range(4)] + [case(f"p{k}", f"p{k}", "lymphoma") for k in range(4)]
    sizes = Counter(c.fold for c in split(cases, seed=0, folds=2))
    assert sizes == {0: 4, 1: 4}


def test_too_few_patients_are_refused() -> None:
    with pytest.raises(InputError, match="1 patients cannot be split into 5 folds"):
        split([case("a", "a", "x"), case("b", "a", "x")], seed=0)


def test_given_folds_are_not_replaced_for_one_that_is_missing() -> None:
    cases = [case(str(k), str(k), "lymphoma") for k in range(6)]
    with pytest.raises(InputError, match="5 of 6 cases have a fold, for example 0"):
        split([*(replace(c, fold=5) for c in cases[:5]), cases[5]], seed=0, folds=2)


def test_folds_of_nnunet_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "splits_final.json"
    path.write_text(json.dumps([{"train": ["b"], "val": ["a"]}, {"train": ["a"], "val": ["b"]}]))
    cases = [case("a", "1", "x"), case("b", "2", "x")]
    assert [c.fold for c in split_as(cases, path)] == [0, 1]
    with pytest.raises(InputError, match="case c is in 0 validation lists"):
        split_as([*cases, case("c", "3", "x")], path)
    with pytest.raises(InputError, match="patient 1 is in two folds"):
        split_as([cases[0], replace(cases[1], patient="1")], path)
