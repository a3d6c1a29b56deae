"""When a PET's values hold, and when the activity was given: t_ref and t_adm of the decay correction."""

import math
from datetime import datetime, time, timedelta
from typing import Final

from autosegnet.errors import InputError
from autosegnet.suv.conversion import COMPAT_OPTION, Ledger
from autosegnet.suv.dates import is_in_another_zone, read_date, read_datetime, read_time
from autosegnet.suv.pet_header import PetSlice, named
from autosegnet.suv.uptake import uptake_doubt, uptake_fault

_APART_S: Final = 60.0  # candidates for t_ref further apart are worth a look: a minute is 0.6 % of F-18
_HALF_A_DAY: Final = timedelta(hours=12)
_LONG_S: Final = 86400.0
_SAME_DAY_HALF_LIVES: Final = 6.0  # 11 h of F-18: longer before the scan, a time of day is of another day


def acquisition(ledger: Ledger, part: PetSlice) -> datetime | None:
    """When the acquisition of a slice began, or None where the file does not say.

    By its date and time, else its date-time, else its time and the date of the series.
    """
    clock = read_time(ledger.text("acquisition_time", part), "acquisition_time")
    day = read_date(ledger.text("acquisition_date", part), "acquisition_date")
    if clock is not None and day is not None:
        return datetime.combine(day, clock)
    moment = read_datetime(
        ledger.text("acquisition_datetime", part), "acquisition_datetime", utc_offset=ledger.text("utc_offset")
    )
    return moment if moment is not None or clock is None else _by_date_of_series(ledger, clock)


def _by_date_of_series(ledger: Ledger, clock: time) -> datetime | None:
    """A time of day on the date of the series, or the day after if it lies more than 12 h before the series' time."""
    day = read_date(ledger.text("series_date"), "series_date")
    if day is None:
        return None
    ledger.warn(f"{named('acquisition_date')} is missing; {named('series_date')} is taken for it")
    moment = datetime.combine(day, clock)
    start = read_time(ledger.text("series_time"), "series_time")
    past_midnight = start is not None and datetime.combine(day, start) - moment > _HALF_A_DAY
    return moment + timedelta(days=1) if past_midnight else moment


def earliest_acquisition(ledger: Ledger) -> tuple[datetime, PetSlice] | None:
    """The earliest acquisition of the series and a slice of it, or None where no slice says."""
    known = [(moment, part) for part in ledger.header.slices if (moment := acquisition(ledger, part)) is not None]
    return min(known, key=lambda pair: pair[0]) if known else None


def start_reference(ledger: Ledger, *, half_life_s: float) -> tuple[datetime, str]:
    """The moment to which DecayCorrection START refers, and the name of the candidate that gave it.

    The series' date and time where they are not after the earliest acquisition (a series derived later has later
    ones); else a vendor's private scan start; else the earliest acquisition together with its frame reference time;
    else the earliest acquisition itself. Every candidate that exists is kept in the ledger.

    Raises:
        InputError: no candidate exists.
    """
    found = _candidates(ledger, half_life_s)
    if not found:
        raise InputError(
            f"{named('series_time')} and {named('acquisition_time')} are missing (or their dates); "
            "SUV with DecayCorrection START needs the time of the scan"
        )
    order = ["series time", "GE scan start", "Siemens scan start", "frame reference time", "earliest acquisition"]
    first = found.get("earliest acquisition")
    if first is None:
        ledger.warn(f"{named('acquisition_time')} is missing; {order[0]} cannot be checked against it")
    elif "series time" in found and found["series time"] > first:
        order = order[1:]
    chosen = next(name for name in order if name in found)
    _warn_of_spread(ledger, found, chosen)
    return found[chosen], chosen


def _candidates(ledger: Ledger, half_life_s: float) -> dict[str, datetime]:
    found: dict[str, datetime | None] = {}
    day, clock = (
        read_date(ledger.text("series_date"), "series_date"),
        read_time(ledger.text("series_time"), "series_time"),
    )
    found["series time"] = None if day is None or clock is None else datetime.combine(day, clock)
    offset = ledger.text("utc_offset")
    for name, vendor in (("GE scan start", "ge_scan_start"), ("Siemens scan start", "siemens_scan_start")):
        found[name] = read_datetime(ledger.text(vendor), vendor, utc_offset=offset)
    earliest = earliest_acquisition(ledger)
    if earliest is not None:
        found["earliest acquisition"] = earliest[0]
        found["frame reference time"] = _before_frame_reference(ledger, *earliest, half_life_s)
    known = {name: moment for name, moment in found.items() if moment is not None}
    ledger.times.update({f"reference: {name}": moment for name, moment in known.items()})
    return known


def _before_frame_reference(ledger: Ledger, acquired: datetime, part: PetSlice, half_life_s: float) -> datetime | None:
    """t_ref = t_acq + T_ave - FrameReferenceTime, which the standard counts to the frame's mean activity.

    GE counts it to the frame's beginning, without T_ave: in GE Discovery ST series DecayFactor (0054,1321) is that
    of FrameReferenceTime plus T_ave.
    """
    after_ms = ledger.number("frame_reference_time_ms", part)
    if after_ms is None or after_ms < 0:
        return None
    if ledger.text("manufacturer").upper().startswith("GE"):
        return acquired - timedelta(seconds=after_ms / 1000.0)
    duration_ms = ledger.number("frame_duration_ms", part)
    if duration_ms is None or not duration_ms > 0:
        return None
    average_s = average_activity_s(duration_ms / 1000.0, half_life_s)
    return acquired + timedelta(seconds=average_s - after_ms / 1000.0)


def average_activity_s(duration_s: float, half_life_s: float) -> float:
    """T_ave = (1/lambda) ln(lambda d / (1 - e^(-lambda d))): when in a frame the activity is at its mean."""
    decay = math.log(2.0) / half_life_s
    return math.log(decay * duration_s / -math.expm1(-decay * duration_s)) / decay


def _warn_of_spread(ledger: Ledger, found: dict[str, datetime], chosen: str) -> None:
    apart = {name: (moment - found[chosen]).total_seconds() for name, moment in found.items()}
    if max(apart.values()) - min(apart.values()) > _APART_S:
        others = ", ".join(f"{name} {seconds:+.0f} s" for name, seconds in apart.items() if name != chosen)
        ledger.warn(f"reference times differ by more than 60 s; used {chosen}; against it: {others}")


def injection(ledger: Ledger, *, reference: datetime, half_life_s: float) -> datetime:
    """When the activity was administered, as a date-time, or on the day of the reference or the day before it.

    Where the date-time is in a time zone and the file does not state its own, the time of day says what the hour is.

    Raises:
        InputError: no time of it, or one after the reference or too long before it: 6 half-lives without a date, for
            one shortly after the reference would be moved back by a day.
    """
    offset = ledger.text("utc_offset")
    moment = read_datetime(ledger.text("injection_datetime"), "injection_datetime", utc_offset=offset)
    clock = read_time(ledger.text("injection_time"), "injection_time")
    if moment is None and clock is None:
        raise InputError(
            f"{named('injection_datetime')} and {named('injection_time')} are missing; "
            "SUV needs the time of the injection"
        )
    if moment is None:
        assert clock is not None
        moment = _on_the_day_of(reference, clock, half_life_s)
        if half_life_s > _LONG_S / 2:
            ledger.warn(
                f"{named('injection_datetime')} is missing and the half-life is {half_life_s / 3600:.1f} h: the "
                "injection is taken to lie within 24 h before the scan"
            )
    elif clock is not None and is_in_another_zone(ledger.text("injection_datetime"), clock, utc_offset=offset):
        days = [datetime.combine(moment.date(), clock) + timedelta(days=day) for day in (-1, 0, 1)]
        moment = max((day for day in days if day <= reference), default=days[0])
        ledger.warn(
            f"{named('injection_datetime')} is in a time zone that the file does not relate to its other times: "
            f"the time of day in {named('injection_time')} was used"
        )
    elif clock is not None and abs((datetime.combine(moment.date(), clock) - moment).total_seconds()) > _APART_S:
        ledger.warn(f"{named('injection_time')} and {named('injection_datetime')} differ; the latter was used")
    ledger.times["injection"] = moment
    _check_uptake(ledger, (reference - moment).total_seconds(), half_life_s)
    return moment


def _on_the_day_of(reference: datetime, clock: time, half_life_s: float) -> datetime:
    moment = datetime.combine(reference.date(), clock)
    if moment > reference:
        moment -= timedelta(days=1)
    uptake_s = (reference - moment).total_seconds()
    if uptake_s > _SAME_DAY_HALF_LIVES * half_life_s:
        raise InputError(
            f"{named('injection_time')} is {clock:%H:%M:%S} without a date: after the time to which the PET is "
            f"corrected, {reference:%H:%M:%S}, or {uptake_s / half_life_s:.0f} half-lives before it; expected an "
            "injection shortly before the scan"
        )
    return moment


def _check_uptake(ledger: Ledger, uptake_s: float, half_life_s: float) -> None:
    ledger.figures["uptake_s"] = uptake_s
    if fault := uptake_fault(uptake_s, half_life_s):
        raise InputError(
            f"the injection, {named('injection_datetime')}, lies {fault}; expected an injection shortly before the "
            f"scan (were dates altered when the series was de-identified? {COMPAT_OPTION} uses no dates)"
        )
    if doubt := uptake_doubt(uptake_s, half_life_s):
        ledger.warn(doubt)
