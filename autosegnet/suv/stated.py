"""Facts about a scan that the user states if its files lack them or have them wrong."""

import math
from dataclasses import dataclass, fields
from typing import Final, Literal

from autosegnet.errors import UsageError

_LARGEST: Final = {"dose_mbq": 1e6, "weight_kg": 1000.0, "height_cm": 300.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedFacts:
    """Facts that the user states. They replace those of the files, and every output says so.

    Args:
        injection_time: time of day HH:MM[:SS] on the day of the scan (the day before if it would be later), or a
            date-time YYYY-MM-DD HH:MM[:SS] on the scan's own clock.
        scan_time: in the same form, the time to which the PET is decay-corrected, or its first acquisition if it is
            not.
        dose_mbq: activity at the injection.
        weight_kg: of the patient.
        height_cm: of the patient.
        same_frame: PET and CT lie in one frame of reference, whatever their UIDs say.
        attenuation_corrected: the PET is corrected for attenuation.
        way: how facts are stated in this run, for messages: by options, or by a table with one row per case.

    Raises:
        UsageError: a number is not positive, or impossibly large.
    """

    injection_time: str = ""
    scan_time: str = ""
    dose_mbq: float | None = None
    weight_kg: float | None = None
    height_cm: float | None = None
    same_frame: bool = False
    attenuation_corrected: bool = False
    way: Literal["option", "table"] = "option"

    def __post_init__(self) -> None:
        for name, largest in _LARGEST.items():
            value = getattr(self, name)
            if value is not None and not 0 < value < largest:
                said = f"{value:g}" if math.isfinite(value) else "not a number"
                raise UsageError(f"{self.name_way(name)} is {said}; expected more than 0 and less than {largest:g}")

    def name_way(self, name: str) -> str:
        """Return how a fact is stated in this run: by '--weight-kg', or by a column of the table of studies."""
        return f"--{name.replace('_', '-')}" if self.way == "option" else f"column {name} of --studies"

    def list_given(self) -> tuple[str, ...]:
        """Return the names of the facts that are stated."""
        return tuple(f.name for f in fields(self) if f.name != "way" and getattr(self, f.name) not in ("", None, False))
