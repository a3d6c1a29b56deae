"""Sort DICOM headers into series, each judged by its images and their geometry."""

import logging
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autosegnet.dicom.header import Header, name_attribute, refuse_damage
from autosegnet.dicom.kinds import (
    Verdict,
    find_class_fault,
    find_kind,
    find_other_kind,
    is_in_motion,
    judge_pet,
)
from autosegnet.dicom.objects import find_headers
from autosegnet.dicom.parse import read_pixels
from autosegnet.dicom.stack import LEAST_SLICES, SAME_COSINES, Stack, count_doubled, stack_slices
from autosegnet.errors import InputError

log = logging.getLogger(__name__)

_Tried = tuple[Sequence[Header], Stack | str]  # slices, and their stack or why they form none


@dataclass(frozen=True, slots=True)
class Series:
    """One PET or CT series, or a part of one that could be a volume by itself.

    Args:
        kind: 'PET' or 'CT'.
        uid: SeriesInstanceUID.
        headers: of its slices, in the order of their paths.
        stacked: the slices as a volume; None if they form none.
        verdict: what is to be said against it or about it.
        aside: images of the same series that are no slices, by the reason.
        part: its number among the parts of its series, 0 if it is the whole of it.
    """

    kind: str
    uid: str
    headers: tuple[Header, ...]
    stacked: Stack | None
    verdict: Verdict
    aside: tuple[tuple[str, int], ...] = ()
    part: int = 0

    @property
    def fault(self) -> str:
        """Return why it is no volume that can be used, or ''."""
        return self.verdict.fault

    @property
    def study_uid(self) -> str:
        """Return StudyInstanceUID (0020,000D)."""
        return self.headers[0].read_text("StudyInstanceUID")

    @property
    def frame_uid(self) -> str:
        """Return FrameOfReferenceUID (0020,0052)."""
        return self.headers[0].read_text("FrameOfReferenceUID")

    @property
    def name(self) -> str:
        """Return what tells it from others, without a word of free text."""
        number = "".join(c for c in self.headers[0].read_text("SeriesNumber")[:8] if c.isdigit()) or "none"
        end = self.uid[-12:]
        uid = f"UID ...{end}" if re.fullmatch(r"[0-9.]+", end) else "UID that is none"
        if not self.part:
            return f"{self.kind} number {number}, {len(self.headers)} slices, {uid}"
        acquisition = self.headers[0].read_text("AcquisitionNumber")
        part = f"acquisition {acquisition}" if acquisition.isdigit() else f"part {self.part}"
        return f"{self.kind} number {number}, {len(self.headers)} slices of {part}, {uid}#{self.part}"

    @property
    def summary(self) -> str:
        """Return its name, its fault and the images put aside."""
        reasons = [self.fault] if self.fault else []
        reasons += [f"{count} images put aside: {reason}" for reason, count in self.aside]
        return f"{self.name} ({'; '.join(reasons)})" if reasons else self.name


def gather_series(folder: Path) -> list[Series]:
    """Return the PET and CT series below a folder.

    Raises:
        InputError: no folder, no DICOM, or a damaged object.
    """
    return sort_series(find_headers(folder))


def sort_series(headers: Iterable[Header]) -> list[Series]:
    """Return the PET and CT series among headers in the order of their paths.

    Images that are no slices are put aside one by one. What is left of a series is split by orientation and size, and
    a CT that forms no stack by its acquisitions, too.

    Raises:
        InputError: an image that names no series.
    """
    groups: dict[tuple[str, str], list[Header]] = {}
    for header in _drop_repeated(headers):
        kind = find_kind(header)
        if kind:
            uid = header.read_text("SeriesInstanceUID")
            if not uid:
                name = name_attribute("SeriesInstanceUID")
                raise InputError(f"{name} is missing in {header.where}; expected it in every image")
            groups.setdefault((kind, uid), []).append(header)
    return [series for (kind, uid), group in groups.items() for series in _judge_or_fault(kind, uid, group)]


def _drop_repeated(headers: Iterable[Header]) -> list[Header]:
    """Return the headers, each object once: one SOPInstanceUID, equal attributes and equal pixels."""
    kept: dict[str, list[Header]] = {}
    order, repeated = [], 0
    for header in headers:
        same = kept.setdefault(header.read_text("SOPInstanceUID"), [])
        if any(_is_equal(header, other) for other in same):
            repeated += 1
            continue
        same.append(header)
        order.append(header)
    if repeated:
        log.info("%d DICOM objects are there twice, with equal content, and count once", repeated)
    return order


def _is_equal(one: Header, other: Header) -> bool:
    with refuse_damage(f"the DICOM object is damaged in {one.where}"):
        return bool(one.dataset == other.dataset and read_pixels(one) == read_pixels(other))


def _judge_or_fault(kind: str, uid: str, headers: Sequence[Header]) -> list[Series]:
    """Return the series, with a fault if one of its headers is damaged, so that it does not stop the others."""
    try:
        return _judge_group(kind, uid, headers)
    except InputError as error:
        return [Series(kind, uid, tuple(headers), None, Verdict(str(error)))]


def _judge_group(kind: str, uid: str, headers: Sequence[Header]) -> list[Series]:
    """Return the series, or its parts, with one UID."""
    reasons = {id(header): find_other_kind(header) for header in headers}
    slices = [header for header in headers if not reasons[id(header)]]
    aside = Counter(reason for header in headers if (reason := reasons[id(header)]))
    if not slices:
        (reason, _), *_ = aside.most_common()
        return [Series(kind, uid, tuple(headers), None, Verdict(reason))]
    if fault := find_class_fault(slices):
        return [Series(kind, uid, tuple(slices), None, Verdict(fault), tuple(aside.items()))]
    parts = _split_by_geometry(slices)
    large = [part for part in parts if len(part) >= LEAST_SLICES] or parts[:1]
    for part in parts:
        if part not in large:
            aside[_tell_difference(part[0], large[0][0])] += len(part)
    stacks: list[_Tried] = [(part, _try_stack(part)) for part in large]
    if kind == "CT":
        stacks = [piece for part, found in stacks for piece in _split_by_acquisition(part, found)]
    several = len(stacks) > 1
    return [
        _judge_part(kind, uid, part, found, aside, k if several else 0)
        for k, (part, found) in enumerate(stacks, start=1)
    ]


def _judge_part(
    kind: str, uid: str, part: Sequence[Header], found: Stack | str, aside: Counter[str], number: int
) -> Series:
    rest = tuple(aside.items())
    if isinstance(found, str):
        motion = is_in_motion(part) if kind == "PET" else ""
        verdict = Verdict(motion if motion and count_doubled(part) > 0 else found)
        return Series(kind, uid, tuple(part), None, verdict, rest, number)
    verdict = judge_pet(part) if kind == "PET" else Verdict()
    return Series(kind, uid, tuple(part), found, verdict, rest, number)


def _try_stack(headers: Sequence[Header]) -> Stack | str:
    try:
        return stack_slices(headers)
    except InputError as error:
        return str(error)


def _split_by_geometry(headers: Sequence[Header]) -> list[list[Header]]:
    """Return the slices by orientation and size, the largest group first."""
    groups: list[tuple[tuple[str, str], np.ndarray, list[Header]]] = []
    for header in headers:
        size = (header.read_text("Rows"), header.read_text("Columns"))
        cosines = np.array(header.read_numbers("ImageOrientationPatient", 6))
        for known_size, known, group in groups:
            if size == known_size and np.abs(cosines - known).max() <= SAME_COSINES:
                group.append(header)
                break
        else:
            groups.append((size, cosines, [header]))
    return sorted((group for _, _, group in groups), key=len, reverse=True)


def _tell_difference(header: Header, usual: Header) -> str:
    keywords = ("ImageOrientationPatient", "Rows", "Columns")
    differing = [k for k in keywords if header.read_text(k) != usual.read_text(k)]
    return f"{' and '.join(name_attribute(k) for k in differing)} differs from the other slices'"


def _split_by_acquisition(headers: Sequence[Header], found: Stack | str) -> list[_Tried]:
    """Return a CT as it is, or if it forms no stack, its acquisitions that form one each."""
    if not isinstance(found, str):
        return [(headers, found)]
    groups: dict[str, list[Header]] = {}
    for header in headers:
        groups.setdefault(header.read_text("AcquisitionNumber"), []).append(header)
    tried: list[_Tried] = [(group, _try_stack(group)) for group in groups.values()]
    usable = [pair for pair in tried if isinstance(pair[1], Stack)]
    return usable if len(groups) > 1 and usable and count_doubled(headers) < len(headers) else [(headers, found)]
