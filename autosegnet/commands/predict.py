"""`autosegnet predict`: one study, its mask, and whatever else is asked for."""

from __future__ import annotations

import argparse
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from autosegnet import __version__, console
from autosegnet.commands.suv import add_input_arguments, input_options
from autosegnet.errors import UsageError

if TYPE_CHECKING:
    import SimpleITK as sitk

    from autosegnet.engines import Engine
    from autosegnet.inputs import LoadedStudy
    from autosegnet.pipeline import Maps
    from autosegnet.weights import Weights


def add_predict_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `autosegnet predict`."""
    parser.add_argument("--pet", type=Path, required=True, help="PET in SUV, .mha, .nii or .nii.gz, or a DICOM folder")
    parser.add_argument(
        "--ct", type=Path, required=True, help="CT in HU, on any grid, likewise; may be the same folder"
    )
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
    add_input_arguments(parser)
    console.add_engine_arguments(parser)


def run_predict(args: argparse.Namespace) -> None:
    """Segments one study and writes all outputs, or none."""
    from autosegnet.engines import open_engine
    from autosegnet.inputs import load_study
    from autosegnet.io import write_all
    from autosegnet.pipeline import segment
    from autosegnet.report import remove_outdated
    from autosegnet.weights import open_weights

    _probe_outputs(args)
    weights = open_weights(args.weights)
    if args.uncertainty and len(weights.recipe.folds) < 2:
        raise UsageError("--uncertainty is the disagreement between folds, and the weights have one fold")
    with console.study_warnings_kept() as warnings:
        loaded = load_study(pet=args.pet, ct=args.ct, options=input_options(args))
        engine = open_engine(weights, device=args.device)
        console.log_engine(engine, weights)
        with console.passes_shown(sys.stderr) as progress:
            found = segment(loaded.study, engine, weights.recipe, maps=_maps(args), progress=progress)
    files: dict[Path, sitk.Image | str | bytes] = {args.output: found.mask}
    for path, image in ((args.probability, found.probability), (args.uncertainty, found.uncertainty)):
        if path is not None and image is not None:
            files[path] = image
    pages = {} if args.report is None else _report(loaded, found.mask, engine, weights, warnings)
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
    for name, path in (("--pet", args.pet), ("--ct", args.ct)):
        if path.resolve() in {image.resolve() for image in images}:
            raise UsageError(f"an output of predict has the place of {name}, which it would replace; name another file")
    for path in images:
        probe_image(path)
    if args.report is not None:
        probe_output(args.report / REPORT_PAGE)


def _maps(args: argparse.Namespace) -> Maps:
    if args.uncertainty is not None:
        return "probability and uncertainty"
    return "none" if args.probability is None else "probability"


def _report(
    loaded: LoadedStudy, mask: sitk.Image, engine: Engine, weights: Weights, warnings: list[str]
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
        suv=_suv_lines(loaded),
        warnings=tuple(warnings),
        made=datetime.now().astimezone(),
    )
    return report_files(loaded.study, mask, measure_lesions(mask, loaded.study.pet), provenance)


def _suv_lines(loaded: LoadedStudy) -> tuple[str, ...]:
    if loaded.conversion is None:
        return ("The PET was given in SUV (body weight, g/ml); nothing was converted.",)
    low, high = min(loaded.conversion.factors), max(loaded.conversion.factors)
    factor = f"{low:.6g}" if low == high else f"{low:.6g} to {high:.6g}"
    return (f"Rule: {loaded.conversion.rule}.", f"Factor from the stored unit to SUV (body weight, g/ml): {factor}.")
