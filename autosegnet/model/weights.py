"""A folder of weights: finding it, opening it, and making one from the folds' `.pth` files."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autosegnet.errors import WeightsError
from autosegnet.io.places import check_outputs
from autosegnet.io.small_files import read_small_text
from autosegnet.model.network import Storage, fold_bytes, read_pth
from autosegnet.model.recipe import Fold, Precision, Recipe, format_recipe, parse_recipe

log = logging.getLogger(__name__)

RECIPE = "recipe.json"
_MOST_BYTES = 16 << 20  # of a recipe, because its notes on training may be long
_PLATFORM_MODEL = Path("/opt/ml/model")  # where the platform unpacks an algorithm's model tarball
_PACKAGE = Path(__file__).resolve().parents[1]
_IN_WHEEL = _PACKAGE / "bundled_weights"
BUNDLED = _IN_WHEEL if _IN_WHEEL.is_dir() else _PACKAGE.parent / "weights"  # in a wheel; in a checkout or the image


@dataclass(frozen=True, slots=True)
class Weights:
    """A folder with a recipe and the folds that it names."""

    folder: Path
    recipe: Recipe

    def find_path(self, fold: Fold) -> Path:
        """Return the path of a fold's file."""
        return self.folder / fold.file

    def use_fast_mode(self) -> Weights:
        """Return the same folds, run in whole-body passes."""
        return replace(self, recipe=replace(self.recipe, passes="slabs"))

    def use_precision(self, precision: Precision) -> Weights:
        """Return the same folds, run in another arithmetic on a CPU."""
        return replace(self, recipe=replace(self.recipe, precision=precision))


def find(folder: Path | None) -> Path:
    """Return the folder of weights: the given one, `$AUTOSEGNET_WEIGHTS`, `/opt/ml/model`, or the bundled `weights/`.

    Raises:
        WeightsError: none of them holds a recipe.
    """
    named = folder or (Path(os.environ["AUTOSEGNET_WEIGHTS"]) if os.environ.get("AUTOSEGNET_WEIGHTS") else None)
    if named is not None:
        return named
    for candidate in (_PLATFORM_MODEL, BUNDLED):
        if (candidate / RECIPE).is_file():
            return candidate
        if candidate == _PLATFORM_MODEL and candidate.is_dir() and (held := sorted(os.listdir(candidate))):
            raise WeightsError(
                f"no {RECIPE} in {candidate}, which holds {', '.join(held[:5])}; expected the files of the weights "
                "themselves, as export.sh packs them"
            )
    raise WeightsError(f"no weights: neither {_PLATFORM_MODEL} nor {BUNDLED} holds {RECIPE}; see --weights")


def find_or_none(folder: Path | None) -> Path | None:
    """Return the folder of weights to use, as `find` does; None if there is none."""
    try:
        return find(folder)
    except WeightsError:
        return None


def open_weights(folder: Path | None = None) -> Weights:
    """Return the weights of a folder, its recipe read; the folds are verified when they are loaded.

    Raises:
        WeightsError: no recipe, a recipe that cannot be read, or one that names no fold.
    """
    folder = find(folder)
    path = folder / RECIPE
    text = read_small_text(path, what="the recipe of the weights", error=WeightsError, most_bytes=_MOST_BYTES)
    recipe = parse_recipe(text, where=str(path))
    if not recipe.folds:
        raise WeightsError(f"{path} names no fold; train or import the folds first")
    missing = [fold.file for fold in recipe.folds if not (folder / fold.file).is_file()]
    if missing:
        raise WeightsError(
            f"{len(missing)} of {len(recipe.folds)} folds missing in {folder}: {', '.join(missing)}; "
            "an ensemble never runs without all its folds"
        )
    return Weights(folder, recipe)


def import_folds(
    sources: Sequence[Path],
    output: Path,
    *,
    recipe: Recipe,
    weights: Sequence[float],
    validation_dsc: Sequence[float],
    storage: Storage = "float16",
) -> Recipe:
    """Write a folder of weights from plain state dicts, all files or none, and return its recipe.

    Args:
        sources: files of `torch.save` or safetensors, one per fold, in the order of the folds.
        output: the folder. Files of the same names in it are replaced once every source was read and found good. Extra
            folds of a larger old set stay, unused, with a warning.
        recipe: how the folds see their input; its list of folds is filled in here.
        weights: share of each fold in the mean of logits; empty for the plain mean.
        validation_dsc: of each fold; empty if it is not known.
        storage: how the files hold the weights; "int8" takes three fifths of the space.

    Raises:
        WeightsError: a file lacks this network's tensors, a fold comes twice, or a weight is not positive and finite.
        OutputError: the folder cannot be written.
    """
    from autosegnet.io import write_all

    outputs = {name: output / name for name in (*(f"fold_{k}.safetensors" for k in range(len(sources))), RECIPE)}
    check_outputs(outputs, inputs={source.name: source for source in sources})

    data = {
        f"fold_{k}.safetensors": fold_bytes(
            read_pth(path), where=path.name, storage=storage, inputs=recipe.input_channels
        )
        for k, path in enumerate(sources)
    }
    _refuse_twins(sources, data)
    folds = tuple(
        Fold(
            name,
            hashlib.sha256(fold).hexdigest(),
            weights[k] if weights else 1.0,
            validation_dsc[k] if validation_dsc else None,
        )
        for k, (name, fold) in enumerate(data.items())
    )
    done = replace(recipe, folds=folds)
    write_all({**{output / name: fold for name, fold in data.items()}, output / RECIPE: format_recipe(done)})
    unused = sorted({path.name for path in output.glob("fold_*.safetensors")} - data.keys())
    if unused:
        log.warning("%s also holds %s, which its new recipe does not name", output, ", ".join(unused))
    return done


def _refuse_twins(sources: Sequence[Path], data: Mapping[str, bytes]) -> None:
    """Refuse a fold that is given twice, because it would count twice and the folds would seem to agree."""
    first: dict[str, Path] = {}
    for source, fold in zip(sources, data.values(), strict=True):
        twin = first.setdefault(hashlib.sha256(fold).hexdigest(), source)
        if twin is not source:
            raise WeightsError(f"{source} and {twin} hold the same weights; expected another file for every fold")


def digest(weights: Weights) -> str:
    """Return a SHA-256 that changes with any fold: a key to cache anything that is made from the weights."""
    return hashlib.sha256("".join(fold.sha256 for fold in weights.recipe.folds).encode()).hexdigest()
