"""The documented command from nothing: every step, with a loss that falls and a network that has learned."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from autosegnet.io import read_image, read_mask
from autosegnet.model.folded import verify
from autosegnet.model.network import build_network
from autosegnet.model.weights import open_weights
from autosegnet_training.arrays import load, open_prepared
from autosegnet_training.runs import open_trained
from autosegnet_training.validation import NetworkEngine, Validation, measure_prepared

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chain")
    environment = {**os.environ, "PYTHON": sys.executable}
    command = ["bash", str(ROOT / "resources" / "from_nothing.sh"), str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.mark.slow
def test_the_loss_of_every_fold_falls(made: Path) -> None:
    for fold in range(5):
        rows = csv.DictReader((made / "runs" / f"fold_{fold}" / "history.csv").read_text().splitlines())
        losses = [float(row["loss"]) for row in rows]
        assert losses[-1] < 0.7 * losses[0]


@pytest.mark.slow
def test_the_folds_have_learned(made: Path) -> None:
    trained = [open_trained(made / "runs", fold) for fold in range(5)]
    folder = open_prepared(made / "prepared")
    torch.manual_seed(0)
    untrained = NetworkEngine(build_network().eval(), torch.device("cpu"))
    cases = [load(folder.folder, name) for name in trained[0].description["validation"]]
    before = Validation(measure_prepared(cases, untrained, trained[0].recipe)[0]).dsc
    after = sum(t.result["dsc"] for t in trained) / 5
    assert after > before + 0.05


@pytest.mark.slow
def test_tables_weights_and_a_mask_come_out(made: Path) -> None:
    assert "| network" in (made / "runs" / "cross_validation.md").read_text()
    weights = open_weights(made / "weights")
    verify(weights)
    summary = json.loads((made / "runs" / "cross_validation.json").read_text())
    assert [fold.validation_dsc for fold in weights.recipe.folds] == [entry["dsc"] for entry in summary]
    (suv,) = sorted(made.glob("data/*/*/SUV.nii.gz"))[:1]
    assert read_mask(made / "mask.nii.gz").GetSize() == read_image(suv).GetSize()
