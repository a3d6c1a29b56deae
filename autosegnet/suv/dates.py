"""Read DICOM's dates and times.

All results are naive `datetime`s on one clock, that of the series' own dates and times. A date-time with a UTC offset
is converted to it if the file states its own offset, (0008,0201). If not, the offset is assumed to be that clock's.

Source: DICOM PS3.5 6.2, value representations DA, TM and DT, and the older forms with points and colons.
"""

import re
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from typing import NoReturn

from autosegnet.errors import InputError, UsageError
from autosegnet.suv.pet_header import name_field

_DA = re.compile(r"\d{8}\Z")
_TM = re.compile(r"(\d{2})(?:(\d{2})(?:(\d{2})(?:\.(\d{1,6})\d*)?)?)?\Z")
_DT = re.compile(r"(\d{8})(\d{2}(?:\d{2}(?:\d{2}(?:\.\d+)?)?)?)?([+-]\d{4})?\Z")
_OFFSET = re.compile(r"([+-])(\d{2})(\d{2})\Z")


def read_date(text: str, field: str) -> date | None:
    """Return the day of a DA; None if it is empty.

    Raises:
        InputError: not a day; the message names the attribute, never the date.
    """
    digits = text.strip().replace(".", "").replace("-", "")
    if not digits:
        return None
    if _DA.match(digits):  # strptime would read 202012 as the second of January
        with suppress(ValueError):
            return datetime.strptime(digits, "%Y%m%d").date()
    raise InputError(f"{name_field(field)} is not a date; expected YYYYMMDD")


def read_time(text: str, field: str) -> time | None:
    """Return the time of day of a TM with 2, 4 or 6 digits and a fraction; None if it is empty.

    Raises:
        InputError: not a time of day.
    """
    digits = text.strip().replace(":", "")
    if not digits:
        return None
    found = _TM.match(digits)
    if found:
        hour, minute, second = (int(part or 0) for part in found.groups()[:3])
        second = min(second, 59) if second == 60 else second  # PS3.5 allows 60 for the leap second
        if hour < 24 and minute < 60 and second < 60:
            return time(hour, minute, second, int((found[4] or "0").ljust(6, "0")))
    raise InputError(f"{name_field(field)} is not a time of day; expected HH, HHMM, HHMMSS or HHMMSS.FFFFFF")


def read_datetime(text: str, field: str, *, utc_offset: str = "") -> datetime | None:
    """Return the moment of a DT, on the series' clock; None if it is empty or says no more than the day.

    Args:
        utc_offset: of the series' clock, `&ZZXX`, or empty.

    Raises:
        InputError: not a date-time.
    """
    compact = text.strip()
    if not compact:
        return None
    found = _DT.match(compact)
    if not found:
        raise InputError(f"{name_field(field)} is not a date-time; expected YYYYMMDDHHMMSS.FFFFFF&ZZXX")
    day, clock = read_date(found[1], field), read_time(found[2] or "", field)
    if day is None or clock is None:
        return None
    moment = datetime.combine(day, clock)
    if found[3] and utc_offset.strip():
        moment += _parse_offset(utc_offset.strip(), "utc_offset") - _parse_offset(found[3], field)
    return moment


def is_in_another_zone(text: str, clock: time, *, utc_offset: str) -> bool:
    """Return whether a DT with a UTC offset names another hour than a TM, in a file that states no offset of its own.

    Args:
        text: the DT.
        clock: the same moment's time of day as the file's TM, which is on the series' clock.
        utc_offset: of the series' clock, or empty.
    """
    found = _DT.match(text.strip())
    if not found or not states_only_foreign_zone(text, utc_offset=utc_offset):
        return False
    told = read_time(found[2] or "", "injection_datetime")
    apart_s = 0.0 if told is None else count_seconds_of_day(told) - count_seconds_of_day(clock)
    from_quarter_s = (apart_s + 450.0) % 900.0 - 450.0  # zones differ by quarters of an hour
    return abs(apart_s) > 450.0 and abs(from_quarter_s) < 1.0


def states_only_foreign_zone(text: str, *, utc_offset: str) -> bool:
    """Return whether a DT has a UTC offset but its file states none, so that the two cannot be related."""
    found = _DT.match(text.strip())
    return not utc_offset.strip() and found is not None and found[3] is not None


_STATED_CLOCK = re.compile(r"(\d{1,2}):?(\d{2})(?::?(\d{2})(\.\d{1,6})?)?\Z")
_STATED_MOMENT = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})[T ]?(.*)\Z")


def read_stated_moment(text: str, way: str) -> tuple[date | None, time]:
    """Return the day (None if there is none) and the time of day that a person states.

    Args:
        text: HH:MM, HH:MM:SS, YYYY-MM-DD HH:MM[:SS], or the same as DICOM writes them.
        way: the option or column, for the message.

    Raises:
        UsageError: it is neither.
    """
    day_text, clock_text = None, text.strip()
    if len(clock_text) > 9 and (found := _STATED_MOMENT.match(clock_text)):
        day_text, clock_text = f"{found[1]}{found[2]}{found[3]}", found[4]
    clock = _STATED_CLOCK.match(clock_text)
    if clock:
        with suppress(ValueError, InputError):
            seconds = float(clock[4] or 0.0)
            told = time(int(clock[1]), int(clock[2]), int(clock[3] or 0), round(seconds * 1e6) % 1_000_000)
            return (None if day_text is None else read_date(day_text, "series_date")), told
    raise UsageError(f"{way} is {text[:30]!r}; expected HH:MM, HH:MM:SS or 'YYYY-MM-DD HH:MM:SS'")


def refuse_lone_date(way: str, other_way: str) -> NoReturn:
    """Refuse a stated moment with a date if the other moment has none, so that the days between them are unknown.

    Args:
        way: option or column that states the moment.
        other_way: the one that states the other moment.

    Raises:
        InputError: always.
    """
    raise InputError(
        f"{way} has a date, but the moment it is compared with has none; state {other_way} with its date, too, or "
        f"{way} without one"
    )


def _parse_offset(text: str, field: str) -> timedelta:
    found = _OFFSET.match(text)
    if not found:
        raise InputError(f"{name_field(field)} has an invalid UTC offset; expected +HHMM or -HHMM")
    minutes = 60 * int(found[2]) + int(found[3])
    return timedelta(minutes=minutes if found[1] == "+" else -minutes)


def count_seconds_of_day(clock: time) -> float:
    """Return the seconds since midnight."""
    return clock.hour * 3600.0 + clock.minute * 60.0 + clock.second + clock.microsecond * 1e-6


def format_without_date(moment: datetime, *, day_zero: date) -> str:
    """Return a moment as days from another day and a time of day, without a date of the patient."""
    fraction = f".{moment.microsecond:06d}".rstrip("0") if moment.microsecond else ""
    return f"day {(moment.date() - day_zero).days:+d} {moment:%H:%M:%S}{fraction}"
