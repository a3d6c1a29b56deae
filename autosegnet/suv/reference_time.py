"""Finds t_ref, the moment to which a PET's values are decay-corrected, from several times in the header."""

import math
from datetime import datetime, time, timedelta
from typing import Final

from autosegnet.errors import InputError
from autosegnet.suv.acquisition import HALF_A_DAY, has_dates, read_earliest_acquisition, read_series_day
from autosegnet.suv.conversion import Ledger
from autosegnet.suv.dates import read_date, read_datetime, read_stated_moment, read_time
from autosegnet.suv.pet_header import PetSlice, name_field

_APART_S: Final = 60.0  # s between candidates for t_ref from which there is a warning; a minute is 0.6 % of F-18
_AFTER_S: Final = 2.0  # s after the first acquisition that rounded clocks explain

# Candidates for t_ref with their votes, in the order that decides a tie. A scanner's own scan start counts double,
# because only the scan writes it.
_VOTES: Final = {
    "series time": 1,
    "GE scan start": 2,
    "Siemens scan start": 2,
    "frame reference time": 1,
    "earliest acquisition": 1,
}


def state_scan_time(ledger: Ledger, *, near: datetime | None) -> datetime | None:
    """Return the scan's time that the user states, or None.

    Args:
        near: the header's time; a stated time without a date lies on the day on which it is nearest to it.
    """
    stated, way = ledger.facts.scan_time, ledger.facts.name_way("scan_time")
    if not stated:
        return None
    day, clock = read_stated_moment(stated, way)
    ledger.state(f"scan time {clock:%H:%M:%S} was stated by {way}")
    if day is not None:
        moment = datetime.combine(day, clock)
    elif near is None:
        moment = datetime.combine(read_series_day(ledger), clock)
    else:
        moment = _put_near(near, clock)
    ledger.times["reference: stated"] = moment
    return moment


def _put_near(near: datetime, clock: time) -> datetime:
    on_its_day = datetime.combine(near.date(), clock)
    return min((on_its_day + timedelta(days=day) for day in (-1, 0, 1)), key=lambda moment: abs(moment - near))


def find_start_reference(ledger: Ledger, *, half_life_s: float) -> tuple[datetime, str]:
    """Return the moment to which DecayCorrection START refers, and the name of the candidate that gave it.

    A stated time comes first; without a date it lies near the first acquisition, because a series may be processed days
    later. Candidates of the header after the first acquisition are dropped, because decay is
    corrected to a moment that is not after it. The moment that most of the others share is taken. A vendor's own scan
    start counts double. In a tie the order of the standard decides: series time, vendor's scan start, frame reference
    time, earliest acquisition. Every candidate is kept in the ledger.

    Raises:
        InputError: no candidate exists.
    """
    found = _find_candidates(ledger, half_life_s)
    near = found.get("earliest acquisition", next(iter(found.values()), None))
    stated = state_scan_time(ledger, near=near)
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
        ledger.warn("the scan has no dates: all times of day are assumed to be of one day")
    return found[chosen], chosen


def _find_candidates(ledger: Ledger, half_life_s: float) -> dict[str, datetime]:
    found: dict[str, datetime | None] = {}
    earliest = read_earliest_acquisition(ledger)
    found["series time"] = _read_series_time(ledger, earliest[0] if earliest else None)
    offset = ledger.read_text("utc_offset")
    for name, vendor in (("GE scan start", "ge_scan_start"), ("Siemens scan start", "siemens_scan_start")):
        found[name] = read_datetime(ledger.read_text(vendor), vendor, utc_offset=offset)
    if earliest is not None:
        found["earliest acquisition"] = earliest[0]
        found["frame reference time"] = _subtract_frame_reference(ledger, *earliest, half_life_s)
    known = {name: moment for name, moment in found.items() if moment is not None}
    ledger.times.update({f"reference: {name}": moment for name, moment in known.items()})
    return known


def _read_series_time(ledger: Ledger, acquired: datetime | None) -> datetime | None:
    """Return the series' date and time; on the day of the acquisition if the series has no date."""
    clock = read_time(ledger.read_text("series_time"), "series_time")
    if clock is None:
        return None
    day = read_date(ledger.read_text("series_date"), "series_date")
    if day is None and acquired is not None:
        moment = datetime.combine(acquired.date(), clock)
        return moment - timedelta(days=1) if moment - acquired > HALF_A_DAY else moment
    return datetime.combine(day or read_series_day(ledger), clock)


def _subtract_frame_reference(
    ledger: Ledger, acquired: datetime, part: PetSlice, half_life_s: float
) -> datetime | None:
    """Return t_ref = t_acq + T_ave - FrameReferenceTime, which the standard counts to the frame's mean activity.

    GE counts it to the frame's beginning, without T_ave: in GE Discovery ST series DecayFactor (0054,1321) is that
    of FrameReferenceTime plus T_ave.
    """
    after_ms = ledger.number("frame_reference_time_ms", part)
    if after_ms is None or after_ms < 0:
        return None
    if ledger.read_text("manufacturer").upper().startswith("GE"):
        return acquired - timedelta(seconds=after_ms / 1000.0)
    duration_ms = ledger.number("frame_duration_ms", part)
    if duration_ms is None or not duration_ms > 0:
        return None
    average_s = compute_average_activity_s(duration_ms / 1000.0, half_life_s)
    return acquired + timedelta(seconds=average_s - after_ms / 1000.0)


def compute_average_activity_s(duration_s: float, half_life_s: float) -> float:
    """Return when in a frame the activity equals its mean: T_ave = (1/lambda) ln(lambda d / (1 - e^(-lambda d)))."""
    decay = math.log(2.0) / half_life_s
    return math.log(decay * duration_s / -math.expm1(-decay * duration_s)) / decay


def _drop_impossible(ledger: Ledger, found: dict[str, datetime]) -> dict[str, datetime]:
    """Return the candidates, without those after the first acquisition and a series time that was set to midnight."""
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
        ledger.warn(f"reference times differ by more than 60 s; used {chosen}; others: {others}")
