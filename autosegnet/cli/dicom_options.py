"""The options of `predict` that ask for DICOM results."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from autosegnet.dicom.results import DicomResults
from autosegnet.errors import UsageError

if TYPE_CHECKING:
    import SimpleITK as sitk

    from autosegnet.lesions import LesionTable
    from autosegnet.loading import LoadedStudy


def add_result_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that ask for DICOM results."""
    group = parser.add_argument_group("DICOM results (with a PET in DICOM)")
    group.add_argument("--dicom-seg", type=Path, metavar="FILE", help="the mask as DICOM Segmentation")
    group.add_argument(
        "--dicom-seg-segments",
        choices=["all", "per-lesion"],
        default="all",
        help="one segment for all lesions, or one per lesion (default: %(default)s)",
    )
    group.add_argument("--dicom-sr", type=Path, metavar="FILE", help="the lesions' figures as measurement report (SR)")
    group.add_argument("--rtstruct", type=Path, metavar="FILE", help="the lesions' outlines as structure set")
    group.add_argument(
        "--dicom-anonymous", action="store_true", help="leave patient and study attributes out of these files"
    )


def collect_results(args: argparse.Namespace) -> DicomResults:
    """Return the DICOM results that the options ask for.

    Raises:
        UsageError: the PET is not a DICOM folder, or options contradict each other.
    """
    per_lesion = args.dicom_seg_segments == "per-lesion"
    results = DicomResults(
        segmentation=args.dicom_seg,
        report=args.dicom_sr,
        structure_set=args.rtstruct,
        per_lesion=per_lesion,
        is_anonymous=args.dicom_anonymous,
    )
    if results.paths and not args.pet.is_dir():
        raise UsageError("--dicom-seg, --dicom-sr and --rtstruct need a PET in DICOM; --pet is not a folder")
    if per_lesion and results.segmentation is None:
        raise UsageError("--dicom-seg-segments needs --dicom-seg FILE")
    if results.is_anonymous and not results.paths:
        raise UsageError("--dicom-anonymous needs --dicom-seg, --dicom-sr or --rtstruct")
    return results


def check_results(loaded: LoadedStudy, results: DicomResults) -> None:
    """Refuse a PET whose header does not allow the results, before anything is computed.

    Raises:
        InputError: the PET lacks what they need.
    """
    if results.paths:
        from autosegnet.dicom.results import try_results

        assert loaded.source is not None
        try_results(loaded.study.pet, loaded.source, loaded.scan, results)


def make_result_files(
    mask: sitk.Image, loaded: LoadedStudy, results: DicomResults, table: LesionTable | None = None
) -> dict[Path, bytes]:
    """Return the files of the results asked for, by path.

    Args:
        table: the mask's figures, if they are measured already.
    """
    if not results.paths:
        return {}
    from autosegnet.dicom.results import encode_results

    assert loaded.source is not None
    return encode_results(mask, loaded.study.pet, loaded.source, loaded.scan, results, table)
