"""From trained folds to tables and to a folder of weights."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from training_phantoms import TINY, small_engine

from autosegnet.model.folded import verify
from autosegnet.model.network import build_network
from autosegnet.model.weights import open_weights
from autosegnet_training import cross_validate
from autosegnet_training.__main__ import main
from autosegnet_training.arrays import open_prepared
from autosegnet_training.configuration import TrainingConfiguration
from autosegnet_training.runs import plan_run, write_best, write_or_check_run, write_result

SETTINGS = TrainingConfiguration(patch=(16, 16, 16), inference_patch=(48, 48, 48), initial="/somewhere/first.pt")


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return build_network().eval()


@pytest.fixture(scope="module")
def runs(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folds as training leaves them, of networks that were not trained."""
    folder = tmp_path_factory.mktemp("runs")
    for fold in range(2):
        begun = plan_run(open_prepared(prepared), SETTINGS, runs=folder, fold=fold)
        write_or_check_run(begun)
        write_best(begun, network(fold))
        write_result(begun, {"epoch": 3 + fold, "dsc": 0.25 * (fold + 1), "finished": True})
    return folder


@pytest.fixture(scope="module")
def evaluated(runs: Path, prepared: Path) -> Path:
    """Return the same folds, cross-validated."""
    assert main(["cross-validate", str(prepared), "--runs", str(runs), "--folds", "2", "--device", "cpu"]) == 0
    return runs


def test_weights_come_from_model_selection_where_there_is_nothing_better(runs: Path, tmp_path: Path) -> None:
    arguments = ["--runs", str(runs), "--output", str(tmp_path), "--folds", "2", "--description", "Phantoms."]
    if (runs / "cross_validation.json").exists():
        pytest.skip("cross-validated before")
    assert main(["export", *arguments]) == 0
    weights = open_weights(tmp_path)
    verify(weights)
    assert [fold.validation_dsc for fold in weights.recipe.folds] == [0.25, 0.5]
    assert weights.recipe.fold_weights == pytest.approx((1 / 3, 2 / 3))
    assert weights.recipe.description == "Phantoms."
    assert weights.recipe.spacing_mm == (8.0, 8.0, 8.0)
    assert weights.recipe.patch == (48, 48, 48)
    training = weights.recipe.training
    assert training is not None
    assert training["settings"]["patch"] == [16, 16, 16]
    assert training["settings"]["initial"] == "first.pt"
    assert training["best_epochs"] == [3, 4]
    assert "patient" not in json.dumps(training).replace("patches_per_case", "")


def test_every_case_is_measured_once_by_every_method(evaluated: Path, prepared: Path) -> None:
    rows = list(csv.DictReader((evaluated / "cross_validation.csv").read_text().splitlines()))
    methods = {row["method"] for row in rows}
    assert len(methods) == 5
    names = sorted(case.name for case in open_prepared(prepared).cases)
    for method in methods:
        assert sorted(row["case"] for row in rows if row["method"] == method) == names
    # The phantoms' lesions are the only voxels above SUV 4.
    assert all(float(row["dsc"]) == 1.0 for row in rows if row["method"] == "SUV > 4" and row["n_truth_lesions"] != "0")
    assert all(float(row["dsc"]) == 0.0 for row in rows if row["n_truth_lesions"] == "0")


def test_the_tables_have_the_form_of_table_1(evaluated: Path) -> None:
    text = (evaluated / "cross_validation.md").read_text()
    with_lesions, all_cases = text.split("## All cases")
    assert "## Cases with lesions" in with_lesions
    assert "| Validation fold |" in with_lesions.replace("  ", "")
    assert "mean ± SD" in text
    assert "median [IQR]" in text
    assert "chosen on these cases" in text
    assert "| 41 % of maximum" in all_cases


def test_weights_come_from_cross_validation_where_it_was_run(evaluated: Path, tmp_path: Path) -> None:
    arguments = ["--runs", str(evaluated), "--output", str(tmp_path), "--folds", "2", "--description", "Phantoms."]
    assert main(["export", *arguments]) == 0
    summary = json.loads((evaluated / "cross_validation.json").read_text())
    found = [fold.validation_dsc for fold in open_weights(tmp_path).recipe.folds]
    assert found == [entry["dsc"] for entry in summary]
    rows = csv.DictReader((evaluated / "cross_validation.csv").read_text().splitlines())
    first = [
        float(r["dsc"]) for r in rows if (r["method"], r["fold"]) == ("network", "0") and r["n_truth_lesions"] != "0"
    ]
    assert found[0] == pytest.approx(np.mean(first))


def test_a_cross_validation_of_other_weights_is_refused(
    evaluated: Path, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(evaluated, tmp_path / "runs"))
    write_best(plan_run(open_prepared(prepared), SETTINGS, runs=folder, fold=1), network(7))  # the epoch stays
    arguments = ["--runs", str(folder), "--output", str(tmp_path / "out"), "--folds", "2", "--description", "Phantoms."]
    assert main(["export", *arguments]) == 3
    assert "run cross-validate again" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_a_fold_that_is_not_finished_is_refused(runs: Path, prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cross-validate", str(prepared), "--runs", str(runs), "--folds", "3"]) == 3
    assert "fold_2" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.usefixtures("small")
def test_folds_are_trained_first_where_it_is_asked_for(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cross_validate, "_open_best", small_engine)
    arguments = ["cross-validate", str(prepared), "--runs", str(tmp_path), "--folds", "2", "--train", *TINY.split()]
    assert main([*arguments, "--epochs", "1", "--device", "cpu"]) == 0
    assert (tmp_path / "fold_1" / "result.json").is_file()
    assert "network" in (tmp_path / "cross_validation.md").read_text()
