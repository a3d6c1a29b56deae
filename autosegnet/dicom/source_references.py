"""The PET's files as the origin of results: what a result copies from them, and what it refers to."""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from autosegnet.dicom.header import Header, named, quiet
from autosegnet.dicom.objects import read_header
from autosegnet.dicom.pet import DicomSource

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
    """The PET's headers in the order of the image's z axis."""

    headers: tuple[Header, ...]

    @property
    def first(self) -> Dataset:
        """The first slice's attributes."""
        return self.headers[0].dataset


def open_origin(source: DicomSource) -> Origin:
    """The headers of a PET's files, read again.

    Raises:
        InputError: a file is gone or damaged.
    """
    origin = Origin(tuple(read_header(path) for path in source.files))
    for keyword in _too_long(origin):
        log.warning("%s of the PET is longer than DICOM allows and is left empty in results", named(keyword))
    return origin


def copy_patient_and_study(origin: Origin, target: Dataset) -> None:
    """Sets the target's patient and study as they are in the PET; what is missing there is left empty."""
    source, too_long = origin.first, _too_long(origin)
    with quiet():
        for keyword in _PATIENT + _STUDY:
            if keyword in target:
                delattr(target, keyword)
            if keyword in source and keyword not in too_long:
                target[keyword] = copy.deepcopy(source[keyword])
        for keyword in _TYPE_2:
            if keyword not in target:
                setattr(target, keyword, None)
        if "SpecificCharacterSet" in source:
            target.SpecificCharacterSet = copy.deepcopy(source.SpecificCharacterSet)


def _too_long(origin: Origin) -> list[str]:
    return [k for k, longest in _LONGEST.items() if len(origin.headers[0].text(k)) > longest]


def lean_copies(origin: Origin) -> list[Dataset]:
    """The slices with the attributes that highdicom asks for, and no patient: it logs what it does not like."""
    return [_lean(header) for header in origin.headers]


def _lean(header: Header) -> Dataset:
    from pydicom import Dataset

    lean = Dataset()
    with quiet():
        for keyword in _IMAGE:
            if keyword in header.dataset:
                lean[keyword] = copy.deepcopy(header.dataset[keyword])
        for keyword in _TYPE_2:
            setattr(lean, keyword, None)
        if "SliceThickness" not in lean or not lean.SliceThickness:
            lean.SliceThickness = None
        if not header.text("Modality"):
            lean.Modality = "PT"
    return lean
