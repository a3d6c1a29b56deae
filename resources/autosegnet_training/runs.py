"""The folder of a run: its settings and its results.

<runs>/fold_K/run.json           settings, recipe and cases; a run continues only if they are the same
<runs>/fold_K/checkpoints/       the last two
<runs>/fold_K/best.pt            plain state_dict of the epoch with the best validation DSC
<runs>/fold_K/result.json        that epoch and its validation; "finished" once the last epoch is done
<runs>/fold_K/history.csv, tensorboard/, curves.png
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from autosegnet.errors import InputError, UsageError
from autosegnet.io import write_bytes, write_text
from autosegnet.io.small_files import read_json, require_object
from autosegnet.model.recipe import ClickChannels, Recipe, parse_recipe
from autosegnet.model.recipe import format_recipe as recipe_json
from autosegnet_training.arrays import PreparedFolder
from autosegnet_training.cases import split_fold
from autosegnet_training.configuration import TrainingConfiguration, describe_configuration

RUN = "run.json"
BEST = "best.pt"
RESULT = "result.json"


@dataclass(frozen=True, slots=True)
class Run:
    """The training of one fold, and its folder.

    Args:
        folder: of this fold.
        fold: its number.
        configuration: the settings.
        recipe: of the trained fold, folds empty.
        training: names of the cases, each as often as an epoch repeats it.
        validation: names of the cases.
    """

    folder: Path
    fold: int
    configuration: TrainingConfiguration
    recipe: Recipe
    training: tuple[str, ...]
    validation: tuple[str, ...]


def fold_folder(runs: Path, fold: int) -> Path:
    """Return the folder in which a fold is trained."""
    return runs / f"fold_{fold}"


def plan_run(prepared: PreparedFolder, configuration: TrainingConfiguration, *, runs: Path, fold: int) -> Run:
    """Return the run of a fold: all cases of the other folds for training, its own for validation."""
    training, validation = split_fold(prepared.cases, fold)
    recipe = replace(
        prepared.recipe,
        patch=configuration.inference_patch,
        overlap=configuration.overlap,
        click_channels=ClickChannels(configuration.click_reach_mm) if configuration.click_channels else None,
    )
    return Run(
        fold_folder(runs, fold),
        fold,
        configuration,
        recipe,
        tuple(case.name for case in training for _ in range(case.repeat)),
        tuple(case.name for case in validation),
    )


def write_or_check_run(run: Run, *, writes: bool = True) -> None:
    """Write the run's settings, or check that the run begun in the folder has the same.

    Args:
        run: to be trained.
        writes: whether this process writes; every process checks.

    Raises:
        UsageError: the folder holds another run.
    """
    path, wanted = run.folder / RUN, _describe_run(run)
    if not path.exists():
        if writes:
            write_text(json.dumps(wanted, indent=1) + "\n", path)
        return
    begun = _read(path)
    different = _list_differences(begun, wanted)
    if different:
        raise UsageError(
            f"{path} was begun with other {', '.join(different)}; use the same command to continue, or another --output"
        )


def _describe_run(run: Run) -> dict[str, Any]:
    return {
        "fold": run.fold,
        "settings": describe_configuration(run.configuration),
        "recipe": json.loads(recipe_json(run.recipe)),
        "training": list(run.training),
        "validation": list(run.validation),
    }


def _list_differences(begun: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    names = [key for key in wanted if key not in ("settings", "recipe") and begun.get(key) != wanted[key]]
    recipes = [parse_recipe(json.dumps(run.get("recipe")), where=RUN) for run in (begun, wanted)]
    names += ["recipe"] if recipes[0] != recipes[1] else []
    settings: dict[str, Any] = begun.get("settings", {})
    free = {"workers", "checkpoint_minutes"}  # settings that do not change the result
    defaults = describe_configuration(TrainingConfiguration())  # a setting that an older version did not know
    names += [k for k, value in wanted["settings"].items() if k not in free and settings.get(k, defaults[k]) != value]
    return names


def _read(path: Path) -> dict[str, Any]:
    return read_json(path, require_object, what="a run of train", expected="what train writes")


def write_best(run: Run, network: torch.nn.Module) -> None:
    """Write the network's state_dict as the run's best."""
    buffer = io.BytesIO()
    torch.save({k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}, buffer)
    write_bytes(buffer.getvalue(), run.folder / BEST)


def write_result(run: Run, result: dict[str, Any]) -> None:
    """Write the results so far. A figure that was not measured (NaN) is null."""
    known = {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in result.items()}
    write_text(json.dumps(known, indent=1) + "\n", run.folder / RESULT)


@dataclass(frozen=True, slots=True)
class Trained:
    """A fold that was trained.

    Args:
        folder: of the run.
        description: of `run.json`.
        result: of `result.json`.
        recipe: of the fold, folds empty.
    """

    folder: Path
    description: dict[str, Any]
    result: dict[str, Any]
    recipe: Recipe

    @property
    def best(self) -> Path:
        """Return the path of the best epoch's weights."""
        return self.folder / BEST

    def compute_sha256(self) -> str:
        """Compute the SHA-256 of the best epoch's weights: it differs from that of another training in the same folder.

        Raises:
            InputError: they cannot be read.
        """
        try:
            return hashlib.sha256(self.best.read_bytes()).hexdigest()
        except OSError as error:
            raise InputError(f"{self.best} cannot be read ({error.strerror}); run train again") from error


def open_trained(runs: Path, fold: int) -> Trained:
    """Return a trained fold.

    Raises:
        InputError: it is missing or not finished.
    """
    folder = fold_folder(runs, fold)
    description, result = _read(folder / RUN), _read(folder / RESULT)
    if not result.get("finished"):
        raise InputError(f"training in {folder} is not finished (epoch {result.get('epoch')}); run train again")
    _check_shape(description, {"recipe": dict, "settings": dict, "training": list, "validation": list}, folder / RUN)
    _check_shape(result, {"epoch": int, "dsc": (int, float, type(None))}, folder / RESULT)
    recipe = parse_recipe(json.dumps(description["recipe"]), where=str(folder / RUN))
    return Trained(folder, description, result, recipe)


def _check_shape(values: dict[str, Any], kinds: dict[str, Any], path: Path) -> None:
    wrong = [name for name, kind in kinds.items() if not isinstance(values.get(name), kind)]
    if wrong:
        raise InputError(f"{path} lacks {', '.join(wrong)}, or holds something else there; run train again")
