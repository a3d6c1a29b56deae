"""The factors of a PET, with everything from which they were derived, so that they can be checked by hand."""

import math
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final

from autosegnet.errors import InputError
from autosegnet.suv.dates import format_without_date, read_date
from autosegnet.suv.pet_header import ATTRIBUTES, PetHeader, PetSlice, name_field
from autosegnet.suv.plausibility import Finding, admit
from autosegnet.suv.stated import StatedFacts

MODES: Final = ("qiba", "tcia-compat")
"""How Bq/ml becomes SUV: by the QIBA and IBSI rules, or as autoPET's training data were converted."""

_DATES: Final = ("study_date", "series_date", "acquisition_date")
_MOMENTS: Final = ("injection_datetime", "acquisition_datetime", "ge_scan_start", "siemens_scan_start")
_FREE_TEXTS: Final = ("radiopharmaceutical", "agent_meaning", "nuclide_meaning", "manufacturer")


@dataclass(frozen=True, slots=True)
class Conversion:
    """How the values of a PET become SUV (body weight, g/ml).

    Args:
        factors: g/ml per unit of the PET, one per slice, in the order of the header's slices.
        mode: one of `MODES`.
        rule: the row of the decision table that applied.
        tags: values of the attributes used, by 'Keyword (gggg,eeee)'; dates as days counted from the reference time.
        times: moments considered, as days counted from the reference time and times of day.
        figures: other numbers that went into the factor or describe the scan, with their units in the name.
        warnings: doubts that a person should check.
        stated: facts that the user stated instead of the files, one sentence each.
        tracer, nuclide: as in `tracer.Tracer`.
        is_from_activity: whether dose and weight went into the factors.
    """

    factors: tuple[float, ...]
    mode: str
    rule: str
    tags: dict[str, Any] = field(default_factory=dict)
    times: dict[str, str] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    stated: tuple[str, ...] = ()
    tracer: str = ""
    nuclide: str = ""
    is_from_activity: bool = False

    def describe(self) -> dict[str, Any]:
        """Return the conversion as a JSON object; `factor` is one number, or a list if slices differ."""
        same = len(set(self.factors)) == 1
        return {
            "mode": self.mode,
            "rule": self.rule,
            "factor": self.factors[0] if same else list(self.factors),
            "factor_unit": "g/ml (SUV, body weight) per unit of the rescaled PET",
            "tracer": self.tracer or "not stated",
            "nuclide": self.nuclide or "not stated",
            "tags": self.tags,
            "times": self.times,
            "figures": self.figures,
            "stated": list(self.stated),
            "warnings": list(self.warnings),
        }


class Ledger:
    """Reads a header's fields, and remembers which were used and what was concluded from them."""

    def __init__(self, header: PetHeader, facts: StatedFacts) -> None:
        self.header = header
        self.facts = facts
        self.times: dict[str, datetime] = {}
        self.figures: dict[str, float] = {}
        self.tracer = self.nuclide = ""
        self.is_from_activity = False
        self._fields: set[str] = set()
        self._warnings: list[str] = []
        self._stated: list[str] = []

    def read_text(self, name: str, part: PetSlice | None = None) -> str:
        """Return the text of a field of the series or of a slice, '' if it is missing.

        Raises:
            InputError: the field has a fault.
        """
        return str(self._read_value(name, part)).strip()

    def number(self, name: str, part: PetSlice | None = None) -> float | None:
        """Return the number of a field of the series or of a slice, None if it is missing.

        Raises:
            InputError: the field has a fault or its number is not finite.
        """
        value: float | None = self._read_value(name, part)
        if value is not None and not math.isfinite(value):
            raise InputError(f"{name_field(name)} is {value}; expected a finite number")
        return value

    def _read_value(self, name: str, part: PetSlice | None) -> Any:
        self._fields.add(name)
        source = part or self.header
        if name in source.faults:
            way = self._suggest_way_around(name)
            raise InputError(source.faults[name] + (f" ({way} states it)" if way else ""))
        return getattr(source, name)

    def _suggest_way_around(self, name: str) -> str:
        fact = {"weight_kg": "weight_kg", "height_m": "height_cm", "dose": "dose_mbq"}.get(name)
        if name.startswith("injection_"):
            fact = "injection_time"
        return self.facts.name_way(fact) if fact else ""

    def warn(self, message: str) -> None:
        """Keep a warning, once."""
        if message not in self._warnings:
            self._warnings.append(message)

    def state(self, sentence: str) -> None:
        """Keep a statement of the user, also as a warning, once."""
        if sentence not in self._stated:
            self._stated.append(sentence)
        self.warn(sentence)

    def judge(self, findings: list[Finding]) -> None:
        """Keep the findings that are warnings.

        Raises:
            InputError: a finding refuses the scan.
        """
        admit(findings, self.warn)

    def close(self, factors: tuple[float, ...], *, mode: str, rule: str) -> Conversion:
        """Return the conversion with what was used; days are counted from that of the time called `reference`.

        Raises:
            InputError: a date that was used is invalid.
        """
        day_zero = self.times["reference"].date() if "reference" in self.times else None
        tags = {}
        for name, attribute in ATTRIBUTES.items():
            if name in self._fields:
                shown = self._show_value(name, day_zero)
                if shown not in ("", None):
                    tags[f"{attribute.keyword} {attribute.number}"] = shown
        times = {k: format_without_date(v, day_zero=day_zero) for k, v in self.times.items() if day_zero is not None}
        return Conversion(
            factors,
            mode,
            rule,
            tags,
            times,
            dict(self.figures),
            tuple(self._warnings),
            tuple(self._stated),
            self.tracer,
            self.nuclide,
            self.is_from_activity,
        )

    def _show_value(self, name: str, day_zero: date | None) -> Any:
        if name in _FREE_TEXTS:
            return ""  # the tracer's name is reported, its free text is not
        if hasattr(self.header, name):
            return "" if name in self.header.faults else _undate(name, getattr(self.header, name), day_zero)
        values = [_undate(name, getattr(part, name), day_zero) for part in self.header.slices]
        return values[0] if len(set(values)) == 1 else values


def _undate(name: str, value: Any, day_zero: date | None) -> Any:
    """Return the value with its date replaced by the number of days from the reference time."""
    if name not in _DATES + _MOMENTS:
        return value
    text = str(value).strip()
    date_text, clock = (text, "") if name in _DATES else (text[:8], text[8:])
    day = None if day_zero is None else read_date(date_text, name)
    return "" if day is None or day_zero is None else f"day {(day - day_zero).days:+d} {clock}".strip()
