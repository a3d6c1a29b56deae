"""The command line: `autosegnet predict | evaluate | rank | weights`."""

from __future__ import annotations

import argparse
import logging
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from autosegnet import __version__, console
from autosegnet.errors import UsageError
from autosegnet.recipe import Recipe

if TYPE_CHECKING:
    import SimpleITK as sitk

    from autosegnet.engines import Engine
    from autosegnet.pipeline import Maps
    from autosegnet.study import Study
    from autosegnet.weights import Weights

log = logging.getLogger("autosegnet")


def main() -> None:
    """Runs the command line and exits with the contract's code."""
    sys.exit(console.run(_command_line))


def _command_line() -> None:
    parser = console.Parser(prog="autosegnet", description="Lesion segmentation in whole-body FDG PET/CT.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_predict(commands.add_parser("predict", help="segment the lesions of one study"))
    _add_evaluate(commands.add_parser("evaluate", help="DSC, FPV and FNV of masks against the truth"))
    _add_rank(commands.add_parser("rank", help="the challenge's ranking of several teams' metrics"))
    _add_weights(commands.add_parser("weights", help="verify, describe or import the folds"))
    args = parser.parse_args()
    console.log_to(sys.stderr)
    args.run(args)


def _add_predict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pet", type=Path, required=True, help="PET in SUV: .mha, .nii or .nii.gz")
    parser.add_argument("--ct", type=Path, required=True, help="CT in HU, on any grid: .mha, .nii or .nii.gz")
    parser.add_argument("--output", type=Path, required=True, metavar="MASK", help="mask on the PET's grid")
    parser.add_argument(
        "--report", type=Path, metavar="DIR", help="also report.html, its pictures, lesions.csv and .json"
    )
    parser.add_argument("--probability", type=Path, metavar="FILE", help="also the probability of lesion, float32")
    parser.add_argument(
        "--uncertainty",
        type=Path,
        metavar="FILE",
        help="also the standard deviation between the folds' probabilities; takes 4 bytes x voxels x folds more memory",
    )
    console.add_engine_arguments(parser)
    parser.set_defaults(run=_predict)


def _predict(args: argparse.Namespace) -> None:
    from autosegnet.engines import open_engine
    from autosegnet.io import read_image, write_all
    from autosegnet.pipeline import segment
    from autosegnet.report import remove_outdated
    from autosegnet.study import checked_study
    from autosegnet.weights import open_weights

    _probe_outputs(args)
    weights = open_weights(args.weights)
    if args.uncertainty and len(weights.recipe.folds) < 2:
        raise UsageError("--uncertainty is the disagreement between folds, and the weights have one fold")
    with console.study_warnings_kept() as warnings:
        study = checked_study(pet=read_image(args.pet), ct=read_image(args.ct))
        engine = open_engine(weights, device=args.device)
        console.log_engine(engine, weights)
        with console.passes_shown(sys.stderr) as progress:
            found = segment(study, engine, weights.recipe, maps=_maps(args), progress=progress)
    files: dict[Path, sitk.Image | str | bytes] = {args.output: found.mask}
    for path, image in ((args.probability, found.probability), (args.uncertainty, found.uncertainty)):
        if path is not None and image is not None:
            files[path] = image
    pages = {} if args.report is None else _report(study, found.mask, engine, weights, warnings)
    write_all({**files, **{args.report / name: content for name, content in pages.items()}})
    if pages:
        remove_outdated(args.report, pages)
    console.log_lesions(found.mask)


def _probe_outputs(args: argparse.Namespace) -> None:
    from autosegnet.io import probe_image, probe_output
    from autosegnet.report import REPORT_PAGE

    images = [path for path in (args.output, args.probability, args.uncertainty) if path is not None]
    if len({path.resolve() for path in images}) < len(images):
        raise UsageError("--output, --probability and --uncertainty name the same file; expected one each")
    for path in images:
        probe_image(path)
    if args.report is not None:
        probe_output(args.report / REPORT_PAGE)


def _maps(args: argparse.Namespace) -> Maps:
    if args.uncertainty is not None:
        return "probability and uncertainty"
    return "none" if args.probability is None else "probability"


def _report(
    study: Study, mask: sitk.Image, engine: Engine, weights: Weights, warnings: list[str]
) -> dict[str, bytes | str]:
    """The files of the report, by name."""
    from autosegnet.lesions import measure_lesions
    from autosegnet.report import Provenance, report_files
    from autosegnet.weights import digest

    provenance = Provenance(
        software=f"autosegnet {__version__}",
        engine=engine.name,
        weights=digest(weights),
        description=weights.recipe.description,
        suv=("The PET was given in SUV (body weight, g/ml); nothing was converted.",),
        warnings=tuple(warnings),
        made=datetime.now().astimezone(),
    )
    return report_files(study, mask, measure_lesions(mask, study.pet), provenance)


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
