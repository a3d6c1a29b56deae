"""The command `export`: writes trained folds as a folder of weights that `autosegnet` runs.

Fold weights are the mean DSC of the validation folds (paper, section 2.5): those that `cross-validate` measured on the
original grids if it was run, else those of model selection.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from autosegnet.errors import InputError
from autosegnet.io.small_files import read_json
from autosegnet.model.recipe import Recipe
from autosegnet.model.weights import import_folds
from autosegnet_training import runs
from autosegnet_training.cases import FOLDS
from autosegnet_training.cross_validate import SUMMARY
from autosegnet_training.runs import BEST, Trained

log = logging.getLogger(__name__)

# The least weight of a fold, because a recipe has no fold of weight 0.
_LEAST = 1e-3


def add_arguments(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `export` to the parser of `autosegnet-train`."""
    parser = commands.add_parser("export", help="write trained folds as a folder of weights")
    parser.add_argument("--runs", type=Path, required=True, metavar="RUNS", help="folder with fold_0, fold_1, …")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="WEIGHTS", help="folder for recipe.json and folds"
    )
    parser.add_argument("--folds", type=int, default=FOLDS, help="default: %(default)s")
    parser.add_argument(
        "--storage",
        choices=["float16", "int8"],
        default="float16",
        help="int8: three fifths of the space; default: %(default)s",
    )
    parser.add_argument("--description", required=True, help="what the folds were trained on, in one sentence")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Write the folder of weights.

    Raises:
        InputError: a fold that is not finished, folds of different recipes, or a cross-validation of other weights.
        WeightsError: weights beyond float16.    OutputError: the folder cannot be written.
    """
    folds = [runs.open_trained(args.runs, fold) for fold in range(args.folds)]
    scores, source = _read_validation_dsc(args.runs, folds)
    log.info("fold weights from the validation DSC of %s: %s", source, " ".join(f"{s:.4f}" for s in scores))
    recipe = replace(_share_recipe(folds), description=args.description, training=_describe_training(folds, source))
    done = import_folds(
        [trained.best for trained in folds],
        args.output,
        recipe=recipe,
        weights=[max(_LEAST, score) for score in scores],
        validation_dsc=scores,
        storage=args.storage,
    )
    sys.stdout.write(f"{len(done.folds)} folds in {args.output}\n")


def _share_recipe(folds: Sequence[Trained]) -> Recipe:
    for trained in folds[1:]:
        if trained.recipe != folds[0].recipe:
            raise InputError(f"{trained.folder} was trained with another recipe than {folds[0].folder}; expected one")
    return folds[0].recipe


def _read_validation_dsc(folder: Path, folds: Sequence[Trained]) -> tuple[list[float], str]:
    if not os.path.lexists(folder / SUMMARY):
        return [float(trained.result["dsc"] or 0.0) for trained in folds], "model selection"
    summary = read_json(
        folder / SUMMARY,
        lambda entries: [(entry.get("sha256"), float(entry["dsc"])) for entry in entries],
        what="the summary of cross-validate",
        expected='[{"sha256": ..., "dsc": ...}, ...]',
    )
    if [sha256 for sha256, _ in summary] != [trained.compute_sha256() for trained in folds]:
        raise InputError(
            f"{folder / SUMMARY} was made from other weights than the folds' {BEST}; run cross-validate again"
        )
    return [dsc for _, dsc in summary], "cross-validation"


def _describe_training(folds: Sequence[Trained], source: str) -> dict[str, Any]:
    """Describe how the weights were made, without the names of cases and folders."""
    import torch

    from autosegnet import __version__

    settings = dict(folds[0].description["settings"])
    settings["initial"] = Path(settings["initial"]).name  # its path means nothing to others
    return {
        "settings": settings,
        "cases": [
            {"training": len(t.description["training"]), "validation": len(t.description["validation"])} for t in folds
        ],
        "best_epochs": [trained.result["epoch"] for trained in folds],
        "validation_dsc_from": source,
        "versions": {"autosegnet": __version__, "torch": torch.__version__.split("+")[0]},
    }
