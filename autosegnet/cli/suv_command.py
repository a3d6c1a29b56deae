"""`autosegnet suv`, and the options by which `predict` reads DICOM and Bq/ml."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from autosegnet.cli.options import add_file_arguments
from autosegnet.loading import InputOptions, log_conversion
from autosegnet.runtime.standard_streams import print_result
from autosegnet.suv import MODES, StatedFacts


def add_suv_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `autosegnet suv`."""
    parser.add_argument("folder", type=Path, metavar="DICOM_FOLDER", help="folder with one PET series, or more")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="SUV image: .mha, .nii or .nii.gz")
    parser.add_argument("--suv-mode", "--mode", choices=MODES, default=MODES[0], help="default: %(default)s")
    parser.add_argument("--pet-series", default="", metavar="UID", help="which series, by its UID or the end of it")
    _add_fact_arguments(parser)


def run_suv(args: argparse.Namespace) -> None:
    """Write the PET of a folder in SUV; print the factor, the rule and every tag used as JSON."""
    from autosegnet.dicom.choice import Chooser, choose_pet
    from autosegnet.dicom.pet import read_dicom_pet
    from autosegnet.dicom.series import gather_series
    from autosegnet.io import probe_image, write_image
    from autosegnet.io.places import check_outputs, remove_older

    output = {"--output": args.output}
    check_outputs(output, inputs={"DICOM_FOLDER": args.folder})
    probe_image(args.output)
    remove_older(output)
    facts = collect_facts(args)
    series = choose_pet(gather_series(args.folder), Chooser(pet_uid=args.pet_series, facts=facts))
    pet = read_dicom_pet(series, mode=args.suv_mode, facts=facts)
    log_conversion(pet.conversion)
    write_image(pet.image, args.output)
    print_result(json.dumps(pet.conversion.describe(), indent=2) + "\n")


def add_input_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how PET and CT are to be read."""
    group = parser.add_argument_group("reading DICOM and Bq/ml")
    group.add_argument(
        "--pet-series", default="", metavar="UID", help="PET series of a DICOM folder, by its UID or the end of it"
    )
    group.add_argument(
        "--ct-series", default="", metavar="UID", help="CT series of a DICOM folder, by its UID or the end of it"
    )
    add_mode_argument(group)
    group.add_argument(
        "--pet-unit", choices=["suv", "bqml"], default="suv", help="unit of a PET file (default: %(default)s)"
    )
    group.add_argument("--pet-sidecar", type=Path, metavar="FILE.json", help="PET-BIDS sidecar of a PET file in Bq/ml")
    add_file_arguments(group)
    facts = parser.add_argument_group("facts that replace those of header or sidecar; every output says so")
    _add_fact_arguments(facts)
    facts.add_argument("--same-frame", action="store_true", help="PET and CT lie in one frame of reference")


def add_mode_argument(group: argparse._ArgumentGroup) -> None:
    """Add the option that says how SUV of a PET in DICOM is derived."""
    group.add_argument(
        "--suv-mode", choices=MODES, default=MODES[0], help="how SUV is derived from a DICOM PET (default: %(default)s)"
    )


def collect_input_options(args: argparse.Namespace) -> InputOptions:
    """Return the options of `add_input_arguments` as a value."""
    return InputOptions(
        pet_series=args.pet_series,
        ct_series=args.ct_series,
        mode=args.suv_mode,
        facts=collect_facts(args),
        pet_unit=args.pet_unit,
        pet_sidecar=args.pet_sidecar,
        nifti_form=args.nifti_form,
        nonfinite=args.nonfinite,
    )


def collect_facts(args: argparse.Namespace) -> StatedFacts:
    """Return what the options state.

    Raises:
        UsageError: a fact that cannot be true.
    """
    return StatedFacts(
        injection_time=args.injection_time,
        scan_time=args.scan_time,
        dose_mbq=args.dose_mbq,
        weight_kg=args.weight_kg,
        height_cm=args.height_cm,
        same_frame=getattr(args, "same_frame", False),
        attenuation_corrected=args.attenuation_corrected,
    )


def _add_fact_arguments(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    time = "HH:MM:SS on the scan's day, or 'YYYY-MM-DD HH:MM:SS'"
    parser.add_argument("--injection-time", default="", metavar="TIME", help=time)
    parser.add_argument(
        "--scan-time", default="", metavar="TIME", help="time to which the PET is decay-corrected, else of its start"
    )
    parser.add_argument("--dose-mbq", type=float, metavar="MBQ", help="injected activity")
    parser.add_argument("--weight-kg", type=float, metavar="KG", help="the patient's weight")
    parser.add_argument("--height-cm", type=float, metavar="CM", help="the patient's height")
    parser.add_argument("--attenuation-corrected", action="store_true", help="the PET is corrected for attenuation")
