"""`autosegnet predict`: one study, its mask, and whatever else is asked for."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from autosegnet.cli.dicom_options import add_result_arguments, check_results, collect_results, make_result_files
from autosegnet.cli.lesion_options import (
    add_lesion_arguments,
    check_lesion_arguments,
    collect_selection,
    collect_size,
    log_selection,
    read_organs,
)
from autosegnet.cli.options import add_engine_arguments
from autosegnet.cli.suv_command import add_input_arguments, collect_input_options
from autosegnet.errors import UsageError, format_path
from autosegnet.outputs import log_lesions, make_context, make_report, make_viewer, write_results
from autosegnet.runtime.progress import show_passes

if TYPE_CHECKING:
    import SimpleITK as sitk

    from autosegnet.dicom.results import DicomResults
    from autosegnet.io.places import OutputFolder
    from autosegnet.lesions import LesionTable, OrganLabels
    from autosegnet.segmenter import Result

log = logging.getLogger(__name__)


def add_predict_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `autosegnet predict`."""
    parser.add_argument("--pet", type=Path, required=True, help="PET in SUV, .mha, .nii or .nii.gz, or a DICOM folder")
    parser.add_argument(
        "--ct", type=Path, required=True, help="CT in HU on any grid, in any of these forms; may be the same folder"
    )
    parser.add_argument("--output", type=Path, metavar="MASK", help="mask on the PET's grid; needed without --result")
    parser.add_argument(
        "--result",
        type=Path,
        metavar="DIR",
        help="write mask, probability, report and viewer's page into a folder of its own, which `compare` takes; "
        "study.json names where PET and CT lie",
    )
    parser.add_argument(
        "--report",
        type=Path,
        metavar="DIR",
        help="also write report.html, its pictures, lesions.csv and lesions.json into DIR",
    )
    parser.add_argument(
        "--probability", type=Path, metavar="FILE", help="also write the probability of lesion, float32"
    )
    parser.add_argument(
        "--uncertainty",
        type=Path,
        metavar="FILE",
        help="also write the standard deviation of the folds' probabilities; takes 4 bytes x voxels x folds of memory",
    )
    add_lesion_arguments(parser)
    parser.add_argument(
        "--clicks",
        type=Path,
        metavar="FILE",
        help="JSON file of clicks and scribbles, which correct the mask (grand-challenge's lesion-clicks.json)",
    )
    add_input_arguments(parser)
    add_result_arguments(parser)
    add_engine_arguments(parser)


def run_predict(args: argparse.Namespace) -> None:
    """Segment one study and write all outputs, or none."""
    from autosegnet.segmenter import Segmenter

    _place_in_result(args)
    results = collect_results(args)
    check_lesion_arguments(args)
    organs = read_organs(args)
    _prepare_outputs(args, results)
    segmenter = Segmenter(args.weights, device=args.device, fast=args.fast, precision=args.precision)
    if args.clicks is not None and (args.drop_flagged or args.min_volume > 0):
        raise UsageError(
            "--drop-flagged and --min-volume may leave out what --clicks marks; give either them or --clicks"
        )
    if args.uncertainty and len(segmenter.weights.recipe.folds) < 2:
        raise UsageError("--uncertainty is the disagreement between folds, and the weights have one fold")
    with show_passes(sys.stderr) as progress:
        result = segmenter(
            args.pet,
            args.ct,
            options=collect_input_options(args),
            probability=any(path is not None for path in (args.probability, args.report, args.viewer)),
            uncertainty=args.uncertainty is not None,
            clicks=args.clicks,
            progress=progress,
            check=partial(check_results, results=results),
        )
    _write(args, result, organs, results)


def _write(args: argparse.Namespace, result: Result, organs: OrganLabels | None, results: DicomResults) -> None:
    """Write all outputs, or none."""
    from autosegnet.comparison.result_folder import StudyFiles, format_study_file
    from autosegnet.result_files import STUDY_FILE, is_result_file

    mask, table = _measure(args, result, organs) if _wants_figures(args, results) else (result.mask, None)
    loaded, made_by = result.loaded, result.provenance
    files: dict[Path, sitk.Image | str | bytes] = {args.output: mask}
    for path, image in ((args.probability, result.probability), (args.uncertainty, result.uncertainty)):
        if path is not None:
            files[path] = image
    files.update(make_result_files(mask, loaded, results, table))
    pages: dict[str, bytes | str] = {}
    if args.viewer is not None and table is not None:
        shown = {"probability": result.probability, "clicks": result.clicks}
        files[args.viewer] = make_viewer(mask, loaded, made_by, table, title=args.title, **shown)
    if args.report is not None and table is not None:
        pages = make_report(mask, loaded, made_by, table, title=args.title)
    if args.result is not None:
        options, size = collect_input_options(args), collect_size(args)
        study = StudyFiles(args.pet, args.ct, options, size, args.organs, args.organ_table)
        others = [path.name for path in files if path.parent == args.result and not is_result_file(path.name)]
        files[args.result / STUDY_FILE] = format_study_file(args.result, study, others=others)
    write_results(files, args.report, pages, result=args.result)
    _log_outputs(args, files)
    log_lesions(mask)


def _place_in_result(args: argparse.Namespace) -> None:
    """Give the outputs that --result asks for their places in its folder, unless they have others.

    Raises:
        UsageError: there is neither --output nor --result.
    """
    from autosegnet.result_files import MASK_FILE, PROBABILITY_FILE, VIEWER_PAGE

    if args.result is None:
        if args.output is None:
            raise UsageError("predict would write no mask; give --output MASK or --result DIR")
        return
    if args.output is not None:
        raise UsageError("--result names the mask's place itself; leave out --output")
    args.output = args.result / MASK_FILE
    args.probability = args.probability or args.result / PROBABILITY_FILE
    args.report = args.report or args.result
    args.viewer = args.viewer or args.result / VIEWER_PAGE


def _log_outputs(args: argparse.Namespace, files: Iterable[Path]) -> None:
    from autosegnet.report import REPORT_PAGE

    written = [*files, *([] if args.report is None else [args.report / REPORT_PAGE])]
    log.info("wrote %s", ", ".join(map(format_path, written)))


def _wants_figures(args: argparse.Namespace, results: DicomResults) -> bool:
    has_table = any(output is not None for output in (args.report, args.viewer, results.report))
    return has_table or args.drop_flagged or args.min_volume > 0


def _measure(args: argparse.Namespace, result: Result, organs: OrganLabels | None) -> tuple[sitk.Image, LesionTable]:
    """Return the mask without what is left out, and its figures."""
    from autosegnet.lesions import measure_selected

    context = make_context(
        result.loaded,
        organs=organs,
        probability=result.probability,
        uncertainty=result.uncertainty,
        size=collect_size(args),
    )
    mask, table = measure_selected(result.mask, result.loaded.study.pet, context, collect_selection(args))
    log_selection(table)
    return mask, table


def _prepare_outputs(args: argparse.Namespace, results: DicomResults) -> None:
    """Refuse outputs that cannot be written or would replace something, and remove those of an earlier run."""
    from autosegnet.io import probe_image, probe_output
    from autosegnet.io.places import OutputFolder, check_outputs, remove_older
    from autosegnet.model.weights import find_or_none
    from autosegnet.report import REPORT_PAGE, is_report_file
    from autosegnet.result_files import STUDY_FILE, find_pages_of

    images = {"--output": args.output, "--probability": args.probability, "--uncertainty": args.uncertainty}
    objects = {"--dicom-seg": args.dicom_seg, "--dicom-sr": args.dicom_sr, "--rtstruct": args.rtstruct}
    report = None if args.report is None else OutputFolder(args.report, is_report_file)
    outputs = {**images, **objects, "--report": report, "--viewer": args.viewer}
    if args.result is not None:
        outputs["--result"] = args.result / STUDY_FILE
    weights = find_or_none(args.weights)
    stated = {"--pet-sidecar": args.pet_sidecar, "--clicks": args.clicks, "--organs": args.organs}
    inputs = {"--pet": args.pet, "--ct": args.ct, **stated, "--weights": weights}
    check_outputs(outputs, inputs=inputs)
    older = _list_older_folders(args)
    for name, folder in older.items():
        check_outputs({name: folder}, inputs=inputs)
    for path in images.values():
        if path is not None:
            probe_image(path)
    for path in (*results.paths, *([] if args.viewer is None else [args.viewer])):
        probe_output(path)
    if args.report is not None:
        probe_output(args.report / REPORT_PAGE)
    places = {args.output.parent, *(path for path in (args.report, args.viewer and args.viewer.parent) if path)}
    pages = {f"page {n}": page for n, page in enumerate(find_pages_of(args.output, places))}
    remove_older({**pages, **outputs})
    remove_older(older)


def _list_older_folders(args: argparse.Namespace) -> dict[str, OutputFolder]:
    """Return the folders that belong to this result alone, with all that an earlier run may have left in them."""
    from autosegnet.comparison.result_folder import list_other_files
    from autosegnet.io.places import OutputFolder
    from autosegnet.result_files import is_page_file, is_result_file

    older = {} if args.report is None else {"--report": OutputFolder(args.report, is_page_file)}
    if args.result is not None:
        others = list_other_files(args.result)
        older["--result"] = OutputFolder(args.result, lambda name: name in others or is_result_file(name))
    return older
