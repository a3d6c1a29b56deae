"""Converts a PET file in Bq/ml to SUV, with the quantities of a JSON sidecar that uses the names of PET-BIDS.

Source: Brain Imaging Data Structure 1.10, positron emission tomography; times are seconds from `TimeZero`.
`PatientWeight` in kg is an addition; BIDS keeps the weight elsewhere.
"""

import math
from dataclasses import replace
from typing import Any, Final

from autosegnet.errors import InputError
from autosegnet.suv.conversion import Conversion
from autosegnet.suv.dates import count_seconds_of_day, read_stated_moment
from autosegnet.suv.nuclides import find_in_text
from autosegnet.suv.plausibility import (
    Finding,
    UptakeTime,
    admit,
    judge_dose,
    judge_undated_injection,
    judge_uptake,
    judge_weight,
)
from autosegnet.suv.sidecar_entries import read_frame, read_positive, read_unit
from autosegnet.suv.sidecar_times import StatedMoment, count_uptake_s
from autosegnet.suv.stated import StatedFacts
from autosegnet.suv.tracer import Tracer, identify_nuclide, name_tracer

_BECQUEREL: Final = {"bq": 1.0, "kbq": 1e3, "mbq": 1e6, "gbq": 1e9, "mci": 3.7e7, "uci": 3.7e4}
_CONCENTRATION: Final = {"bq/ml": 1.0, "bqml": 1.0, "kbq/ml": 1e3, "mbq/ml": 1e6}
_LONGEST_FRAME_S: Final = 86400.0
_INJECTION_START: Final = (
    "InjectionStart in the sidecar (seconds from TimeZero, less than 0 if TimeZero is the scan's start)"
)
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
    unit = read_unit(sidecar, "Units", _CONCENTRATION, default="Bq/mL")
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
        after_s, duration_s = page.read_uptake_s("FrameTimesStart", half_life_s), read_frame(sidecar, "FrameDuration")
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
            dose_bq, source = read_positive(self._sidecar, name), _name_in_sidecar(name)
            dose_bq *= read_unit(self._sidecar, f"{name}Units", _BECQUEREL)
        else:
            dose_bq, source = stated * 1e6, way
            self._state(f"dose {stated:g} MBq was stated by {way}")
        found = f"{dose_bq / 1e6:g} MBq"
        self._judge(judge_dose(dose_bq, source=source, found=found, way=way, is_stated=stated is not None))
        return dose_bq

    def read_weight_kg(self) -> float:
        stated, way = self._facts.weight_kg, self._facts.name_way("weight_kg")
        if stated is None:
            weight, source = read_positive(self._sidecar, "PatientWeight"), _name_in_sidecar("PatientWeight")
        else:
            weight, source = stated, way
            self._state(f"weight {stated:g} kg was stated by {way}")
        self._judge(judge_weight(weight, source=source, way=way, is_stated=stated is not None))
        return weight

    def read_tracer(self) -> Tracer:
        stated_s = (
            read_positive(self._sidecar, "RadionuclideHalfLife") if "RadionuclideHalfLife" in self._sidecar else None
        )
        texts = {name: str(self._sidecar.get(name, "")) for name in ("TracerName", "TracerRadionuclide")}
        name, doubts = name_tracer({"TracerName": texts["TracerName"]}, "")
        witnesses = {source: find_in_text(text) for source, text in texts.items()}
        tracer = identify_nuclide(witnesses, stated_s, attribute=_name_in_sidecar("RadionuclideHalfLife"))
        self.warnings += [*doubts, *tracer.warnings]
        return replace(tracer, name=name)

    def read_uptake_s(self, to: str, half_life_s: float) -> float:
        """Return the seconds from the injection to the entry `to`, once they are judged."""
        injection, scan = self._read_stated("injection_time"), self._read_stated("scan_time")
        way = self._facts.name_way("injection_time")
        uptake = UptakeTime(
            seconds=count_uptake_s(self._sidecar, to, stated=(injection, scan), facts=self._facts),
            half_life_s=half_life_s,
            source=_INJECTION_START if injection is None else way,
            way=way,
            is_stated=injection is not None or scan is not None,
        )
        if injection is not None and injection[0] is None:
            self._judge(judge_undated_injection(half_life_s))
        self._judge(judge_uptake(uptake))
        return uptake.seconds

    def _read_stated(self, fact: str) -> StatedMoment | None:
        text, way = getattr(self._facts, fact), self._facts.name_way(fact)
        if not text:
            return None
        day, clock = read_stated_moment(text, way)
        self._state(f"{fact.replace('_', ' ')} {clock:%H:%M:%S} was stated by {way}")
        return day, count_seconds_of_day(clock)


def _name_in_sidecar(name: str) -> str:
    return f"{name} in the sidecar"


def _is_decay_corrected(sidecar: dict[str, Any]) -> bool:
    corrected = sidecar.get("ImageDecayCorrected", "ImageDecayCorrectionTime" in sidecar or None)
    if not isinstance(corrected, bool):
        raise InputError("ImageDecayCorrected is missing in the sidecar or not true or false")
    return corrected
