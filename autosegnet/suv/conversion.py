"""The factors of a PET with everything they were derived from, so that they can be checked by hand."""

import math
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final

from autosegnet.errors import InputError
from autosegnet.suv.dates import read_date, told_without_date
from autosegnet.suv.pet_header import TAGS, PetHeader, PetSlice, named

MODES: Final = ("qiba", "tcia-compat")
"""How Bq/ml becomes SUV: by the QIBA and IBSI rules, or as autoPET's training data were converted."""

COMPAT_OPTION: Final = "--suv-mode tcia-compat (--mode in `suv`)"
"""What asks for the second mode, for a message."""

_DATES: Final = ("series_date", "acquisition_date")
_MOMENTS: Final = ("injection_datetime", "acquisition_datetime", "ge_scan_start", "siemens_scan_start")


@dataclass(frozen=True, slots=True)
class Conversion:
    """How the values of a PET become SUV (body weight, g/ml).

    Args:
        factors: g/ml per unit of the PET, a slice each, in the order of the header's slices.
        mode: one of `MODES`.
        rule: the row of the decision table that applied.
        tags: values of the attributes used, by 'Keyword (gggg,eeee)'; dates as days counted from the reference time.
        times: moments considered, as days counted from the reference time and times of day.
        figures: other numbers that went into the factor, with their units in the name.
        warnings: what a person should look at.
    """

    factors: tuple[float, ...]
    mode: str
    rule: str
    tags: dict[str, Any] = field(default_factory=dict)
    times: dict[str, str] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The conversion as JSON has it; `factor` is one number, or a list where slices differ."""
        same = len(set(self.factors)) == 1
        return {
            "mode": self.mode,
            "rule": self.rule,
            "factor": self.factors[0] if same else list(self.factors),
            "factor_unit": "g/ml (SUV, body weight) per unit of the rescaled PET",
            "tags": self.tags,
            "times": self.times,
            "figures": self.figures,
            "warnings": list(self.warnings),
        }


class Ledger:
    """Hands out a header's fields and remembers which were used, with what was concluded from them."""

    def __init__(self, header: PetHeader) -> None:
        self.header = header
        self.times: dict[str, datetime] = {}
        self.figures: dict[str, float] = {}
        self._fields: set[str] = set()
        self._warnings: list[str] = []

    def text(self, name: str, part: PetSlice | None = None) -> str:
        """The text of a field of the series or of a slice, '' where it is missing."""
        self._fields.add(name)
        return str(getattr(part or self.header, name)).strip()

    def number(self, name: str, part: PetSlice | None = None) -> float | None:
        """The number of a field of the series or of a slice, None where it is missing."""
        self._fields.add(name)
        value: float | None = getattr(part or self.header, name)
        if value is not None and not math.isfinite(value):
            raise InputError(f"{named(name)} is {value}; expected a finite number")
        return value

    def warn(self, message: str) -> None:
        """Keeps a warning, once."""
        if message not in self._warnings:
            self._warnings.append(message)

    def close(self, factors: tuple[float, ...], *, mode: str, rule: str) -> Conversion:
        """The conversion with what was used; days are counted from that of the time called `reference`.

        Raises:
            InputError: a date among what was used is none.
        """
        day_zero = self.times["reference"].date() if "reference" in self.times else None
        tags = {}
        for name, (number, keyword) in TAGS.items():
            if name in self._fields:
                shown = self._shown(name, day_zero)
                if shown not in ("", None):
                    tags[f"{keyword} {number}"] = shown
        times = {k: told_without_date(v, day_zero=day_zero) for k, v in self.times.items() if day_zero is not None}
        return Conversion(factors, mode, rule, tags, times, dict(self.figures), tuple(self._warnings))

    def _shown(self, name: str, day_zero: date | None) -> Any:
        if hasattr(self.header, name):
            return _undated(name, getattr(self.header, name), day_zero)
        values = [_undated(name, getattr(part, name), day_zero) for part in self.header.slices]
        return values[0] if len(set(values)) == 1 else values


def _undated(name: str, value: Any, day_zero: date | None) -> Any:
    """The value with its date replaced by the number of days from the reference time."""
    if name not in _DATES + _MOMENTS:
        return value
    text = str(value).strip()
    date_text, clock = (text, "") if name in _DATES else (text[:8], text[8:])
    day = None if day_zero is None else read_date(date_text, name)
    return "" if day is None or day_zero is None else f"day {(day - day_zero).days:+d} {clock}".strip()
