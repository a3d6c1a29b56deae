"""What SUV needs from a PET series: the raw values of DICOM attributes, unparsed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class PetSlice:
    """Attributes that may differ from slice to slice. An empty text or None means a missing or empty attribute.

    Args:
        faults: why the value of a field cannot be used, by field; only an error if a rule needs the field.
    """

    acquisition_date: str = ""
    acquisition_time: str = ""
    acquisition_datetime: str = ""
    frame_reference_time_ms: float | None = None
    frame_duration_ms: float | None = None
    faults: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PetHeader:
    """Attributes of a series. An empty text or None means a missing or empty attribute.

    Args:
        weight_kg, height_m: as stored, not yet judged.
        dose: Radionuclide Total Dose as stored: Bq, or MBq by mistake.
        radiopharmaceutical, agent_code, agent_meaning: the tracer as text and as code.
        ge_scan_start, siemens_scan_start: DT of the vendors' private attributes.
        philips_suv_factor: g/ml per count.
        philips_activity_factor: Bq/ml per count.
        slices: in any order; factors are returned in the same order.
        corrected: values of CorrectedImage, joined by a backslash.
        first: index of the slice whose file name comes first.
        faults: why the value of a field cannot be used, by field; only an error if a rule needs the field.
    """

    units: str = ""
    suv_type: str = ""
    decay_correction: str = ""
    corrected: str = ""
    manufacturer: str = ""
    weight_kg: float | None = None
    height_m: float | None = None
    sex: str = ""
    dose: float | None = None
    half_life_s: float | None = None
    nuclide_code: str = ""
    nuclide_meaning: str = ""
    radiopharmaceutical: str = ""
    agent_code: str = ""
    agent_meaning: str = ""
    injection_datetime: str = ""
    injection_time: str = ""
    study_date: str = ""
    series_date: str = ""
    series_time: str = ""
    utc_offset: str = ""
    ge_scan_start: str = ""
    siemens_scan_start: str = ""
    philips_suv_factor: float | None = None
    philips_activity_factor: float | None = None
    slices: tuple[PetSlice, ...] = ()
    first: int = 0
    faults: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Attribute:
    """The DICOM attribute behind a field.

    Args:
        number: as "(0010,1030)".
        keyword: of DICOM, or a description of a private one.
        part: where it is: in the series' objects, in each slice, in the item of the dose, in that item's code of the
            nuclide or of the agent, or in a vendor's private group.
        kind: how its values are compared.
        creator: of the private group.
    """

    number: str
    keyword: str
    part: Literal["series", "slice", "dose", "nuclide", "agent", "private"] = "series"
    kind: Literal["text", "number", "date", "time", "datetime"] = "text"
    creator: str = ""


_PHILIPS: Final = "Philips PET Private Group"

ATTRIBUTES: Final = {
    "units": Attribute("(0054,1001)", "Units"),
    "suv_type": Attribute("(0054,1006)", "SUVType"),
    "decay_correction": Attribute("(0054,1102)", "DecayCorrection"),
    "corrected": Attribute("(0028,0051)", "CorrectedImage"),
    "manufacturer": Attribute("(0008,0070)", "Manufacturer"),
    "weight_kg": Attribute("(0010,1030)", "PatientWeight", kind="number"),
    "height_m": Attribute("(0010,1020)", "PatientSize", kind="number"),
    "sex": Attribute("(0010,0040)", "PatientSex"),
    "dose": Attribute("(0018,1074)", "RadionuclideTotalDose", "dose", "number"),
    "half_life_s": Attribute("(0018,1075)", "RadionuclideHalfLife", "dose", "number"),
    "nuclide_code": Attribute("(0054,0300)", "RadionuclideCodeSequence, value", "nuclide"),
    "nuclide_meaning": Attribute("(0054,0300)", "RadionuclideCodeSequence, meaning", "nuclide"),
    "radiopharmaceutical": Attribute("(0018,0031)", "Radiopharmaceutical", "dose"),
    "agent_code": Attribute("(0054,0304)", "RadiopharmaceuticalCodeSequence, value", "agent"),
    "agent_meaning": Attribute("(0054,0304)", "RadiopharmaceuticalCodeSequence, meaning", "agent"),
    "injection_datetime": Attribute("(0018,1078)", "RadiopharmaceuticalStartDateTime", "dose", "datetime"),
    "injection_time": Attribute("(0018,1072)", "RadiopharmaceuticalStartTime", "dose", "time"),
    "study_date": Attribute("(0008,0020)", "StudyDate", kind="date"),
    "series_date": Attribute("(0008,0021)", "SeriesDate", kind="date"),
    "series_time": Attribute("(0008,0031)", "SeriesTime", kind="time"),
    "utc_offset": Attribute("(0008,0201)", "TimezoneOffsetFromUTC"),
    "ge_scan_start": Attribute("(0009,100D)", "GE private scan start", "private", "datetime", "GEMS_PETD_01"),
    "siemens_scan_start": Attribute(
        "(0071,1022)", "Siemens private decay correction time", "private", "datetime", "SIEMENS MED PT"
    ),
    "philips_suv_factor": Attribute(
        "(7053,1000)", "Philips private SUV scale factor", "private", "number", _PHILIPS
    ),
    "philips_activity_factor": Attribute(
        "(7053,1009)", "Philips private activity concentration scale factor", "private", "number", _PHILIPS
    ),
    "acquisition_date": Attribute("(0008,0022)", "AcquisitionDate", "slice", "date"),
    "acquisition_time": Attribute("(0008,0032)", "AcquisitionTime", "slice", "time"),
    "acquisition_datetime": Attribute("(0008,002A)", "AcquisitionDateTime", "slice", "datetime"),
    "frame_reference_time_ms": Attribute("(0054,1300)", "FrameReferenceTime", "slice", "number"),
    "frame_duration_ms": Attribute("(0018,1242)", "ActualFrameDuration", "slice", "number"),
}  # fmt: skip
"""The attribute behind every field of `PetHeader` and `PetSlice`; the one place that names them."""


def name_field(field_name: str) -> str:
    """Return the attribute behind a field for a message: 'PatientWeight (0010,1030)'."""
    attribute = ATTRIBUTES[field_name]
    return f"{attribute.keyword} {attribute.number}"
