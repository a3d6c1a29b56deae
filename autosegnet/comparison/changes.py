"""What became of every lesion and of the body: figures of both dates side by side, with their change.

Figures are those of `lesions` on each PET's own grid; nothing is measured on a resampled PET.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from autosegnet.comparison.matching import Matched
from autosegnet.lesions import Lesion, LesionTable

Fate = Literal[
    "matched", "split", "merged", "regrouped", "vanished", "new", "not imaged at follow-up", "not imaged at baseline"
]

MOSTLY_IMAGED: Final = 0.5
"""Share of a lesion's voxels that the other date must cover, so that its absence there means something."""
WHOLLY_IMAGED: Final = 0.98
"""Share below which a lesion's figures on the other date may be cut by the field of view."""


@dataclass(frozen=True, slots=True)
class DateFigures:
    """Figures of the lesions of one disease on one date: volumes and TLG are summed, uptakes are the highest.

    Args:
        lesions: their numbers in that date's table; empty if there is none.
        volume_ml: 0 without a lesion.
        tlg_g: 0 without a lesion.
        suv_max: None without a lesion.
        suv_peak: None without a lesion.
        sul_peak: None without a lesion, or if the body's size is not known.
        site: of the largest one, '' if not known.
        side: of the largest one, '' if not known.
        flag: of the largest one that may be physiological, '' if none may.
        is_doubtful: whether every one of them may be physiological.
    """

    lesions: tuple[int, ...]
    volume_ml: float
    tlg_g: float
    suv_max: float | None
    suv_peak: float | None
    sul_peak: float | None
    site: str = ""
    side: str = ""
    flag: str = ""
    is_doubtful: bool = False


@dataclass(frozen=True, slots=True)
class LesionChange:
    """What became of one disease.

    Args:
        number: from 1, in the order of the larger of both volumes; the same in table, pictures and files.
        fate: what happened.
        baseline: figures of the earlier date.
        followup: figures of the later date.
        overlap_ml: of the aligned lesions.
        distance_mm: of the nearest voxel centres of linked lesions, the largest over the links; None without a link.
        is_cut: whether the other date's field of view cuts a lesion.
    """

    number: int
    fate: Fate
    baseline: DateFigures
    followup: DateFigures
    overlap_ml: float = 0.0
    distance_mm: float | None = None
    is_cut: bool = False

    @property
    def is_doubtful(self) -> bool:
        """Return whether, on a date, every lesion of it may be physiological."""
        return self.baseline.is_doubtful or self.followup.is_doubtful

    @property
    def is_imaged_twice(self) -> bool:
        """Return whether both dates cover the place."""
        return not self.fate.startswith("not imaged")


@dataclass(frozen=True, slots=True)
class BodyChange:
    """Figures of the region that both dates cover, by name, with their change.

    Args:
        name: of the figure, with its unit, as in `lesions.json`.
        baseline, followup: None if there is nothing to measure.
    """

    name: str
    baseline: float | None
    followup: float | None

    @property
    def percent(self) -> float | None:
        """Return the change in percent of the baseline; None if there is none."""
        return find_percent(self.baseline, self.followup)


def find_percent(before: float | None, after: float | None) -> float | None:
    """Return the change in percent of the first value; None without both, or if the first is 0."""
    if before is None or after is None or before == 0:
        return None
    return 100.0 * ((after - before) / before)  # in this order, what vanished gives -100 exactly


def find_changes(baseline: LesionTable, followup: LesionTable, matched: Matched) -> tuple[LesionChange, ...]:
    """Return what became of every disease, the largest first.

    Args:
        baseline, followup: measured lesions of both dates.
        matched: their links.
    """
    changes = []
    for first, second in _group(len(baseline.lesions), len(followup.lesions), matched):
        links = [link for link in matched.links if link.baseline in first]
        seen = [matched.imaged_at_followup[i - 1] for i in first] + [matched.imaged_at_baseline[j - 1] for j in second]
        changes.append(
            LesionChange(
                0,
                _name_fate(first, second, matched),
                _sum_figures([baseline.lesions[i - 1] for i in first], baseline),
                _sum_figures([followup.lesions[j - 1] for j in second], followup),
                math.fsum(link.overlap_ml for link in links),
                max((link.distance_mm for link in links), default=None),
                min(seen) < WHOLLY_IMAGED,
            )
        )
    changes.sort(
        key=lambda c: (-max(c.baseline.volume_ml, c.followup.volume_ml), c.baseline.lesions, c.followup.lesions)
    )
    return tuple(_renumber(change, number) for number, change in enumerate(changes, start=1))


def _renumber(change: LesionChange, number: int) -> LesionChange:
    from dataclasses import replace

    return replace(change, number=number)


def _group(first: int, second: int, matched: Matched) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Return the connected groups of linked lesions, (numbers at baseline, numbers at follow-up)."""
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows = [link.baseline - 1 for link in matched.links]
    columns = [first + link.followup - 1 for link in matched.links]
    n = first + second
    if n == 0:
        return []
    graph = coo_array((np.ones(len(rows)), (rows, columns)), shape=(n, n))
    count, owner = connected_components(graph, directed=False)
    groups: list[tuple[list[int], list[int]]] = [([], []) for _ in range(count)]
    for place, group in enumerate(owner.tolist()):
        groups[group][place >= first].append(place + 1 if place < first else place - first + 1)
    return [(tuple(a), tuple(b)) for a, b in groups]


def _name_fate(first: tuple[int, ...], second: tuple[int, ...], matched: Matched) -> Fate:
    if not second:
        seen = max(matched.imaged_at_followup[i - 1] for i in first)
        return "vanished" if seen >= MOSTLY_IMAGED else "not imaged at follow-up"
    if not first:
        seen = max(matched.imaged_at_baseline[j - 1] for j in second)
        return "new" if seen >= MOSTLY_IMAGED else "not imaged at baseline"
    if len(first) == 1:
        return "matched" if len(second) == 1 else "split"
    return "merged" if len(second) == 1 else "regrouped"


def _sum_figures(lesions: Sequence[Lesion], table: LesionTable) -> DateFigures:
    if not lesions:
        return DateFigures((), 0.0, 0.0, None, None, None)
    factor = table.lean_factors.get("janma")
    peak = max(lesion.suv_peak for lesion in lesions)
    largest = lesions[0]  # numbers go from the largest to the smallest
    return DateFigures(
        tuple(lesion.number for lesion in lesions),
        math.fsum(lesion.volume_ml for lesion in lesions),
        math.fsum(lesion.tlg_g for lesion in lesions),
        max(lesion.suv_max for lesion in lesions),
        peak,
        None if factor is None else factor * peak,
        largest.site.name,
        largest.site.side,
        next((lesion.site.flag for lesion in lesions if lesion.site.flag), ""),
        all(lesion.site.flag for lesion in lesions),
    )


def compare_bodies(baseline: LesionTable, followup: LesionTable) -> tuple[BodyChange, ...]:
    """Return the figures of the whole body on both dates.

    Args:
        baseline, followup: of the lesions that both dates cover.
    """
    a, b = baseline.body, followup.body
    factors = baseline.lean_factors.get("janma"), followup.lean_factors.get("janma")
    lean = [None if factor is None or body.suv_peak is None else factor * body.suv_peak
            for factor, body in zip(factors, (a, b), strict=True)]  # fmt: skip
    return (
        BodyChange("lesions", a.lesions, b.lesions),
        BodyChange("tmtv_ml", a.tmtv_ml, b.tmtv_ml),
        BodyChange("tlg_g", a.tlg_g, b.tlg_g),
        BodyChange("suv_max_g_per_ml", a.suv_max, b.suv_max),
        BodyChange("suv_peak_g_per_ml", a.suv_peak, b.suv_peak),
        BodyChange("sul_janma_peak_g_per_ml", lean[0], lean[1]),
        BodyChange("dmax_centroids_mm", a.dmax_centroids_mm, b.dmax_centroids_mm),
        BodyChange("dmax_voxels_mm", a.dmax_voxels_mm, b.dmax_voxels_mm),
    )
