"""The mean of several sets of folds."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training_phantoms import small_network

from autosegnet.model import network
from autosegnet.model.network import load_fold
from autosegnet.model.recipe import Recipe
from autosegnet.model.weights import digest, import_folds, open_weights
from autosegnet_training.__main__ import main

RECIPE = Recipe(spacing_mm=(8.0, 8.0, 8.0), patch=(16, 16, 16))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(network, "build_network", small_network)
    network._list_network_keys.cache_clear()  # they are remembered for the whole process
    yield
    network._list_network_keys.cache_clear()


def make_folds(folder: Path, *, seed: int, folds: int = 2, recipe: Recipe = RECIPE) -> Path:
    files = []
    for fold in range(folds):
        torch.manual_seed(seed + fold)
        files.append(folder / f"{seed}_{fold}.pt")
        torch.save(small_network().state_dict(), files[-1])
    import_folds(files, folder / str(seed), recipe=recipe, weights=[], validation_dsc=[])
    return folder / str(seed)


def read_parameters(folder: Path, fold: int) -> torch.Tensor:
    weights = open_weights(folder)
    entry = weights.recipe.folds[fold]
    return torch.cat([p.detach().flatten() for p in load_fold(weights.find_path(entry), entry).parameters()])


def average(sources: list[str], output: Path, *more: str) -> int:
    return main(["average", *sources, "--output", str(output), "--description", "Means.", *more])


def test_every_weight_is_the_mean_by_shares(tmp_path: Path) -> None:
    one, other = make_folds(tmp_path, seed=10), make_folds(tmp_path, seed=20)
    assert average([f"{one}=3", f"{other}=1"], tmp_path / "mean") == 0
    for fold in range(2):
        expected = 0.75 * read_parameters(one, fold) + 0.25 * read_parameters(other, fold)
        torch.testing.assert_close(read_parameters(tmp_path / "mean", fold), expected, rtol=1e-3, atol=1e-5)
    recipe = open_weights(tmp_path / "mean").recipe
    assert replace(recipe, folds=(), description="", training=None) == RECIPE
    assert recipe.description == "Means."
    assert [fold.validation_dsc for fold in recipe.folds] == [None, None]
    assert recipe.training is not None
    made_of = [(part["share"], part["weights"]) for part in recipe.training["mean_of"]]
    assert made_of == [(0.75, digest(open_weights(one))), (0.25, digest(open_weights(other)))]


def test_the_mean_of_folds_with_themselves_is_what_they_were(tmp_path: Path) -> None:
    one = make_folds(tmp_path, seed=10)
    assert average([f"{one}=0.5", f"{one}=0.5"], tmp_path / "mean") == 0
    assert digest(open_weights(tmp_path / "mean")) == digest(open_weights(one))


def test_every_fold_is_measured_on_its_own_validation_cases(tmp_path: Path, prepared: Path) -> None:
    one, other = make_folds(tmp_path, seed=10), make_folds(tmp_path, seed=20)
    assert average([f"{one}=1", f"{other}=1"], tmp_path / "mean", "--prepared", str(prepared)) == 0
    scores = [fold.validation_dsc for fold in open_weights(tmp_path / "mean").recipe.folds]
    assert all(score is not None and 0 <= score <= 1 for score in scores)


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        (["=1"], "expected two or more"),
        (["=1", "=0"], "expected WEIGHTS=SHARE with a share above 0"),
        (["=1", "=nan"], "expected WEIGHTS=SHARE with a share above 0"),
        (["=1", "=inf"], "expected WEIGHTS=SHARE with a share above 0"),
        (["=1", ""], "expected WEIGHTS=SHARE with a share above 0"),
    ],
)
def test_shares_that_make_no_mean_are_refused(
    shares: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = make_folds(tmp_path, seed=10)
    assert average([f"{one}{share}" for share in shares], tmp_path / "mean") == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "mean").exists()


def test_sets_that_do_not_belong_together_are_refused(
    tmp_path: Path, prepared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, three = make_folds(tmp_path, seed=10), make_folds(tmp_path, seed=20, folds=3)
    finer = make_folds(tmp_path, seed=30, recipe=replace(RECIPE, spacing_mm=(4.0, 4.0, 4.0)))
    assert average([f"{one}=1", f"{three}=1"], tmp_path / "mean") == 4
    assert "holds 3 folds" in capsys.readouterr().err
    assert average([f"{one}=1", f"{finer}=1"], tmp_path / "mean") == 4
    assert "has another recipe" in capsys.readouterr().err
    assert average([f"{finer}=1", f"{finer}=1"], tmp_path / "mean", "--prepared", str(prepared)) == 3
    assert "was prepared with another recipe" in capsys.readouterr().err
    assert not (tmp_path / "mean").exists()
