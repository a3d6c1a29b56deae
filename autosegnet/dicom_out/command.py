"""The options of `predict` that ask for DICOM results."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from autosegnet.dicom_out.results import DicomResults
from autosegnet.errors import UsageError
from autosegnet.io import probe_output

if TYPE_CHECKING:
    import SimpleITK as sitk

    from autosegnet.inputs import LoadedStudy


def add_result_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options that ask for DICOM results."""
    group = parser.add_argument_group("DICOM results (with a PET in DICOM)")
    group.add_argument("--dicom-seg", type=Path, metavar="FILE", help="the mask as DICOM Segmentation")
    group.add_argument(
        "--dicom-seg-segments",
        choices=["all", "per-lesion"],
        default="all",
        help="one segment in all, or one a lesion (default: %(default)s)",
    )
    group.add_argument("--dicom-sr", type=Path, metavar="FILE", help="the lesions' figures as measurement report (SR)")
    group.add_argument("--rtstruct", type=Path, metavar="FILE", help="the lesions' outlines as structure set")


def wanted_results(args: argparse.Namespace) -> DicomResults:
    """The results asked for, each probed for whether it can be written.

    Raises:
        UsageError: the PET is no DICOM folder, or two results have one path.
        OutputError: a result cannot be written.
    """
    per_lesion = args.dicom_seg_segments == "per-lesion"
    results = DicomResults(
        segmentation=args.dicom_seg, report=args.dicom_sr, structure_set=args.rtstruct, per_lesion=per_lesion
    )
    if results.paths and not args.pet.is_dir():
        raise UsageError("--dicom-seg, --dicom-sr and --rtstruct need a PET in DICOM; --pet is no folder")
    if per_lesion and results.segmentation is None:
        raise UsageError("--dicom-seg-segments is for --dicom-seg FILE, which is missing")
    if len({path.resolve() for path in (*results.paths, args.output)}) <= len(results.paths):
        raise UsageError("--output, --dicom-seg, --dicom-sr and --rtstruct need different files")
    for path in results.paths:
        probe_output(path)
    return results


def write_wanted(mask: sitk.Image, loaded: LoadedStudy, results: DicomResults) -> None:
    """Writes the results asked for, all or none.

    Raises:
        OutputError: one cannot be written.
    """
    if results.paths:
        from autosegnet.dicom_out.results import write_results

        assert loaded.source is not None
        write_results(mask, loaded.study.pet, loaded.source, results)
