"""`autosegnet suv`, and the options by which `predict` reads DICOM and Bq/ml."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from autosegnet.loading import InputOptions
from autosegnet.suv import MODES


def add_suv_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `autosegnet suv`."""
    parser.add_argument("folder", type=Path, metavar="DICOM_FOLDER", help="folder with one PET series, or more")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="SUV image: .mha, .nii or .nii.gz")
    parser.add_argument("--mode", dest="suv_mode", choices=MODES, default=MODES[0], help="default: %(default)s")
    parser.add_argument("--pet-series", default="", metavar="UID", help="which series, by its UID or the end of it")
    _add_weight(parser)


def run_suv(args: argparse.Namespace) -> None:
    """Writes the PET of a folder in SUV; prints the factor, the rule and every tag used as JSON."""
    from autosegnet.dicom.pet import read_dicom_pet
    from autosegnet.dicom.series import choose_pet, series_in
    from autosegnet.io import probe_image, write_image

    probe_image(args.output)
    series = choose_pet(series_in(args.folder), uid=args.pet_series)
    pet = read_dicom_pet(series, mode=args.suv_mode, weight_kg=args.weight_kg)
    write_image(pet.image, args.output)
    sys.stdout.write(json.dumps(pet.conversion.as_json(), indent=2) + "\n")


def add_input_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say how PET and CT are to be read."""
    group = parser.add_argument_group("reading DICOM and Bq/ml")
    group.add_argument(
        "--pet-series", default="", metavar="UID", help="which PET of a DICOM folder, by (the end of) UID"
    )
    group.add_argument("--ct-series", default="", metavar="UID", help="which CT of a DICOM folder, by (the end of) UID")
    add_mode_argument(group)
    _add_weight(group)
    group.add_argument(
        "--pet-unit", choices=["suv", "bqml"], default="suv", help="of a PET file (default: %(default)s)"
    )
    group.add_argument("--pet-sidecar", type=Path, metavar="FILE.json", help="PET-BIDS sidecar of a PET file in Bq/ml")
    add_file_arguments(group)


def add_file_arguments(group: argparse._ArgumentGroup) -> None:
    """Add the options that say how image files are to be read if they leave a doubt."""
    group.add_argument(
        "--nifti-form",
        choices=["both", "sform", "qform"],
        default="both",
        help="of NIfTI files whose sform and qform differ, the one to believe (default: refuse them)",
    )
    group.add_argument(
        "--nonfinite",
        choices=["refuse", "air"],
        default="refuse",
        help="voxels that are NaN or infinite, as some programs write outside the field of view (default: refuse)",
    )


def add_mode_argument(group: argparse._ArgumentGroup) -> None:
    """Adds the option that says how SUV of a PET in DICOM is derived."""
    group.add_argument("--suv-mode", choices=MODES, default=MODES[0], help="SUV of a DICOM PET (default: %(default)s)")


def input_options(args: argparse.Namespace) -> InputOptions:
    """The options of `add_input_arguments` as a value."""
    return InputOptions(
        pet_series=args.pet_series,
        ct_series=args.ct_series,
        mode=args.suv_mode,
        weight_kg=args.weight_kg,
        pet_unit=args.pet_unit,
        pet_sidecar=args.pet_sidecar,
        nifti_form=args.nifti_form,
        nonfinite=args.nonfinite,
    )


def _add_weight(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    parser.add_argument("--weight-kg", type=float, metavar="W", help="the patient's weight instead of the header's")
