"""Bq/ml in a file without a header: its quantities in a JSON sidecar with the names of PET-BIDS.

Source: Brain Imaging Data Structure 1.10, positron emission tomography; times are seconds from `TimeZero`.
`PatientWeight` in kg, which BIDS keeps elsewhere, stands beside them.
"""

import math
import sys
from typing import Any, Final

from autosegnet.errors import InputError
from autosegnet.suv.conversion import Conversion
from autosegnet.suv.nuclides import half_life_of, nuclide
from autosegnet.suv.uptake import uptake_doubt, uptake_fault

_BECQUEREL: Final = {"bq": 1.0, "kbq": 1e3, "mbq": 1e6, "gbq": 1e9, "mci": 3.7e7, "uci": 3.7e4}
_CONCENTRATION: Final = {"bq/ml": 1.0, "bqml": 1.0, "kbq/ml": 1e3, "mbq/ml": 1e6}
_HEAVIEST_KG: Final = 1000.0
_LONGEST_FRAME_S: Final = 86400.0


def convert_sidecar(sidecar: dict[str, Any], *, weight_kg: float | None = None) -> Conversion:
    """The one factor that turns a PET of one frame, in the sidecar's `Units`, into SUV (body weight, g/ml).

    Args:
        sidecar: the JSON object.
        weight_kg: instead of `PatientWeight`.

    Raises:
        InputError: an entry is missing or cannot be true, or the PET has several frames.
    """
    warnings: list[str] = []
    unit = _unit(sidecar, "Units", _CONCENTRATION, default="Bq/mL")
    dose_bq = _positive(sidecar, "InjectedRadioactivity") * _unit(sidecar, "InjectedRadioactivityUnits", _BECQUEREL)
    weight = _weight_kg(sidecar, weight_kg)
    half_life_s = _half_life_s(sidecar, warnings)
    given_s = _number(sidecar, "InjectionStart")
    per_dose = 1000.0 * weight / dose_bq
    if _corrected(sidecar):
        after_s = _number(sidecar, "ImageDecayCorrectionTime") - given_s
        _check_uptake(after_s, half_life_s, warnings)
        factor, rule = per_dose * 2.0 ** (after_s / half_life_s), "sidecar, decay-corrected: 1000 W / (D 2^(-t / T))"
    else:
        after_s, duration_s = _frame(sidecar, "FrameTimesStart") - given_s, _frame(sidecar, "FrameDuration")
        if not 0 < duration_s <= _LONGEST_FRAME_S:
            raise InputError(f"FrameDuration in the sidecar is {duration_s:g} s; expected more than 0, at most a day")
        _check_uptake(after_s, half_life_s, warnings)
        decay = math.log(2.0) / half_life_s
        factor = per_dose * math.exp(decay * after_s) * decay * duration_s / -math.expm1(-decay * duration_s)
        rule = "sidecar, not decay-corrected: 1000 W / D e^(l t) l d / (1 - e^(-l d)), l = ln 2 / T"
    used: dict[str, Any] = {name: sidecar[name] for name in _NAMES if name in sidecar}
    figures = {"weight_kg": weight, "dose_bq": dose_bq, "half_life_s": half_life_s, "uptake_s": after_s}
    return Conversion((unit * factor,), "sidecar", rule, used, {}, figures, tuple(warnings))


_NAMES: Final[tuple[str, ...]] = (
    "Units",
    "InjectedRadioactivity",
    "InjectedRadioactivityUnits",
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


def _check_uptake(after_s: float, half_life_s: float, warnings: list[str]) -> None:
    if fault := uptake_fault(after_s, half_life_s):
        raise InputError(
            f"InjectionStart in the sidecar lies {fault}; expected an injection shortly before the scan, in seconds "
            "from TimeZero: less than 0 where TimeZero is the scan's start"
        )
    if doubt := uptake_doubt(after_s, half_life_s):
        warnings.append(doubt)


def _corrected(sidecar: dict[str, Any]) -> bool:
    corrected = sidecar.get("ImageDecayCorrected", "ImageDecayCorrectionTime" in sidecar or None)
    if not isinstance(corrected, bool):
        raise InputError("ImageDecayCorrected is missing in the sidecar or not true or false")
    return corrected


def _number(sidecar: dict[str, Any], name: str) -> float:
    value = sidecar.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
        raise InputError(f"{name} is {'missing' if value is None else 'not a number'} in the sidecar; SUV needs it")
    return float(value)


def _positive(sidecar: dict[str, Any], name: str) -> float:
    value = _number(sidecar, name)
    if value <= 0:
        raise InputError(f"{name} is {value:g} in the sidecar; expected more than 0")
    return value


def _frame(sidecar: dict[str, Any], name: str) -> float:
    value = sidecar.get(name)
    if isinstance(value, list) and len(value) != 1:
        raise InputError(f"{name} has {len(value)} entries in the sidecar; only a PET of one frame can be segmented")
    return _number({name: value[0] if isinstance(value, list) else value}, name)


def _unit(sidecar: dict[str, Any], name: str, units: dict[str, float], *, default: str | None = None) -> float:
    text = sidecar.get(name, default)
    known = units.get(str(text).lower().replace(" ", "")) if text is not None else None
    if known is None:
        raise InputError(
            f"{name} is {'missing' if text is None else 'unknown'} in the sidecar; expected one of {', '.join(units)}"
        )
    return known


def _weight_kg(sidecar: dict[str, Any], given: float | None) -> float:
    weight = _positive(sidecar, "PatientWeight") if given is None else given
    if not 0 < weight < _HEAVIEST_KG:
        raise InputError(f"weight is {weight:g} kg; expected more than 0 and less than 1000 (is it in grams?)")
    return weight


def _half_life_s(sidecar: dict[str, Any], warnings: list[str]) -> float:
    stated = _positive(sidecar, "RadionuclideHalfLife") if "RadionuclideHalfLife" in sidecar else None
    known = nuclide("", str(sidecar.get("TracerRadionuclide", "")))
    half_life_s, doubt = half_life_of(stated, known, attribute="RadionuclideHalfLife in the sidecar")
    if half_life_s is None:
        raise InputError("TracerRadionuclide is missing or unknown in the sidecar; expected a nuclide such as F18")
    if doubt:
        warnings.append(doubt)
    return half_life_s
