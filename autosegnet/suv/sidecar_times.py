"""Finds the time from injection to scan, by a sidecar and by what the user states.

A sidecar counts seconds from `TimeZero`, a time of day. It has no date.
"""

from datetime import date
from typing import Any, Final

from autosegnet.errors import InputError
from autosegnet.suv.dates import count_seconds_of_day, read_time, refuse_lone_date
from autosegnet.suv.sidecar_entries import read_frame, read_number
from autosegnet.suv.stated import StatedFacts

StatedMoment = tuple[date | None, float]
"""A day, None if it is not known, and the seconds since its midnight."""

_DAY_S: Final = 86400.0


def count_uptake_s(
    sidecar: dict[str, Any], to: str, *, stated: tuple[StatedMoment | None, StatedMoment | None], facts: StatedFacts
) -> float:
    """Return the seconds from the injection to the scan.

    A time that the user states without a date is put where a header's would be: the injection into the 24 h before the
    scan, the scan on the day on which it is nearest to the sidecar's own.

    Args:
        to: entry that holds the scan's time.
        stated: injection and scan as the user states them; None if the sidecar's counts.
        facts: how they are stated, for messages.

    Raises:
        InputError: a time is missing, or has a date and the other one has none.
    """
    injection, scan = stated
    if injection is None:
        return _read_scan_s(sidecar, to, scan, facts) - read_number(sidecar, "InjectionStart")
    way = facts.name_way("injection_time")
    if scan is None:
        scan = (None, _read_zero_s(sidecar, way) + read_frame(sidecar, to))
    (injection_day, injection_s), (scan_day, scan_s) = injection, scan
    if injection_day is None:
        return (scan_s - injection_s) % _DAY_S
    if scan_day is None:
        refuse_lone_date(way, facts.name_way("scan_time"))
    return (scan_day - injection_day).total_seconds() + scan_s - injection_s


def _read_scan_s(sidecar: dict[str, Any], to: str, scan: StatedMoment | None, facts: StatedFacts) -> float:
    """Return the scan's time in seconds from TimeZero."""
    if scan is None:
        return read_frame(sidecar, to)
    way = facts.name_way("scan_time")
    day, clock_s = scan
    if day is not None:
        refuse_lone_date(way, facts.name_way("injection_time"))
    scan_s = clock_s - _read_zero_s(sidecar, way)
    own_s = 0.0 if sidecar.get(to) is None else read_frame(sidecar, to)
    return scan_s + _DAY_S * round((own_s - scan_s) / _DAY_S)


def _read_zero_s(sidecar: dict[str, Any], way: str) -> float:
    """Return the time of day of TimeZero in s. A stated time is related to the sidecar's by it."""
    try:
        zero = read_time(str(sidecar.get("TimeZero", "")), "series_time")
    except InputError:
        zero = None
    if zero is None:
        raise InputError(f"TimeZero is missing in the sidecar or is not HH:MM:SS; {way} needs it")
    return count_seconds_of_day(zero)
