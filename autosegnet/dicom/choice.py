"""Choose the PET and the CT of a study: by frame of reference and study, by what a person names, and by rank.

The rank of several CTs: the one that covers most of the PET; of those that cover as much, one with a kernel for soft
tissue before one with a sharp kernel; of those, the one whose slice spacing is nearest to the PET's. See
docs/how-to/dicom.md.
"""

import logging
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np

from autosegnet.dicom.header import name_attribute
from autosegnet.dicom.kernels import is_sharp
from autosegnet.dicom.kinds import ATTENUATION
from autosegnet.dicom.series import Series
from autosegnet.errors import InputError
from autosegnet.geometry import Grid
from autosegnet.suv.stated import StatedFacts

log = logging.getLogger(__name__)

_MOST_LISTED: Final = 8  # as many as a line of a log bears
_COVERAGE_STEPS: Final = 20  # twentieths of the PET: less is no difference
_SPACING_STEPS: Final = 10  # per factor of e: slice spacings within about 10 % are no difference
_SAMPLES: Final = 12  # points of the PET's box along each axis
_LEAST_COVERED: Final = 0.5  # of the PET, if a CT in another frame of reference is to be believed


@dataclass(frozen=True, slots=True, kw_only=True)
class Chooser:
    """What a person says about which series are meant.

    Args:
        pet_uid, ct_uid: SeriesInstanceUID or its end, and #2 for its second part; '' for any.
        facts: stated facts that admit a series, and how options are called in messages.
    """

    pet_uid: str = ""
    ct_uid: str = ""
    facts: StatedFacts = StatedFacts()


def choose_pet(found: Sequence[Series], chooser: Chooser | None = None) -> Series:
    """Return the PET series: the one asked for, else the only one that can be used.

    Raises:
        InputError: none, several, or one with a fault; what there is, is listed.
    """
    chooser = chooser or Chooser()
    candidates = _named([s for s in found if s.kind == "PET"], chooser.pet_uid)
    way = chooser.facts.name_way("pet_series")
    usable = [s for s in candidates if not s.fault]
    if not usable and chooser.facts.attenuation_corrected:
        usable = [s for s in candidates if s.verdict.waived_by == ATTENUATION and s.stacked is not None]
    if len(usable) != 1:
        raise InputError(_tell_no_choice("PET", candidates, usable, chooser.pet_uid, way, chooser.facts))
    _log_aside(usable[0], [s for s in candidates if s is not usable[0]])
    return usable[0]


def choose_ct(
    found: Sequence[Series],
    chooser: Chooser | None = None,
    *,
    pet: Series | None = None,
    pet_grid: Grid | None = None,
) -> Series:
    """Return the CT series: the one asked for, else the best by rank in the PET's frame of reference and study.

    Args:
        pet: None if the PET is no DICOM, so that there is nothing to compare with.
        pet_grid: where the PET lies; that of `pet` if it is None.

    Raises:
        InputError: none, several of one rank, or one with a fault or in another frame of reference.
    """
    chooser = chooser or Chooser()
    grid = pet.stacked.grid if pet is not None and pet.stacked is not None else pet_grid
    every = [s for s in found if s.kind == "CT"]
    candidates = _named(every, chooser.ct_uid)
    if pet is not None and not chooser.ct_uid:
        candidates = _pair(candidates, pet, chooser.facts)
    usable = [s for s in candidates if not s.fault]
    best = _rank(usable, grid)
    if len(best) != 1:
        way = chooser.facts.name_way("ct_series")
        raise InputError(_tell_no_choice("CT", candidates, best, chooser.ct_uid, way, chooser.facts, grid=grid))
    chosen = best[0]
    if len(usable) > 1:
        others = "; ".join(_describe(s, grid) for s in usable if s is not chosen)
        log.info("took the %s; others: %s", _describe(chosen, grid), others)
    _log_aside(chosen, [s for s in candidates if s.fault])
    if pet is not None:
        _check_frame(chosen, pet, grid, chooser)
    return chosen


def _named(candidates: list[Series], uid: str) -> list[Series]:
    if not uid:
        return candidates
    uid, _, part = uid.partition("#")
    if part:
        candidates = [s for s in candidates if str(s.part) == part]
    return [s for s in candidates if s.uid == uid] or [s for s in candidates if s.uid.endswith(uid)]


def _pair(candidates: list[Series], pet: Series, facts: StatedFacts) -> list[Series]:
    """Return the CTs in a PET's frame of reference and study; with one frame stated, those of its study or any."""
    of_study = [s for s in candidates if s.study_uid == pet.study_uid]
    if facts.same_frame:
        return of_study or candidates
    way = f"if PET and CT lie in one frame of reference, {facts.name_way('same_frame')} states it"
    name = name_attribute("FrameOfReferenceUID")
    if not pet.frame_uid:
        raise InputError(f"{name} is missing in the {pet.name}; CT and PET are paired by it ({way})")
    paired = [s for s in of_study if s.frame_uid == pet.frame_uid]
    if paired or not candidates:
        return paired
    in_frame = any(s.frame_uid == pet.frame_uid for s in candidates)
    what = name_attribute("StudyInstanceUID") if in_frame else name
    raise InputError(
        f"no CT series shares {what} with the {pet.name}; found {_list(candidates)}; expected PET and CT of one "
        f"examination{'' if in_frame else f' ({way})'}"
    )


def _check_frame(chosen: Series, pet: Series, grid: Grid | None, chooser: Chooser) -> None:
    """Warns of a CT of another frame or study that a person named; refuses one that does not lie where the PET does."""
    if chosen.frame_uid != pet.frame_uid or not pet.frame_uid:
        how = chooser.facts.name_way("same_frame" if chooser.facts.same_frame else "ct_series")
        name = name_attribute("FrameOfReferenceUID")
        covered = _measure_coverage(chosen, grid)
        if covered < _LEAST_COVERED:
            raise InputError(
                f"{name} of the {chosen.name} differs from that of the {pet.name}, and it covers {covered:.0%} of the "
                "PET; expected PET and CT in one frame of reference"
            )
        log.warning(
            "%s of PET and CT is missing or differs; by %s they lie in one frame, and the CT covers %.0f %% of the PET",
            name,
            how,
            100 * covered,
        )
    if chosen.study_uid != pet.study_uid:
        log.warning("the CT is of another study than the PET")


def _rank(usable: list[Series], grid: Grid | None) -> list[Series]:
    """Those of the best rank."""
    if len(usable) < 2:
        return usable
    keys = {id(s): _key(s, grid) for s in usable}
    best = min(keys.values())
    return [s for s in usable if keys[id(s)] == best]


def _key(series: Series, grid: Grid | None) -> tuple[int, bool, int]:
    covered = round(_measure_coverage(series, grid) * _COVERAGE_STEPS)
    apart = 0
    if grid is not None and series.stacked is not None:
        apart = round(abs(math.log(series.stacked.grid.spacing_mm[2] / grid.spacing_mm[2])) * _SPACING_STEPS)
    return -covered, is_sharp(series.headers[0]), apart


def _measure_coverage(series: Series, grid: Grid | None) -> float:
    """Return the share of the PET's box that lies inside a series' box."""
    if grid is None or series.stacked is None:
        return 1.0
    axes = [np.linspace(0.0, count - 1.0, _SAMPLES) for count in grid.size]
    index = np.stack(np.meshgrid(*axes, indexing="ij")).reshape(3, -1)
    places = np.asarray(grid.origin_mm)[:, None] + grid.steps_mm @ index
    own = series.stacked.grid
    inside = np.linalg.solve(own.steps_mm, places - np.asarray(own.origin_mm)[:, None])
    limits = np.asarray(own.size)[:, None] - 0.5
    return float(np.mean(np.all((inside >= -0.5) & (inside <= limits), axis=0)))


def _log_aside(chosen: Series, others: list[Series]) -> None:
    if others:
        log.info("%d %s series put aside: %s", len(others), chosen.kind, "; ".join(s.summary for s in others))
    for reason, count in chosen.aside:
        log.info("%d images of the %s put aside: %s", count, chosen.name, reason)


def _tell_no_choice(
    kind: str,
    candidates: list[Series],
    best: list[Series],
    uid: str,
    way: str,
    facts: StatedFacts,
    *,
    grid: Grid | None = None,
) -> str:
    if not candidates:
        return f"found no {kind} series{f' with the UID of {way}' if uid else ''}; expected one"
    if len(candidates) == 1:
        waived = candidates[0].verdict.waived_by
        return f"cannot use the {candidates[0].summary}" + (
            f"; {facts.name_way(waived)} states that it is" if waived else ""
        )
    several = best or candidates
    state = "several" if best else "none that can be used of several"
    return f"found {state} {kind} series: {_list(several, grid)}; choose one with {way}"


def _list(series: Sequence[Series], grid: Grid | None = None) -> str:
    days = _tell_days(series)
    text = "; ".join(_describe(s, grid) + days.get(s.study_uid, "") for s in series[:_MOST_LISTED])
    return text + (f"; and {len(series) - _MOST_LISTED} more" if len(series) > _MOST_LISTED else "")


def _tell_days(series: Sequence[Series]) -> dict[str, str]:
    """How studies lie in time, without a date: baseline and follow-up in one folder."""
    if len({s.study_uid for s in series}) < 2:
        return {}
    days: dict[str, int | None] = {}
    for s in series:
        text = s.headers[0].text("StudyDate") or s.headers[0].text("SeriesDate")
        try:
            days[s.study_uid] = datetime.strptime(text, "%Y%m%d").toordinal()
        except ValueError:
            days[s.study_uid] = None
    known = [day for day in days.values() if day is not None]
    return {uid: _tell_day(day, min(known, default=0)) for uid, day in days.items()}


def _tell_day(day: int | None, first: int) -> str:
    if day is None:
        return ", of a study without a date"
    return ", of the first study" if day == first else f", of a study {day - first} days after the first"


def _describe(series: Series, grid: Grid | None = None) -> str:
    """Return a series with voxel size, extent, coverage of the PET and kernel."""
    if series.stacked is None:
        return series.summary
    own = series.stacked.grid
    voxel = " x ".join(f"{v:.3g}" for v in own.spacing_mm)
    extent = own.size[2] * own.spacing_mm[2]
    parts = [series.summary, f"voxels {voxel} mm", f"{extent:.0f} mm long"]
    if grid is not None:
        parts.append(f"covers {_measure_coverage(series, grid):.0%} of the PET")
    if series.kind == "CT":
        parts.append(f"{'sharp' if is_sharp(series.headers[0]) else 'soft or unknown'} kernel")
    return ", ".join(parts)


def describe_ct(series: Series) -> str:
    """Return a CT for a report, without its UID."""
    return re.sub(r", UID [^,(]*", "", _describe(series))
