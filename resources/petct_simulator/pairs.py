"""One patient on two dates: the same organs, other posture, weight, scanner and grid, and lesions that changed.

A place of the body is known in both studies, so that a registration can be measured: the second body is the first,
turned, bent and cut by `Placement`. World coordinates are LPS in mm; each study has its own.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from autosegnet.geometry import Grid, make_image
from autosegnet.lesions import number_lesions
from petct_simulator.change_plan import COURSES, LANDMARK_TISSUES, Follow, plan_changes
from petct_simulator.cohorts import COHORTS
from petct_simulator.examination import draw_examination
from petct_simulator.frame import make_lattice
from petct_simulator.label_volume import LabelVolume
from petct_simulator.lesion_plan import Points, plan_benign, plan_lesions
from petct_simulator.placement import Placement, pad_labels, place_whole
from petct_simulator.regions import find_regions
from petct_simulator.render import render
from petct_simulator.second_date import draw_poses, examine_again, make_dated_bodies, place_again
from petct_simulator.seen_body import SeenBody
from petct_simulator.tissue import Tissue

_PER_TISSUE = 12


@dataclass(frozen=True, slots=True)
class DatedStudy:
    """A study of a pair.

    Args:
        suv, ct: (z, y, x), g/ml and HU.
        identities: uint16, in lesions their identity, else 0.
        grid: of the voxels.
        follows: lesions with identity and fate.
        centres_mm: (N, 3) of them.
        arms: as in `Build`.
        weight_kg: of the patient.
    """

    suv: NDArray[np.float32]
    ct: NDArray[np.int16]
    identities: NDArray[np.uint16]
    grid: Grid
    follows: tuple[Follow, ...]
    centres_mm: Points
    arms: str
    weight_kg: float


@dataclass(frozen=True, slots=True)
class SimulatedPair:
    """Two studies of a patient, and what is known of them together.

    Args:
        baseline, followup: the studies.
        course: a key of `COURSES`.
        links: (number, number) of lesions that are one disease, as `number_lesions` numbers them in each study.
        landmarks: tissue of every point that both studies show.
        baseline_mm, followup_mm: (N, 3) where the points lie in the PETs.
        baseline_ct_mm, followup_ct_mm: and in the CTs, which breathing and motion moved against the PETs.
    """

    baseline: DatedStudy
    followup: DatedStudy
    course: str
    links: tuple[tuple[int, int], ...]
    landmarks: tuple[str, ...]
    baseline_mm: Points
    followup_mm: Points
    baseline_ct_mm: Points
    followup_ct_mm: Points


def simulate_pair(seed: int, *, organ_map: Path | None = None, cohort: str | None = None) -> SimulatedPair:
    """Return the pair of a seed.

    Args:
        seed: not negative.
        organ_map: of the patient; without one, the body is procedural, and its arms and weight do not change.
        cohort: of `cohorts.COHORTS`; None draws one with lesions.
    """
    rngs = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(8)]
    course = str(rngs[0].choice(list(COURSES), p=(0.25, 0.25, 0.3, 0.1, 0.1)))
    cohort = cohort or str(rngs[0].choice([name for name in COHORTS if name != "negative"]))
    body_seed = int(rngs[0].integers(2**62))
    first_pose, second_pose = draw_poses(rngs[1])
    bodies = make_dated_bodies(body_seed, organ_map, first_pose, second_pose)
    regions = find_regions(bodies[0])
    baseline = plan_lesions(cohort, regions, rngs[2], varied=False)
    others = plan_lesions(cohort, regions, rngs[3], varied=False)
    lesions = plan_changes(baseline, others, course, rngs[4])
    examination = draw_examination(rngs[5], bodies[0].weight_kg, varied=False)
    placements = place_whole(bodies[0]), place_again(bodies[1], rngs[6], same_body=organ_map is not None)
    centre = rngs[6].uniform((-25.0, -25.0, -300.0), (25.0, 25.0, 300.0))
    seen = (
        SeenBody(bodies[0], placements[0], examination, np.zeros(3)),
        SeenBody(bodies[1], placements[1], examine_again(examination, bodies[1], rngs[6]), centre),
    )
    if rngs[7].random() < 0.5:  # either date may be the one with the shorter field
        seen = seen[::-1]
    arms = (first_pose.arms, second_pose.arms) if seen[0].body is bodies[0] else (second_pose.arms, first_pose.arms)
    studies = [
        _show(one, follows, rng, arm) for one, follows, rng, arm in zip(seen, lesions, rngs[2:4], arms, strict=True)
    ]
    names, points = _find_landmarks(bodies, rngs[7])
    found = [one.locate(points) for one in seen]
    in_ct = [one.move_to_ct(voxels) for one, voxels in zip(seen, found, strict=True)]
    kept = np.ones(len(points), bool)
    for one, voxels in (*zip(seen, found, strict=True), *zip(seen, in_ct, strict=True)):
        for axis, (low, high) in enumerate(one.placement.field):
            kept &= (voxels[:, axis] >= low) & (voxels[:, axis] <= high)
    return SimulatedPair(
        studies[0],
        studies[1],
        course,
        _link(studies[0], studies[1]),
        tuple(name for name, keep in zip(names, kept, strict=True) if keep),
        *(one.to_mm(voxels[kept]) for one, voxels in zip(seen, found, strict=True)),
        *(one.to_mm(voxels[kept]) for one, voxels in zip(seen, in_ct, strict=True)),
    )


def _show(seen: SeenBody, follows: list[Follow], rng: np.random.Generator, arms: str) -> DatedStudy:
    """Return what a date shows, cut to its field of view."""
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    regions = find_regions(seen.body)
    padded = pad_labels(seen.body, torch.device("cpu"))
    lesions = [follow.lesion for follow in follows]
    shown = render(
        seen.body, padded, seen.placement, seen.examination, lesions + plan_benign(regions, rng), generator, rng
    )
    centres = seen.locate(np.stack([lesion.centre for lesion in lesions])) if lesions else np.zeros((0, 3))
    identities = _name_voxels(shown.truth.numpy() > 0, follows, centres, seen.placement)
    low, high = (int(np.ceil(seen.placement.field[2][0])), int(np.floor(seen.placement.field[2][1])) + 1)
    low, high = max(0, low), min(seen.placement.shape[2], high)
    first = seen.to_mm(np.array([[seen.placement.shape[0] - 1.0, seen.placement.shape[1] - 1.0, low]]))[0]
    size = (high - low, seen.placement.shape[1], seen.placement.shape[0])
    grid = make_lattice(size, seen.placement.spacing_mm, (float(first[0]), float(first[1]), float(first[2])))
    cut = [np.ascontiguousarray(v[::-1, ::-1, low:high].transpose(2, 1, 0)) for v in
           (shown.pet.numpy(), shown.ct.numpy(), identities)]  # fmt: skip
    return DatedStudy(
        cut[0], np.rint(cut[1]).astype(np.int16), cut[2], grid, tuple(follows), seen.to_mm(centres), arms,
        seen.body.weight_kg,
    )  # fmt: skip


def _name_voxels(
    truth: NDArray[np.bool_], follows: list[Follow], centres: Points, placement: Placement
) -> NDArray[np.uint16]:
    """Return the identity of every voxel of the truth: that of the ball whose surface is nearest."""
    named = np.zeros(truth.shape, np.uint16)
    voxels = np.argwhere(truth)
    if not len(voxels):
        return named
    nearest = np.full(len(voxels), np.inf)
    owner = np.zeros(len(voxels), np.uint16)
    inverse = np.linalg.inv(placement.matrix)
    for follow, centre in zip(follows, centres, strict=True):
        for offset, radius in zip(follow.lesion.offsets_mm, follow.lesion.radii_mm, strict=True):
            away = (voxels - centre) * placement.spacing_mm - inverse @ offset
            beyond = np.linalg.norm(away, axis=1) - radius
            closer = beyond < nearest
            nearest[closer], owner[closer] = beyond[closer], follow.identity
    named[tuple(voxels.T)] = owner
    return named


def _link(baseline: DatedStudy, followup: DatedStudy) -> tuple[tuple[int, int], ...]:
    """Return which numbered lesions of both dates share an identity, in a tenth of their voxels at least."""
    holders = []
    for study in (baseline, followup):
        labels, n = number_lesions(make_image((study.identities > 0).astype(np.uint8), study.grid))
        shares: dict[int, list[int]] = {}
        for number in range(1, n + 1):
            names, counts = np.unique(study.identities[labels == number], return_counts=True)
            for name, count in zip(names.tolist(), counts.tolist(), strict=True):
                if count >= 0.1 * counts.sum():
                    shares.setdefault(int(name), []).append(number)
        holders.append(shares)
    first, second = holders
    return tuple(sorted({(a, b) for name in first for a in first[name] for b in second.get(name, [])}))


def _find_landmarks(bodies: list[LabelVolume], rng: np.random.Generator) -> tuple[list[str], Points]:
    """Return tissue and voxel of points that are of one tissue in the bodies of both dates."""
    names: list[str] = []
    points = []
    for tissue in LANDMARK_TISSUES:
        voxels = np.argwhere((bodies[0].labels == tissue) & (bodies[1].labels == tissue))
        if tissue in (Tissue.CORTEX, Tissue.RED_MARROW):
            places = bodies[0].find_reference_mm(voxels)
            voxels = voxels[(np.abs(places[:, 0]) < 150) & (places[:, 2] < 1760)]  # without arms
        if len(voxels):
            chosen = voxels[rng.integers(len(voxels), size=_PER_TISSUE)]
            points.append(chosen.astype(np.float64))
            names += [tissue.name.lower()] * len(chosen)
    return names, np.concatenate(points)
