"""Converts a PET file in Bq/ml to SUV, with the quantities of a JSON sidecar that uses the names of PET-BIDS.

Source: Brain Imaging Data Structure 1.10, positron emission tomography; times are seconds from `TimeZero`.
`PatientWeight` in kg is an addition; BIDS keeps the weight elsewhere.
"""

import math
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from autosegnet.errors import InputError
from autosegnet.suv.conversion import Conversion
from autosegnet.suv.dates import count_seconds_of_day, read_stated_moment, read_time
from autosegnet.suv.nuclides import find_in_text
from autosegnet.suv.plausibility import Finding, UptakeTime, admit, judge_dose, judge_uptake, judge_weight
from autosegnet.suv.stated import StatedFacts
from autosegnet.suv.tracer import Tracer, identify_nuclide, name_tracer

_BECQUEREL: Final = {"bq": 1.0, "kbq": 1e3, "mbq": 1e6, "gbq": 1e9, "mci": 3.7e7, "uci": 3.7e4}
_CONCENTRATION: Final = {"bq/ml": 1.0, "bqml": 1.0, "kbq/ml": 1e3, "mbq/ml": 1e6}
_LONGEST_FRAME_S: Final = 86400.0
_NAMES: Final[tuple[str, ...]] = (
    "Units",
    "InjectedRadioactivity",
    "InjectedRadioactivityUnits",
    "TracerName",
    "TracerRadionuclide",
    "RadionuclideHalfLife",
    "InjectionStart",
    "ImageDecayCorrected",
    "ImageDecayCorrectionTime",
    "TimeZero",
    "FrameTimesStart",
    "FrameDuration",
    "PatientWeight",
)


def convert_sidecar(sidecar: dict[str, Any], *, facts: StatedFacts | None = None) -> Conversion:
    """Return the factor from a PET of one frame, in the sidecar's `Units`, to SUV (body weight, g/ml).

    Args:
        sidecar: the JSON object.
        facts: what the user states instead.

    Raises:
        InputError: an entry is missing or cannot be true, or the PET has several frames.
    """
    page = _Page(sidecar, facts or StatedFacts())
    unit = _read_unit(sidecar, "Units", _CONCENTRATION, default="Bq/mL")
    dose_bq, weight = page.read_dose_bq(), page.read_weight_kg()
    tracer = page.read_tracer()
    half_life_s = tracer.half_life_s
    if half_life_s is None:
        raise InputError("TracerRadionuclide is missing or unknown in the sidecar; expected a nuclide such as F18")
    per_dose = 1000.0 * weight / dose_bq
    if _is_decay_corrected(sidecar):
        after_s = page.read_uptake_s("ImageDecayCorrectionTime", half_life_s)
        factor, rule = per_dose * 2.0 ** (after_s / half_life_s), "sidecar, decay-corrected: 1000 W / (D 2^(-t / T))"
    else:
        after_s, duration_s = page.read_uptake_s("FrameTimesStart", half_life_s), _frame(sidecar, "FrameDuration")
        if not 0 < duration_s <= _LONGEST_FRAME_S:
            raise InputError(f"FrameDuration in the sidecar is {duration_s:g} s; expected more than 0, at most a day")
        decay = math.log(2.0) / half_life_s
        factor = per_dose * math.exp(decay * after_s) * decay * duration_s / -math.expm1(-decay * duration_s)
        rule = "sidecar, not decay-corrected: 1000 W / D e^(l t) l d / (1 - e^(-l d)), l = ln 2 / T"
    used: dict[str, Any] = {name: sidecar[name] for name in _NAMES if name in sidecar and name != "TracerName"}
    figures = {"weight_kg": weight, "dose_bq": dose_bq, "half_life_s": half_life_s, "uptake_s": after_s}
    return Conversion(
        (unit * factor,),
        "sidecar",
        rule,
        used,
        {},
        figures,
        tuple(dict.fromkeys(page.warnings)),
        tuple(page.stated),
        tracer.name,
        tracer.nuclide,
        is_from_activity=True,
    )


class _Page:
    """A sidecar, the facts that the user states, and the doubts about both."""

    def __init__(self, sidecar: dict[str, Any], facts: StatedFacts) -> None:
        self._sidecar, self._facts = sidecar, facts
        self.warnings: list[str] = []
        self.stated: list[str] = []

    def _state(self, sentence: str) -> None:
        self.stated.append(sentence)
        self.warnings.append(sentence)

    def _judge(self, findings: list[Finding]) -> None:
        admit(findings, self.warnings.append)

    def read_dose_bq(self) -> float:
        stated, way = self._facts.dose_mbq, self._facts.name_way("dose_mbq")
        if stated is None:
            name = "InjectedRadioactivity"
            dose_bq, source = _read_positive(self._sidecar, name), _name_in_sidecar(name)
            dose_bq *= _read_unit(self._sidecar, f"{name}Units", _BECQUEREL)
        else:
            dose_bq, source = stated * 1e6, way
            self._state(f"dose {stated:g} MBq was stated by {way}")
        found = f"{dose_bq / 1e6:g} MBq"
        self._judge(judge_dose(dose_bq, source=source, found=found, way=way, is_stated=stated is not None))
        return dose_bq

    def read_weight_kg(self) -> float:
        stated, way = self._facts.weight_kg, self._facts.name_way("weight_kg")
        if stated is None:
            weight, source = _read_positive(self._sidecar, "PatientWeight"), _name_in_sidecar("PatientWeight")
        else:
            weight, source = stated, way
            self._state(f"weight {stated:g} kg was stated by {way}")
        self._judge(judge_weight(weight, source=source, way=way, is_stated=stated is not None))
        return weight

    def read_tracer(self) -> Tracer:
        stated_s = (
            _read_positive(self._sidecar, "RadionuclideHalfLife") if "RadionuclideHalfLife" in self._sidecar else None
        )
        texts = {name: str(self._sidecar.get(name, "")) for name in ("TracerName", "TracerRadionuclide")}
        name, doubts = name_tracer({"TracerName": texts["TracerName"]}, "")
        witnesses = {source: find_in_text(text) for source, text in texts.items()}
        tracer = identify_nuclide(witnesses, stated_s, attribute=_name_in_sidecar("RadionuclideHalfLife"))
        self.warnings += [*doubts, *tracer.warnings]
        return replace(tracer, name=name)

    def read_uptake_s(self, to: str, half_life_s: float) -> float:
        """Return the seconds from the injection to the entry `to`, once they are judged."""
        facts = self._facts
        given_s = self._read_seconds("injection_time", lambda: _number(self._sidecar, "InjectionStart"))
        held_s = self._read_seconds("scan_time", lambda: _frame(self._sidecar, to))
        if facts.injection_time and not facts.scan_time and given_s > held_s:
            given_s -= 86400.0  # the day before
        uptake = UptakeTime(
            seconds=held_s - given_s,
            half_life_s=half_life_s,
            source="InjectionStart in the sidecar (seconds from TimeZero, less than 0 if TimeZero is the scan's start)",
            way=facts.name_way("injection_time"),
            is_stated=bool(facts.injection_time or facts.scan_time),
        )
        self._judge(judge_uptake(uptake))
        return uptake.seconds

    def _read_seconds(self, fact: str, read: Callable[[], float]) -> float:
        """Return the time that the user states, in seconds from TimeZero, else the sidecar's."""
        stated, way = getattr(self._facts, fact), self._facts.name_way(fact)
        if not stated:
            return read()
        _, clock = read_stated_moment(stated, way)
        try:
            zero = read_time(str(self._sidecar.get("TimeZero", "")), "series_time")
        except InputError:
            zero = None
        if zero is None:
            raise InputError(f"TimeZero is missing in the sidecar or is not HH:MM:SS; {way} needs it")
        self._state(f"{fact.replace('_', ' ')} {clock:%H:%M:%S} was stated by {way}")
        return count_seconds_of_day(clock) - count_seconds_of_day(zero)


def _name_in_sidecar(name: str) -> str:
    return f"{name} in the sidecar"


def _is_decay_corrected(sidecar: dict[str, Any]) -> bool:
    corrected = sidecar.get("ImageDecayCorrected", "ImageDecayCorrectionTime" in sidecar or None)
    if not isinstance(corrected, bool):
        raise InputError("ImageDecayCorrected is missing in the sidecar or not true or false")
    return corrected


def _number(sidecar: dict[str, Any], name: str) -> float:
    value = sidecar.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
        raise InputError(f"{name} is {'missing' if value is None else 'not a number'} in the sidecar; SUV needs it")
    return float(value)


def _read_positive(sidecar: dict[str, Any], name: str) -> float:
    value = _number(sidecar, name)
    if value <= 0:
        raise InputError(f"{name} is {value:g} in the sidecar; expected more than 0")
    return value


def _frame(sidecar: dict[str, Any], name: str) -> float:
    value = sidecar.get(name)
    if isinstance(value, list) and len(value) != 1:
        raise InputError(f"{name} has {len(value)} entries in the sidecar; only a PET of one frame can be segmented")
    return _number({name: value[0] if isinstance(value, list) else value}, name)


def _read_unit(sidecar: dict[str, Any], name: str, units: dict[str, float], *, default: str | None = None) -> float:
    text = sidecar.get(name, default)
    known = units.get(str(text).lower().replace(" ", "")) if text is not None else None
    if known is None:
        raise InputError(
            f"{name} is {'missing' if text is None else 'unknown'} in the sidecar; expected one of {', '.join(units)}"
        )
    return known
