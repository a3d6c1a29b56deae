"""What kind of image a DICOM object holds, and why an image or a series is none that can be used."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from autosegnet.dicom.header import Header, name_attribute, parse_number, read_private
from autosegnet.suv.pet_header import ATTRIBUTES
from autosegnet.suv.units import find_units_fault

_PET: Final = "1.2.840.10008.5.1.4.1.1.128"
_CT: Final = "1.2.840.10008.5.1.4.1.1.2"
_CLASSES: Final = {_PET: "PET", _CT: "CT"}
_MULTI_FRAME: Final = {
    "1.2.840.10008.5.1.4.1.1.128.1": ("PET", "legacy converted enhanced PET (multi-frame)"),
    "1.2.840.10008.5.1.4.1.1.130": ("PET", "enhanced PET (multi-frame)"),
    "1.2.840.10008.5.1.4.1.1.2.1": ("CT", "enhanced CT (multi-frame)"),
    "1.2.840.10008.5.1.4.1.1.2.2": ("CT", "legacy converted enhanced CT (multi-frame)"),
}
_CAPTURE: Final = "1.2.840.10008.5.1.4.1.1.7"  # secondary capture and, with a suffix, its multi-frame kinds
_MODALITIES: Final = {"PT": "PET", "CT": "CT"}
# Values of ImageType (0008,0008) of pictures made from a volume; DERIVED and SECONDARY alone say nothing: exported,
# de-identified and resliced volumes carry them.
_PICTURES: Final = ("LOCALIZER", "MIP", "PROJECTION", "SCREEN", "CAPTURE", "FUSED", "FUSION")

ATTENUATION: Final = "attenuation_corrected"
"""The stated fact that waives the lack of ATTN."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be said against a series, or about it.

    Args:
        fault: why it cannot be used, or ''.
        waived_by: the stated fact that would make it usable, or ''.
        doubts: what a person should look at, if it is used.
    """

    fault: str = ""
    waived_by: str = ""
    doubts: tuple[str, ...] = ()


def find_kind(header: Header) -> str | None:
    """Return 'PET', 'CT', or None for an object that is no image of either."""
    sop_class = header.read_text("SOPClassUID")
    if sop_class in _MULTI_FRAME:
        return _MULTI_FRAME[sop_class][0]
    if sop_class in _CLASSES:
        return _CLASSES[sop_class]
    kind = _MODALITIES.get(header.read_text("Modality"))
    if kind is None or _is_capture(sop_class):
        return kind
    return kind if header.read_text("ImagePositionPatient") else None  # an image whose class was anonymised or damaged


def _is_capture(sop_class: str) -> bool:
    return (sop_class + ".").startswith(_CAPTURE + ".")


def find_other_kind(header: Header) -> str:
    """Return why an image is no slice of a stack, although its series may be one, or ''."""
    sop_class = header.read_text("SOPClassUID")
    if sop_class in _MULTI_FRAME:
        name = name_attribute("SOPClassUID")
        return f"{_MULTI_FRAME[sop_class][1]}, {name}; convert it to single-frame objects"
    if _is_capture(sop_class):
        return f"secondary capture, {name_attribute('SOPClassUID')}"
    if picture := next(iter(_find_pictures(header)), None):
        return f"{name_attribute('ImageType')} holds {picture}, not a stack of slices"
    if "REPROJECTION" in header.read_text("SeriesType").upper():
        return f"{name_attribute('SeriesType')} is REPROJECTION, such as a MIP"
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient"):
        if not header.read_text(keyword):
            return f"{name_attribute(keyword)} is missing, so that it has no place in the patient"
    return ""


def _find_pictures(header: Header) -> list[str]:
    values = header.read_text("ImageType").upper().split("\\")[2:]
    return [p for p in _PICTURES for v in values if v == p or (p != "MIP" and v.startswith(p))]


def find_class_fault(headers: Sequence[Header]) -> str:
    """Return why the classes of a series' slices do not fit, or ''."""
    classes = {h.read_text("SOPClassUID") for h in headers}
    name = name_attribute("SOPClassUID")
    if not classes <= _CLASSES.keys():
        if classes & _CLASSES.keys():
            return f"mixed kinds of objects, {name}: some are of a class that is unknown or not that of the others"
        return f"{name} is missing, unknown or not that of PET or CT; expected {_PET} or {_CT} (was it anonymised?)"
    return f"mixed kinds of objects, {name}" if len(classes) > 1 else ""


def judge_pet(headers: Sequence[Header]) -> Verdict:
    """Return what is to be said about the slices of a PET, one per place."""
    declared = Counter(h.read_text("NumberOfSlices") for h in headers).most_common(1)[0][0]
    if declared.isdigit() and int(declared) > len(headers):
        return Verdict(f"slices missing: {name_attribute('NumberOfSlices')} is {declared}, found {len(headers)}")
    units_fault = _judge_units(headers[0])
    if units_fault:
        return Verdict(units_fault)
    verdict = _judge_attenuation(headers)
    types = {h.read_text("SeriesType").upper().split("\\")[0] for h in headers}
    doubts = verdict.doubts
    for motion in ("DYNAMIC", "GATED"):  # NumberOfTimeSlices is no sign: it counts slices in some static GE series
        if motion in types:
            said = f"{name_attribute('SeriesType')} is {motion}"
            doubts += (f"{said}, but there is one slice per place: taken for a static PET of one frame",)
    return Verdict(verdict.fault, verdict.waived_by, doubts)


def is_in_motion(headers: Sequence[Header]) -> str:
    """Return 'dynamic series, ...' or 'gated series, ...' if the series says so, else ''."""
    types = {h.read_text("SeriesType").upper().split("\\")[0] for h in headers}
    motion = next((m for m in ("DYNAMIC", "GATED") if m in types), None)
    return f"{motion.lower()} series, {name_attribute('SeriesType')}" if motion else ""


def _judge_units(first: Header) -> str:
    units = first.read_text("Units").upper()
    names = ("philips_suv_factor", "philips_activity_factor")
    return find_units_fault(units, has_factor=units == "CNTS" and any(_has_factor(first, name) for name in names))


def _has_factor(header: Header, field: str) -> bool:
    attribute = ATTRIBUTES[field]
    group, element = (int(part, 16) for part in attribute.number.strip("()").split(","))
    value = read_private(header, group, attribute.creator, element & 0xFF)
    return value is not None and (parse_number(str(value)) or 0.0) > 0.0


def _judge_attenuation(headers: Sequence[Header]) -> Verdict:
    corrected = [[v for v in h.read_text("CorrectedImage").upper().split("\\") if v] for h in headers]
    name = name_attribute("CorrectedImage")
    if all("ATTN" in values for values in corrected):
        return Verdict()
    if any(corrected):
        return Verdict(f"not corrected for attenuation: no ATTN in {name}", ATTENUATION)
    method = headers[0].read_text("AttenuationCorrectionMethod")
    if method and method.upper() not in ("NONE", "NO", "N"):
        said = name_attribute("AttenuationCorrectionMethod")
        return Verdict(doubts=(f"{name} is missing; the PET is taken for corrected, because {said} names a method",))
    return Verdict(f"{name} is missing, so that nothing says whether attenuation is corrected", ATTENUATION)
