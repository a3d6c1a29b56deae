"""What kind of image a DICOM object holds, and why a series of them may be no volume that can be used."""

from collections import Counter
from typing import Final

from autosegnet.dicom.header import Header, named

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


def kind_of(header: Header) -> str | None:
    """'PET', 'CT', or None for an object that is no image of either."""
    sop_class = header.text("SOPClassUID")
    if sop_class in _MULTI_FRAME:
        return _MULTI_FRAME[sop_class][0]
    if sop_class.startswith(_CAPTURE) and (sop_class + ".").startswith(_CAPTURE + "."):
        return _MODALITIES.get(header.text("Modality"))
    return _CLASSES.get(sop_class)


def fault_of(kind: str, headers: list[Header]) -> str:
    """Why a series is no volume that can be used, or '': its kind of object, its kind of image, what was done to it.

    Args:
        kind: as `kind_of` says.
    """
    first = headers[0]
    sop_class = first.text("SOPClassUID")
    if len({h.text("SOPClassUID") for h in headers}) > 1:
        return f"mixed kinds of objects, {named('SOPClassUID')}"
    if sop_class in _MULTI_FRAME:
        return f"{_MULTI_FRAME[sop_class][1]}, {named('SOPClassUID')}; convert it to single-frame objects"
    if sop_class.startswith(_CAPTURE):
        return f"secondary capture, {named('SOPClassUID')}"
    if picture := next((v for h in headers for v in _pictures(h)), None):
        return f"{named('ImageType')} holds {picture}, not a stack of slices"
    if any("REPROJECTION" in h.text("SeriesType").upper() for h in headers):
        return f"{named('SeriesType')} is REPROJECTION, such as a MIP"
    return _pet_fault(headers) if kind == "PET" else ""


def _pictures(header: Header) -> list[str]:
    values = header.text("ImageType").upper().split("\\")[2:]
    return [p for p in _PICTURES for v in values if v == p or (p != "MIP" and v.startswith(p))]


def _pet_fault(headers: list[Header]) -> str:
    types = {h.text("SeriesType").upper().split("\\")[0] for h in headers}
    for motion in ("DYNAMIC", "GATED"):  # NumberOfTimeSlices is no sign: it counts slices in some static GE series
        if motion in types:
            return f"{motion.lower()} series, {named('SeriesType')}"
    if any("ATTN" not in h.text("CorrectedImage").upper().split("\\") for h in headers):
        return f"not corrected for attenuation: no ATTN in {named('CorrectedImage')}"
    declared = Counter(h.number("NumberOfSlices") for h in headers).most_common(1)[0][0]
    if declared and declared > len(headers):
        return f"slices missing: {named('NumberOfSlices')} is {declared:g}"
    return ""
