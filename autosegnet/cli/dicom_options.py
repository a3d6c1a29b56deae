"""The options of `predict` that ask for DICOM results."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from autosegnet.dicom.results import DicomResults
from autosegnet.errors import InputError, UsageError

if TYPE_CHECKING:
    import SimpleITK as sitk

    from autosegnet.loading import LoadedStudy


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
    """The results asked for.

    Raises:
        UsageError: the PET is no DICOM folder, or options that contradict each other.
    """
    per_lesion = args.dicom_seg_segments == "per-lesion"
    results = DicomResults(
        segmentation=args.dicom_seg, report=args.dicom_sr, structure_set=args.rtstruct, per_lesion=per_lesion
    )
    if results.paths and not args.pet.is_dir():
        raise UsageError("--dicom-seg, --dicom-sr and --rtstruct need a PET in DICOM; --pet is no folder")
    if per_lesion and results.segmentation is None:
        raise UsageError("--dicom-seg-segments is for --dicom-seg FILE, which is missing")
    return results


def check_results(loaded: LoadedStudy, results: DicomResults) -> None:
    """Refuses a PET without the study or the frame of reference that results belong to, before anything is computed.

    Raises:
        InputError: the PET lacks a UID that the wanted results need.
    """
    if not results.paths:
        return
    from autosegnet.dicom.header import named

    assert loaded.source is not None
    uids = {"StudyInstanceUID": loaded.source.study_uid, "FrameOfReferenceUID": loaded.source.frame_uid}
    for keyword, uid in uids.items():
        if not uid:
            raise InputError(
                f"{named(keyword)} is missing in the PET series; --dicom-seg, --dicom-sr and --rtstruct need it"
            )


def result_files(mask: sitk.Image, loaded: LoadedStudy, results: DicomResults) -> dict[Path, bytes]:
    """The files of the results asked for, by path."""
    if not results.paths:
        return {}
    from autosegnet.dicom.results import encoded_results

    assert loaded.source is not None
    return encoded_results(mask, loaded.study.pet, loaded.source, results)
