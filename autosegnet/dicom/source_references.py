"""The PET's headers as the origin of results: what a result copies from them, and what it refers to."""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from autosegnet.dicom.header import Header, keep_quiet, name_attribute, parse_number
from autosegnet.errors import InputError
from autosegnet.scan import ScanFacts

if TYPE_CHECKING:
    from pydicom import Dataset

log = logging.getLogger(__name__)

_PATIENT: Final = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "IssuerOfPatientIDQualifiersSequence",
    "TypeOfPatientID",
    "OtherPatientIDsSequence",
    "OtherPatientIDs",
    "OtherPatientNames",
    "PatientBirthDate",
    "PatientBirthTime",
    "PatientSex",
    "EthnicGroup",
    "PatientComments",
    "QualityControlSubject",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
)
_STUDY: Final = (
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
    "IssuerOfAccessionNumberSequence",
    "StudyDescription",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
)
# Type 2: present in every object, empty where nothing is known (PS3.3 C.7.1.1 and C.7.2.1).
_TYPE_2: Final = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
)
# PS3.5 6.2. A value beyond it is copied for the patient, whom nothing else identifies; of the study it is left empty.
_LONGEST: Final = {"StudyID": 16, "AccessionNumber": 16, "StudyDescription": 64}


_IMAGE: Final = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "Modality",
    "Rows",
    "Columns",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "PositionReferenceIndicator",
    "InstanceNumber",
    "SamplesPerPixel",
    "BitsAllocated",
    "PhotometricInterpretation",
)


@dataclass(frozen=True, slots=True)
class Origin:
    """What results are made from.

    Args:
        headers: of the PET, in the order of the image's z axis.
        spacing_mm: between slices.
        scan: how the PET was made.
        is_anonymous: whether results leave out the patient and the study's own attributes.
    """

    headers: tuple[Header, ...]
    spacing_mm: float
    scan: ScanFacts
    is_anonymous: bool = False

    @property
    def first(self) -> Dataset:
        """Return the first slice's attributes."""
        return self.headers[0].dataset

    @property
    def description(self) -> str:
        """Return what results are of, in at most 64 characters: the tracer only if the header names it."""
        return f"{self.scan.tracer} PET/CT lesions, not reviewed by a person".strip()


def check_origin(origin: Origin) -> None:
    """Refuse a PET without the study or the frame of reference that results belong to; warn of what is left empty.

    Raises:
        InputError: a UID is missing, or several stand in its place.
    """
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID"):
        uid = origin.headers[0].read_text(keyword)
        if not uid or "\\" in uid:
            found = "has several values" if uid else "is missing"
            raise InputError(
                f"{name_attribute(keyword)} {found} in the PET series; --dicom-seg, --dicom-sr and --rtstruct need it"
            )
    for keyword in () if origin.is_anonymous else _find_too_long(origin):
        log.warning("%s of the PET is longer than DICOM allows and is left empty in results", name_attribute(keyword))


def copy_patient_and_study(origin: Origin, target: Dataset) -> None:
    """Set the target's patient and study as they are in the PET; what is missing there is left empty.

    An anonymous result has the study's UID alone, by which it belongs to its PET.
    """
    source, too_long = origin.first, _find_too_long(origin)
    copied = ("StudyInstanceUID",) if origin.is_anonymous else _PATIENT + _STUDY
    with keep_quiet():
        for keyword in _PATIENT + _STUDY:
            if keyword in target:
                delattr(target, keyword)
            if keyword in source and keyword in copied and keyword not in too_long:
                target[keyword] = copy.deepcopy(source[keyword])
        for keyword in _TYPE_2:
            if keyword not in target:
                setattr(target, keyword, None)
        if origin.is_anonymous:
            target.PatientIdentityRemoved = "YES"
            target.DeidentificationMethod = "Patient and study attributes left out of this object"
        if "SpecificCharacterSet" in source:
            target.SpecificCharacterSet = copy.deepcopy(source.SpecificCharacterSet)


def _find_too_long(origin: Origin) -> list[str]:
    return [k for k, longest in _LONGEST.items() if len(origin.headers[0].read_text(k)) > longest]


def make_lean_copies(origin: Origin) -> list[Dataset]:
    """Return the slices with the attributes that highdicom asks for, and no patient: it logs what it does not like."""
    return [_make_lean(header, k, origin.spacing_mm) for k, header in enumerate(origin.headers, start=1)]


def _make_lean(header: Header, number: int, spacing_mm: float) -> Dataset:
    from pydicom import Dataset

    lean = Dataset()
    with keep_quiet():
        for keyword in _IMAGE:
            if keyword in header.dataset:
                lean[keyword] = copy.deepcopy(header.dataset[keyword])
        for keyword in _TYPE_2:
            setattr(lean, keyword, None)
        thickness_mm = parse_number(header.read_text("SliceThickness"))
        lean.SliceThickness = thickness_mm if thickness_mm and thickness_mm > 0 else round(spacing_mm, 6)
        if not header.read_text("InstanceNumber").isdigit():
            lean.InstanceNumber = number
        if not header.read_text("Modality"):
            lean.Modality = "PT"
    return lean
