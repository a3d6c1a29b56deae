import json

import pytest

from autosegnet.errors import WeightsError
from autosegnet.model.recipe import Fold, Recipe, from_json, to_json


def test_recipe_survives_its_file() -> None:
    recipe = Recipe(
        folds=(Fold("fold_0.safetensors", "ab" * 32, 0.61, 0.61), Fold("fold_1.safetensors", "cd" * 32)),
        spacing_mm=(2.0, 2.0, 3.0),
        patch=(96, 96, 64),
        overlap=0.25,
        crop="ct_foreground",
        description="Trained on nothing.",
        training={"epochs": 3},
    )
    assert from_json(to_json(recipe), where="recipe.json") == recipe


def test_defaults_are_the_papers() -> None:
    recipe = Recipe()
    assert (recipe.spacing_mm, recipe.ct_window_hu) == ((2.0, 2.0, 2.0), (-1024.0, 1024.0))  # section 2.2
    assert (recipe.patch, recipe.overlap) == ((192, 192, 192), 0.5)  # section 2.5


def test_fold_weights_sum_to_one() -> None:
    assert Recipe(folds=(Fold("a", "", 1.0), Fold("b", "", 3.0))).fold_weights == (0.25, 0.75)


@pytest.mark.parametrize(
    "values",
    [
        {"patch": [192, 192]},
        {"patch": [100, 100, 100]},
        {"patch": ["many", 1, 1]},
        {"patch": [192.9, 192, 192]},
        {"patch": [float("inf"), 192, 192]},
        {"overlap": 1.0},
        {"overlap": -0.5},
        {"spacing_mm": [0, 2, 2]},
        {"spacing_mm": [10**400, 2, 2]},
        {"spacing_mm": [float("nan"), 2, 2]},
        {"ct_window_hu": [100, -100]},
        {"crop": "head"},
        {"passes": "many"},
        {"suv_limit": 0},
        {"suv_limit": "20"},
        {"suv_limit": 10**400},
        {"crop": ["body"]},
        {"surprise": 1},
        {"folds": [{"file": "fold_0.safetensors"}]},
        {"folds": [{"file": "../fold_0.safetensors", "sha256": "ab"}]},
        {"folds": [{"file": "a", "sha256": "ab", "weight": 0}]},
        {"folds": [{"file": "a", "sha256": "ab", "weight": float("inf")}]},
        {"folds": [{"file": "a", "sha256": "ab", "weight": 10**400}]},
        {"folds": [{"file": "a", "sha256": "ab", "validation_dsc": 10**400}]},
        {"folds": 3},
        {"format": 2},
    ],
)
def test_what_no_network_runs_with_is_refused(values: dict[str, object]) -> None:
    text = json.dumps(json.loads(to_json(Recipe())) | values)
    with pytest.raises(WeightsError):
        from_json(text, where="recipe.json")


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '{"format": 1, "folds": null}'])
def test_what_is_no_recipe_is_refused(text: str) -> None:
    with pytest.raises(WeightsError, match=r"recipe\.json"):
        from_json(text, where="recipe.json")
