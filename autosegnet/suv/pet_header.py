"""What a PET series says of itself, as far as SUV depends on it: the raw values of DICOM attributes, unparsed."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class PetSlice:
    """What may differ from slice to slice; an empty text or None stands for a missing or empty attribute."""

    acquisition_date: str = ""
    acquisition_time: str = ""
    acquisition_datetime: str = ""
    frame_reference_time_ms: float | None = None
    frame_duration_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PetHeader:
    """What holds for a series; an empty text or None stands for a missing or empty attribute.

    Args:
        weight_kg, height_m: as stored, not yet believed.
        dose: Radionuclide Total Dose as stored: Bq, or MBq by mistake.
        ge_scan_start, siemens_scan_start: DT of the vendors' private attributes.
        philips_suv_factor: g/ml per count.
        philips_activity_factor: Bq/ml per count.
        slices: in any order, but in the one in which factors are wanted.
        corrected: values of CorrectedImage, joined by a backslash.
        first: index of the slice whose file name comes first.
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
    injection_datetime: str = ""
    injection_time: str = ""
    series_date: str = ""
    series_time: str = ""
    utc_offset: str = ""
    ge_scan_start: str = ""
    siemens_scan_start: str = ""
    philips_suv_factor: float | None = None
    philips_activity_factor: float | None = None
    slices: tuple[PetSlice, ...] = ()
    first: int = 0


TAGS: Final = {
    "units": ("(0054,1001)", "Units"),
    "suv_type": ("(0054,1006)", "SUVType"),
    "decay_correction": ("(0054,1102)", "DecayCorrection"),
    "corrected": ("(0028,0051)", "CorrectedImage"),
    "manufacturer": ("(0008,0070)", "Manufacturer"),
    "weight_kg": ("(0010,1030)", "PatientWeight"),
    "height_m": ("(0010,1020)", "PatientSize"),
    "sex": ("(0010,0040)", "PatientSex"),
    "dose": ("(0018,1074)", "RadionuclideTotalDose"),
    "half_life_s": ("(0018,1075)", "RadionuclideHalfLife"),
    "nuclide_code": ("(0054,0300)", "RadionuclideCodeSequence, value"),
    "nuclide_meaning": ("(0054,0300)", "RadionuclideCodeSequence, meaning"),
    "injection_datetime": ("(0018,1078)", "RadiopharmaceuticalStartDateTime"),
    "injection_time": ("(0018,1072)", "RadiopharmaceuticalStartTime"),
    "series_date": ("(0008,0021)", "SeriesDate"),
    "series_time": ("(0008,0031)", "SeriesTime"),
    "utc_offset": ("(0008,0201)", "TimezoneOffsetFromUTC"),
    "ge_scan_start": ("(0009,100D)", "GE private scan start"),
    "siemens_scan_start": ("(0071,1022)", "Siemens private decay correction time"),
    "philips_suv_factor": ("(7053,1000)", "Philips private SUV scale factor"),
    "philips_activity_factor": ("(7053,1009)", "Philips private activity concentration scale factor"),
    "acquisition_date": ("(0008,0022)", "AcquisitionDate"),
    "acquisition_time": ("(0008,0032)", "AcquisitionTime"),
    "acquisition_datetime": ("(0008,002A)", "AcquisitionDateTime"),
    "frame_reference_time_ms": ("(0054,1300)", "FrameReferenceTime"),
    "frame_duration_ms": ("(0018,1242)", "ActualFrameDuration"),
}
"""Number and keyword of the attribute behind every field of `PetHeader` and `PetSlice`."""


def named(field: str) -> str:
    """The attribute behind a field, for a message: 'PatientWeight (0010,1030)'."""
    number, keyword = TAGS[field]
    return f"{keyword} {number}"
