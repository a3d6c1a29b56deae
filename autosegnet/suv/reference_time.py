"""When a PET's values hold, and when the activity was given: t_ref and t_adm of the decay correction."""

import math
from datetime import date, datetime, time, timedelta
from typing import Final

from autosegnet.errors import InputError
from autosegnet.suv.conversion import Ledger
from autosegnet.suv.dates import (
    is_in_another_zone,
    read_date,
    read_datetime,
    read_stated_moment,
    read_time,
    states_only_foreign_zone,
)
from autosegnet.suv.pet_header import PetSlice, name_field
from autosegnet.suv.plausibility import UptakeTime, judge_uptake

_APART_S: Final = 60.0  # candidates for t_ref further apart are worth a look: a minute is 0.6 % of F-18
_AFTER_S: Final = 2.0  # so much after the first acquisition, clocks were rounded
_HALF_A_DAY: Final = timedelta(hours=12)
_LONG_S: Final = 86400.0
_NO_DAY: Final = date(1900, 1, 1)  # stands for the one day of a scan without dates

# Candidates for t_ref in the order that decides between equals, with their votes: a scanner's own scan start counts
# double, because nothing but the scan writes it.
_VOTES: Final = {
    "series time": 1,
    "GE scan start": 2,
    "Siemens scan start": 2,
    "frame reference time": 1,
    "earliest acquisition": 1,
}


def read_acquisition(ledger: Ledger, part: PetSlice) -> datetime | None:
    """Return when the acquisition of a slice began, or None if the file does not say.

    By its date and time, else its date-time, else its time on the day of the series; without any date in the file,
    all times are of one day.
    """
    clock = read_time(ledger.text("acquisition_time", part), "acquisition_time")
    day = read_date(ledger.text("acquisition_date", part), "acquisition_date")
    if clock is not None and day is not None:
        return datetime.combine(day, clock)
    moment = read_datetime(
        ledger.text("acquisition_datetime", part), "acquisition_datetime", utc_offset=ledger.text("utc_offset")
    )
    return moment if moment is not None or clock is None else _on_day_of_series(ledger, clock)


def _on_day_of_series(ledger: Ledger, clock: time) -> datetime:
    """Return a time of day on the day of the series, or the day after if it is more than 12 h before the series."""
    name = next((n for n in ("series_date", "study_date") if read_date(ledger.text(n), n)), None)
    if name is not None:
        ledger.warn(f"{name_field('acquisition_date')} is missing; {name_field(name)} is taken for it")
    day = _read_series_day(ledger)
    moment = datetime.combine(day, clock)
    start = read_time(ledger.text("series_time"), "series_time")
    past_midnight = start is not None and datetime.combine(day, start) - moment > _HALF_A_DAY
    return moment + timedelta(days=1) if past_midnight else moment


def _read_series_day(ledger: Ledger) -> date:
    """Return the day of the series, else of the study, else the one day of a scan without dates."""
    days = (read_date(ledger.text(name), name) for name in ("series_date", "study_date"))
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


def state_scan_time(ledger: Ledger, *, near: datetime | None) -> datetime | None:
    """Return the scan's time that the user states, or None.

    Args:
        near: what the header says; its day is that of a time without a date.
    """
    stated, way = ledger.facts.scan_time, ledger.facts.name_way("scan_time")
    if not stated:
        return None
    day, clock = read_stated_moment(stated, way)
    ledger.state(f"scan time {clock:%H:%M:%S} was stated by {way}")
    if day is None:
        day = near.date() if near is not None else _read_series_day(ledger)
    moment = datetime.combine(day, clock)
    ledger.times["reference: stated"] = moment
    return moment


def find_start_reference(ledger: Ledger, *, half_life_s: float) -> tuple[datetime, str]:
    """Return the moment to which DecayCorrection START refers, and the name of the candidate that gave it.

    A stated time comes first. Of the header's candidates, those after the first acquisition are none: decay is
    corrected to a moment that is not after it. The moment that most of the others share is taken, a vendor's own scan
    start counting double; between equals, the order of the standard decides: series time, vendor's scan start, frame
    reference time, earliest acquisition. Every candidate that exists is kept in the ledger.

    Raises:
        InputError: no candidate exists.
    """
    found = _find_candidates(ledger, half_life_s)
    stated = state_scan_time(ledger, near=next(iter(found.values()), None))
    if stated is not None:
        return stated, "stated time"
    if not found:
        raise InputError(
            f"{name_field('series_time')} and {name_field('acquisition_time')} are missing; SUV with DecayCorrection "
            f"START needs the time of the scan ({ledger.facts.name_way('scan_time')} states it)"
        )
    possible = _drop_impossible(ledger, found)
    chosen = max(possible, key=lambda name: (_count_votes(name, possible), -[*_VOTES].index(name)))
    _warn_of_spread(ledger, possible, chosen)
    if not has_dates(found[chosen]):
        ledger.warn("the scan has no dates: all times of day are taken to be of one day")
    return found[chosen], chosen


def _find_candidates(ledger: Ledger, half_life_s: float) -> dict[str, datetime]:
    found: dict[str, datetime | None] = {}
    earliest = read_earliest_acquisition(ledger)
    found["series time"] = _read_series_time(ledger, earliest[0] if earliest else None)
    offset = ledger.text("utc_offset")
    for name, vendor in (("GE scan start", "ge_scan_start"), ("Siemens scan start", "siemens_scan_start")):
        found[name] = read_datetime(ledger.text(vendor), vendor, utc_offset=offset)
    if earliest is not None:
        found["earliest acquisition"] = earliest[0]
        found["frame reference time"] = _before_frame_reference(ledger, *earliest, half_life_s)
    known = {name: moment for name, moment in found.items() if moment is not None}
    ledger.times.update({f"reference: {name}": moment for name, moment in known.items()})
    return known


def _read_series_time(ledger: Ledger, acquired: datetime | None) -> datetime | None:
    """Return the series' date and time; on the day of the acquisition if the series has no date."""
    clock = read_time(ledger.text("series_time"), "series_time")
    if clock is None:
        return None
    day = read_date(ledger.text("series_date"), "series_date")
    if day is None and acquired is not None:
        moment = datetime.combine(acquired.date(), clock)
        return moment - timedelta(days=1) if moment - acquired > _HALF_A_DAY else moment
    return datetime.combine(day or _read_series_day(ledger), clock)


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
    average_s = compute_average_activity_s(duration_ms / 1000.0, half_life_s)
    return acquired + timedelta(seconds=average_s - after_ms / 1000.0)


def compute_average_activity_s(duration_s: float, half_life_s: float) -> float:
    """Return when in a frame the activity is at its mean: T_ave = (1/lambda) ln(lambda d / (1 - e^(-lambda d)))."""
    decay = math.log(2.0) / half_life_s
    return math.log(decay * duration_s / -math.expm1(-decay * duration_s)) / decay


def _drop_impossible(ledger: Ledger, found: dict[str, datetime]) -> dict[str, datetime]:
    """Return the candidates that are not after the first acquisition, nor a series time that was set to midnight."""
    first = found.get("earliest acquisition")
    if first is None:
        ledger.warn(f"{name_field('acquisition_time')} is missing; the reference time cannot be checked against it")
        return found
    latest = first + timedelta(seconds=_AFTER_S)
    possible = {name: moment for name, moment in found.items() if moment <= latest}
    series = possible.get("series time")
    if series is not None and series.time() == time(0) and first - series > timedelta(hours=1):
        ledger.warn(f"{name_field('series_time')} is exactly midnight, as if it had been removed; it was not used")
        del possible["series time"]
    return possible


def _count_votes(name: str, possible: dict[str, datetime]) -> int:
    moment = possible[name]
    return sum(_VOTES[other] for other in possible if abs((possible[other] - moment).total_seconds()) <= _APART_S)


def _warn_of_spread(ledger: Ledger, found: dict[str, datetime], chosen: str) -> None:
    apart = {name: (moment - found[chosen]).total_seconds() for name, moment in found.items()}
    if max(apart.values()) - min(apart.values()) > _APART_S:
        others = ", ".join(f"{name} {seconds:+.0f} s" for name, seconds in apart.items() if name != chosen)
        ledger.warn(f"reference times differ by more than 60 s; used {chosen}; against it: {others}")


def read_injection(ledger: Ledger, *, reference: datetime, half_life_s: float) -> datetime:
    """Return when the activity was administered, as stated or else as in the header, once it is judged.

    A date-time as it is; a time of day on the day of the reference, or the day before if it would be later. If the
    scan has no dates, or the date-time's time of day is exactly midnight and RadiopharmaceuticalStartTime is not, the
    time of day counts alone.

    Raises:
        InputError: no time of it, or one that cannot be true.
    """
    way, is_stated = ledger.facts.name_way("injection_time"), bool(ledger.facts.injection_time)
    if is_stated:
        day, clock = read_stated_moment(ledger.facts.injection_time, way)
        ledger.state(f"injection time {clock:%H:%M:%S} was stated by {way}")
        moment = _on_the_day_of(reference, clock) if day is None else datetime.combine(day, clock)
        source = way
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


def _read_injection(ledger: Ledger, reference: datetime, half_life_s: float) -> tuple[datetime, str]:
    """Return the header's injection and the attribute that gave it."""
    offset, text = ledger.text("utc_offset"), ledger.text("injection_datetime")
    moment = read_datetime(text, "injection_datetime", utc_offset=offset)
    clock = read_time(ledger.text("injection_time"), "injection_time")
    of_moment, of_clock = name_field("injection_datetime"), name_field("injection_time")
    if moment is None and clock is None:
        way = ledger.facts.name_way("injection_time")
        raise InputError(
            f"{of_moment} and {of_clock} are missing; SUV needs the time of the injection ({way} states it)"
        )
    if moment is not None and has_dates(reference):
        return _believe_moment(ledger, moment, clock, reference), of_moment
    if clock is None:
        assert moment is not None
        clock, of_clock = moment.time(), of_moment
    if half_life_s > _LONG_S / 2:
        ledger.warn(
            f"the injection has no date and the half-life is {half_life_s / 3600:.1f} h: the injection is taken to lie "
            "within 24 h before the scan"
        )
    moment = _on_the_day_of(reference, clock)
    if moment.date() < reference.date():
        of_clock += f", {clock:%H:%M:%S} without a date and taken for the day before,"
    return moment, of_clock


def _believe_moment(ledger: Ledger, moment: datetime, clock: time | None, reference: datetime) -> datetime:
    """Return the injection's date-time, corrected by its time of day if that explains an odd one."""
    offset, text = ledger.text("utc_offset"), ledger.text("injection_datetime")
    of_moment, of_clock = name_field("injection_datetime"), name_field("injection_time")
    if clock is None:
        if states_only_foreign_zone(text, utc_offset=offset):
            ledger.warn(
                f"{of_moment} has an offset from UTC, and the file states no time zone of its own "
                f"({name_field('utc_offset')}): the offset is taken for that of the other times"
            )
        return moment
    on_its_day = datetime.combine(moment.date(), clock)
    if is_in_another_zone(text, clock, utc_offset=offset):
        days = [on_its_day + timedelta(days=day) for day in (-1, 0, 1)]
        ledger.warn(
            f"{of_moment} is in a time zone that the file does not relate to its other times: the time of day in "
            f"{of_clock} was used"
        )
        return max((day for day in days if day <= reference), default=days[0])
    if moment.time() == time(0) and clock != time(0):
        ledger.warn(f"{of_moment} is exactly midnight, as if its time had been removed; {of_clock} was used")
        return on_its_day
    if abs((on_its_day - moment).total_seconds()) > _APART_S:
        ledger.warn(f"{of_clock} and {of_moment} differ; the latter was used")
    return moment


def _on_the_day_of(reference: datetime, clock: time) -> datetime:
    moment = datetime.combine(reference.date(), clock)
    return moment - timedelta(days=1) if moment > reference else moment
