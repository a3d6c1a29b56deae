"""Sorts DICOM headers into series and chooses the PET and the CT of a study: by frame of reference and by study."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from autosegnet.dicom.header import Header, named
from autosegnet.dicom.kinds import fault_of, kind_of
from autosegnet.dicom.objects import find_headers
from autosegnet.errors import InputError

log = logging.getLogger(__name__)

_MOST_LISTED: Final = 8  # as many as a line of a log bears


@dataclass(frozen=True, slots=True)
class Series:
    """One PET or CT series.

    Args:
        kind: 'PET' or 'CT'.
        headers: in the order of their paths.
        fault: why it is no volume that can be used, or ''.
    """

    kind: str
    uid: str
    headers: tuple[Header, ...]
    fault: str

    @property
    def study_uid(self) -> str:
        """StudyInstanceUID (0020,000D)."""
        return self.headers[0].text("StudyInstanceUID")

    @property
    def frame_uid(self) -> str:
        """FrameOfReferenceUID (0020,0052)."""
        return self.headers[0].text("FrameOfReferenceUID")

    @property
    def summary(self) -> str:
        """What tells it from others, without a word of free text."""
        number = "".join(c for c in self.headers[0].text("SeriesNumber")[:8] if c.isdigit()) or "none"
        text = f"{self.kind} number {number}, {len(self.headers)} slices, UID ...{self.uid[-12:]}"
        return f"{text} ({self.fault})" if self.fault else text


def series_in(folder: Path) -> list[Series]:
    """The PET and CT series below a folder.

    Raises:
        InputError: no folder, no DICOM, or a damaged object.
    """
    return series_of(find_headers(folder))


def series_of(headers: Iterable[Header]) -> list[Series]:
    """The PET and CT series among headers in the order of their paths.

    Raises:
        InputError: an image that names no series.
    """
    groups: dict[tuple[str, str], list[Header]] = {}
    for header in headers:
        kind = kind_of(header)
        if kind:
            if not header.text("SeriesInstanceUID"):
                raise InputError(
                    f"{named('SeriesInstanceUID')} is missing in {header.where}; expected it in every image"
                )
            groups.setdefault((kind, header.text("SeriesInstanceUID")), []).append(header)
    return [Series(kind, uid, tuple(headers), fault_of(kind, headers)) for (kind, uid), headers in groups.items()]


def choose_pet(found: list[Series], *, uid: str = "") -> Series:
    """The PET series: the one asked for, else the only one that can be used.

    Args:
        uid: SeriesInstanceUID or its end.

    Raises:
        InputError: none, several, or one with a fault; what there is, is listed.
    """
    return _choose([s for s in found if s.kind == "PET"], uid=uid, kind="PET", option="--pet-series")


def choose_ct(found: list[Series], *, uid: str = "", pet: Series | None = None) -> Series:
    """The CT series: the one asked for, else the only one with the PET's frame of reference and study.

    Args:
        uid: SeriesInstanceUID or its end.
        pet: None where the PET is no DICOM, so that there is nothing to compare with.

    Raises:
        InputError: none, several, or one with a fault or in another frame of reference.
    """
    candidates = [s for s in found if s.kind == "CT"]
    if pet is not None and not pet.frame_uid:
        raise InputError(f"{named('FrameOfReferenceUID')} is missing in the {pet.summary}; CT and PET are paired by it")
    if pet is not None and not uid:
        paired = [s for s in candidates if s.frame_uid == pet.frame_uid and s.study_uid == pet.study_uid]
        if candidates and not paired:
            what = (
                "FrameOfReferenceUID" if all(s.frame_uid != pet.frame_uid for s in candidates) else "StudyInstanceUID"
            )
            raise InputError(
                f"no CT series shares {named(what)} with the {pet.summary}; found {_listed(candidates)}; expected PET "
                "and CT of one examination"
            )
        candidates = paired
    chosen = _choose(candidates, uid=uid, kind="CT", option="--ct-series")
    if pet is not None:
        if chosen.frame_uid != pet.frame_uid:
            raise InputError(
                f"{named('FrameOfReferenceUID')} of the {chosen.summary} differs from that of the {pet.summary}; "
                "expected PET and CT in one frame of reference"
            )
        if chosen.study_uid != pet.study_uid:
            log.warning("the CT is of another study than the PET, and was chosen by --ct-series")
    return chosen


def _choose(candidates: list[Series], *, uid: str, kind: str, option: str) -> Series:
    if uid:
        candidates = [s for s in candidates if s.uid == uid] or [s for s in candidates if s.uid.endswith(uid)]
    usable = [s for s in candidates if not s.fault]
    if len(usable) == 1:
        others = len(candidates) - 1
        if others:
            aside = "; ".join(s.summary for s in candidates if s.fault)
            log.info("%d %s series put aside: %s", others, kind, aside)
        return usable[0]
    if not candidates:
        raise InputError(f"found no {kind} series{f' with the UID of {option}' if uid else ''}; expected one")
    if len(candidates) == 1:
        raise InputError(f"cannot use the {candidates[0].summary}")
    several = usable or candidates
    state = "several" if usable else "none that can be used of several"
    raise InputError(f"found {state} {kind} series: {_listed(several)}; choose one with {option} UID")


def _listed(series: list[Series]) -> str:
    text = "; ".join(s.summary for s in series[:_MOST_LISTED])
    return text + (f"; and {len(series) - _MOST_LISTED} more" if len(series) > _MOST_LISTED else "")
