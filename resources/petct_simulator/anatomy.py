"""One patient's anatomy: a tissue map with its place in the reference body; the procedural one needs only a seed."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from autosegnet.geometry import Grid
from petct_simulator import body, organs
from petct_simulator.body import Build
from petct_simulator.frame import Frame, make_lattice, make_stature_frame, prepare_canvas
from petct_simulator.shapes import Canvas, PointMm


@dataclass(frozen=True, slots=True)
class Anatomy:
    """A patient.

    canvas: tissue and reference coordinates on the lattice; the PET's field of view may be wider.
    from_map: (3, 4), voxel of the organ map's file to LPS mm of the lattice; None if there is no map, or it was varied.
    """

    canvas: Canvas
    lattice: Grid
    build: Build
    height_mm: float
    weight_kg: float
    from_map: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True)
class Stature:
    """What a procedural patient is made from. upper, lower: the scan's ends, in mm of the reference body's height."""

    sex: str
    height_mm: float
    head_share: float
    bmi: float
    arms: str
    upper: float = 1790.0
    lower: float = 700.0


AnatomySource = Callable[[np.random.Generator, PointMm], Anatomy]
"""Makes an anatomy from a random generator and a spacing (x, y, z) in mm."""


def draw_stature(rng: np.random.Generator) -> Stature:
    """Return a random patient: mostly grown-up, 4 % children; body-mass index 17–45 kg/m² with a mean of about 26."""
    sex = "F" if rng.random() < 0.45 else "M"
    arms = str(rng.choice(["up", "raised", "down", "crossed"], p=[0.47, 0.25, 0.18, 0.10]))
    whole = rng.random()
    lower = -30.0 if whole < 0.08 else float(rng.uniform(640, 780))
    upper = (
        2000.0
        if whole < 0.08 and arms in ("up", "raised")
        else float(rng.choice([1775.0, 1680.0, 1600.0], p=[0.6, 0.3, 0.1]))
    )
    if rng.random() < 0.04:
        height = float(rng.uniform(1100, 1500))
        return Stature(sex, height, 1.0 + 0.35 * (1750 - height) / 650, float(rng.uniform(14, 20)), arms, upper, lower)
    height = float(np.clip(rng.normal(1760 if sex == "M" else 1640, 70), 1450, 2000))
    bmi = float(np.clip(np.exp(rng.normal(np.log(25.5), 0.18)), 17.0, 45.0))
    return Stature(sex, height, 1750 / height * float(rng.normal(1.0, 0.03)), bmi, arms, upper, lower)


def make_procedural_anatomy(rng: np.random.Generator, spacing_mm: PointMm) -> Anatomy:
    """Return a random anatomy made from nothing but code."""
    return from_stature(draw_stature(rng), rng, spacing_mm)


def from_stature(stature: Stature, rng: np.random.Generator, spacing_mm: PointMm) -> Anatomy:
    """Return the anatomy of a given patient; rng varies the shapes of the organs."""
    fat_mm = find_fat_thickness_mm(stature.bmi, stature.sex)
    girth = (stature.bmi / 23.0) ** 0.22
    belly = (stature.bmi / 23.0) ** 0.35
    frame = make_stature_frame(stature.height_mm, stature.head_share, girth, belly)
    build = Build(stature.sex, fat_mm, stature.arms)
    lattice = fit_lattice(frame, build, (stature.lower, stature.upper), spacing_mm)
    canvas = prepare_canvas(frame, lattice, rng)
    paint_patient(canvas, build, lattice, rng)
    weight = stature.bmi * (stature.height_mm / 1000.0) ** 2
    return Anatomy(canvas, lattice, build, stature.height_mm, weight)


def find_fat_thickness_mm(bmi: float, sex: str) -> float:
    """Return the subcutaneous fat at the abdomen for a body-mass index in kg/m²; a rule of thumb."""
    return float(np.clip(2.5 * (bmi - 17.5), 4.0, 70.0)) * (1.15 if sex == "F" else 0.9)


def fit_lattice(frame: Frame, build: Build, heights: tuple[float, float], spacing_mm: PointMm) -> Grid:
    """Return the voxels that hold a body, its arms and the table between two heights of the reference body."""
    widest, deepest = max(frame.scale_x), max(frame.scale_y)
    limb = 0.5 * build.fat_mm + 25
    half_width = widest * ((200 if build.arms == "raised" else 270) + limb)
    front = deepest * ((200 if build.arms == "crossed" else 110 + 1.1 * build.fat_mm) + limb)
    back = deepest * (112 + 1.1 * build.fat_mm) + 75
    low, high = np.interp(heights, frame.reference_z, frame.z)
    lengths = (high - low, front + back, 2 * half_width)
    counts = [int(np.ceil(length / step)) for length, step in zip(lengths, spacing_mm[::-1], strict=True)]
    return make_lattice((counts[0], counts[1], counts[2]), spacing_mm, (-half_width, -front, float(low)))


def paint_patient(canvas: Canvas, build: Build, lattice: Grid, rng: np.random.Generator) -> None:
    """Paint the whole procedural body, from the outside in and from the soft to the hard."""
    paint_soft_tissue(canvas, build, lattice, organs.Sizes(rng))
    body.paint_spine(canvas)
    body.paint_bones(canvas, build)
    paint_rib_cage(canvas, lattice)
    body.paint_skin(canvas)


def paint_soft_tissue(canvas: Canvas, build: Build, lattice: Grid, sizes: organs.Sizes) -> None:
    """Paint outline, muscle and organs."""
    body.paint_outline(canvas, build)
    body.paint_fasciae(canvas, lattice.spacing_mm, sizes.rng)
    organs.paint_head(canvas, sizes)
    organs.paint_thorax(canvas, sizes)
    organs.paint_bowel(canvas, sizes)
    organs.paint_upper_abdomen(canvas, sizes)
    organs.paint_pelvis(canvas, sizes, build)
    organs.paint_brown_fat(canvas)


def paint_rib_cage(canvas: Canvas, lattice: Grid) -> None:
    """Paint ribs around the thoracic cavity."""
    found = body.find_cavity_radius(canvas)
    if found is None:
        return
    box, radius = found
    wider = tuple(
        slice(max(0, s.start - pad), min(n, s.stop + pad))
        for s, n, pad in zip(box, lattice.shape, (0, 6, 6), strict=True)
    )
    cavity = np.zeros(canvas.tissue.shape, dtype=bool)
    cavity[box] = radius < 1
    around: tuple[slice, slice, slice] = (wider[0], wider[1], wider[2])
    distance = ndimage.distance_transform_edt(~cavity[around], sampling=lattice.spacing_mm[::-1])
    body.paint_ribs(canvas, distance.astype(np.float32), around)
