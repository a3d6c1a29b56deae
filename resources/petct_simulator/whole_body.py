"""Puts anatomy, tissue, lesions and scanner together: one seed → one study with known truth, as arrays.

Arrays are (z, y, x) in LPS without rotation: x to the patient's left, y to the back, z to the head.
Works with numpy and scipy alone; `writer` makes files.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from petct_simulator import lesion_growth as lesion_rules
from petct_simulator import scanner as scanning
from petct_simulator.anatomy import Anatomy, AnatomySource, procedural
from petct_simulator.frame import DOME, Lattice
from petct_simulator.lesion_growth import Lesion, Placed
from petct_simulator.scanner import FWHM, Scanner
from petct_simulator.shapes import Mask, Point, Volume
from petct_simulator.texture import hu_map, uptake_map
from petct_simulator.tissue import Tissue

Voxel = TypeVar("Voxel", bound=np.generic)
SPACING_MM: Point = (4.07, 4.07, 3.0)
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class LesionRecord:
    """What is known of one lesion: site, centre in mm (LPS), volume of its truth, and the uptake before blur."""

    site: str
    centre_mm: Point
    volume_ml: float
    suv: float


@dataclass(frozen=True, slots=True)
class SimulatedStudy:
    """A whole-body study with its truth. All arrays (z, y, x) on one grid.

    suv: float32, g/ml; ct: int16, HU; truth: uint8, 1 in lesions; spacing_mm and origin_mm: (x, y, z), LPS;
    direction: row by row, as SimpleITK wants it.
    """

    case: str
    seed: int
    cohort: str
    suv: Volume
    ct: NDArray[np.int16]
    truth: NDArray[np.uint8]
    spacing_mm: Point
    origin_mm: Point
    direction: tuple[float, ...]
    weight_kg: float
    lesions: tuple[LesionRecord, ...]


@dataclass(frozen=True, slots=True)
class Protocol:
    """What is chosen rather than drawn: spacing (x, y, z), field of view of the PET, cohort (None: drawn)."""

    spacing_mm: Point = SPACING_MM
    field_mm: float | None = None
    cohort: str | None = None


def simulate_study(
    seed: int, *, anatomy: AnatomySource = procedural, protocol: Protocol | None = None, scanner: Scanner | None = None
) -> SimulatedStudy:
    """Return the study of a seed: the same seed and arguments give the same arrays.

    Args:
        seed: not negative.
        anatomy: makes the patient; `procedural`, or one from `organ_maps`.
        protocol: spacing, field of view and cohort.
        scanner: the examination; None draws one.
    """
    protocol = protocol or Protocol()
    rngs = [np.random.Generator(np.random.PCG64(s)) for s in np.random.SeedSequence(seed).spawn(5)]
    patient = anatomy(rngs[0], protocol.spacing_mm)
    scanner = scanner or scanning.draw_scanner(rngs[1], patient.weight_kg)
    cohort = protocol.cohort or lesion_rules.draw_cohort(rngs[2])
    placed = _place_all(cohort, patient, scanner, rngs[2])
    _grow_body(patient, placed)
    truth, records = _truth(placed, patient)
    pet = _pet(patient, scanner, placed, rngs[3])
    field = protocol.field_mm or float(rngs[4].choice([700.0, 814.0]))
    lattice, inside = _field_of_view(patient.lattice, field)
    ct = _ct(patient, scanner, placed, (lattice, inside), rngs[4])
    return SimulatedStudy(
        case=f"sim_{seed:020d}",
        seed=seed,
        cohort=cohort,
        suv=_padded(pet, lattice, inside, 0.0),
        ct=ct,
        truth=_padded(truth, lattice, inside, 0),
        spacing_mm=lattice.spacing_mm,
        origin_mm=lattice.origin_mm,
        direction=IDENTITY,
        weight_kg=patient.weight_kg,
        lesions=records,
    )


def _place_all(cohort: str, patient: Anatomy, scanner: Scanner, rng: np.random.Generator) -> list[Placed]:
    wanted = lesion_rules.draw_benign(patient, rng) + lesion_rules.draw_lesions(cohort, patient, rng)
    return [lesion_rules.place(w, patient.lattice, _blur_mm(w, patient, scanner), rng) for w in wanted]


def _grow_body(patient: Anatomy, placed: list[Placed]) -> None:
    """Let large masses bulge the surface, under two voxels of fat, instead of being cut off by it."""
    tissue = patient.canvas.tissue
    for p in placed:
        if p.lesion.radius_mm >= 15 and p.lesion.malignant:
            covered = ndimage.binary_dilation(p.share > 0.5, iterations=2)
            region = tissue[p.box]
            region[covered & (region == Tissue.OUTSIDE)] = Tissue.FAT


def _blur_mm(lesion: Lesion, patient: Anatomy, scanner: Scanner) -> Point:
    point_spread = scanner.fwhm_mm / FWHM
    near = float(np.exp(-(((patient.canvas.axis_z[lesion.voxel[0]] - (DOME - 30)) / 60.0) ** 2)))
    return point_spread, point_spread, float(np.hypot(point_spread, scanner.breath_mm * near))


def _truth(placed: list[Placed], patient: Anatomy) -> tuple[NDArray[np.uint8], tuple[LesionRecord, ...]]:
    truth = np.zeros(patient.lattice.shape, dtype=np.uint8)
    body = patient.canvas.tissue > 0
    records = []
    for p in placed:
        if p.lesion.malignant:
            contour: Mask = p.contour & body[p.box]
            truth[p.box][contour] = 1
            x, y, z = (float(patient.lattice.axis(d)[p.lesion.voxel[2 - d]]) for d in range(3))
            volume = float(contour.sum()) * patient.lattice.voxel_ml
            records.append(LesionRecord(p.lesion.site, (x, y, z), volume, p.lesion.suv))
    return truth, tuple(records)


def _pet(patient: Anatomy, scanner: Scanner, placed: list[Placed], rng: np.random.Generator) -> Volume:
    activity = uptake_map(patient, rng)
    body = patient.canvas.tissue > 0
    for p in placed:
        share = p.share * body[p.box]
        activity[p.box] += share * (p.uptake - activity[p.box])
    activity = scanning.breathe(activity, patient.canvas, scanner, patient.lattice)
    pet = scanning.add_pet_noise(scanning.blur(activity, scanner, patient.lattice), body, scanner, patient.lattice, rng)
    pet[pet < 0.01] = 0.0  # what reconstructions leave in the air carries nothing
    return pet


def _ct(
    patient: Anatomy,
    scanner: Scanner,
    placed: list[Placed],
    field: tuple[Lattice, tuple[slice, ...]],
    rng: np.random.Generator,
) -> NDArray[np.int16]:
    lattice, inside = field
    hu = hu_map(patient, scanner.contrast, rng)
    body = patient.canvas.tissue > 0
    for p in placed:
        if p.lesion.hu is not None and p.lesion.malignant:
            hu[p.box] += p.share * body[p.box] * (p.lesion.hu - hu[p.box])
    hu = scanning.soften(hu, patient.lattice)
    scanning.add_metal(hu, patient.canvas, scanner, patient.lattice, rng)
    hu = scanning.breathe_ct(hu, patient.canvas, scanner, patient.lattice)
    rows = np.flatnonzero(body.any(axis=(0, 2)))
    back_mm = float(patient.lattice.axis(1)[rows[-1]])
    hu = _padded(hu, lattice, inside, -1000.0)
    if scanner.table:
        scanning.add_table(hu, lattice, back_mm)
    return np.rint(scanning.add_ct_noise(hu, scanner, lattice, rng)).astype(np.int16)


def _field_of_view(lattice: Lattice, field_mm: float) -> tuple[Lattice, tuple[slice, ...]]:
    """Return the PET's grid, at least as wide as the patient's lattice, and where the lattice lies in it."""
    inside, origin, shape = [slice(0, lattice.shape[0])], [lattice.origin_mm[2]], [lattice.shape[0]]
    for axis in (1, 0):
        step, size = lattice.spacing_mm[axis], lattice.shape[2 - axis]
        before = max(0, round((lattice.origin_mm[axis] + field_mm / 2) / step))
        total = max(round(field_mm / step), before + size)
        shape.append(total)
        inside.append(slice(before, before + size))
        origin.append(lattice.origin_mm[axis] - before * step)
    return Lattice((shape[0], shape[1], shape[2]), lattice.spacing_mm, (origin[2], origin[1], origin[0])), tuple(inside)


def _padded(image: NDArray[Voxel], lattice: Lattice, inside: tuple[slice, ...], value: float) -> NDArray[Voxel]:
    padded: NDArray[Voxel] = np.full(lattice.shape, value, dtype=image.dtype)
    padded[inside] = image
    return padded
