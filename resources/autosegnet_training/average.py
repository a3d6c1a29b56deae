"""The command `average`: makes folds whose weights are the means of several sets of folds.

Folds that were trained on from a common start lie in one basin of the loss, so the mean of their weights is a network
too, often better than each (Wortsman et al. 2022, "Model soups" and "Robust fine-tuning of zero-shot models"). It takes
no more time to run than one of them. Folds that were trained apart must not be averaged: their mean knows nothing.
"""

from __future__ import annotations

import argparse
import logging
import math
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from autosegnet.errors import InputError, UsageError, WeightsError
from autosegnet.model.network import load_fold, make_network
from autosegnet.model.recipe import Recipe
from autosegnet.model.weights import Weights, digest, import_folds, open_weights
from autosegnet_training.arrays import PreparedFolder, load, open_prepared
from autosegnet_training.cases import split_fold
from autosegnet_training.starter import make_engine, measure_dice, write_network

_Mean = Sequence[tuple[Weights, float]]  # sets of folds and their shares, of the sum 1

log = logging.getLogger(__name__)


def add_arguments(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `average` to the parser of `autosegnet-train`."""
    parser = commands.add_parser(
        "average", help="sets of folds, each trained further from the one before -> their mean"
    )
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="WEIGHTS=SHARE",
        help="folder of weights and its share in the mean, such as newer=0.5 older=0.5; shares are relative",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="WEIGHTS", help="folder for the mean")
    parser.add_argument("--description", required=True, help="what the folds were trained on, in one sentence")
    parser.add_argument(
        "--prepared",
        type=Path,
        metavar="DIR",
        help="folder that prepare wrote, to measure every fold on its validation cases; else their DSC stays unknown",
    )
    parser.add_argument(
        "--storage", choices=["float16", "int8"], default="float16", help="of the folds; default: %(default)s"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Write the folder of averaged folds.

    Raises:
        UsageError: fewer than two sources, or a share that is no positive number.
        WeightsError: folds that cannot be read, or sets that differ in their number or in their recipe.
        InputError: cases that cannot be read, or of another grid.    OutputError: the folder cannot be written.
    """
    mean = open_sources(args.sources)
    recipe = replace(mean[0][0].recipe, folds=(), description=args.description, training=_describe(mean))
    prepared = None if args.prepared is None else _open_cases(args.prepared, recipe)
    scores = []
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"fold_{fold}.pt" for fold in range(len(mean[0][0].recipe.folds))]
        for fold, file in enumerate(files):
            network = average_fold(mean, fold)
            write_network(network, file)
            if prepared is not None:
                scores.append(_measure(network, prepared, fold, recipe))
                log.info("fold_%d: mean Dice %.3f of its validation cases, on the working grid", fold, scores[-1])
        done = import_folds(files, args.output, recipe=recipe, weights=[], validation_dsc=scores, storage=args.storage)
    sys.stdout.write(f"{len(done.folds)} folds in {args.output}\n")


def open_sources(arguments: Sequence[str]) -> _Mean:
    """Return the sets of folds that `WEIGHTS=SHARE` names, and their shares, which then add up to 1."""
    shares = [_parse_source(argument) for argument in arguments]
    if len(shares) < 2:
        raise UsageError("average got one set of folds; expected two or more, such as newer=0.5 older=0.5")
    total = sum(share for _, share in shares)
    mean = [(open_weights(folder), share / total) for folder, share in shares]
    first = mean[0][0]
    for weights, _ in mean[1:]:
        if len(weights.recipe.folds) != len(first.recipe.folds):
            raise WeightsError(
                f"{weights.folder} holds {len(weights.recipe.folds)} folds and {first.folder} "
                f"{len(first.recipe.folds)}; expected the same number"
            )
        if _describe_view(weights.recipe) != _describe_view(first.recipe):
            raise WeightsError(f"{weights.folder} has another recipe than {first.folder}; expected the same")
    return mean


def average_fold(mean: _Mean, fold: int) -> torch.nn.Module:
    """Return the network whose weights are the mean of one fold of every set."""
    total: dict[str, torch.Tensor] = {}
    for weights, share in mean:
        entry = weights.recipe.folds[fold]
        network = load_fold(weights.find_path(entry), entry, inputs=weights.recipe.input_channels)
        for key, tensor in network.state_dict().items():
            if not tensor.is_floating_point():
                total.setdefault(key, tensor)  # a count of batches, which inference does not use
            elif key in total:
                total[key] += share * tensor
            else:
                total[key] = share * tensor
    return make_network(total, where=f"the mean of fold {fold}", inputs=mean[0][0].recipe.input_channels)


def _parse_source(argument: str) -> tuple[Path, float]:
    folder, _, share = argument.rpartition("=")
    try:
        number = float(share)
    except ValueError:
        number = math.nan
    if not folder or not 0 < number < math.inf:
        raise UsageError(f"argument {argument!r} of average; expected WEIGHTS=SHARE with a share above 0")
    return Path(folder), number


def _describe_view(recipe: Recipe) -> Recipe:
    """Return what of a recipe its folds depend on."""
    return replace(recipe, folds=(), description="", training=None)


def _describe(mean: _Mean) -> dict[str, object]:
    return {
        "mean_of": [
            {
                "share": share,
                "weights": digest(weights),
                "description": weights.recipe.description,
                "training": weights.recipe.training,
            }
            for weights, share in mean
        ]
    }


def _open_cases(folder: Path, recipe: Recipe) -> PreparedFolder:
    prepared = open_prepared(folder)
    grid, wanted = (
        (seen.spacing_mm, seen.ct_window_hu, seen.suv_limit, seen.crop) for seen in (prepared.recipe, recipe)
    )
    if grid != wanted:
        raise InputError(f"{folder} was prepared with another recipe than that of the folds; prepare it again")
    return prepared


def _measure(network: torch.nn.Module, prepared: PreparedFolder, fold: int, recipe: Recipe) -> float:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    _, validation = split_fold(prepared.cases, fold)
    cases = [load(prepared.folder, case.name) for case in validation]
    return measure_dice(cases, make_engine(network.to(device), device), recipe)
