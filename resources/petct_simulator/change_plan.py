"""What becomes of a patient's lesions between two dates: grown, shrunk, gone, split, merged, new.

Every lesion of either date has an identity; two lesions of one identity are the same disease. This is this project's
choice of changes, not a model of a treatment.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from petct_simulator.lesion_plan import PlannedLesion
from petct_simulator.tissue import Tissue

FATES = ("same", "grown", "shrunk", "gone", "split", "merged")
# Probability of each fate, and the mean number of new lesions, by course.
COURSES = {
    "response": ((0.10, 0.00, 0.45, 0.40, 0.05, 0.00), 0.0),
    "progression": ((0.15, 0.60, 0.00, 0.00, 0.05, 0.20), 2.0),
    "mixed": ((0.20, 0.20, 0.20, 0.20, 0.10, 0.10), 0.7),
    "stable": ((1.00, 0.00, 0.00, 0.00, 0.00, 0.00), 0.0),
    "complete": ((0.00, 0.00, 0.00, 1.00, 0.00, 0.00), 0.0),
}
MOST_FOLLOWED = 25  # lesions of a pair; more tell nothing new about matching
_STAY = ("arm", "skin", "soft tissue", "chest wall", "back", "groin", "axilla")  # move with arms and fat


@dataclass(frozen=True, slots=True)
class Follow:
    """A lesion of one date, with its identity.

    Args:
        identity: from 1; of a split or merged lesion, all parts have one.
        fate: one of `FATES`, or "new".
        lesion: planned.
    """

    identity: int
    fate: str
    lesion: PlannedLesion


def plan_changes(
    baseline: Sequence[PlannedLesion], others: Sequence[PlannedLesion], course: str, rng: np.random.Generator
) -> tuple[list[Follow], list[Follow]]:
    """Return the lesions of the first and of the second date.

    Args:
        baseline: lesions of the first date; diffuse ones and those that move with arms or fat are left out.
        others: from which the new ones of the second date are taken.
        course: a key of `COURSES`.
        rng: source of fates and sizes.
    """
    chances, new = COURSES[course]
    kept = [lesion for lesion in baseline if _is_followed(lesion)][:MOST_FOLLOWED]
    first: list[Follow] = []
    second: list[Follow] = []
    for identity, lesion in enumerate(kept, start=1):
        fate = str(rng.choice(FATES, p=chances))
        before, after = _change(lesion, fate, rng)
        first += [Follow(identity, fate, one) for one in before]
        second += [Follow(identity, fate, one) for one in after]
    fresh = [lesion for lesion in others if _is_followed(lesion)]
    for identity, lesion in enumerate(fresh[: int(rng.poisson(new))], start=len(kept) + 1):
        second.append(Follow(identity, "new", lesion))
    return first, second


def _is_followed(lesion: PlannedLesion) -> bool:
    return lesion.malignant and not lesion.diffuse and lesion.site not in _STAY


def _change(
    lesion: PlannedLesion, fate: str, rng: np.random.Generator
) -> tuple[list[PlannedLesion], list[PlannedLesion]]:
    if fate == "same":
        return [lesion], [_scale(lesion, float(rng.uniform(0.9, 1.1)), float(rng.uniform(0.9, 1.1)))]
    if fate == "grown":
        return [lesion], [_scale(lesion, float(rng.uniform(1.5, 4.0)), float(rng.uniform(1.0, 1.6)))]
    if fate == "shrunk":
        return [lesion], [_scale(lesion, float(rng.uniform(0.2, 0.6)), float(rng.uniform(0.45, 0.9)))]
    if fate == "gone":
        return [lesion], []
    parts = _split(lesion, rng)
    return ([lesion], parts) if fate == "split" else (parts, [lesion])


def _scale(lesion: PlannedLesion, volume: float, heat: float) -> PlannedLesion:
    """Return a lesion of another volume and uptake at the same place."""
    edge = float(np.cbrt(volume))
    return replace(
        lesion, offsets_mm=lesion.offsets_mm * edge, radii_mm=lesion.radii_mm * edge, suv=max(2.2, lesion.suv * heat)
    )


def _split(lesion: PlannedLesion, rng: np.random.Generator) -> list[PlannedLesion]:
    """Return two balls on either side of a lesion's centre, far enough apart to be two lesions in a PET."""
    radius = max(6.0, float(np.cbrt(0.35) * lesion.radius_mm))
    towards = rng.standard_normal(3)
    towards *= (radius + 9.0) / max(float(np.linalg.norm(towards)), 1e-6)
    one = replace(lesion, radii_mm=np.array([radius]), heat=np.ones(1), necrosis=0.0, irregular=0.05, flat=1.0)
    return [replace(one, offsets_mm=_as_row(sign * towards)) for sign in (-1.0, 1.0)]


def _as_row(point: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(point[None], dtype=np.float64)


LANDMARK_TISSUES = (Tissue.LIVER, Tissue.SPLEEN, Tissue.KIDNEY, Tissue.BLADDER, Tissue.LUNG, Tissue.GREY_MATTER,
                    Tissue.BLOOD, Tissue.RED_MARROW, Tissue.CORTEX, Tissue.STOMACH_WALL)  # fmt: skip
"""Where points are known on both dates: a dozen per tissue."""
