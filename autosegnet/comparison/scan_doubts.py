"""What makes two PETs of one patient hard to compare: what PERCIST 1.0 asks to be equal, and is not.

Wahl et al. 2009, doi:10.2967/jnumed.108.057307.
"""

from __future__ import annotations

from typing import Final

from autosegnet.lesions import LesionTable
from autosegnet.scan import ScanFacts

_UPTAKE_APART_MIN: Final = 15.0
_UPTAKE_MIN: Final = (50.0, 70.0)
_DOSE_APART: Final = 0.20
_LIVER_APART, _LIVER_APART_SUL = 0.20, 0.3
_WEIGHT_APART: Final = 0.10  # of the SUV: the norm itself moves as much; not of PERCIST


def list_doubts(first: ScanFacts, second: ScanFacts, baseline: LesionTable, followup: LesionTable) -> tuple[str, ...]:
    """Return what makes both PETs hard to compare, a sentence each.

    Args:
        first, second: how the PETs of baseline and follow-up were made.
        baseline, followup: with the liver's uptake.
    """
    return tuple(
        doubt
        for doubt in (
            _doubt_tracer(first, second),
            *_doubt_uptake(first, second),
            _doubt_ratio("Dose", first.dose_mbq, second.dose_mbq, "MBq", _DOSE_APART),
            _doubt_ratio("Weight", first.weight_kg, second.weight_kg, "kg", _WEIGHT_APART),
            _doubt_same("Scanner", first.scanner, second.scanner),
            _doubt_same("Reconstruction", first.reconstruction, second.reconstruction),
            _doubt_liver(baseline, followup),
            _tell_unknown(first, second),
        )
        if doubt
    )


def _doubt_tracer(first: ScanFacts, second: ScanFacts) -> str:
    if not first.tracer or not second.tracer or first.tracer == second.tracer:
        return ""
    return (
        f"Tracer: {first.tracer} at baseline, {second.tracer} at follow-up. Uptake of two tracers tells nothing of a "
        "change."
    )


def _doubt_uptake(first: ScanFacts, second: ScanFacts) -> list[str]:
    a, b = first.uptake_min, second.uptake_min
    if a is None or b is None:
        return []
    told = f"{a:.0f} min at baseline, {b:.0f} min at follow-up"
    if abs(a - b) > _UPTAKE_APART_MIN:
        return [f"Uptake time: {told}; PERCIST allows 15 min of difference. SUV of tumours rises with time."]
    if not all(_UPTAKE_MIN[0] <= value <= _UPTAKE_MIN[1] for value in (a, b)):
        return [f"Uptake time: {told}; PERCIST asks for 50 to 70 min."]
    return []


def _doubt_ratio(name: str, a: float | None, b: float | None, unit: str, apart: float) -> str:
    if not a or not b or abs(b - a) <= apart * a:
        return ""
    return f"{name}: {a:.0f} {unit} at baseline, {b:.0f} {unit} at follow-up, more than {apart:.0%} apart."


def _doubt_same(name: str, a: str, b: str) -> str:
    return f"{name}: {a} at baseline, {b} at follow-up; SUV of both may differ." if a and b and a != b else ""


def _doubt_liver(baseline: LesionTable, followup: LesionTable) -> str:
    a, b = _find_liver(baseline), _find_liver(followup)
    if a is None or b is None or a[1] != b[1]:
        return ""
    if abs(b[0] - a[0]) <= min(_LIVER_APART * a[0], _LIVER_APART_SUL):
        return ""
    return (
        f"Liver {a[1]}: {a[0]:.2f} at baseline, {b[0]:.2f} at follow-up; PERCIST allows 20 % and 0.3 of difference. "
        "Look for the cause before you compare lesions."
    )


def _find_liver(table: LesionTable) -> tuple[float, str] | None:
    """Return the liver's mean, in SUL if the body's size is known."""
    liver, factor = table.fdg_references.liver, table.lean_factors.get("janma")
    if liver is None:
        return None
    return (liver.suv_mean, "SUV") if factor is None else (liver.suv_mean * factor, "SUL")


def _tell_unknown(first: ScanFacts, second: ScanFacts) -> str:
    names = {"uptake_min": "uptake time", "dose_mbq": "dose", "scanner": "scanner", "reconstruction": "reconstruction"}
    missing = [name for key, name in names.items() if not getattr(first, key) or not getattr(second, key)]
    return f"Not known of both dates: {', '.join(missing)}. PERCIST asks that they agree." if missing else ""
