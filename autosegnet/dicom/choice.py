"""Choose the PET and the CT of a study: by frame of reference and study, by what a person names, and by rank."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from autosegnet.dicom.header import name_attribute
from autosegnet.dicom.kinds import ATTENUATION
from autosegnet.dicom.listing import describe_series, explain_no_choice, list_series
from autosegnet.dicom.rank import measure_coverage, rank_series
from autosegnet.dicom.series import Series
from autosegnet.errors import InputError, format_count
from autosegnet.geometry import Grid
from autosegnet.suv.stated import StatedFacts

log = logging.getLogger(__name__)

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
    candidates = _select_named([s for s in found if s.kind == "PET"], chooser.pet_uid)
    way = chooser.facts.name_way("pet_series")
    usable = [s for s in candidates if not s.fault]
    if not usable and chooser.facts.attenuation_corrected:
        usable = [s for s in candidates if s.verdict.waived_by == ATTENUATION and s.stacked is not None]
    if len(usable) != 1:
        raise InputError(explain_no_choice("PET", candidates, usable, chooser.pet_uid, way, chooser.facts))
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
    candidates = _select_named(every, chooser.ct_uid)
    if pet is not None and not chooser.ct_uid:
        candidates = _select_partners(candidates, pet, chooser.facts)
    usable = [s for s in candidates if not s.fault]
    best = rank_series(usable, grid)
    if len(best) != 1:
        way = chooser.facts.name_way("ct_series")
        raise InputError(explain_no_choice("CT", candidates, best, chooser.ct_uid, way, chooser.facts, grid=grid))
    chosen = best[0]
    if len(usable) > 1:
        others = "; ".join(describe_series(s, grid) for s in usable if s is not chosen)
        log.info("took the %s; others: %s", describe_series(chosen, grid), others)
    _log_aside(chosen, [s for s in candidates if s.fault])
    if pet is not None:
        _check_frame(chosen, pet, grid, chooser)
    return chosen


def _select_named(candidates: list[Series], uid: str) -> list[Series]:
    if not uid:
        return candidates
    uid, _, part = uid.partition("#")
    if part:
        candidates = [s for s in candidates if str(s.part) == part]
    return [s for s in candidates if s.uid == uid] or [s for s in candidates if s.uid.endswith(uid)]


def _select_partners(candidates: list[Series], pet: Series, facts: StatedFacts) -> list[Series]:
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
        f"no CT series shares {what} with the {pet.name}; found {list_series(candidates)}; expected PET and CT of one "
        f"examination{'' if in_frame else f' ({way})'}"
    )


def _check_frame(chosen: Series, pet: Series, grid: Grid | None, chooser: Chooser) -> None:
    """Warn if the CT that the user named is of another frame or study; refuse it if it does not cover the PET."""
    if chosen.frame_uid != pet.frame_uid or not pet.frame_uid:
        how = chooser.facts.name_way("same_frame" if chooser.facts.same_frame else "ct_series")
        name = name_attribute("FrameOfReferenceUID")
        covered = measure_coverage(chosen, grid)
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


def _log_aside(chosen: Series, others: list[Series]) -> None:
    if others:
        log.info("%d %s series put aside: %s", len(others), chosen.kind, "; ".join(s.summary for s in others))
    for reason, count in chosen.aside:
        log.info("%s of the %s put aside: %s", format_count(count, "image"), chosen.name, reason)
