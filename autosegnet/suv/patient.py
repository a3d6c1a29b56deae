"""The quantities behind an SUV, taken from a header and refused where they cannot be true."""

import math
from typing import Final

from autosegnet.errors import InputError
from autosegnet.suv.conversion import Ledger
from autosegnet.suv.nuclides import half_life_of, nuclide
from autosegnet.suv.pet_header import PetSlice, named

_LEAST_DOSE_BQ: Final = 1e4
"""Below it a dose is in MBq: 10 kBq is a thousandth of any that gives an image, 10 GBq a multiple of any."""

_HEAVIEST_KG: Final = 1000.0
_TALLEST_M: Final = 3.0


def read_weight_kg(ledger: Ledger, given: float | None) -> float:
    """The weight, or the one given instead.

    Raises:
        InputError: missing, not positive, or so large that it is in grams.
    """
    stored = ledger.number("weight_kg")
    weight = stored if given is None else given
    source = named("weight_kg") if given is None else "--weight-kg"
    if weight is None or not math.isfinite(weight) or weight <= 0:
        found = "is missing" if weight is None else f"is {weight:g} kg"
        raise InputError(f"{source} {found}; SUV needs a positive weight (--weight-kg gives it)")
    if weight >= _HEAVIEST_KG:
        raise InputError(f"{source} is {weight:g} kg; expected less than 1000 (is it in grams? --weight-kg gives it)")
    if given is not None:
        ledger.warn(f"weight {given:g} kg was given by --weight-kg")
    ledger.figures["weight_kg"] = weight
    return weight


def read_height_cm(ledger: Ledger) -> float:
    """The height in cm.

    Raises:
        InputError: missing, not positive, or so large that it is not in m.
    """
    height = ledger.number("height_m")
    if height is None or not 0 < height < _TALLEST_M:
        found = "is missing" if height is None else f"is {height:g} m"
        hint = " (is it in cm?)" if height is not None and height >= _TALLEST_M else ""
        raise InputError(f"{named('height_m')} {found}; this SUV type needs the height in m{hint}")
    return 100.0 * height


def read_sex(ledger: Ledger) -> str:
    """'M', 'F' or 'O'.

    Raises:
        InputError: missing or something else.
    """
    sex = ledger.text("sex").upper()
    if sex not in ("M", "F", "O"):
        raise InputError(f"{named('sex')} is {'missing' if not sex else 'none of M, F, O'}; this SUV type needs it")
    if sex == "O":
        ledger.warn(f"{named('sex')} is O: the mean of the norms of men and women was used")
    return sex


def read_dose_bq(ledger: Ledger) -> float:
    """The administered activity; a number too small for Bq is in MBq.

    Raises:
        InputError: missing or not positive.
    """
    dose = ledger.number("dose")
    if dose is None or not math.isfinite(dose) or dose <= 0:
        found = "is missing" if dose is None else f"is {dose:g}"
        raise InputError(f"{named('dose')} {found}; SUV needs a positive dose in Bq")
    if dose < _LEAST_DOSE_BQ:
        ledger.warn(f"{named('dose')} is {dose:g}, taken for MBq")
        dose *= 1e6
    ledger.figures["dose_bq"] = dose
    return dose


def read_half_life_s(ledger: Ledger) -> float:
    """The half-life: as stated, else that of the coded nuclide.

    Raises:
        InputError: neither is there.
    """
    stored = ledger.number("half_life_s")
    known = nuclide(ledger.text("nuclide_code"), ledger.text("nuclide_meaning"))
    stated = stored if stored is not None and stored > 0 else None
    half_life_s, doubt = half_life_of(stated, known, attribute=named("half_life_s"))
    if half_life_s is None:
        raise InputError(
            f"{named('half_life_s')} is {'missing' if stored is None else f'{stored:g}'} and "
            f"{named('nuclide_code')} names no known PET nuclide; SUV needs one of them"
        )
    if doubt:
        ledger.warn(doubt)
    ledger.figures["half_life_s"] = half_life_s
    return half_life_s


def read_duration_s(ledger: Ledger, part: PetSlice) -> float:
    """How long the frame of a slice took.

    Raises:
        InputError: missing or not positive.
    """
    duration_ms = ledger.number("frame_duration_ms", part)
    if duration_ms is None or not duration_ms > 0:
        raise InputError(f"{named('frame_duration_ms')} is missing or 0; SUV with DecayCorrection NONE needs it")
    return duration_ms / 1000.0


def printable(text: str) -> str:
    """The beginning of a header's text, fit for a message."""
    return "".join(c if c.isprintable() else "?" for c in text[:16])
