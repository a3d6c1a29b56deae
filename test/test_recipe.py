import json

import pytest

from autosegnet.errors import WeightsError
from autosegnet.model.recipe import ClickChannels, Fold, Recipe, format_recipe, parse_recipe


def test_recipe_survives_its_file() -> None:
    recipe = Recipe(
        folds=(Fold("fold_0.safetensors", "ab" * 32, 0.61, 0.61), Fold("fold_1.safetensors", "cd" * 32)),
        spacing_mm=(2.0, 2.0, 3.0),
        patch=(96, 96, 64),
        overlap=0.25,
        crop="ct_foreground",
        click_channels=ClickChannels(reach_mm=9.5),
        description="Trained on nothing.",
        training={"epochs": 3},
    )
    assert parse_recipe(format_recipe(recipe), where="recipe.json") == recipe


def test_defaults_are_the_papers() -> None:
    recipe = Recipe()
    assert (recipe.spacing_mm, recipe.ct_window_hu) == ((2.0, 2.0, 2.0), (-1024.0, 1024.0))  # section 2.2
    assert (recipe.patch, recipe.overlap) == ((192, 192, 192), 0.5)  # section 2.5


def test_a_network_takes_two_channels_and_with_clicks_four() -> None:
    assert Recipe().input_channels == 2
    assert Recipe(click_channels=ClickChannels()).input_channels == 4


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
        {"passes": "layers", "crop": "ct_foreground"},
        {"suv_limit": "20"},
        {"suv_limit": 10**400},
        {"crop": ["body"]},
        {"surprise": 1},
        {"click_channels": True},
        {"click_channels": {}},
        {"click_channels": {"reach_mm": 0}},
        {"click_channels": {"reach_mm": "12"}},
        {"click_channels": {"reach_mm": 12, "sigma_mm": 8}},
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
    text = json.dumps(json.loads(format_recipe(Recipe())) | values)
    with pytest.raises(WeightsError):
        parse_recipe(text, where="recipe.json")


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '{"format": 1, "folds": null}'])
def test_what_is_no_recipe_is_refused(text: str) -> None:
    with pytest.raises(WeightsError, match=r"recipe\.json"):
        parse_recipe(text, where="recipe.json")


COMPLETE = {
    "format": 1,
    "folds": [{"file": "a", "sha256": "ab"}],
    "spacing_mm": [4.0, 4.0, 4.0],
    "ct_window_hu": [-1024, 1024],
    "suv_limit": None,
    "patch": [128, 128, 128],
    "overlap": 0.5,
    "crop": "body",
    "passes": "windows",
}


def test_a_recipe_of_the_first_version_is_read_as_it_was_meant() -> None:
    recipe = parse_recipe(json.dumps(COMPLETE), where="recipe.json")
    assert recipe.anchor == "region"
    assert parse_recipe(format_recipe(recipe), where="recipe.json") == recipe


def test_a_recipe_that_says_nothing_new_keeps_the_first_versions_text() -> None:
    assert not {"anchor", "last_step", "tracer", "click_channels"} & json.loads(format_recipe(Recipe())).keys()
    assert json.loads(format_recipe(Recipe(anchor="lattice")))["anchor"] == "lattice"


@pytest.mark.parametrize("name", [name for name in COMPLETE if name != "format"])
def test_a_recipe_that_lacks_a_key_is_refused(name: str) -> None:
    text = json.dumps({key: value for key, value in COMPLETE.items() if key != name})
    with pytest.raises(WeightsError, match=name):
        parse_recipe(text, where="recipe.json")


@pytest.mark.parametrize(
    "values",
    [
        {"suv_limit": True},
        {"overlap": False},
        {"patch": [True, 16, 16]},
        {"patch": [128.0, 128, 128]},
        {"patch": [1600, 1600, 1600]},
        {"patch": [16 * 10**30, 16, 16]},
        {"patch": "128"},
        {"spacing_mm": [0.1, 0.1, 0.1]},
        {"spacing_mm": {"x": 1}},
        {"spacing_mm": "222"},
        {"ct_window_hu": [-1e300, 1e300]},
        {"description": 5},
        {"description": "half \ud800"},
        {"training": []},
        {"format": True},
        {"format": 1.0},
        {"folds": [{"file": f"f{k}", "sha256": "ab"} for k in range(1000)]},
        {"folds": [{"file": "a", "sha256": "ab"}] * 2},
        {"folds": [{"file": f"f{k}", "sha256": "ab", "weight": 1e308} for k in range(5)]},
        {"folds": [{"file": 3, "sha256": "ab"}]},
        {"folds": [{"file": "a", "sha256": None}]},
        {"folds": [{"file": "a", "sha256": "ab", "weight": "1"}]},
        {"folds": [["a", "ab"]]},
        {"folds": {"file": "a", "sha256": "ab"}},
    ],
)
def test_values_of_another_type_or_an_absurd_size_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(WeightsError) as caught:
        parse_recipe(json.dumps(COMPLETE | values), where="recipe.json")
    assert len(str(caught.value)) < 300
