"""When the slices of a PET were acquired."""

from datetime import date, datetime, time, timedelta
from typing import Final

from autosegnet.suv.conversion import Ledger
from autosegnet.suv.dates import read_date, read_datetime, read_time
from autosegnet.suv.pet_header import PetSlice, name_field

HALF_A_DAY: Final = timedelta(hours=12)
"""Times of day further apart than this lie on both sides of midnight."""

_NO_DAY: Final = date(1900, 1, 1)  # the assumed day of a scan without dates


def read_acquisition(ledger: Ledger, part: PetSlice) -> datetime | None:
    """Return when the acquisition of a slice began, or None if the file does not say.

    Its date and time are used, else its date-time, else its time on the day of the series. If the file has no date at
    all, all times are of one day.
    """
    clock = read_time(ledger.read_text("acquisition_time", part), "acquisition_time")
    day = read_date(ledger.read_text("acquisition_date", part), "acquisition_date")
    if clock is not None and day is not None:
        return datetime.combine(day, clock)
    moment = read_datetime(
        ledger.read_text("acquisition_datetime", part),
        "acquisition_datetime",
        utc_offset=ledger.read_text("utc_offset"),
    )
    return moment if moment is not None or clock is None else _put_on_day_of_series(ledger, clock)


def _put_on_day_of_series(ledger: Ledger, clock: time) -> datetime:
    """Return a time of day on the day of the series, or the day after if it is more than 12 h before the series."""
    name = next((n for n in ("series_date", "study_date") if read_date(ledger.read_text(n), n)), None)
    if name is not None:
        ledger.warn(f"{name_field('acquisition_date')} is missing; {name_field(name)} is taken for it")
    day = read_series_day(ledger)
    moment = datetime.combine(day, clock)
    start = read_time(ledger.read_text("series_time"), "series_time")
    past_midnight = start is not None and datetime.combine(day, start) - moment > HALF_A_DAY
    return moment + timedelta(days=1) if past_midnight else moment


def read_series_day(ledger: Ledger) -> date:
    """Return the day of the series, else of the study, else the assumed day of a scan without dates."""
    days = (read_date(ledger.read_text(name), name) for name in ("series_date", "study_date"))
    day = next((day for day in days if day is not None), None)
    return _NO_DAY if day is None else day


def read_earliest_acquisition(ledger: Ledger) -> tuple[datetime, PetSlice] | None:
    """Return the earliest acquisition of the series and a slice of it, or None if no slice says."""
    slices = ledger.header.slices
    known = [(moment, part) for part in slices if (moment := read_acquisition(ledger, part)) is not None]
    return min(known, key=lambda pair: pair[0]) if known else None


def has_dates(moment: datetime) -> bool:
    """Return whether a moment of the scan has a real date."""
    return moment.date() - _NO_DAY > timedelta(days=1)
