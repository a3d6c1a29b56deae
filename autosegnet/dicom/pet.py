"""DICOM in: the PET of a series as SUV, the CT of another as HU, and what DICOM results need to know of the PET."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from autosegnet.dicom.header import Header, named, private
from autosegnet.dicom.series import Series
from autosegnet.dicom.volume import ct_image, pet_image, stack
from autosegnet.errors import InputError
from autosegnet.suv import Conversion, PetHeader, PetSlice, convert

if TYPE_CHECKING:
    import SimpleITK

_T = TypeVar("_T")

_SAME: Final = {
    "units": "Units",
    "suv_type": "SUVType",
    "decay_correction": "DecayCorrection",
    "corrected": "CorrectedImage",
    "manufacturer": "Manufacturer",
    "series_date": "SeriesDate",
    "series_time": "SeriesTime",
    "sex": "PatientSex",
    "utc_offset": "TimezoneOffsetFromUTC",
}
_SAME_NUMBERS: Final = {"weight_kg": "PatientWeight", "height_m": "PatientSize"}
_DOSE_TEXTS: Final = {
    "injection_datetime": "RadiopharmaceuticalStartDateTime",
    "injection_time": "RadiopharmaceuticalStartTime",
}
_DOSE_NUMBERS: Final = {"dose": "RadionuclideTotalDose", "half_life_s": "RadionuclideHalfLife"}


@dataclass(frozen=True, slots=True)
class DicomSource:
    """Where a PET came from.

    Args:
        files: of the slices, in the order of the image's z axis.
        study_uid, frame_uid: StudyInstanceUID and FrameOfReferenceUID, '' where the PET lacks one.
    """

    files: tuple[Path, ...]
    study_uid: str
    frame_uid: str


@dataclass(frozen=True, slots=True)
class DicomPet:
    """A PET read from DICOM.

    Args:
        image: SUV (g/ml), float32.
    """

    image: "SimpleITK.Image"
    conversion: Conversion
    source: DicomSource


def read_dicom_pet(series: Series, *, mode: str = "qiba", weight_kg: float | None = None) -> DicomPet:
    """The PET of a series in SUV.

    Args:
        mode: one of `suv.MODES`.
        weight_kg: instead of PatientWeight.

    Raises:
        InputError: the series forms no volume, or its header allows no SUV.
    """
    stacked = stack(series)
    conversion = convert(pet_header(stacked.headers), mode=mode, weight_kg=weight_kg)
    source = DicomSource(tuple(h.path for h in stacked.headers), series.study_uid, series.frame_uid)
    return DicomPet(pet_image(stacked, conversion.factors), conversion, source)


def read_dicom_ct(series: Series) -> "SimpleITK.Image":
    """The CT of a series in HU.

    Raises:
        InputError: the series forms no volume.
    """
    return ct_image(stack(series))


def pet_header(headers: tuple[Header, ...]) -> PetHeader:
    """What SUV depends on, from the headers of a series' slices, in their order.

    Raises:
        InputError: slices disagree on what must hold for the series, or several radiopharmaceuticals.
    """
    texts = {name: _common([h.text(keyword) for h in headers], named(keyword)) for name, keyword in _SAME.items()}
    numbers = {
        name: _common([h.number(keyword) for h in headers], named(keyword)) for name, keyword in _SAME_NUMBERS.items()
    }
    doses = [_radiopharmaceutical(h) for h in headers]
    for name, keyword in _DOSE_TEXTS.items():
        texts[name] = _common([d.text(keyword) if d else "" for d in doses], named(keyword))
    for name, keyword in _DOSE_NUMBERS.items():
        numbers[name] = _common([d.number(keyword) if d else None for d in doses], named(keyword))
    nuclide = next(iter(doses[0].items("RadionuclideCodeSequence")), None) if doses[0] else None
    return PetHeader(
        **texts,  # type: ignore[arg-type]
        **numbers,  # type: ignore[arg-type]
        nuclide_code=nuclide.text("CodeValue") if nuclide else "",
        nuclide_meaning=nuclide.text("CodeMeaning") if nuclide else "",
        ge_scan_start=_vendor_text(headers, 0x0009, "GEMS_PETD_01", 0x0D),
        siemens_scan_start=_vendor_text(headers, 0x0071, "SIEMENS MED PT", 0x22),
        philips_suv_factor=_vendor_number(headers, 0x7053, "Philips PET Private Group", 0x00),
        philips_activity_factor=_vendor_number(headers, 0x7053, "Philips PET Private Group", 0x09),
        slices=tuple(_slice(h) for h in headers),
        first=min(range(len(headers)), key=lambda k: headers[k].path),
    )


def _slice(header: Header) -> PetSlice:
    return PetSlice(
        acquisition_date=header.text("AcquisitionDate"),
        acquisition_time=header.text("AcquisitionTime"),
        acquisition_datetime=header.text("AcquisitionDateTime"),
        frame_reference_time_ms=header.number("FrameReferenceTime"),
        frame_duration_ms=header.number("ActualFrameDuration"),
    )


def _common(values: list[_T], name: str) -> _T:
    if len(set(values)) > 1:
        raise InputError(f"{name} differs between slices of the PET series; expected one value")
    return values[0]


def _radiopharmaceutical(header: Header) -> Header | None:
    keyword = "RadiopharmaceuticalInformationSequence"
    items = header.items(keyword)
    if len(items) > 1:
        raise InputError(f"{named(keyword)} has {len(items)} items in {header.where}; SUV needs exactly one")
    return items[0] if items else None


def _vendor_text(headers: tuple[Header, ...], group: int, creator: str, element: int) -> str:
    values = [private(h, group, creator, element) for h in headers]
    return _common(["" if v is None else str(v).strip() for v in values], f"({group:04X},{0x1000 | element:04X})")


def _vendor_number(headers: tuple[Header, ...], group: int, creator: str, element: int) -> float | None:
    text = _vendor_text(headers, group, creator, element)
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"({group:04X},{0x1000 | element:04X}) of {creator} is not a number")
    return value
