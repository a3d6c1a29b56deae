"""Whole-body studies: one seed → one body, seen by the same generator that makes training patches.

Arrays are (z, y, x) in LPS without rotation: x to the patient's left, y to the back, z to the head.
"""

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from autosegnet.geometry import Grid
from petct_simulator.anatomy import AnatomySource, make_procedural_anatomy
from petct_simulator.bodies import fit_field, label_volume, to_voxels
from petct_simulator.cohorts import draw_cohort
from petct_simulator.examination import Examination, draw_examination
from petct_simulator.label_volume import LabelVolume
from petct_simulator.lesion_plan import Place, PlannedLesion, plan_benign, plan_lesions
from petct_simulator.placement import pad_labels, place_whole
from petct_simulator.protocol import Protocol
from petct_simulator.regions import find_regions
from petct_simulator.render import render, surround
from petct_simulator.shapes import PointMm, Volume
from petct_simulator.tissue import Tissue

VoxelIndex = TypeVar("VoxelIndex", bound=np.generic)


@dataclass(frozen=True, slots=True)
class LesionRecord:
    """What is known of one lesion: site, centre in mm (LPS), volume of its shape, and the uptake before blur."""

    site: str
    centre_mm: PointMm
    volume_ml: float
    suv: float


@dataclass(frozen=True, slots=True)
class SimulatedStudy:
    """A whole-body study with its truth. All arrays (z, y, x) on one grid.

    suv: float32, g/ml; ct: int16, HU; truth: uint8, 1 in lesions; body: what was seen;
    grid: where their voxels lie.
    """

    case: str
    seed: int
    cohort: str
    suv: Volume
    ct: NDArray[np.int16]
    truth: NDArray[np.uint8]
    body: LabelVolume
    grid: Grid
    weight_kg: float
    lesions: tuple[LesionRecord, ...]

    @property
    def tissue(self) -> NDArray[np.uint8]:
        """Return the tissue of every voxel, values of `Tissue`, (z, y, x) as the images."""
        return _to_lps(self.body.labels)


def simulate_study(
    seed: int,
    *,
    anatomy: AnatomySource = make_procedural_anatomy,
    protocol: Protocol | None = None,
    examination: Examination | None = None,
    lesion_voxels: NDArray[np.float64] | None = None,
) -> SimulatedStudy:
    """Return the study of a seed: the same seed and arguments give the same arrays.

    Args:
        seed: not negative.
        anatomy: makes the patient; `procedural`, or one from `organ_maps`.
        protocol: spacing, field of view, cohort, variety.
        examination: uptake and scanners; None draws them.
        lesion_voxels: (N, 3), voxels of the organ map's file where lesions shall lie; None draws their places.
    """
    protocol = protocol or Protocol()
    rngs = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(5)]
    patient = anatomy(rngs[0], protocol.spacing_mm)
    grid = fit_field(patient, protocol.field_mm or float(rngs[4].choice([700.0, 814.0])))
    whole = label_volume(f"sim_{seed:020d}", patient, grid)
    inside = _find_box_of_body(whole)
    body = whole.crop(*inside)
    cohort = protocol.cohort or draw_cohort(rngs[2])
    regions = find_regions(body)
    places = None if lesion_voxels is None else _place_in_body(lesion_voxels, body)
    lesions = plan_lesions(cohort, regions, rngs[2], varied=protocol.varied, places=places)
    examination = examination or draw_examination(rngs[1], body.weight_kg, varied=protocol.varied)
    generator = torch.Generator().manual_seed(int(rngs[3].integers(2**62)))
    seen = render(
        body,
        pad_labels(body, torch.device("cpu")),
        place_whole(body),
        examination,
        lesions + plan_benign(regions, rngs[4]),
        generator,
        rngs[4],
    )
    seen = surround(seen, inside, whole.labels.shape, grid.spacing_mm, examination, generator)
    return SimulatedStudy(
        case=body.name,
        seed=seed,
        cohort=cohort,
        suv=_to_lps(seen.pet.numpy()),
        ct=np.rint(_to_lps(seen.ct.numpy())).astype(np.int16),
        truth=_to_lps(seen.truth.numpy()),
        body=whole,
        grid=grid,
        weight_kg=body.weight_kg,
        lesions=tuple(_describe(lesion, inside, grid) for lesion in lesions),
    )


def quantise_suv(study: SimulatedStudy, step: float) -> SimulatedStudy:
    """Return a study whose SUV are multiples of a step, so that its files compress."""
    return replace(study, suv=np.rint(study.suv / step).astype(np.float32) * np.float32(step))


def _to_lps(volume: NDArray[VoxelIndex]) -> NDArray[VoxelIndex]:
    """Return a volume (x, y, z) in RAS as (z, y, x) in LPS."""
    return np.ascontiguousarray(volume[::-1, ::-1].transpose(2, 1, 0))


_SITE_OF = {Tissue.LUNG: "lung", Tissue.LIVER: "liver", Tissue.SPLEEN: "spleen", Tissue.RED_MARROW: "bone",
            Tissue.CORTEX: "bone", Tissue.SKIN: "skin"}  # fmt: skip


def _place_in_body(lesion_voxels: NDArray[np.float64], body: LabelVolume) -> list[Place]:
    """Return places in a body for voxels of its organ map; outside the body, the nearest place under its skin.

    The map has no outline: the body around the organs is made, and may be slimmer than the patient was.
    """
    if body.from_map is None:
        raise ValueError("positions of lesions need an organ map whose organs are not varied")
    places = []
    for voxel in lesion_voxels @ body.from_map[:, :3].T + body.from_map[:, 3]:
        x, y, z = np.clip(np.rint(voxel), 0, np.array(body.labels.shape) - 1).astype(int).tolist()
        if body.labels[x, y, z] in (Tissue.OUTSIDE, Tissue.SKIN, Tissue.TABLE, Tissue.TABLE_FOAM, Tissue.MATTRESS):
            plane = body.labels[:, :, z]
            inside = np.argwhere((plane > Tissue.SKIN) & (plane < Tissue.TABLE) | (plane == Tissue.FAT))
            if len(inside) == 0:
                continue
            away = ((inside - (x, y)) * np.array(body.spacing_mm[:2])) ** 2
            x, y = inside[int(np.argmin(away.sum(1)))].tolist()
            voxel = np.array([x, y, z], np.float64)
        places.append((_SITE_OF.get(Tissue(int(body.labels[x, y, z])), "soft tissue"), voxel))
    return places


def _find_box_of_body(volume: LabelVolume) -> tuple[slice, slice]:
    """Return where body and table lie along x and y, with a margin of 20 mm."""
    box = []
    for axis, size in enumerate(volume.labels.shape[:2]):
        rows = np.flatnonzero((volume.labels > 0).any(axis=(1 - axis, 2)))
        margin = int(np.ceil(20.0 / volume.spacing_mm[axis]))
        box.append(slice(max(0, int(rows[0]) - margin), min(size, int(rows[-1]) + margin + 1)))
    return box[0], box[1]


def _describe(lesion: PlannedLesion, inside: tuple[slice, slice], grid: Grid) -> LesionRecord:
    matrix = to_voxels(grid)
    voxel = lesion.centre + (inside[0].start, inside[1].start, 0)
    x, y, z = np.linalg.solve(matrix[:, :3], voxel - matrix[:, 3]).tolist()
    volume_ml = 4 / 3 * np.pi * lesion.radius_mm**3 / 1000
    return LesionRecord(lesion.site, (x, y, z), float(volume_ml), lesion.suv)
