"""One patient on two dates: the same organs, other posture, weight, scanner and grid, and lesions that changed.

A place of the body is known in both studies, so that a registration can be measured: the second body is the first,
turned, bent and cut by `Placement`. World coordinates are LPS in mm; each study has its own.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from autosegnet.geometry import Grid, make_image
from autosegnet.lesions import number_lesions
from petct_simulator.anatomy import Anatomy, make_procedural_anatomy
from petct_simulator.bodies import fit_field, label_volume
from petct_simulator.change_plan import COURSES, LANDMARK_TISSUES, Follow, plan_changes
from petct_simulator.cohorts import COHORTS
from petct_simulator.examination import Examination, draw_examination
from petct_simulator.fields import place_knots
from petct_simulator.frame import DOME, make_lattice
from petct_simulator.label_volume import LabelVolume
from petct_simulator.lesion_plan import Points, plan_benign, plan_lesions
from petct_simulator.organ_maps import Pose, from_file
from petct_simulator.placement import Placement, pad_labels, place_whole
from petct_simulator.protocol import SPACING_MM
from petct_simulator.regions import find_regions
from petct_simulator.render import render
from petct_simulator.tissue import Tissue

ARMS = ("up", "raised", "down", "crossed")
SPACINGS_MM = (SPACING_MM, (5.47, 5.47, 3.27), (4.07, 4.07, 5.0), (3.65, 3.65, 3.27))
BEND_FWHM_MM, BEND_MM = 160.0, 4.0  # correlation and SD of the second date's other posture; chosen, not fitted
TURN_DEGREES = (3.0, 2.0, 4.0)  # SD about the axes R, A, S
_PER_TISSUE = 12
_MARGIN_MM = 20.0


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


@dataclass(frozen=True, slots=True)
class _Seen:
    """A body as one date shows it."""

    body: LabelVolume
    placement: Placement
    examination: Examination
    centre_mm: Points

    def locate(self, voxels: Points) -> Points:
        """Return the voxel of the patch, (N, 3), of voxels of the body: `to_patch`, repeated until it is exact."""
        placement = self.placement
        inverse = np.linalg.inv(placement.matrix)
        place = (voxels - placement.centre) * placement.body_spacing_mm
        found = placement.middle + place @ inverse.T / placement.spacing_mm
        if placement.bend_mm is None:
            return np.asarray(found)
        for _ in range(8):
            found = placement.middle + (place - placement.compute_bend(found)) @ inverse.T / placement.spacing_mm
        return np.asarray(found)

    def move_to_ct(self, found: Points) -> Points:
        """Return where the CT shows what the PET has at voxels of the patch."""
        placement, ct = self.placement, self.examination.ct
        rows = np.clip(np.rint(placement.find_slices()), 0, len(self.body.reference) - 1).astype(np.intp)
        heights = self.body.reference[rows, 0]
        lift = ct.breath_mm * np.exp(-(((heights - (DOME - 20)) / 80.0) ** 2)) + ct.shift_mm[2]
        moved = found + np.array([*ct.shift_mm[:2], 0.0]) / placement.spacing_mm
        for _ in range(8):
            at = np.interp(moved[:, 2], np.arange(len(lift)), lift)
            moved[:, 2] = found[:, 2] + at / placement.spacing_mm[2]
        return np.asarray(moved)

    def to_mm(self, found: Points) -> Points:
        """Return LPS positions of voxels of the patch."""
        off = (found - self.placement.middle) * self.placement.spacing_mm
        return np.asarray(self.centre_mm + off * (-1.0, -1.0, 1.0))


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
    first_pose, second_pose = _draw_poses(rngs[1])
    bodies = _make_bodies(body_seed, organ_map, first_pose, second_pose)
    regions = find_regions(bodies[0])
    baseline = plan_lesions(cohort, regions, rngs[2], varied=False)
    others = plan_lesions(cohort, regions, rngs[3], varied=False)
    lesions = plan_changes(baseline, others, course, rngs[4])
    examination = draw_examination(rngs[5], bodies[0].weight_kg, varied=False)
    placements = place_whole(bodies[0]), place_again(bodies[1], rngs[6], same_body=organ_map is not None)
    centre = rngs[6].uniform((-25.0, -25.0, -300.0), (25.0, 25.0, 300.0))
    seen = (
        _Seen(bodies[0], placements[0], examination, np.zeros(3)),
        _Seen(bodies[1], placements[1], _examine_again(examination, bodies[1], rngs[6]), centre),
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


def _draw_poses(rng: np.random.Generator) -> tuple[Pose, Pose]:
    """Return the poses of both dates: other arms in a third of pairs, weight within 10 %."""
    arms = str(rng.choice(ARMS, p=[0.47, 0.25, 0.18, 0.10]))
    other = str(rng.choice(ARMS)) if rng.random() < 0.33 else arms
    return Pose(arms), Pose(other, float(np.clip(rng.normal(1.0, 0.05), 0.88, 1.12)))


def _make_bodies(seed: int, organ_map: Path | None, *poses: Pose) -> list[LabelVolume]:
    """Return the body of each pose, all on one grid, without the empty margins."""
    anatomies: list[Anatomy] = []
    for pose in poses:
        source = make_procedural_anatomy if organ_map is None else from_file(organ_map, pose=pose)
        anatomies.append(source(np.random.default_rng(seed), SPACING_MM))
    deepest = max((fit_field(anatomy, 1.0) for anatomy in anatomies), key=lambda grid: grid.size[1])
    whole = [label_volume(f"pair_{seed}", anatomy, deepest) for anatomy in anatomies]
    box = []
    for axis in (0, 1):
        rows = np.flatnonzero(np.any([(body.labels > 0).any(axis=(1 - axis, 2)) for body in whole], axis=0))
        margin = int(np.ceil(_MARGIN_MM / SPACING_MM[axis]))
        box.append(slice(max(0, int(rows[0]) - margin), int(rows[-1]) + margin + 1))
    return [body.crop(box[0], box[1]) for body in whole]


def place_again(body: LabelVolume, rng: np.random.Generator, *, same_body: bool) -> Placement:
    """Return how another date shows a body: another grid, turned, bent, with another field of view.

    Args:
        body: to be shown.
        rng: source of everything.
        same_body: whether weight is in the body already; else it is scaled across.
    """
    spacing = SPACINGS_MM[int(rng.integers(len(SPACINGS_MM)))]
    extent = np.array(body.labels.shape) * body.spacing_mm + (80.0, 60.0, 0.0)
    x, y, z = (int(np.ceil(mm / step)) for mm, step in zip(extent, spacing, strict=True))
    matrix = np.eye(3)
    for axis, degrees in enumerate(rng.normal(0.0, TURN_DEGREES)):
        i, j = [k for k in range(3) if k != axis]
        one = np.eye(3)
        one[i, i] = one[j, j] = np.cos(np.deg2rad(degrees))
        one[i, j], one[j, i] = -np.sin(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        matrix = one @ matrix
    if not same_body:
        across = float(np.clip(rng.normal(1.0, 0.03), 0.92, 1.08))
        matrix = matrix @ np.diag((across, across, 1.0))
    counts = tuple(place_knots(n, BEND_FWHM_MM / s) for n, s in zip((x, y, z), spacing, strict=True))
    bend = (BEND_MM * rng.standard_normal((3, *counts))).astype(np.float32)
    ends = np.array([25.0, extent[2] - 25.0])  # beyond the body's own ends, nothing is known
    kind = rng.random()
    if kind < 0.25:  # without the head
        ends[1] -= float(rng.uniform(0.12, 0.25)) * extent[2]
    elif kind < 0.4:  # from farther up
        ends[0] += float(rng.uniform(0.05, 0.15)) * extent[2]
    field = ((0.0, x - 1.0), (0.0, y - 1.0), (ends[0] / spacing[2], ends[1] / spacing[2]))
    centre = (np.array(body.labels.shape, np.float64) - 1) / 2
    return Placement((x, y, z), spacing, body.spacing_mm, centre, matrix, bend, BEND_FWHM_MM, field)


def _examine_again(first: Examination, body: LabelVolume, rng: np.random.Generator) -> Examination:
    """Return another examination of a patient: own scanners, and uptake between the first one's and a stranger's."""
    other = draw_examination(rng, body.weight_kg, varied=False)
    return replace(other, suv=(first.suv**0.75 * other.suv**0.25).astype(np.float32))


def _show(seen: _Seen, follows: list[Follow], rng: np.random.Generator, arms: str) -> DatedStudy:
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
