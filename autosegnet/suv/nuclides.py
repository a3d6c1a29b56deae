"""Half-lives of PET nuclides, for headers that code the nuclide and leave out its half-life."""

import re
from typing import Final

from autosegnet.errors import InputError

_AGREEMENT: Final = 0.02  # of a half-life as stated and the nuclide's

HALF_LIVES_S: Final = {
    "C-11": 20.364 * 60,
    "N-13": 9.965 * 60,
    "O-15": 122.24,
    "F-18": 109.77 * 60,
    "Sc-44": 4.042 * 3600,
    "Cu-60": 23.7 * 60,
    "Cu-61": 3.336 * 3600,
    "Cu-62": 9.672 * 60,
    "Cu-64": 12.7004 * 3600,
    "Ga-66": 9.304 * 3600,
    "Ga-68": 67.71 * 60,
    "Br-76": 16.14 * 3600,
    "Rb-82": 1.2575 * 60,
    "Y-86": 14.74 * 3600,
    "Y-90": 64.05 * 3600,
    "Zr-89": 78.41 * 3600,
    "I-124": 4.176 * 86400,
}
"""Seconds. Source: ENSDF evaluations as NNDC's NuDat shows them; F-18, 6586.2 s, is also that of the IBSI objects."""

_CODES: Final = {
    "C-105A1": "C-11",
    "40565003": "C-11",
    "C-107A1": "N-13",
    "21576001": "N-13",
    "C-B1038": "O-15",
    "129504001": "O-15",
    "C-111A1": "F-18",
    "77004003": "F-18",
    "126600": "Sc-44",
    "C-127A4": "Cu-60",
    "425364008": "Cu-60",
    "C-127A1": "Cu-61",
    "71425003": "Cu-61",
    "C-127A5": "Cu-62",
    "422934004": "Cu-62",
    "C-127A2": "Cu-64",
    "3932008": "Cu-64",
    "C-131A1": "Ga-66",
    "79477007": "Ga-66",
    "C-131A3": "Ga-68",
    "35337001": "Ga-68",
    "C-113A2": "Br-76",
    "79523006": "Br-76",
    "C-159A2": "Rb-82",
    "79197006": "Rb-82",
    "C-162A3": "Y-86",
    "10738001": "Y-86",
    "C-162A7": "Y-90",
    "14691008": "Y-90",
    "C-168A4": "Zr-89",
    "63360001": "Zr-89",
    "C-114A5": "I-124",
    "40937006": "I-124",
}
# SRT (as well as SNM3, 99SDM) and SCT codes of DICOM PS3.16 CID 4020. No code of one scheme means something else in
# another, so the scheme's designator, which scanners write in several ways, is not asked for.

_ELEMENTS: Final = {
    "carbon": "C",
    "nitrogen": "N",
    "oxygen": "O",
    "fluorine": "F",
    "fluor": "F",
    "scandium": "Sc",
    "copper": "Cu",
    "gallium": "Ga",
    "bromine": "Br",
    "rubidium": "Rb",
    "yttrium": "Y",
    "zirconium": "Zr",
    "iodine": "I",
}


def nuclide(code: str, meaning: str) -> str | None:
    """The nuclide, as 'F-18', of a code or else of its meaning ('^18^Fluorine', 'F-18', '18F'); None if unknown."""
    known = _CODES.get(code.strip().upper())
    if known:
        return known
    letters = "".join(re.findall(r"[A-Za-z]+", meaning))
    mass = "".join(re.findall(r"\d+", meaning))
    symbol = _ELEMENTS.get(letters.lower(), letters.capitalize())
    return f"{symbol}-{mass}" if f"{symbol}-{mass}" in HALF_LIVES_S else None


def half_life_of(stated_s: float | None, known: str | None, *, attribute: str) -> tuple[float | None, str]:
    """The half-life in s, as stated or else that of the nuclide, and what a person should look at, or ''.

    Args:
        known: the nuclide, as `nuclide` names it.
        attribute: what states the half-life, for the message.

    Raises:
        InputError: the two differ by more than a factor of two, as minutes differ from seconds.
    """
    if stated_s is None:
        if known is None:
            return None, ""
        return HALF_LIVES_S[known], f"{attribute} is missing; {HALF_LIVES_S[known]:g} s of {known} was used"
    if known is None or abs(stated_s / HALF_LIVES_S[known] - 1.0) <= _AGREEMENT:
        return stated_s, ""
    found = f"{attribute} is {stated_s:g} s, but {known} has {HALF_LIVES_S[known]:g} s"
    if not 0.5 <= stated_s / HALF_LIVES_S[known] <= 2.0:
        raise InputError(found)
    return stated_s, found
