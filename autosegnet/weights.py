"""A folder of weights: finding it, verifying it, and making one from the folds' `.pth` files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autosegnet.errors import WeightsError
from autosegnet.network import fold_bytes, load_fold, read_pth, read_verified
from autosegnet.recipe import Fold, Recipe, from_json, to_json

RECIPE = "recipe.json"
_PLATFORM_MODEL = Path("/opt/ml/model")  # where the platform unpacks an algorithm's model tarball
BUNDLED = Path(__file__).resolve().parent.parent / "weights"  # of a checkout, or of the image


@dataclass(frozen=True, slots=True)
class Weights:
    """A folder with a recipe and the folds that it names."""

    folder: Path
    recipe: Recipe

    def path_of(self, fold: Fold) -> Path:
        """Where a fold's file lies."""
        return self.folder / fold.file

    def in_fast_mode(self) -> Weights:
        """The same folds, run in whole-body passes."""
        return replace(self, recipe=replace(self.recipe, passes="slabs"))


def find(folder: Path | None) -> Path:
    """The folder of weights to use: the given one, `$AUTOSEGNET_WEIGHTS`, `/opt/ml/model`, or the bundled `weights/`.

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


def open_weights(folder: Path | None = None) -> Weights:
    """The weights of a folder, its recipe read; the folds are verified when they are loaded.

    Raises:
        WeightsError: no recipe, a recipe that cannot be read, or one that names no fold.
    """
    folder = find(folder)
    path = folder / RECIPE
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(f"no weights in {folder}: {RECIPE} cannot be read there ({error})") from error
    recipe = from_json(text, where=str(path))
    if not recipe.folds:
        raise WeightsError(f"{path} names no fold: the folds are still to be trained or imported")
    missing = [fold.file for fold in recipe.folds if not (folder / fold.file).is_file()]
    if missing:
        raise WeightsError(
            f"{len(missing)} of {len(recipe.folds)} folds missing in {folder}: {', '.join(missing)}; "
            "an ensemble is never run without one"
        )
    return Weights(folder, recipe)


def verify(weights: Weights) -> None:
    """Raises WeightsError unless every fold is there, unaltered, and this network's."""
    for fold in weights.recipe.folds:
        load_fold(weights.path_of(fold), fold)


def import_folds(
    sources: Sequence[Path], output: Path, *, recipe: Recipe, weights: Sequence[float], validation_dsc: Sequence[float]
) -> Recipe:
    """Writes a folder of weights from plain state dicts, and returns its recipe.

    Args:
        sources: `.pth` files, one a fold, in the order of the folds.
        output: the folder; files in it of the same names are replaced.
        recipe: how the folds were trained to see their input; its folds are set here.
        weights: share of each fold in the mean of logits; empty for the plain mean.
        validation_dsc: of each fold; empty where it is not known.

    Raises:
        WeightsError: a file that is not this network's plain state dict.
        OutputError: the folder cannot be written.
    """
    from autosegnet.io import write_bytes, write_text

    folds = []
    for k, source in enumerate(sources):
        data = fold_bytes(read_pth(source), where=source.name)
        name = f"fold_{k}.safetensors"
        write_bytes(data, output / name)
        folds.append(
            Fold(
                name,
                hashlib.sha256(data).hexdigest(),
                weights[k] if weights else 1.0,
                validation_dsc[k] if validation_dsc else None,
            )
        )
    done = replace(recipe, folds=tuple(folds))
    write_text(to_json(done), output / RECIPE)
    return done


def digest(weights: Weights) -> str:
    """One SHA-256 that changes with any fold: the key under which anything made from the weights may be cached."""
    return hashlib.sha256("".join(fold.sha256 for fold in weights.recipe.folds).encode()).hexdigest()


__all__ = ["RECIPE", "Weights", "digest", "find", "import_folds", "open_weights", "read_verified", "verify"]
