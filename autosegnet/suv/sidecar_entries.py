"""Reads entries of a sidecar: numbers, the one value of a frame, and units."""

import sys
from typing import Any

from autosegnet.errors import InputError


def read_number(sidecar: dict[str, Any], name: str) -> float:
    """Return an entry that is a number.

    Raises:
        InputError: it is missing, or not a number.
    """
    value = sidecar.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
        raise InputError(f"{name} is {'missing' if value is None else 'not a number'} in the sidecar; SUV needs it")
    return float(value)


def read_positive(sidecar: dict[str, Any], name: str) -> float:
    """Return an entry that is a number above 0.

    Raises:
        InputError: it is not.
    """
    value = read_number(sidecar, name)
    if value <= 0:
        raise InputError(f"{name} is {value:g} in the sidecar; expected more than 0")
    return value


def read_frame(sidecar: dict[str, Any], name: str) -> float:
    """Return an entry that has one number per frame, from a PET of one frame.

    Raises:
        InputError: it has another number of entries, or is not a number.
    """
    value = sidecar.get(name)
    if isinstance(value, list) and len(value) != 1:
        raise InputError(f"{name} has {len(value)} entries in the sidecar; only a PET of one frame can be segmented")
    return read_number({name: value[0] if isinstance(value, list) else value}, name)


def read_unit(sidecar: dict[str, Any], name: str, units: dict[str, float], *, default: str | None = None) -> float:
    """Return the factor of the unit that an entry names.

    Args:
        units: the factor of each known unit, by its name in lower case.
        default: the unit if the entry is missing; None refuses that.

    Raises:
        InputError: it is missing or unknown.
    """
    text = sidecar.get(name, default)
    known = units.get(str(text).lower().replace(" ", "")) if text is not None else None
    if known is None:
        raise InputError(
            f"{name} is {'missing' if text is None else 'unknown'} in the sidecar; expected one of {', '.join(units)}"
        )
    return known
