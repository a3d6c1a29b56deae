"""The command line: `autosegnet predict | suv | evaluate | rank | weights`."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from autosegnet import __version__, console
from autosegnet.errors import UsageError
from autosegnet.recipe import Recipe

log = logging.getLogger("autosegnet")


def main() -> None:
    """Runs the command line and exits with the contract's code."""
    sys.exit(console.run(_command_line))


def _command_line() -> None:
    parser = console.Parser(prog="autosegnet", description="Lesion segmentation in whole-body FDG PET/CT.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_predict(commands.add_parser("predict", help="segment the lesions of one study"))
    _add_suv(commands.add_parser("suv", help="PET of a DICOM folder in SUV, and how it was derived"))
    _add_evaluate(commands.add_parser("evaluate", help="DSC, FPV and FNV of masks against the truth"))
    _add_rank(commands.add_parser("rank", help="the challenge's ranking of several teams' metrics"))
    _add_weights(commands.add_parser("weights", help="verify, describe or import the folds"))
    args = parser.parse_args()
    console.log_to(sys.stderr)
    args.run(args)


def _add_predict(parser: argparse.ArgumentParser) -> None:
    from autosegnet.suv_command import add_input_arguments

    parser.add_argument("--pet", type=Path, required=True, help="PET in SUV, .mha, .nii or .nii.gz, or a DICOM folder")
    parser.add_argument(
        "--ct", type=Path, required=True, help="CT in HU, on any grid, likewise; may be the same folder"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="MASK", help="mask on the PET's grid")
    add_input_arguments(parser)
    console.add_engine_arguments(parser)
    parser.set_defaults(run=_predict)


def _predict(args: argparse.Namespace) -> None:
    from autosegnet.engines import open_engine
    from autosegnet.inputs import load_study
    from autosegnet.io import probe_output, write_image
    from autosegnet.pipeline import segment
    from autosegnet.suv_command import input_options
    from autosegnet.weights import open_weights

    probe_output(args.output)
    weights = open_weights(args.weights)
    loaded = load_study(pet=args.pet, ct=args.ct, options=input_options(args))
    engine = open_engine(weights, device=args.device)
    console.log_engine(engine, weights)
    with console.passes_shown(sys.stderr) as progress:
        found = segment(loaded.study, engine, weights.recipe, progress=progress)
    write_image(found.mask, args.output)
    console.log_lesions(found.mask)


def _add_suv(parser: argparse.ArgumentParser) -> None:
    from autosegnet.suv_command import add_suv_arguments, run_suv

    add_suv_arguments(parser)
    parser.set_defaults(run=run_suv)


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    from autosegnet.evaluate.command import add_evaluate_arguments, run_evaluate

    add_evaluate_arguments(parser)
    parser.set_defaults(run=run_evaluate)


def _add_rank(parser: argparse.ArgumentParser) -> None:
    from autosegnet.evaluate.command import add_rank_arguments, run_rank

    add_rank_arguments(parser)
    parser.set_defaults(run=run_rank)


def _add_weights(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    verify = actions.add_parser("verify", help="check every fold: SHA-256, keys, shapes, finite values")
    verify.set_defaults(run=_verify)
    info = actions.add_parser("info", help="what the weights are and how they were made")
    info.set_defaults(run=_info)
    for action in (verify, info):
        action.add_argument("--weights", type=Path, metavar="DIR", help="default: as for predict")
    imported = actions.add_parser("import", help="make a folder of weights from plain .pth state dicts, one a fold")
    imported.add_argument("folds", type=Path, nargs="+", metavar="FOLD.pth")
    imported.add_argument("--output", type=Path, required=True, metavar="DIR")
    imported.add_argument("--fold-weights", type=float, nargs="+", default=[], metavar="W", help="default: plain mean")
    imported.add_argument("--validation-dsc", type=float, nargs="+", default=[], metavar="DSC")
    imported.add_argument(
        "--crop", choices=["body", "ct_foreground"], default="ct_foreground", help="%(default)s fits the authors' folds"
    )
    imported.add_argument("--description", default="", help="what the folds were trained on, in one sentence")
    imported.set_defaults(run=_import)


def _verify(args: argparse.Namespace) -> None:
    from autosegnet.weights import open_weights, verify

    weights = open_weights(args.weights)
    verify(weights)
    sys.stdout.write(f"{len(weights.recipe.folds)} folds verified in {weights.folder}\n")


def _info(args: argparse.Namespace) -> None:
    from autosegnet.recipe import to_json
    from autosegnet.weights import digest, open_weights

    weights = open_weights(args.weights)
    sys.stdout.write(to_json(weights.recipe))
    log.info("weights %s in %s", digest(weights)[:12], weights.folder)


def _import(args: argparse.Namespace) -> None:
    from autosegnet.weights import import_folds

    for name, values in (("--fold-weights", args.fold_weights), ("--validation-dsc", args.validation_dsc)):
        if values and len(values) != len(args.folds):
            raise UsageError(f"{name} has {len(values)} values for {len(args.folds)} folds")
    if any(not w > 0 for w in args.fold_weights):
        raise UsageError("--fold-weights must be positive")
    recipe = import_folds(
        args.folds,
        args.output,
        recipe=Recipe(crop=args.crop, description=args.description),
        weights=args.fold_weights,
        validation_dsc=args.validation_dsc,
    )
    sys.stdout.write(f"{len(recipe.folds)} folds imported into {args.output}\n")


if __name__ == "__main__":
    main()
