"""`autosegnet measure`: measures an existing mask, with the table, report and DICOM results of `predict`."""

from __future__ import annotations

import argparse
import logging
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from autosegnet import __version__
from autosegnet.cli.dicom_options import add_result_arguments, check_results, collect_results, make_result_files
from autosegnet.cli.lesion_options import (
    add_lesion_arguments,
    check_lesion_arguments,
    collect_selection,
    collect_size,
    log_selection,
    read_organs,
)
from autosegnet.cli.suv_command import add_input_arguments, collect_input_options
from autosegnet.errors import UsageError, format_count
from autosegnet.outputs import describe_scan_rows, describe_suv, make_context, make_report, make_viewer, write_results
from autosegnet.runtime.log import keep_study_warnings

if TYPE_CHECKING:
    import SimpleITK as sitk

    from autosegnet.loading import LoadedStudy
    from autosegnet.report import Provenance

log = logging.getLogger(__name__)


def add_measure_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `autosegnet measure`."""
    parser.add_argument(
        "--mask", type=Path, required=True, help="lesions: .nii, .nii.gz, .mha, DICOM SEG or RTSTRUCT file"
    )
    parser.add_argument("--pet", type=Path, required=True, help="PET in SUV, .mha, .nii or .nii.gz, or a DICOM folder")
    parser.add_argument(
        "--ct", type=Path, help="CT in HU, likewise; may be the same folder; without it, no fusion and no landmarks"
    )
    parser.add_argument("--report", type=Path, metavar="DIR", help="report.html, its pictures, lesions.csv and .json")
    parser.add_argument("--output", type=Path, metavar="MASK", help="the mask on the PET's grid, as measured")
    parser.add_argument(
        "--label", nargs="+", default=(), metavar="N|NAME", help="labels, segments or regions that are lesions"
    )
    parser.add_argument("--labelled", action="store_true", help="each label is one lesion, connected or not")
    parser.add_argument(
        "--resample-mask", action="store_true", help="take a mask on another grid: the nearest voxel counts"
    )
    add_lesion_arguments(parser)
    add_input_arguments(parser)
    add_result_arguments(parser)


def run_measure(args: argparse.Namespace) -> None:
    """Measure a mask and write all outputs, or none."""
    from autosegnet.geometry import Grid
    from autosegnet.label_files import read_lesion_mask
    from autosegnet.lesions import measure_selected
    from autosegnet.loading import load_pet, load_study

    results = collect_results(args)
    _check_outputs(args, has_results=bool(results.paths))
    with keep_study_warnings() as warnings:
        options = collect_input_options(args)
        loaded = (
            load_pet(args.pet, options) if args.ct is None else load_study(pet=args.pet, ct=args.ct, options=options)
        )
        check_results(loaded, results)
    grid = Grid.from_image(loaded.study.pet)
    mask = read_lesion_mask(
        args.mask,
        grid,
        labels=args.label,
        labelled=args.labelled,
        resample=args.resample_mask,
        form=args.nifti_form,
        nonfinite=args.nonfinite,
    )
    context = make_context(loaded, organs=read_organs(args), size=collect_size(args))
    if args.ct is None:
        context = replace(context, ct=None)
    mask, table = measure_selected(mask, loaded.study.pet, context, collect_selection(args))
    log_selection(table)
    files: dict[Path, sitk.Image | str | bytes] = {}
    if args.output is not None:
        files[args.output] = _store_smaller(mask)
    files.update(make_result_files(mask, loaded, results, table))
    made_by = _describe(loaded, warnings)
    if args.viewer is not None:
        with_ct = args.ct is not None
        files[args.viewer] = make_viewer(mask, loaded, made_by, table, with_ct=with_ct, title=args.title)
    pages = make_report(mask, loaded, made_by, table, title=args.title) if args.report else {}
    write_results(files, args.report, pages, mask=args.output)
    _print_body(args, table.body.lesions, table.body.tmtv_ml, table.body.tlg_g)


def _check_outputs(args: argparse.Namespace, *, has_results: bool) -> None:
    from autosegnet.io import probe_image, probe_output
    from autosegnet.io.places import OutputFolder, check_outputs
    from autosegnet.report import REPORT_PAGE, is_report_file

    check_lesion_arguments(args)
    if args.report is None and args.output is None and args.viewer is None and not has_results:
        raise UsageError(
            "measure would write nothing; give --report, --viewer, --output, --dicom-seg, --dicom-sr or --rtstruct"
        )
    report = None if args.report is None else OutputFolder(args.report, is_report_file)
    objects = {"--dicom-seg": args.dicom_seg, "--dicom-sr": args.dicom_sr, "--rtstruct": args.rtstruct}
    inputs = {"--mask": args.mask, "--pet": args.pet, "--ct": args.ct, "--organs": args.organs}
    check_outputs({"--output": args.output, **objects, "--report": report, "--viewer": args.viewer}, inputs=inputs)
    if args.output is not None:
        probe_image(args.output)
    for path in (*objects.values(), args.viewer):
        if path is not None:
            probe_output(path)
    if args.report is not None:
        probe_output(args.report / REPORT_PAGE)


def _store_smaller(mask: sitk.Image) -> sitk.Image:
    """Return a mask with its labels, as uint8 if they fit, else as uint16."""
    import numpy as np

    from autosegnet.geometry import Grid, make_image, view_voxels

    values = view_voxels(mask)
    kind = np.uint8 if values.max(initial=0) <= np.iinfo(np.uint8).max else np.uint16
    return make_image(values.astype(kind), Grid.from_image(mask))


def _describe(loaded: LoadedStudy, warnings: list[str]) -> Provenance:
    from autosegnet.report import Provenance

    return Provenance(
        software=f"autosegnet {__version__}",
        engine="the mask was given, no network was run",
        weights="none",
        description="none were used",
        suv=describe_suv(loaded),
        warnings=tuple(warnings),
        made=datetime.now().astimezone(),
        scan=describe_scan_rows(loaded.scan),
    )


def _print_body(args: argparse.Namespace, lesions: int, tmtv_ml: float, tlg_g: float) -> None:
    log.info("%s, %.2f ml, TLG %.2f g", format_count(lesions, "lesion"), tmtv_ml, tlg_g)
    if args.report is not None:
        log.info("report: %s", args.report)
