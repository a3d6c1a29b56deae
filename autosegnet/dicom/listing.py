"""List series for messages and reports: what tells them apart, without a date or a word of free text."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from autosegnet.dicom.kernels import is_sharp
from autosegnet.dicom.rank import measure_coverage
from autosegnet.dicom.series import Series
from autosegnet.geometry import Grid
from autosegnet.suv.stated import StatedFacts

_MOST_LISTED: Final = 8  # as many as a line of a log bears


def explain_no_choice(
    kind: str,
    candidates: list[Series],
    best: list[Series],
    uid: str,
    way: str,
    facts: StatedFacts,
    *,
    grid: Grid | None = None,
) -> str:
    """Return why no series was chosen, what there is, and how to choose.

    Args:
        candidates: of the kind.
        best: those that could be chosen, none or several.
        uid: that was asked for, or ''.
        way: what chooses one in this run.
        facts: stated facts, for how they are called.
        grid: of the PET, which a CT should cover.
    """
    if not candidates:
        return f"found no {kind} series{f' with the UID of {way}' if uid else ''}; expected one"
    if len(candidates) == 1:
        waived = candidates[0].verdict.waived_by
        return f"cannot use the {candidates[0].summary}" + (
            f"; {facts.name_way(waived)} states that it is" if waived else ""
        )
    several = best or candidates
    state = "several" if best else "none that can be used of several"
    return f"found {state} {kind} series: {list_series(several, grid)}; choose one with {way}"


def list_series(series: Sequence[Series], grid: Grid | None = None) -> str:
    """Return the first few series with what tells them apart, and how many more there are."""
    days = _tell_days(series)
    text = "; ".join(describe_series(s, grid) + days.get(s.study_uid, "") for s in series[:_MOST_LISTED])
    return text + (f"; and {len(series) - _MOST_LISTED} more" if len(series) > _MOST_LISTED else "")


def _tell_days(series: Sequence[Series]) -> dict[str, str]:
    """Describe how far apart studies are in time, without a date: baseline and follow-up in one folder."""
    if len({s.study_uid for s in series}) < 2:
        return {}
    days: dict[str, int | None] = {}
    for s in series:
        text = s.headers[0].read_text("StudyDate") or s.headers[0].read_text("SeriesDate")
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


def describe_series(series: Series, grid: Grid | None = None) -> str:
    """Return a series with voxel size, extent, coverage of the PET and kernel."""
    if series.stacked is None:
        return series.summary
    own = series.stacked.grid
    voxel = " x ".join(f"{v:.3g}" for v in own.spacing_mm)
    extent = own.size[2] * own.spacing_mm[2]
    parts = [series.summary, f"voxels {voxel} mm", f"{extent:.0f} mm long"]
    if grid is not None:
        parts.append(f"covers {measure_coverage(series, grid):.0%} of the PET")
    if series.kind == "CT":
        parts.append(f"{'sharp' if is_sharp(series.headers[0]) else 'soft or unknown'} kernel")
    return ", ".join(parts)


def describe_ct(series: Series) -> str:
    """Return a CT for a report, without its UID."""
    return re.sub(r", UID [^,(]*", "", describe_series(series))
