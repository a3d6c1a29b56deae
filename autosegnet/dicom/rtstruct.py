"""A mask's lesions as a structure set (RTSTRUCT), one region of interest each, with the outlines of their voxels.

Source: DICOM PS3.3 A.19, C.8.8.5, C.8.8.6 and C.8.8.8.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from autosegnet import __version__
from autosegnet.dicom.contours import Corner, trace_outlines
from autosegnet.dicom.header import Header, keep_quiet
from autosegnet.dicom.segmentation import NAME, SERIES_NUMBER
from autosegnet.dicom.source_references import Origin, copy_patient_and_study

if TYPE_CHECKING:
    from pydicom import Dataset

    from autosegnet.geometry import Grid

_SOP_CLASS: Final = "1.2.840.10008.5.1.4.1.1.481.3"
_COLOURS: Final = ((255, 64, 64), (255, 160, 0), (255, 255, 0), (64, 255, 64), (0, 255, 255), (255, 64, 255))


def make_structure_set(labels: NDArray[Any], count: int, origin: Origin, grid: Grid) -> Dataset:
    """Return the structure set of a mask's lesions.

    A mask without lesion gives one region without contour, because a structure set needs at least one.

    Args:
        labels: (z, y, x), 0 outside, 1 to count in the lesions; z as the origin's headers.
        grid: of the labels.
    """
    from pydicom.sequence import Sequence

    made = _frame(origin)
    boxes = dict(enumerate(ndimage.find_objects(labels, max_label=max(count, 1)), start=1))
    names = [f"Lesion {number}" for number in range(1, count + 1)] or ["No lesion"]
    with keep_quiet():
        made.ReferencedFrameOfReferenceSequence = Sequence([_refer_to_study(origin)])
        made.StructureSetROISequence = Sequence(
            [_make_region(number, name, origin) for number, name in enumerate(names, start=1)]
        )
        made.ROIContourSequence = Sequence(
            [_make_contours(_trace_lesion(labels, number, box), number, origin, grid) for number, box in boxes.items()]
        )
        made.RTROIObservationsSequence = Sequence([_make_observation(number) for number in range(1, len(names) + 1)])
    copy_patient_and_study(origin, made)
    return made


def _frame(origin: Origin) -> Dataset:
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = UID(_SOP_CLASS)
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    now = datetime.now()
    made.InstanceCreationDate = made.StructureSetDate = made.SeriesDate = now.strftime("%Y%m%d")
    made.InstanceCreationTime = made.StructureSetTime = made.SeriesTime = now.strftime("%H%M%S")
    made.Modality, made.SeriesInstanceUID, made.SeriesNumber = "RTSTRUCT", generate_uid(), SERIES_NUMBER + 2
    made.SeriesDescription, made.OperatorsName, made.InstanceNumber = "autosegnet lesions", None, 1
    made.Manufacturer = made.ManufacturerModelName = NAME
    made.SoftwareVersions = __version__
    made.StructureSetLabel, made.StructureSetName = "LESIONS", "Lesions"
    made.StructureSetDescription = origin.description
    made.ApprovalStatus = "UNAPPROVED"
    made.FrameOfReferenceUID = origin.first.FrameOfReferenceUID
    made.PositionReferenceIndicator = origin.headers[0].read_text("PositionReferenceIndicator") or None
    return made


def _refer_to_instance(header: Header) -> Dataset:
    from pydicom import Dataset

    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = (
        header.read_text("SOPClassUID"),
        header.read_text("SOPInstanceUID"),
    )
    return item


def _refer_to_study(origin: Origin) -> Dataset:
    from pydicom import Dataset
    from pydicom.sequence import Sequence

    series = Dataset()
    series.SeriesInstanceUID = origin.first.SeriesInstanceUID
    series.ContourImageSequence = Sequence([_refer_to_instance(header) for header in origin.headers])
    study = Dataset()
    study.ReferencedSOPClassUID = "1.2.840.10008.3.1.2.3.1"  # Detached Study Management, as the module asks for
    study.ReferencedSOPInstanceUID = origin.first.StudyInstanceUID
    study.RTReferencedSeriesSequence = Sequence([series])
    frame = Dataset()
    frame.FrameOfReferenceUID = origin.first.FrameOfReferenceUID
    frame.RTReferencedStudySequence = Sequence([study])
    return frame


def _make_region(number: int, name: str, origin: Origin) -> Dataset:
    from pydicom import Dataset

    item = Dataset()
    item.ROINumber, item.ROIName, item.ROIGenerationAlgorithm = number, name, "AUTOMATIC"
    item.ReferencedFrameOfReferenceUID = origin.first.FrameOfReferenceUID
    return item


def _make_observation(number: int) -> Dataset:
    from pydicom import Dataset

    item = Dataset()
    item.ObservationNumber = item.ReferencedROINumber = number
    item.RTROIInterpretedType, item.ROIInterpreter = "", None
    return item


def _trace_lesion(
    labels: NDArray[Any], number: int, box: tuple[slice, slice, slice] | None
) -> Iterator[tuple[int, list[Corner]]]:
    """Return the outlines of a lesion in its box, each with its slice; none of a lesion that is not there."""
    if box is None:
        return
    z, y, x = (side.start for side in box)
    for down, plane in enumerate(labels[box] == number):
        for corners in trace_outlines(plane):
            yield z + down, [(x + column, y + row) for column, row in corners]


def _make_contours(outlined: Iterator[tuple[int, list[Corner]]], number: int, origin: Origin, grid: Grid) -> Dataset:
    from pydicom import Dataset
    from pydicom.sequence import Sequence

    item = Dataset()
    item.ReferencedROINumber = number
    item.ROIDisplayColor = list(_COLOURS[(number - 1) % len(_COLOURS)])
    contours = []
    for z, corners in outlined:
        contour = Dataset()
        contour.ContourImageSequence = Sequence([_refer_to_instance(origin.headers[z])])
        contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", len(corners)
        contour.ContourData = _format_positions(corners, z, grid)
        contours.append(contour)
    if contours:
        item.ContourSequence = Sequence(contours)
    return item


def _format_positions(corners: list[Corner], z: int, grid: Grid) -> list[str]:
    """Return the LPS positions of corners: half a voxel before the centres of the voxels of the same index."""
    index = np.array([(x - 0.5, y - 0.5, z) for x, y in corners])
    positions = index @ grid.steps_mm.T + np.asarray(grid.origin_mm)
    return [_format_decimal(value) for value in positions.ravel()]


def _format_decimal(value: float) -> str:
    """Return a DS: at most 16 characters, to a thousandth of a micrometre."""
    text = f"{value:.6f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
