"""How a patient looks on another date: arms and weight, posture and field of view, uptake and scanners."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from petct_simulator.anatomy import Anatomy, make_procedural_anatomy
from petct_simulator.bodies import fit_field, label_volume
from petct_simulator.examination import Examination, draw_examination
from petct_simulator.fields import place_knots
from petct_simulator.label_volume import LabelVolume
from petct_simulator.organ_maps import Pose, from_file
from petct_simulator.placement import Placement
from petct_simulator.protocol import SPACING_MM

ARMS = ("up", "raised", "down", "crossed")
SPACINGS_MM = (SPACING_MM, (5.47, 5.47, 3.27), (4.07, 4.07, 5.0), (3.65, 3.65, 3.27))
BEND_FWHM_MM, BEND_MM = 160.0, 4.0  # correlation and SD of the second date's other posture; chosen, not fitted
TURN_DEGREES = (3.0, 2.0, 4.0)  # SD about the axes R, A, S
_MARGIN_MM = 20.0


def draw_poses(rng: np.random.Generator) -> tuple[Pose, Pose]:
    """Return the poses of both dates: other arms in a third of pairs, weight within 10 %."""
    arms = str(rng.choice(ARMS, p=[0.47, 0.25, 0.18, 0.10]))
    other = str(rng.choice(ARMS)) if rng.random() < 0.33 else arms
    return Pose(arms), Pose(other, float(np.clip(rng.normal(1.0, 0.05), 0.88, 1.12)))


def make_dated_bodies(seed: int, organ_map: Path | None, *poses: Pose) -> list[LabelVolume]:
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


def examine_again(first: Examination, body: LabelVolume, rng: np.random.Generator) -> Examination:
    """Return another examination of a patient: own scanners, and uptake between the first one's and a stranger's."""
    other = draw_examination(rng, body.weight_kg, varied=False)
    return replace(other, suv=(first.suv**0.75 * other.suv**0.25).astype(np.float32))
