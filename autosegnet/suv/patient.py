"""The quantities behind an SUV, taken from what was stated or from a header, and judged."""

import math
from dataclasses import replace
from typing import Final

from autosegnet.errors import InputError
from autosegnet.suv.conversion import Ledger
from autosegnet.suv.nuclides import find_by_code, find_in_text
from autosegnet.suv.pet_header import PetSlice, name_field
from autosegnet.suv.plausibility import judge_dose, judge_height, judge_weight
from autosegnet.suv.tracer import Tracer, identify_nuclide, name_tracer

_LEAST_DOSE_BQ: Final = 1e4
"""A dose below this is in MBq: 10 kBq is far too little for an image, 10 GBq far more than anybody gets."""


def read_weight_kg(ledger: Ledger) -> float:
    """Return the weight, as stated or else as in the header.

    Raises:
        InputError: it is missing, not positive, or impossible for a person.
    """
    way, stated = ledger.facts.name_way("weight_kg"), ledger.facts.weight_kg
    if stated is not None:
        ledger.state(f"weight {stated:g} kg was stated by {way}")
        weight, source = stated, way
    else:
        source = name_field("weight_kg")
        found = ledger.number("weight_kg")
        if found is None or found <= 0:
            told = "is missing" if found is None else f"is {found:g} kg"
            raise InputError(f"{source} {told}; SUV needs a positive weight ({way} states it)")
        weight = found
    ledger.judge(judge_weight(weight, source=source, way=way, is_stated=stated is not None))
    ledger.figures["weight_kg"] = weight
    return weight


def read_height_cm(ledger: Ledger) -> float:
    """Return the height in cm, as stated or else as in the header.

    Raises:
        InputError: it is missing, not positive, or impossible for a person in m.
    """
    way, stated = ledger.facts.name_way("height_cm"), ledger.facts.height_cm
    if stated is not None:
        ledger.state(f"height {stated:g} cm was stated by {way}")
        height_cm, source, found = stated, way, f"{stated:g} cm"
    else:
        source, height_m = name_field("height_m"), ledger.number("height_m")
        if height_m is None or height_m <= 0:
            told = "is missing" if height_m is None else f"is {height_m:g} m"
            raise InputError(f"{source} {told}; this SUV type needs the height in m ({way} states it)")
        height_cm, found = 100.0 * height_m, f"{height_m:g} m"
    ledger.judge(judge_height(height_cm, source=source, found=found, way=way, is_stated=stated is not None))
    ledger.figures["height_cm"] = height_cm
    return height_cm


def read_sex(ledger: Ledger) -> str:
    """Return 'M', 'F' or 'O'.

    Raises:
        InputError: it is missing or another value.
    """
    sex = ledger.read_text("sex").upper()
    if sex not in ("M", "F", "O"):
        told = "missing" if not sex else "not M, F or O"
        raise InputError(f"{name_field('sex')} is {told}; this SUV type needs it")
    if sex == "O":
        ledger.warn(f"{name_field('sex')} is O: the mean of the norms of men and women was used")
    return sex


def read_dose_bq(ledger: Ledger) -> float:
    """Return the administered activity, as stated or else as in the header; a number too small for Bq is in MBq.

    Raises:
        InputError: missing, not positive, or too little or too much for any scan.
    """
    way, stated = ledger.facts.name_way("dose_mbq"), ledger.facts.dose_mbq
    if stated is not None:
        ledger.state(f"dose {stated:g} MBq was stated by {way}")
        dose_bq, source, found = stated * 1e6, way, f"{stated:g} MBq"
    else:
        source, stored = name_field("dose"), ledger.number("dose")
        if stored is None or stored <= 0:
            told = "is missing" if stored is None else f"is {stored:g}"
            raise InputError(f"{source} {told}; SUV needs a positive dose in Bq ({way} states it)")
        dose_bq, found = stored, f"{stored:g} Bq"
        if stored < _LEAST_DOSE_BQ:
            dose_bq, found = stored * 1e6, f"{stored:g}, taken for MBq"
            ledger.warn(f"{source} is {found}")
    ledger.judge(judge_dose(dose_bq, source=source, found=found, way=way, is_stated=stated is not None))
    ledger.figures["dose_bq"] = dose_bq
    return dose_bq


def identify_tracer(ledger: Ledger, *, quietly: bool = False) -> float | None:
    """Set the ledger's tracer and nuclide, and return the half-life in s; None if it is unknown.

    Args:
        quietly: whether contradictions are ignored, because the rule needs no half-life.

    Raises:
        InputError: the half-life fits no statement of the nuclide, or the statements contradict each other.
    """
    try:
        tracer, doubts = _ask_witnesses(ledger)
    except InputError as error:
        if not quietly:
            raise
        ledger.warn(str(error))
        return None
    said = tracer.warnings if not quietly or ledger.header.half_life_s else ()  # a choice of no effect is not reported
    for doubt in (*doubts, *said):
        ledger.warn(doubt)
    ledger.tracer, ledger.nuclide = tracer.name, tracer.nuclide
    return tracer.half_life_s


def _ask_witnesses(ledger: Ledger) -> tuple[Tracer, list[str]]:
    texts = {name_field(name): ledger.read_text(name) for name in ("radiopharmaceutical", "agent_meaning")}
    name, doubts = name_tracer(texts, ledger.read_text("agent_code").upper())
    witnesses = {
        name_field("nuclide_code"): find_by_code(ledger.read_text("nuclide_code")),
        name_field("nuclide_meaning"): find_in_text(ledger.read_text("nuclide_meaning")),
        **{source: find_in_text(text) for source, text in texts.items()},
        "the tracer FDG": "F-18" if name == "FDG" else None,
    }
    stored = ledger.number("half_life_s")
    stated_s = stored if stored is not None and stored > 0 else None
    return replace(identify_nuclide(witnesses, stated_s, attribute=name_field("half_life_s")), name=name), doubts


def read_half_life_s(ledger: Ledger) -> float:
    """Return the half-life: as stated in the header, else that of the nuclide that the header names.

    Raises:
        InputError: both are missing, or they contradict each other.
    """
    half_life_s = identify_tracer(ledger)
    if half_life_s is None:
        stored = ledger.number("half_life_s")
        raise InputError(
            f"{name_field('half_life_s')} is {'missing' if stored is None else f'{stored:g}'} and "
            f"{name_field('nuclide_code')} names no known PET nuclide; SUV needs one of them"
        )
    ledger.figures["half_life_s"] = half_life_s
    return half_life_s


def read_duration_s(ledger: Ledger, part: PetSlice) -> float:
    """Return the duration of a slice's frame.

    Raises:
        InputError: missing or not positive.
    """
    duration_ms = ledger.number("frame_duration_ms", part)
    if duration_ms is None or not duration_ms > 0 or not math.isfinite(duration_ms):
        raise InputError(f"{name_field('frame_duration_ms')} is missing or 0; SUV with DecayCorrection NONE needs it")
    return duration_ms / 1000.0


def format_header_text(text: str) -> str:
    """Return the beginning of a header's code for a message."""
    return "".join(c if c.isprintable() else "?" for c in text[:16])
