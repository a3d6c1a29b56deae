"""Make the DICOM results that a person asked for."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autosegnet.errors import InputError

if TYPE_CHECKING:
    import SimpleITK as sitk
    from pydicom import Dataset

    from autosegnet.dicom.pet import DicomSource
    from autosegnet.dicom.source_references import Origin
    from autosegnet.lesions import LesionTable
    from autosegnet.scan import ScanFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class DicomResults:
    """Where results go; None for one that is not wanted.

    Args:
        per_lesion: whether each lesion is a segment, instead of one in all.
        is_anonymous: whether they leave out the patient.
    """

    segmentation: Path | None = None
    report: Path | None = None
    structure_set: Path | None = None
    per_lesion: bool = False
    is_anonymous: bool = False

    @property
    def paths(self) -> tuple[Path, ...]:
        """Return the files to be written."""
        return tuple(p for p in (self.segmentation, self.report, self.structure_set) if p is not None)


def try_results(suv: sitk.Image, source: DicomSource, scan: ScanFacts, results: DicomResults) -> None:
    """Make the results of a mask of one voxel and drop them, so that a header that allows none is refused in time.

    Raises:
        InputError: the PET's header does not allow the results.
    """
    import SimpleITK as sitk

    mask = sitk.Image(suv.GetSize(), sitk.sitkUInt8)
    mask.CopyInformation(suv)
    mask[tuple(count // 2 for count in suv.GetSize())] = 1
    try:
        encode_results(mask, suv, source, scan, results)
    except InputError:
        raise
    except Exception:
        raise InputError(
            "DICOM results cannot be made from the PET's header: an attribute that they copy is damaged or against "
            "the standard; leave out --dicom-seg, --dicom-sr and --rtstruct, or copy the series again"
        ) from None  # the cause quotes the patient's values


def encode_results(
    mask: sitk.Image,
    suv: sitk.Image,
    source: DicomSource,
    scan: ScanFacts,
    results: DicomResults,
    table: LesionTable | None = None,
) -> dict[Path, bytes]:
    """Return the wanted results of a mask as the bytes of their files.

    Args:
        mask: on the PET's grid, whose z axis runs along `source.headers`.
        suv: the PET.
        scan: how it was made.
        table: the mask's figures, if they are measured already.

    Raises:
        InputError: the PET lacks a UID that results need.
    """
    from autosegnet.dicom.source_references import Origin, check_origin

    origin = Origin(source.headers, float(mask.GetSpacing()[2]), scan, results.is_anonymous)
    check_origin(origin)
    return {path: _encode(dataset) for path, dataset in _make(mask, suv, origin, results, table).items()}


def _make(
    mask: sitk.Image, suv: sitk.Image, origin: Origin, results: DicomResults, table: LesionTable | None
) -> dict[Path, Dataset]:
    from pydicom.uid import generate_uid

    from autosegnet.geometry import Grid
    from autosegnet.lesions import measure_lesions, number_lesions

    table = table or measure_lesions(mask, suv)
    labels, count = number_lesions(mask, labelled=table.labelled)
    uids = tuple(str(generate_uid()) for _ in range(count))
    made: dict[Path, Dataset] = {}
    if results.segmentation is not None:
        from autosegnet.dicom.segmentation import make_segmentation

        per_lesion = results.per_lesion
        made[results.segmentation] = make_segmentation(labels, origin, tracking_uids=uids, per_lesion=per_lesion)
    if results.report is not None:
        from autosegnet.dicom.structured_report import make_measurement_report

        made[results.report] = make_measurement_report(
            table,
            origin,
            tracking_uids=uids,
            slice_of=lambda lesion: mask.TransformPhysicalPointToIndex(lesion.suv_max_mm)[2],
            segmentation=None if results.segmentation is None else made[results.segmentation],
        )
    if results.structure_set is not None:
        from autosegnet.dicom.rtstruct import make_structure_set

        made[results.structure_set] = make_structure_set(labels, count, origin, Grid.from_image(mask))
    return made


def _encode(dataset: Dataset) -> bytes:
    from autosegnet.dicom.header import keep_quiet

    buffer = io.BytesIO()
    with keep_quiet():
        dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
