"""Finds which lesions of two dates are one disease: those that overlap once aligned, then those that lie near.

A lesion may be linked with several: it split, or several merged. `docs/reference/comparison.md` states the rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from autosegnet.comparison.warp import PlacesMm, Warp
from autosegnet.geometry import Grid

# Chosen on simulated pairs that no reported figure is from (docs/evidence/comparison.md).
OVERLAP_SHARE: Final = 0.1
"""Of the smaller lesion's volume, from which an overlap links two lesions."""
NEAR_MM: Final = 18.0
"""Mean distance of one lesion's voxels from another lesion, up to which two lesions without any link are one."""
BESIDE_MM: Final = 15.0
"""Mean distance up to which a lesion without a link is a part of one that has a link."""
_LEAST_OVERLAP_ML: Final = 1e-9  # of nothing, any share is reached


@dataclass(frozen=True, slots=True)
class NumberedMask:
    """Lesions of one date as `number_lesions` numbers them.

    Args:
        labels: (z, y, x), 0 outside.
        n: how many lesions.
        grid: of the labels.
    """

    labels: NDArray[Any]
    n: int
    grid: Grid

    def find_places_mm(self) -> tuple[NDArray[np.int64], PlacesMm]:
        """Return the lesion's number, (N,), and the place, (N, 3), of every voxel inside lesions."""
        at = np.flatnonzero(self.labels)
        index = np.stack(np.unravel_index(at, self.labels.shape)[::-1], axis=1)
        places = index @ self.grid.steps_mm.T + self.grid.origin_mm
        return self.labels.reshape(-1)[at].astype(np.int64), places

    def look_up(self, places_mm: PlacesMm) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the number at each place, 0 outside lesions, and whether the image covers the place."""
        offset = (places_mm - np.array(self.grid.origin_mm)).T
        index = np.rint(np.linalg.solve(self.grid.steps_mm, offset).T).astype(np.int64)
        covered = np.asarray(((index >= 0) & (index < np.array(self.grid.size))).all(axis=1))
        found = np.zeros(len(places_mm), np.int64)
        x, y, z = index[covered].T
        found[covered] = self.labels[z, y, x]
        return found, covered


@dataclass(frozen=True, slots=True)
class Link:
    """Two lesions that are one disease.

    Args:
        baseline, followup: their numbers.
        overlap_ml: of the aligned lesions.
        distance_mm: of their nearest voxel centres, aligned.
    """

    baseline: int
    followup: int
    overlap_ml: float
    distance_mm: float


@dataclass(frozen=True, slots=True)
class Matched:
    """What was matched.

    Args:
        links: in the order of the numbers.
        imaged_at_followup: per lesion of the baseline, the share of its voxels that the follow-up covers.
        imaged_at_baseline: the same the other way round.
    """

    links: tuple[Link, ...]
    imaged_at_followup: tuple[float, ...]
    imaged_at_baseline: tuple[float, ...]


def link_lesions(baseline: NumberedMask, followup: NumberedMask, warp: Warp) -> Matched:
    """Return which lesions of two dates are one disease.

    Args:
        baseline, followup: lesions on the grids of their own PETs.
        warp: between them.
    """
    first, first_mm = baseline.find_places_mm()
    second, second_mm = followup.find_places_mm()
    first_mm_there = warp.to_followup(first_mm)
    found_there, covered_there = followup.look_up(first_mm_there)
    found_here, covered_here = baseline.look_up(warp.to_baseline(second_mm))
    shape = (baseline.n + 1, followup.n + 1)
    voxels = _count(first, found_there, shape), _count(found_here, second, shape)
    overlap_ml = (voxels[0] * baseline.grid.voxel_ml + voxels[1] * followup.grid.voxel_ml) / 2
    volumes = (np.bincount(first, minlength=shape[0]) * baseline.grid.voxel_ml,
               np.bincount(second, minlength=shape[1]) * followup.grid.voxel_ml)  # fmt: skip
    smaller = np.minimum(volumes[0][:, None], volumes[1][None, :])
    linked: NDArray[np.bool_] = np.asarray(overlap_ml >= np.maximum(OVERLAP_SHARE * smaller, _LEAST_OVERLAP_ML))
    linked[0], linked[:, 0] = False, False
    nearest_mm, mean_mm = _measure_distances(first, first_mm_there, second, second_mm, shape)
    _link_near(linked, mean_mm)
    links = tuple(
        Link(int(i), int(j), float(overlap_ml[i, j]), float(nearest_mm[i, j])) for i, j in np.argwhere(linked)
    )
    return Matched(links, _share(first, covered_there, baseline.n), _share(second, covered_here, followup.n))


def _link_near(linked: NDArray[np.bool_], apart_mm: NDArray[np.float64]) -> None:
    """Link lesions that have no link: the nearest pairs first, then each with the nearest lesion that has one.

    Args:
        linked: (baseline, follow-up), changed here.
        apart_mm: mean distances. Borders alone would link a large lesion with any other that begins beside it.
    """
    for i, j in _sort_pairs(apart_mm, NEAR_MM):
        if not linked[i].any() and not linked[:, j].any():
            linked[i, j] = True
    had_link = [np.asarray(linked.any(axis=axis)) for axis in (1, 0)]
    for i, j in _sort_pairs(apart_mm, BESIDE_MM):
        if not linked[i].any() and had_link[1][j] or not linked[:, j].any() and had_link[0][i]:
            linked[i, j] = True


def _sort_pairs(apart_mm: NDArray[np.float64], most_mm: float) -> list[tuple[int, int]]:
    pairs = np.argwhere(apart_mm <= most_mm)
    order = np.argsort(apart_mm[tuple(pairs.T)], kind="stable")
    return [(int(i), int(j)) for i, j in pairs[order]]


def _count(first: NDArray[np.int64], second: NDArray[np.int64], shape: tuple[int, int]) -> NDArray[np.float64]:
    counts = np.zeros(shape)
    np.add.at(counts, (first, second), 1.0)
    return counts


def _share(numbers: NDArray[np.int64], covered: NDArray[np.bool_], n: int) -> tuple[float, ...]:
    all_voxels = np.bincount(numbers, minlength=n + 1)[1:]
    seen = np.bincount(numbers[covered], minlength=n + 1)[1:]
    return tuple((seen / np.maximum(all_voxels, 1)).tolist())


def _measure_distances(
    first: NDArray[np.int64],
    first_mm: PlacesMm,
    second: NDArray[np.int64],
    second_mm: PlacesMm,
    shape: tuple[int, int],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how far lesions lie apart, infinite beyond what could link them.

    Returns:
        the distances of their nearest voxel centres, and the mean distance of the voxels of one from the nearest voxel
        of the other: the smaller of both directions, so a small lesion in a large one is near.
    """
    from scipy.spatial import cKDTree

    nearest, mean = np.full(shape, np.inf), np.full(shape, np.inf)
    places = [second_mm[second == j] for j in range(1, shape[1])]
    trees = [cKDTree(place) for place in places]
    most_mm = 4 * NEAR_MM
    for i in range(1, shape[0]):
        own = first_mm[first == i]
        own_tree = cKDTree(own)
        for j, (place, tree) in enumerate(zip(places, trees, strict=True), start=1):
            there = tree.query(own, distance_upper_bound=most_mm)[0]
            nearest[i, j] = float(there.min())
            if nearest[i, j] <= NEAR_MM:  # else both means are larger
                back = own_tree.query(place, distance_upper_bound=most_mm)[0]
                mean[i, j] = min(float(np.minimum(side, most_mm).mean()) for side in (there, back))
    return nearest, mean
