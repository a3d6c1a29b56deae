"""`autosegnet weights verify | info | import`."""

from __future__ import annotations

import argparse
import logging
import math
from pathlib import Path

from autosegnet.errors import UsageError, WeightsError
from autosegnet.model.recipe import ClickChannels, Recipe, format_recipe
from autosegnet.runtime.standard_streams import print_result

log = logging.getLogger(__name__)


def add_weights_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the three actions."""
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    verify = actions.add_parser("verify", help="check every fold: SHA-256, keys, shapes, finite values")
    verify.set_defaults(run=_verify)
    info = actions.add_parser("info", help="what the weights are and how they were made, as JSON")
    info.set_defaults(run=_print_info)
    for action in (verify, info):
        action.add_argument("--weights", type=Path, metavar="DIR", help="folder of weights (default: as for predict)")
    imported = actions.add_parser("import", help="make a folder of weights from files of torch.save, one per fold")
    imported.add_argument("folds", type=Path, nargs="+", metavar="FOLD.pth", help="one file per fold, in order")
    imported.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to write")
    share = "share of each fold in the mean of logits (default: equal)"
    imported.add_argument("--fold-weights", type=float, nargs="+", default=[], metavar="W", help=share)
    score = "mean validation DSC of each fold, for the recipe"
    imported.add_argument("--validation-dsc", type=float, nargs="+", default=[], metavar="DSC", help=score)
    imported.add_argument(
        "--crop",
        choices=["body", "ct_foreground"],
        default="ct_foreground",
        help="how the body is cropped (default: %(default)s, which fits the authors' folds)",
    )
    default = Recipe()
    imported.add_argument(
        "--spacing",
        type=float,
        nargs=3,
        default=default.spacing_mm,
        metavar=("X", "Y", "Z"),
        help="mm, as the folds were trained (default: 2 2 2)",
    )
    imported.add_argument(
        "--patch",
        type=int,
        nargs=3,
        default=default.patch,
        metavar=("X", "Y", "Z"),
        help="window in voxels, multiples of 16 (default: 192 192 192)",
    )
    imported.add_argument(
        "--ct-window",
        type=float,
        nargs=2,
        default=default.ct_window_hu,
        metavar=("LOW", "HIGH"),
        help="HU that the CT was clipped to in training (default: -1024 1024)",
    )
    imported.add_argument(
        "--suv-limit",
        type=float,
        metavar="SUV",
        help="SUV that the PET was clipped to in training (default: not clipped)",
    )
    imported.add_argument(
        "--click-reach",
        type=float,
        metavar="MM",
        help="the folds take clicks, in two more channels that fall from 1 at a click to 0 this far from it, as they "
        "were trained (default: they take CT and PET alone)",
    )
    imported.add_argument(
        "--last-step",
        choices=["softmax", "two_sigmoids"],
        default=default.last_step,
        help="two_sigmoids: the mask as the authors' published inference makes it (default: %(default)s)",
    )
    imported.add_argument(
        "--passes",
        choices=["windows", "layers"],
        default=default.passes,
        help="layers: each layer of windows covers only the body in it, so scans to the feet take about a quarter less "
        "time; the mask changes; needs --crop body (default: %(default)s)",
    )
    imported.add_argument(
        "--storage",
        choices=["float16", "int8"],
        default="float16",
        help="how the folds are stored; int8 takes three fifths of the space (default: %(default)s)",
    )
    imported.add_argument("--description", default="", help="what the folds were trained on, in one sentence")
    imported.set_defaults(run=_import)


def _verify(args: argparse.Namespace) -> None:
    from autosegnet.model.folded import verify
    from autosegnet.model.weights import open_weights

    weights = open_weights(args.weights)
    verify(weights)
    print_result(f"{len(weights.recipe.folds)} folds verified in {weights.folder}\n")


def _print_info(args: argparse.Namespace) -> None:
    from autosegnet.model.weights import digest, open_weights

    weights = open_weights(args.weights)
    print_result(format_recipe(weights.recipe))
    log.info("weights %s in %s", digest(weights)[:12], weights.folder)


def _import(args: argparse.Namespace) -> None:
    from autosegnet.model.weights import import_folds

    for name, values in (("--fold-weights", args.fold_weights), ("--validation-dsc", args.validation_dsc)):
        if values and len(values) != len(args.folds):
            raise UsageError(f"{name} has {len(values)} values for {len(args.folds)} folds")
    if not all(0 < w < math.inf for w in args.fold_weights):
        raise UsageError("--fold-weights must be positive and finite")
    recipe = import_folds(
        args.folds,
        args.output,
        recipe=_read_recipe_of(args),
        weights=args.fold_weights,
        validation_dsc=args.validation_dsc,
        storage=args.storage,
    )
    print_result(f"{len(recipe.folds)} folds imported into {args.output}\n")


def _read_recipe_of(args: argparse.Namespace) -> Recipe:
    if args.passes == "layers" and args.crop != "body":
        raise UsageError("--passes layers needs --crop body, which finds the outline of the body")
    try:
        return Recipe(
            spacing_mm=tuple(args.spacing),
            patch=tuple(args.patch),
            ct_window_hu=tuple(args.ct_window),
            suv_limit=args.suv_limit,
            crop=args.crop,
            passes=args.passes,
            last_step=args.last_step,
            click_channels=None if args.click_reach is None else ClickChannels(args.click_reach),
            description=args.description,
        )
    except WeightsError as error:
        raise UsageError(str(error)) from error
