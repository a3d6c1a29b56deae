"""Nuclides: their half-lives, their codes, and how headers write them."""

import re
from typing import Final

_AGREEMENT: Final = 0.02  # relative difference between a stated half-life and the nuclide's

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

WITHOUT_POSITRONS_S: Final = {
    "Ga-67": 3.2617 * 86400,
    "Tc-99m": 6.0067 * 3600,
    "In-111": 2.8047 * 86400,
    "I-123": 13.2234 * 3600,
    "I-125": 59.407 * 86400,
    "I-131": 8.0252 * 86400,
    "Xe-133": 5.2475 * 86400,
    "Sm-153": 46.284 * 3600,
    "Lu-177": 6.6443 * 86400,
    "Tl-201": 3.0421 * 86400,
}
"""Half-lives in seconds of nuclides for SPECT and therapy: an image of them cannot be a PET. Source as above."""

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
    "C-131A2": "Ga-67",
    "2008008": "Ga-67",
    "C-163A8": "Tc-99m",
    "72454006": "Tc-99m",
    "C-145A4": "In-111",
    "56609000": "In-111",
    "C-114A4": "I-123",
    "21572004": "I-123",
    "C-114A6": "I-125",
    "68630002": "I-125",
    "C-114B1": "I-131",
    "1368003": "I-131",
    "C-172A8": "Xe-133",
    "80751004": "Xe-133",
    "C-B1134": "Sm-153",
    "419804008": "Sm-153",
    "C-101ED": "Lu-177",
    "447553000": "Lu-177",
    "C-138A9": "Tl-201",
    "60057003": "Tl-201",
}
# SRT (as well as SNM3, 99SDM) and SCT codes of DICOM PS3.16 CID 4020 and 18. No code of one scheme means something else
# in another, so the scheme's designator, which scanners write in several ways, is ignored.

_ELEMENTS: Final = {
    "C": "CARBON",
    "N": "NITROGEN",
    "O": "OXYGEN",
    "F": "FLUORINE|FLUOR",
    "Sc": "SCANDIUM",
    "Cu": "COPPER",
    "Ga": "GALLIUM",
    "Br": "BROMINE",
    "Rb": "RUBIDIUM",
    "Y": "YTTRIUM",
    "Zr": "ZIRCONIUM",
    "Tc": "TECHNETIUM",
    "In": "INDIUM",
    "I": "IODINE|IODIDE",
    "Xe": "XENON",
    "Sm": "SAMARIUM",
    "Lu": "LUTETIUM",
    "Tl": "THALLIUM|THALLOUS",
}
ELEMENTS: Final = re.compile(rf"(?<![A-Z])(?:{'|'.join(_ELEMENTS.values())})(?![A-Z])", re.IGNORECASE)
"""Names of the nuclides' elements as texts write them."""

_BETWEEN: Final = r"[\s\-^\[\]()]*"


def _compile_patterns() -> dict[str, re.Pattern[str]]:
    patterns = {}
    for name in (*HALF_LIVES_S, *WITHOUT_POSITRONS_S):
        symbol, mass = name.split("-")
        element = f"(?:{symbol}|{_ELEMENTS[symbol]})"
        forms = f"(?<![A-Z]){element}{_BETWEEN}{mass}(?![0-9M])|(?<![0-9]){mass}{_BETWEEN}{element}(?![A-Z])"
        patterns[name] = re.compile(forms, re.IGNORECASE)
    return patterns


_PATTERNS: Final = _compile_patterns()


def find_by_code(code: str) -> str | None:
    """Return the nuclide of a code, as 'F-18', or None if the code is unknown."""
    return _CODES.get(code.strip().upper())


def find_in_text(text: str) -> str | None:
    """Return the nuclide that a text names ('^18^Fluorine', 'F-18', '[18F]FDG', 'Ga-68 PSMA-11'), or None."""
    return next((name for name, pattern in _PATTERNS.items() if pattern.search(text)), None)


def get_half_life_s(name: str) -> float:
    """Return the half-life of a known nuclide in seconds."""
    return HALF_LIVES_S[name] if name in HALF_LIVES_S else WITHOUT_POSITRONS_S[name]


def find_by_half_life(half_life_s: float) -> str | None:
    """Return the PET nuclide whose half-life is nearest; None if none agrees."""
    name = min(HALF_LIVES_S, key=lambda known: abs(half_life_s / HALF_LIVES_S[known] - 1.0))
    return name if matches_half_life(half_life_s, name) else None


def matches_half_life(half_life_s: float, name: str, tolerance: float = _AGREEMENT) -> bool:
    """Return whether a half-life is that of a nuclide, within rounding."""
    return abs(half_life_s / get_half_life_s(name) - 1.0) <= tolerance
