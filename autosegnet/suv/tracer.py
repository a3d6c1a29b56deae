"""Finds the nuclide and the tracer of a PET from several statements ("witnesses") in its header.

Witnesses of the nuclide are its code, the code's meaning, the tracer's code and meaning, the text Radiopharmaceutical,
and the half-life. One of them may be wrong (a reference object codes Ga-66 for Ga-68): only a half-life that agrees
with no other witness is refused. Texts of a header are compared with known names and never quoted.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from autosegnet.errors import InputError
from autosegnet.suv import nuclides

_ROUGH: Final = (
    0.1  # relative; a half-life this near to the nuclide's is a rounded one, and changes the SUV by 4 % at most
)

# Names of tracers, letters and digits only; the first one found counts.
_NAMES: Final = {
    name: re.compile(pattern)
    for name, pattern in {
        "FDG": r"FDG(?!AL($|\d|F18))|(FLU|OXY|F18|18F).*GLU[CK]OS(?!AM|ID)",  # neither FDGal nor glucosamine
        "PSMA": r"PSMA|PIFLUFOLASTAT|DCFPYL|PYLARIFY|FLOTUFOLASTAT|GOZETOTIDE",
        "SSTR ligand": r"DOTA|(^|\d|SAR|OCTREO)TATE|EDOTREOTID|SSTR|PENTETREOTID|OCTREOTID",
        "FAPI": r"FAPI",
        "choline": r"CHOLIN",
        "FLT": r"FLT|THYMIDIN",
        "FET": r"(^|\d|18F)FET|ETHYLTYROS",
        "FDOPA": r"DOPA",
        "methionine": r"METHIONIN",
        "FES": r"(^|\d|18F)FES|ESTRADIOL",
        "amyloid tracer": r"FLORBETA|FLUTEMETAMOL|PITTSBURGH|VIZAMYL|AMYVID|NEURACEQ",
        "tau tracer": r"TAUCIPIR|MK6240|THK5",
        "FMISO": r"MISO",
        "fluciclovine": r"CICLOVIN|AXUMIN|FACBC",
        "acetate": r"ACETAT",
        "ammonia": r"AMMONI",
        "water": r"WATER|H2O",
        "rubidium chloride": r"RUBIDIUM|CARDIOGEN",
        "flurpiridaz": r"FLURPIRIDAZ",
        "pentixafor": r"PENTIXAFOR",
        "exendin": r"EXENDIN",
        "antibody": r"ANTIBODY|[A-Z]{4}MAB",
        "MIBG": r"MIBG|IODOBENZYLGUANIDIN",
        "bone tracer": r"MEDRONAT|OXIDRONAT|(^|\d|M)MDP|(^|\d|M)HDP",
        "sodium fluoride": r"FLUORID|NAF",
    }.items()
}
_CODES: Final = {
    "C-B1031": "FDG",
    "35321007": "FDG",
    "C-B1032": "sodium fluoride",
    "129501009": "sodium fluoride",
    "C-B103E": "methionine",
    "129510001": "methionine",
    "C-B1043": "acetate",
    "129513004": "acetate",
    "C-B103C": "ammonia",
    "129508003": "ammonia",
    "C-B1039": "water",
    "129505000": "water",
    "C-B1036": "FLT",
    "129502002": "FLT",
    "C-B1037": "rubidium chloride",
    "129503007": "rubidium chloride",
    "724025002": "SSTR ligand",
    "456992002": "choline",
    "457000009": "fluciclovine",
}
# DICOM PS3.16 CID 4021: codes whose meaning is unclear in most headers.

# Texts that scanners write if nobody chose a tracer; they are ignored.
_SAYS_NOTHING: Final = re.compile(
    r"SOLUTION|INJECTION|ISOTOPE|TRACER|RADIOPHARMACEUTICAL|OTHER|UNKNOWN|NONE|UNSPECIFIED|ANONYMI[SZ]ED|REMOVED"
)


@dataclass(frozen=True, slots=True)
class Tracer:
    """The tracer of a PET.

    Args:
        name: a known tracer, "another" for one that is not known, "" if the header names none.
        nuclide: as "F-18", "" if it is not known.
        half_life_s: of the nuclide; None if it is unknown.
        warnings: witnesses that disagree.
    """

    name: str
    nuclide: str
    half_life_s: float | None
    warnings: tuple[str, ...]


def name_tracer(texts: Mapping[str, str], code: str) -> tuple[str, list[str]]:
    """Return the tracer that texts and a code name, as in `Tracer`, and the doubts.

    Args:
        texts: of a header, by the attributes that hold them.
        code: of RadiopharmaceuticalCodeSequence.
    """
    names = [_CODES[code]] if code in _CODES else []
    unknown = False
    for text in texts.values():
        letters = re.sub(r"[^A-Z0-9]", "", text.upper())
        found = next((name for name, pattern in _NAMES.items() if pattern.search(letters)), None)
        if found:
            names.append(found)
        elif _is_specific(text):
            unknown = True
    if len(set(names)) > 1:
        return "another", [f"the header names several tracers: {' and '.join(dict.fromkeys(names))}"]
    if names:
        return names[0], []
    return ("another" if unknown else ""), []


def _is_specific(text: str) -> bool:
    """Return whether a text names more than a nuclide."""
    if nuclides.find_in_text(text):
        text = re.sub(r"\d+M?|(?<![A-Za-z])[A-Z][a-z]?(?![A-Za-z])", "", nuclides.ELEMENTS.sub("", text))
    left = re.sub(r"[^A-Z]", "", _SAYS_NOTHING.sub("", text.upper()))
    return len(left) > 2


def identify_nuclide(witnesses: Mapping[str, str | None], stated_s: float | None, *, attribute: str) -> Tracer:
    """Return nuclide and half-life by all witnesses together; the tracer's name is left empty.

    Args:
        witnesses: the nuclide that each attribute names; None if it names none.
        stated_s: half-life as stated, None if it is missing.
        attribute: the one that states the half-life, for messages.

    Raises:
        InputError: the half-life fits no witness, or it is missing and the witnesses contradict each other.
    """
    known = {source: name for source, name in witnesses.items() if name is not None}
    if stated_s is None:
        return _choose_by_majority(known, attribute)
    agreeing = [name for name in known.values() if nuclides.matches_half_life(stated_s, name)]
    if agreeing or not known:
        name = agreeing[0] if agreeing else nuclides.find_by_half_life(stated_s) or ""
        return Tracer("", name, stated_s, _tell_others(known, name, f"half-life {stated_s:g} s"))
    near = [name for name in known.values() if nuclides.matches_half_life(stated_s, name, _ROUGH)]
    nearest = next(iter(near or known.values()))
    found = f"{attribute} is {stated_s:g} s, but {nearest} has {nuclides.get_half_life_s(nearest):g} s"
    if not near:
        raise InputError(
            f"{found}, and nothing else that names the nuclide agrees with it; expected its half-life in seconds"
        )
    return Tracer("", nearest, stated_s, (found,))


def _choose_by_majority(known: Mapping[str, str], attribute: str) -> Tracer:
    if not known:
        return Tracer("", "", None, ())
    votes = Counter(known.values()).most_common()
    name, most = votes[0]
    if len(votes) > 1 and votes[1][1] == most:
        said = "; ".join(f"{source}: {other}" for source, other in known.items())
        raise InputError(f"{attribute} is missing, and the header names several nuclides ({said}); expected one")
    half_life_s = nuclides.get_half_life_s(name)
    missing = f"{attribute} is missing; {half_life_s:g} s of {name} was used"
    return Tracer("", name, half_life_s, (missing, *_tell_others(known, name, "most of the header")))


def _tell_others(known: Mapping[str, str], name: str, believed: str) -> tuple[str, ...]:
    others = [f"{source} says {other}" for source, other in known.items() if other != name]
    return (f"{' and '.join(others)}, but {believed} is that of {name}, which was used",) if others and name else ()


def doubt_tracer(name: str, nuclide: str, *, expected: str) -> list[str]:
    """Return why a PET may mislead a network trained for one tracer, one sentence each.

    Args:
        name, nuclide: as in `Tracer`.
        expected: the folds' tracer; "" for any.
    """
    doubts = []
    if nuclide in nuclides.WITHOUT_POSITRONS_S:
        doubts.append(f"the nuclide is {nuclide}, which emits no positrons, so this cannot be a PET")
    if expected and name not in ("", expected):
        shown = "another tracer" if name == "another" else name
        doubts.append(
            f"the tracer is {shown}, and the folds are for {expected}; nobody has measured what they mark in such a PET"
        )
    elif expected == "FDG" and nuclide not in ("", "F-18"):
        doubts.append(
            f"the nuclide is {nuclide}, so the tracer cannot be FDG, and the folds are for FDG; "
            "nobody has measured what they mark in such a PET"
        )
    return doubts
