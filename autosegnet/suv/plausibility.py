"""What is plausible: uptake time, dose, weight, height and the balance of activity, with one set of limits.

Headers and sidecars pass through the same functions. Each returns findings; `admit` turns them into warnings or a
refusal. A fact that the user states is refused only if it is impossible, because the user has looked at it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, time
from typing import Final, Literal

from autosegnet.errors import InputError

# Bounds: (refused below, doubted below, doubted above, refused above).
_WEIGHT_KG: Final = (1.0, 3.0, 300.0, 400.0)  # newborns weigh 3 kg; scanner tables carry 220 to 300 kg
_HEIGHT_CM: Final = (30.0, 45.0, 230.0, 272.0)  # a newborn; the tallest person measured, 272 cm
_DOSE_MBQ: Final = (1.0, 10.0, 3000.0, 50000.0)  # children get 14 MBq and more; Rb-82 2.2 GBq; Y-90 up to 20 GBq
_SHORTEST_S, _LONGEST_S = 20.0 * 60.0, 4.0 * 3600.0  # FDG guidelines scan at 60 min, studies from 30 to 180 min
_LONG_LIVED_S: Final = 86400.0  # s; for half-lives from here on, scans days after the injection are usual
_MOST_HALF_LIVES: Final = 6.0  # 1.6 % of the activity is left; 11 h of F-18
_HIGHEST_BALANCE: Final = 1.1  # calibration of scanner and dose calibrator agree within 10 %
_LOWEST_TISSUE_SUV: Final = 0.15  # mean over what takes up tracer; 0.6 to 1.5 in scans of FDG

Severity = Literal["refuse", "warn"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A doubt about a scan.

    Args:
        severity: whether it refuses the study or is a warning.
        sentence: what was found, what was expected, what to do.
    """

    severity: Severity
    sentence: str


def admit(findings: Iterable[Finding], warn: Callable[[str], None]) -> None:
    """Warn of doubts, and refuse what cannot be true.

    Args:
        warn: called with the sentence of each warning.

    Raises:
        InputError: a finding refuses the scan.
    """
    for finding in findings:
        if finding.severity == "refuse":
            raise InputError(finding.sentence)
        warn(finding.sentence)


def judge_weight(weight_kg: float, *, source: str, way: str, is_stated: bool) -> list[Finding]:
    """Return the doubts about a body weight.

    Args:
        source: the attribute, entry or option that gave it.
        way: option or column that states it instead.
        is_stated: whether the user stated it.
    """
    hint = "is it in grams, or is its decimal point missing? "
    return _judge(weight_kg, _WEIGHT_KG, f"{source} is {weight_kg:g} kg", "kg", hint, way, is_stated)


def judge_height(height_cm: float, *, source: str, found: str, way: str, is_stated: bool) -> list[Finding]:
    """Return the doubts about a body height; arguments as of `judge_weight`, `found` is the value as stored."""
    return _judge(height_cm, _HEIGHT_CM, f"{source} is {found}", "cm", "is it in cm? ", way, is_stated)


def judge_dose(dose_bq: float, *, source: str, found: str, way: str, is_stated: bool) -> list[Finding]:
    """Return the doubts about an injected activity; arguments as of `judge_height`."""
    hint = "is it in kBq, GBq or mCi? "
    return _judge(dose_bq / 1e6, _DOSE_MBQ, f"{source} is {found}", "MBq", hint, way, is_stated)


def _judge(
    value: float, bounds: tuple[float, float, float, float], found: str, unit: str, hint: str, way: str, is_stated: bool
) -> list[Finding]:
    least, low, high, most = bounds
    if not least <= value <= most and not is_stated:
        return [Finding("refuse", f"{found}; expected {least:g} to {most:g} {unit} ({hint}{way} states it)")]
    if not low <= value <= high:
        return [Finding("warn", f"{found}, which is unusual; expected {low:g} to {high:g} {unit}")]
    return []


@dataclass(frozen=True, slots=True, kw_only=True)
class UptakeTime:
    """An injection and the moment to which a PET is decay-corrected.

    Args:
        seconds: from the injection to that moment.
        half_life_s: of the nuclide.
        source: the attribute, entry or option that gave the injection.
        way: option or column that states the injection instead.
        is_stated: whether the user stated the injection or the scan's time.
        injected, reference: the moments; None if only the seconds between them are known.
    """

    seconds: float
    half_life_s: float
    source: str
    way: str
    is_stated: bool = False
    injected: datetime | None = None
    reference: datetime | None = None


def judge_uptake(uptake: UptakeTime) -> list[Finding]:
    """Return the doubts about the time from an injection to a scan."""
    seconds, half_lives = uptake.seconds, uptake.seconds / uptake.half_life_s
    lies = f"the injection, {uptake.source}, lies"
    expected = f"expected an injection shortly before the scan ({uptake.way} states it)"
    if seconds < 0:
        late = f"{lies} {-seconds / 60:.1f} min after the time to which the PET is corrected"
        return [Finding("refuse", f"{late}; {expected}")]
    if _is_removed(uptake):
        return [
            Finding(
                "refuse",
                f"{uptake.source} is exactly midnight, 00:00:00, and the scan is not near it, as if the time of day "
                f"had been removed; {expected}",
            )
        ]
    before = f"{lies} {_format_duration(seconds)} before the time to which the PET is corrected"
    if half_lives > _MOST_HALF_LIVES and not (uptake.is_stated and half_lives <= 2 * _MOST_HALF_LIVES):
        return [Finding("refuse", f"{before}, which is {half_lives:.0f} half-lives; {expected}")]
    if uptake.half_life_s >= _LONG_LIVED_S:
        return []
    least, most = min(_SHORTEST_S, uptake.half_life_s), max(_LONGEST_S, 2.0 * uptake.half_life_s)
    if not least <= seconds <= most:
        usual = f"{_format_duration(least)} to {_format_duration(most)}"
        return [Finding("warn", f"uptake time: {before}; usual is {usual}. A wrong time makes every SUV wrong")]
    return []


def judge_undated_injection(half_life_s: float) -> list[Finding]:
    """Return the doubt about an injection without a date, which is taken for the last 24 h before the scan."""
    if half_life_s <= _LONG_LIVED_S / 2:
        return []
    return [
        Finding(
            "warn",
            f"the injection has no date and the half-life is {half_life_s / 3600:.1f} h: the injection is assumed to "
            "be within 24 h before the scan",
        )
    ]


def _is_removed(uptake: UptakeTime) -> bool:
    if uptake.injected is None or uptake.reference is None or uptake.is_stated:
        return False
    at_midnight = uptake.injected.time() == time(0)
    return at_midnight and not 0 < uptake.seconds <= _LONGEST_S


def _format_duration(seconds: float) -> str:
    if seconds < 2.0 * 3600.0:
        return f"{seconds / 60:.3g} min"
    return f"{seconds / 3600:.3g} h" if seconds < 2.0 * 86400.0 else f"{seconds / 86400:.3g} days"


def judge_balance(fraction: float, tissue_suv: float, *, ways: str, can_refuse: bool) -> list[Finding]:
    """Return the doubts about the balance of activity.

    Args:
        fraction: activity in the field of view over the activity injected, at one time.
        tissue_suv: mean SUV over what takes up tracer.
        ways: options or columns that state dose, weight and times.
        can_refuse: whether a bad balance refuses the study; if the scanner derived the SUV, it is only a warning.
    """
    wrong = f"dose, its unit or a time is wrong ({ways} state them)"
    if fraction > _HIGHEST_BALANCE:
        return [
            Finding(
                "refuse" if can_refuse else "warn",
                f"the PET holds {fraction:.3g} times the injected activity, with decay taken into account; "
                f"expected at most about 1: {wrong}",
            )
        ]
    if tissue_suv < _LOWEST_TISSUE_SUV:
        return [
            Finding(
                "warn",
                f"the PET holds {fraction:.2g} of the injected activity and its mean SUV where there is tracer is "
                f"{tissue_suv:.2g}; expected about 1: {wrong}",
            )
        ]
    return []
