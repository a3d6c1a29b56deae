"""DICOM in: the PET of a series as SUV, the CT of another as HU, and what DICOM results need to know of the PET."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from autosegnet.dicom.header import Header, name_attribute, parse_number, read_private
from autosegnet.dicom.kinds import ATTENUATION
from autosegnet.dicom.series import Series
from autosegnet.dicom.stack import Stack
from autosegnet.dicom.volume import read_ct_image, read_pet_image
from autosegnet.errors import InputError
from autosegnet.geometry import voxels
from autosegnet.scan import ScanFacts
from autosegnet.suv import Conversion, PetHeader, PetSlice, StatedFacts, convert, weigh_activity
from autosegnet.suv.pet_header import ATTRIBUTES, Attribute, name_field
from autosegnet.suv.tracer import doubt_tracer

if TYPE_CHECKING:
    import SimpleITK

_DOSE: Final = "RadiopharmaceuticalInformationSequence"
_CODE_KEYWORDS: Final = {"value": "CodeValue", "meaning": "CodeMeaning"}
_SAME_NUMBER: Final = 1e-3  # relative: rounding in copies of one value


@dataclass(frozen=True, slots=True)
class DicomSource:
    """Where a PET came from.

    Args:
        headers: of the slices, in the order of the image's z axis.
        study_uid, frame_uid: StudyInstanceUID and FrameOfReferenceUID, '' if the PET lacks one.
    """

    headers: tuple[Header, ...]
    study_uid: str
    frame_uid: str

    @property
    def files(self) -> tuple[Path, ...]:
        """Return the slices' files in the order of `headers`."""
        return tuple(header.path for header in self.headers)


@dataclass(frozen=True, slots=True)
class DicomPet:
    """A PET read from DICOM.

    Args:
        image: SUV (g/ml), float32.
    """

    image: "SimpleITK.Image"
    conversion: Conversion
    source: DicomSource
    scan: ScanFacts


def read_dicom_pet(
    series: Series, *, mode: str = "qiba", facts: StatedFacts | None = None, expected_tracer: str = ""
) -> DicomPet:
    """Return the PET of a series in SUV.

    Args:
        mode: one of `suv.MODES`.
        facts: what the user states instead of the header.
        expected_tracer: that of the folds, "" for any; another one is a warning.

    Raises:
        InputError: the series forms no volume, or its header allows no SUV, or the SUV cannot be true.
    """
    facts = facts or StatedFacts()
    stacked = _require_stack(series)
    conversion = convert(read_pet_header(stacked.headers), mode=mode, facts=facts)
    image = read_pet_image(stacked, conversion.factors)
    voxel_ml = math.prod(image.GetSpacing()) / 1000.0
    conversion = weigh_activity(conversion, voxels(image), voxel_ml=voxel_ml, facts=facts)
    doubts = [*series.verdict.doubts, *doubt_tracer(conversion.tracer, conversion.nuclide, expected=expected_tracer)]
    stated = list(conversion.stated)
    if series.verdict.waived_by == ATTENUATION:
        stated.append(f"that the PET is corrected for attenuation was stated by {facts.name_way(ATTENUATION)}")
        doubts.append(stated[-1])
    conversion = replace(conversion, warnings=(*dict.fromkeys([*doubts, *conversion.warnings]),), stated=tuple(stated))
    source = DicomSource(stacked.headers, series.study_uid, series.frame_uid)
    return DicomPet(image, conversion, source, describe_scan(conversion, image, stacked.headers[0]))


def read_dicom_ct(series: Series) -> "SimpleITK.Image":
    """Return the CT of a series in HU.

    Raises:
        InputError: the series forms no volume.
    """
    return read_ct_image(_require_stack(series))


def _require_stack(series: Series) -> Stack:
    if series.stacked is None:
        raise InputError(f"cannot use the {series.summary}")
    return series.stacked


def describe_scan(conversion: Conversion | None, pet: "SimpleITK.Image", first: Header | None = None) -> ScanFacts:
    """Return what is known of a scan.

    Args:
        conversion: of the PET; None if it was given in SUV.
        first: a header of the PET; None if it is no DICOM.
    """
    figures = {} if conversion is None else conversion.figures
    uptake_s, dose_bq = figures.get("uptake_s"), figures.get("dose_bq")
    x, y, z = pet.GetSpacing()
    return ScanFacts(
        uptake_min=None if uptake_s is None else uptake_s / 60.0,
        dose_mbq=None if dose_bq is None else dose_bq / 1e6,
        weight_kg=figures.get("weight_kg"),
        height_cm=figures.get("height_cm") or _read_height_cm(first),
        sex=sex if first is not None and (sex := first.text("PatientSex").upper()) in ("M", "F", "O") else "",
        tracer="" if conversion is None or conversion.tracer == "another" else conversion.tracer,
        nuclide="" if conversion is None else conversion.nuclide,
        scanner=_join(first, "Manufacturer", "ManufacturerModelName"),
        reconstruction=_join(first, "ReconstructionMethod", "ConvolutionKernel"),
        voxel_mm=(x, y, z),
        seen_fraction=figures.get("seen_fraction_of_dose"),
        stated=() if conversion is None else conversion.stated,
        warnings=() if conversion is None else conversion.warnings,
    )


def _read_height_cm(first: Header | None) -> float | None:
    """Return the height that a header states if it can be one in metres, else None."""
    height_m = None if first is None else parse_number(first.text("PatientSize"))
    return 100.0 * height_m if height_m is not None and 0.3 < height_m < 2.6 else None


def _join(header: Header | None, *keywords: str) -> str:
    """Attributes of the device as one text of plain characters."""
    texts = [] if header is None else [header.text(keyword) for keyword in keywords]
    return ", ".join(re.sub(r"[^A-Za-z0-9 .,+\-_/()]", " ", text)[:64].strip() for text in texts if text)


def read_pet_header(headers: Sequence[Header]) -> PetHeader:
    """Return what SUV depends on, from the headers of a series' slices, in their order.

    Values that cannot be used, because they are damaged or differ between slices, are faults of their field: an error
    only if a rule asks for it.
    """
    values: dict[str, Any] = {}
    faults: dict[str, str] = {}
    doses = [_find_dose(h) for h in headers]
    for name, attribute in ATTRIBUTES.items():
        if attribute.part == "slice":
            continue
        try:
            texts = [_read_text(attribute, h, dose) for h, dose in zip(headers, doses, strict=True)]
            values[name] = _agree(texts, attribute, name)
        except InputError as error:
            faults[name] = str(error)
    return PetHeader(
        **values,
        slices=tuple(_read_slice(h) for h in headers),
        first=min(range(len(headers)), key=lambda k: headers[k].path),
        faults=faults,
    )


def _find_dose(header: Header) -> "Header | InputError | None":
    """Return the one radiopharmaceutical of a slice; items of equal content count once."""
    try:
        items = header.items(_DOSE)
    except InputError as error:
        return error
    different = [item for k, item in enumerate(items) if all(item.dataset != before.dataset for before in items[:k])]
    if len(different) > 1:
        return InputError(f"{name_attribute(_DOSE)} has {len(items)} items in {header.where}; SUV needs exactly one")
    return different[0] if different else None


def _read_text(attribute: Attribute, header: Header, dose: "Header | InputError | None") -> str:
    if attribute.part == "series":
        return header.text(attribute.keyword)
    if attribute.part == "private":
        group, element = (int(part, 16) for part in attribute.number.strip("()").split(","))
        value = read_private(header, group, attribute.creator, element & 0xFF)
        return "" if value is None else str(value).strip()
    if isinstance(dose, InputError):
        raise dose
    if dose is None:
        return ""
    if attribute.part == "dose":
        return dose.text(attribute.keyword)
    sequence, what = attribute.keyword.split(", ")
    code = next(iter(dose.items(sequence)), None)
    return code.text(_CODE_KEYWORDS[what]) if code else ""


def _agree(texts: list[str], attribute: Attribute, name: str) -> str | float | None:
    """Return the one value of all slices, compared as its kind of value.

    Raises:
        InputError: a value that is no number, or values that differ.
    """
    if attribute.kind == "number":
        return _agree_on_number(texts, name)
    if len({_normalise(text, attribute.kind) for text in texts}) > 1:
        raise InputError(f"{name_field(name)} differs between slices of the PET series; expected one value")
    return texts[0]


def _agree_on_number(texts: list[str], name: str) -> float | None:
    numbers = [_to_number(text, name) for text in texts]
    first = numbers[0]
    for number in numbers:
        same = (
            number is None
            if first is None
            else number is not None and math.isclose(number, first, rel_tol=_SAME_NUMBER)
        )
        if not same:
            raise InputError(f"{name_field(name)} differs between slices of the PET series; expected one value")
    return first


def _to_number(text: str, name: str) -> float | None:
    if not text:
        return None
    number = parse_number(text)
    if number is None:
        raise InputError(f"{name_field(name)} is not a number in the PET series")
    return number


def _normalise(text: str, kind: str) -> str:
    """Return the text in one spelling: times without colons and trailing zeros."""
    if kind == "text":
        return text.upper()
    whole, _, fraction = text.replace(":", "").partition(".")
    if kind == "time" and len(whole) in (2, 4):
        whole = whole.ljust(6, "0")
    return f"{whole}.{fraction.rstrip('0')}".rstrip(".") if fraction.isdigit() or not fraction else text


def _read_slice(header: Header) -> PetSlice:
    values: dict[str, Any] = {}
    faults: dict[str, str] = {}
    for name, attribute in ATTRIBUTES.items():
        if attribute.part != "slice":
            continue
        try:
            text = header.text(attribute.keyword)
            values[name] = _to_number(text, name) if attribute.kind == "number" else text
        except InputError as error:
            faults[name] = f"{error}, in {header.where}"
    return PetSlice(**values, faults=faults)
