"""When the activity was given: t_adm of the decay correction."""

from datetime import datetime, time, timedelta
from typing import Final

from autosegnet.errors import InputError
from autosegnet.suv.acquisition import has_dates
from autosegnet.suv.conversion import Ledger
from autosegnet.suv.dates import (
    is_in_another_zone,
    read_datetime,
    read_stated_moment,
    read_time,
    refuse_lone_date,
    states_only_foreign_zone,
)
from autosegnet.suv.pet_header import name_field
from autosegnet.suv.plausibility import UptakeTime, judge_undated_injection, judge_uptake

_APART_S: Final = 60.0  # seconds by which the two attributes of the injection may differ


def read_injection(ledger: Ledger, *, reference: datetime, half_life_s: float) -> datetime:
    """Return when the activity was administered, as stated or else as in the header, once it is judged.

    A date-time is used as it is. A time of day is put on the day of the reference, or the day before if it would be
    later. If the scan has no dates, or the date-time is exactly midnight and RadiopharmaceuticalStartTime is not, only
    the time of day counts.

    Raises:
        InputError: the time is missing or cannot be true, or a stated one has a date and the scan has none.
    """
    way, is_stated = ledger.facts.name_way("injection_time"), bool(ledger.facts.injection_time)
    if is_stated:
        moment, source = _read_stated(ledger, reference, half_life_s), way
    else:
        moment, source = _read_injection(ledger, reference, half_life_s)
    ledger.times["injection"] = moment
    ledger.figures["uptake_s"] = (reference - moment).total_seconds()
    uptake = UptakeTime(
        seconds=ledger.figures["uptake_s"],
        half_life_s=half_life_s,
        source=source,
        way=way,
        is_stated=is_stated or bool(ledger.facts.scan_time),
        injected=None if is_stated else moment,
        reference=reference,
    )
    ledger.judge(judge_uptake(uptake))
    return moment


def _read_stated(ledger: Ledger, reference: datetime, half_life_s: float) -> datetime:
    way = ledger.facts.name_way("injection_time")
    day, clock = read_stated_moment(ledger.facts.injection_time, way)
    ledger.state(f"injection time {clock:%H:%M:%S} was stated by {way}")
    if day is None:
        ledger.judge(judge_undated_injection(half_life_s))
        return _put_on_day_of(reference, clock)
    if not has_dates(reference):
        refuse_lone_date(way, ledger.facts.name_way("scan_time"))
    return datetime.combine(day, clock)


def _read_injection(ledger: Ledger, reference: datetime, half_life_s: float) -> tuple[datetime, str]:
    """Return the header's injection and the attribute that gave it."""
    offset, text = ledger.read_text("utc_offset"), ledger.read_text("injection_datetime")
    moment = read_datetime(text, "injection_datetime", utc_offset=offset)
    clock = read_time(ledger.read_text("injection_time"), "injection_time")
    of_moment, of_clock = name_field("injection_datetime"), name_field("injection_time")
    if moment is None and clock is None:
        way = ledger.facts.name_way("injection_time")
        raise InputError(
            f"{of_moment} and {of_clock} are missing; SUV needs the time of the injection ({way} states it)"
        )
    if moment is not None and has_dates(reference):
        return _correct_moment(ledger, moment, clock, reference), of_moment
    if clock is None:
        assert moment is not None
        clock, of_clock = moment.time(), of_moment
    ledger.judge(judge_undated_injection(half_life_s))
    moment = _put_on_day_of(reference, clock)
    if moment.date() < reference.date():
        of_clock += f", {clock:%H:%M:%S} without a date and taken for the day before,"
    return moment, of_clock


def _correct_moment(ledger: Ledger, moment: datetime, clock: time | None, reference: datetime) -> datetime:
    """Return the injection's date-time, corrected by its time of day if that explains an odd one."""
    offset, text = ledger.read_text("utc_offset"), ledger.read_text("injection_datetime")
    of_moment, of_clock = name_field("injection_datetime"), name_field("injection_time")
    if clock is None:
        if states_only_foreign_zone(text, utc_offset=offset):
            ledger.warn(
                f"{of_moment} has a UTC offset, but the file does not state its own time zone "
                f"({name_field('utc_offset')}); the offset is assumed to apply to the other times, too"
            )
        return moment
    on_its_day = datetime.combine(moment.date(), clock)
    if is_in_another_zone(text, clock, utc_offset=offset):
        days = [on_its_day + timedelta(days=day) for day in (-1, 0, 1)]
        ledger.warn(
            f"{of_moment} has a UTC offset, but the file does not state its own time zone: the time of day in "
            f"{of_clock} was used"
        )
        return max((day for day in days if day <= reference), default=days[0])
    if moment.time() == time(0) and clock != time(0):
        ledger.warn(f"{of_moment} is exactly midnight, as if its time had been removed; {of_clock} was used")
        return on_its_day
    if abs((on_its_day - moment).total_seconds()) > _APART_S:
        ledger.warn(f"{of_clock} and {of_moment} differ; the latter was used")
    return moment


def _put_on_day_of(reference: datetime, clock: time) -> datetime:
    moment = datetime.combine(reference.date(), clock)
    return moment - timedelta(days=1) if moment > reference else moment
