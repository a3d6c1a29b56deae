"""Read what SUV depends on from the headers of a PET: the attributes that `suv.pet_header` names."""

import math
from collections.abc import Sequence
from typing import Any, Final

from autosegnet.dicom.header import Header, name_attribute, parse_number, read_private
from autosegnet.errors import InputError
from autosegnet.suv import PetHeader, PetSlice
from autosegnet.suv.pet_header import ATTRIBUTES, Attribute, name_field

_DOSE: Final = "RadiopharmaceuticalInformationSequence"
_CODE_KEYWORDS: Final = {"value": "CodeValue", "meaning": "CodeMeaning"}
_SAME_NUMBER: Final = 1e-3  # relative: rounding in copies of one value


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
        items = header.read_items(_DOSE)
    except InputError as error:
        return error
    different = [item for k, item in enumerate(items) if all(item.dataset != before.dataset for before in items[:k])]
    if len(different) > 1:
        return InputError(f"{name_attribute(_DOSE)} has {len(items)} items in {header.where}; SUV needs exactly one")
    return different[0] if different else None


def _read_text(attribute: Attribute, header: Header, dose: "Header | InputError | None") -> str:
    if attribute.part == "series":
        return header.read_text(attribute.keyword)
    if attribute.part == "private":
        group, element = (int(part, 16) for part in attribute.number.strip("()").split(","))
        value = read_private(header, group, attribute.creator, element & 0xFF)
        return "" if value is None else str(value).strip()
    if isinstance(dose, InputError):
        raise dose
    if dose is None:
        return ""
    if attribute.part == "dose":
        return dose.read_text(attribute.keyword)
    sequence, what = attribute.keyword.split(", ")
    code = next(iter(dose.read_items(sequence)), None)
    return code.read_text(_CODE_KEYWORDS[what]) if code else ""


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
            text = header.read_text(attribute.keyword)
            values[name] = _to_number(text, name) if attribute.kind == "number" else text
        except InputError as error:
            faults[name] = f"{error}, in {header.where}"
    return PetSlice(**values, faults=faults)
