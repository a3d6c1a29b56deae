"""Anatomies from organ label maps such as TotalSegmentator writes: the organs are real, everything around them is made.

The map gives brain, lungs, heart, liver, spleen, stomach, kidneys, bladder, prostate and the glands of the head. The
reference body is stretched to their places (`fit_frame`) and supplies outline, fat, muscle, skeleton, vessels, bowel.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from autosegnet.errors import InputError
from autosegnet.geometry import Grid
from petct_simulator import body, organs
from petct_simulator.anatomy import (
    Anatomy,
    AnatomySource,
    find_fat_thickness_mm,
    fit_lattice,
    paint_soft_tissue,
)
from petct_simulator.body import Build
from petct_simulator.frame import Frame, make_lattice, measure_axis_mm, prepare_canvas
from petct_simulator.shapes import Canvas, Mask, PointMm, Volume, VoxelBox, allow, make_smooth_field
from petct_simulator.tissue import Tissue

T = Tissue
SPLEEN, KIDNEYS, LIVER, BLADDER, LUNGS, BRAIN, HEART, STOMACH, PROSTATE, GLANDS = range(1, 11)
# Which tissue a label becomes before its inside is painted.
TISSUE_OF = {
    SPLEEN: T.SPLEEN,
    KIDNEYS: T.KIDNEY,
    LIVER: T.LIVER,
    BLADDER: T.BLADDER,
    LUNGS: T.LUNG,
    BRAIN: T.GREY_MATTER,
    HEART: T.BLOOD,
    STOMACH: T.STOMACH_WALL,
    PROSTATE: T.PROSTATE,
    GLANDS: T.SALIVARY,
}
# What of the reference body gives way to the map.
REPLACED = {T.LUNG: T.FAT, T.LIVER: T.FAT, T.SPLEEN: T.FAT, T.STOMACH_WALL: T.FAT, T.STOMACH_CONTENT: T.FAT,
            T.KIDNEY: T.FAT, T.RENAL_PELVIS: T.FAT, T.BLADDER: T.FAT, T.MYOCARDIUM: T.MEDIASTINUM, T.GREY_MATTER: T.CSF,
            T.WHITE_MATTER: T.CSF, T.CEREBELLUM: T.CSF, T.DEEP_GREY: T.CSF, T.PROSTATE: T.FAT, T.URETER: T.FAT,
            T.RENAL_SINUS: T.FAT, T.HEART_WALL: T.MEDIASTINUM}  # fmt: skip
SECTORS = 72  # directions of the hull around the trunk, 5° each
# How far `vary` may change a map. Wide enough that no two studies of one map share their organs' shapes, narrow enough
# that organs stay inside the body that is fitted to them; chosen, not fitted.
STRETCH = (0.88, 1.12)  # of each axis
BEND_MM, BEND_OVER_MM = 5.0, 90.0  # SD of the displacement along each axis, and its correlation length
# Heights of the reference body where its organs begin and end, mm.
LUNG_BASE, LUNG_APEX, BRAIN_BASE, BRAIN_TOP, KIDNEY_MIDDLE, BLADDER_MIDDLE = (
    1150.0,
    1482.0,
    1585.0,
    1741.0,
    1122.0,
    916.0,
)


@dataclass(frozen=True, slots=True)
class AnatomyMap:
    """Labels (z, y, x) in LPS, uint8, with their spacing (x, y, z) in mm.

    from_file: (3, 4), voxel of the file to voxel (x, y, z) of `labels`.
    """

    labels: NDArray[np.uint8]
    spacing_mm: PointMm
    from_file: NDArray[np.float64] = field(default_factory=lambda: np.eye(3, 4))

    def find(self, label: int) -> NDArray[np.float64] | None:
        """Return 5th, 50th and 95th percentile and the ends, in mm, of a label: (3 axes x, y, z; 5); None if absent."""
        box = ndimage.find_objects((self.labels == label).astype(np.uint8))
        if not box or box[0] is None or (self.labels[box[0]] == label).sum() < 30:
            return None
        where = np.argwhere(self.labels[box[0]] == label)[:, ::-1] + [s.start for s in box[0][::-1]]
        return np.asarray(np.percentile(where * np.array(self.spacing_mm), (0.5, 5, 50, 95, 99.5), axis=0).T)


def read_organ_map(path: Path) -> AnatomyMap:
    """Read a label map (NIfTI) of any orientation along the axes.

    Raises:
        InputError: it cannot be read, or shows neither lungs nor another label of the list
    """
    import nibabel

    try:
        file: Any = nibabel.load(path)
        image: Any = nibabel.as_closest_canonical(file)
        labels = np.asarray(image.dataobj)
    except (OSError, ValueError, nibabel.filebasedimages.ImageFileError) as error:
        raise InputError(f"cannot read the label map {path}: {error}") from error
    if labels.ndim != 3 or not np.isin(labels, (LUNGS,)).any() or labels.max() > GLANDS:
        found = f"found {labels.ndim} axes and labels up to {labels.max()}"
        raise InputError(f"{found}, expected 3 axes and organ labels 1-10 with lungs (5), in {path}")
    spacing = tuple(float(s) for s in image.header.get_zooms()[:3])
    # Canonical is RAS (x, y, z); this project's arrays are (z, y, x) in LPS.
    upright = np.ascontiguousarray(labels[::-1, ::-1].transpose(2, 1, 0)).astype(np.uint8)
    # Voxel of the file -> voxel of the canonical image -> x and y counted from the other end.
    from_file = np.linalg.inv(image.affine) @ file.affine
    from_file[:2] *= -1
    from_file[:2, 3] += (labels.shape[0] - 1, labels.shape[1] - 1)
    return AnatomyMap(upright, (spacing[0], spacing[1], spacing[2]), from_file[:3])


@dataclass(frozen=True, slots=True)
class Pose:
    """How a patient looks on one of several dates.

    Args:
        arms: as in `Build`.
        bmi_factor: body-mass index over that of the patient; 0.8 to 1.2.
    """

    arms: str
    bmi_factor: float = 1.0


def from_file(path: Path, *, vary: bool = False, pose: Pose | None = None) -> AnatomySource:
    """Return what makes anatomies from one label map; each draw has another body around the same organs.

    vary: each draw stretches and bends the organs, too.
    pose: of one date. Draws of one seed and several poses are one patient on one lattice.
    """

    def make(rng: np.random.Generator, spacing_mm: PointMm) -> Anatomy:
        return from_organ_map(read_organ_map(path), rng, spacing_mm, vary=vary, pose=pose)

    return make


def from_organ_map(
    organ_map: AnatomyMap,
    rng: np.random.Generator,
    spacing_mm: PointMm,
    *,
    vary: bool = False,
    pose: Pose | None = None,
) -> Anatomy:
    """Return an anatomy with the organs of a map, on a lattice of another spacing (nearest label).

    vary: the organs are stretched along each axis and bent smoothly.
    pose: arms and weight, instead of the arms that are drawn.
    """
    if vary:
        x, y, z = (float(s * f) for s, f in zip(organ_map.spacing_mm, rng.uniform(*STRETCH, size=3), strict=True))
        organ_map = replace(organ_map, spacing_mm=(x, y, z))
    frame = fit_frame(organ_map)
    sex = "F" if organ_map.find(PROSTATE) is None else "M"
    bmi = float(np.clip(np.exp(rng.normal(np.log(25.0), 0.16)), 17.0, 40.0))
    arms = str(rng.choice(["up", "raised", "down", "crossed"], p=[0.47, 0.25, 0.18, 0.10]))
    widest = Build(sex, find_fat_thickness_mm(1.2 * bmi, sex), "crossed")  # room for every pose
    bmi, arms = (bmi, arms) if pose is None else (bmi * pose.bmi_factor, pose.arms)
    build = Build(sex, find_fat_thickness_mm(bmi, sex), arms)
    lattice = _make_lattice(organ_map, frame, build if pose is None else widest, spacing_mm)
    labels = _resample_labels(organ_map, lattice)
    if vary:
        labels = _bend(labels, lattice, rng)
    canvas = prepare_canvas(frame, lattice, rng)
    _paint(canvas, labels, build, lattice, rng)
    height = 1750.0 * frame.scale_y[0]  # the frame's lower end has the scale of the trunk
    from_map = None if vary else _map_to_lattice_mm(organ_map)
    return Anatomy(canvas, lattice, build, height, bmi * (height / 1000.0) ** 2, from_map)


def fit_frame(organ_map: AnatomyMap) -> Frame:
    """Return the frame that puts the reference body's lungs, brain, kidneys and bladder where the map has them."""
    lungs = organ_map.find(LUNGS)
    assert lungs is not None
    trunk = _measure_trunk_scale(organ_map, lungs)
    wide = float(np.clip((lungs[0, 4] - lungs[0, 0]) / 252.0, 0.7, 1.35))
    deep = float(np.clip((lungs[1, 4] - lungs[1, 0]) / 162.0, 0.7, 1.45))
    x, y = (lungs[0, 0] + lungs[0, 4]) / 2, (lungs[1, 0] + lungs[1, 4]) / 2
    # Rows: reference height, height, centre x, centre y, scale x, scale y; all in mm of the map.
    knots = [(LUNG_BASE, lungs[2, 0], x, y, wide, deep), (LUNG_APEX, lungs[2, 4], x, y, wide, deep)]
    kidneys, bladder, brain = (organ_map.find(label) for label in (KIDNEYS, BLADDER, BRAIN))
    between = (wide + trunk) / 2
    if kidneys is not None and kidneys[2, 2] < lungs[2, 0] - 15:
        knots.insert(0, (KIDNEY_MIDDLE, kidneys[2, 2], x, kidneys[1, 2] - 42 * deep, wide, deep))
    if bladder is not None and bladder[2, 2] < knots[0][1] - 60:
        place = (bladder[0, 2] + x) / 2, bladder[1, 2] + 10 * between
        knots.insert(0, (BLADDER_MIDDLE, bladder[2, 2], *place, between, between))
    if brain is not None and brain[2, 0] > lungs[2, 4] + 30:
        knots += _find_head_knots(brain, organ_map)
    return _add_ends(knots, trunk, (x, y))


def _measure_trunk_scale(organ_map: AnatomyMap, lungs: NDArray[np.float64]) -> float:
    """Return patient mm per reference mm along the trunk: from bladder to brain, or the lungs' height without them."""
    bladder, brain = organ_map.find(BLADDER), organ_map.find(BRAIN)
    if bladder is not None and brain is not None:
        scale = (brain[2, 0] - bladder[2, 2]) / (BRAIN_BASE - BLADDER_MIDDLE)
    else:  # lungs are seen in expiration, 4/5 of the reference body's
        scale = (lungs[2, 4] - lungs[2, 0]) / (0.8 * (LUNG_APEX - LUNG_BASE))
    return float(np.clip(scale, 0.6, 1.25))


Knot = tuple[float, float, float, float, float, float]


def _find_head_knots(brain: NDArray[np.float64], organ_map: AnatomyMap) -> list[Knot]:
    across = float(np.clip((brain[0, 4] - brain[0, 0]) / 128.0, 0.85, 1.2))
    along = float(np.clip((brain[1, 4] - brain[1, 0]) / 164.0, 0.85, 1.2))
    x, y = (brain[0, 0] + brain[0, 4]) / 2, (brain[1, 0] + brain[1, 4]) / 2
    top = organ_map.labels.shape[0] * organ_map.spacing_mm[2]
    complete = brain[2, 4] < top - 3 * organ_map.spacing_mm[2] - 2
    upper = brain[2, 4] if complete else brain[2, 0] + (BRAIN_TOP - BRAIN_BASE) * (across + along) / 2
    return [(BRAIN_BASE, brain[2, 0], x, y, across, along), (BRAIN_TOP, upper, x, y, across, along)]


def _add_ends(knots: list[Knot], trunk: float, centre: tuple[float, float]) -> Frame:
    """Return a frame whose origin is the lungs' centre, prolonged to the soles and above the head."""
    first, last = knots[0], knots[-1]
    knots.insert(0, (-100.0, first[1] - (first[0] + 100.0) * trunk, *first[2:4], trunk, trunk))
    knots.append((2100.0, last[1] + (2100.0 - last[0]) * trunk, *last[2:4], trunk, trunk))
    columns = np.array(knots).T
    columns[2] -= centre[0]
    columns[3] -= centre[1]
    rows = [tuple(float(v) for v in column) for column in columns]
    return Frame(rows[0], rows[1], rows[2], rows[3], rows[4], rows[5])


def _make_lattice(organ_map: AnatomyMap, frame: Frame, build: Build, spacing_mm: PointMm) -> Grid:
    around = fit_lattice(frame, build, (0.0, 1.0), spacing_mm)
    slices = max(1, int(organ_map.labels.shape[0] * organ_map.spacing_mm[2] / spacing_mm[2]))
    origin = (around.origin_mm[0], around.origin_mm[1], 0.0)
    return make_lattice((slices, around.shape[1], around.shape[2]), spacing_mm, origin)


def _resample_labels(organ_map: AnatomyMap, lattice: Grid) -> NDArray[np.uint8]:
    """Return the labels on the lattice (nearest; 0 outside); x and y are shifted to the lungs' centre."""
    shift = _shift_mm(organ_map)
    labels = organ_map.labels
    for axis in range(3):
        d = 2 - axis
        index = np.rint((measure_axis_mm(lattice, d) + shift[d]) / organ_map.spacing_mm[d]).astype(np.intp)
        inside = (index >= 0) & (index < labels.shape[axis])
        labels = np.take(labels, np.clip(index, 0, labels.shape[axis] - 1), axis=axis)
        labels = labels * inside.reshape([-1 if i == axis else 1 for i in range(3)]).astype(np.uint8)
    return labels


def _shift_mm(organ_map: AnatomyMap) -> PointMm:
    """Return where the origin of an anatomy's lattice lies in the map: at the middle of the lungs across."""
    lungs = organ_map.find(LUNGS)
    assert lungs is not None
    return (lungs[0, 0] + lungs[0, 4]) / 2, (lungs[1, 0] + lungs[1, 4]) / 2, 0.0


def _map_to_lattice_mm(organ_map: AnatomyMap) -> NDArray[np.float64]:
    """Return (3, 4): voxel of the map's file to LPS mm of the lattice of an anatomy that was made without `vary`."""
    matrix = np.diag(organ_map.spacing_mm) @ organ_map.from_file
    matrix[:, 3] -= _shift_mm(organ_map)
    return np.asarray(matrix)


def _bend(labels: NDArray[np.uint8], lattice: Grid, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the labels with every voxel taken from a place nearby (nearest; the ends are prolonged)."""
    places = []
    for axis, n in enumerate(labels.shape):
        step = lattice.spacing_mm[2 - axis]
        moved = make_smooth_field(lattice.shape, lattice.spacing_mm, BEND_OVER_MM, rng) * np.float32(BEND_MM / step)
        moved += np.arange(n, dtype=np.float32).reshape([-1 if i == axis else 1 for i in range(3)])
        places.append(np.clip(np.rint(moved), 0, n - 1).astype(np.intp))
    return np.asarray(labels[tuple(places)])


def _paint(canvas: Canvas, labels: NDArray[np.uint8], build: Build, lattice: Grid, rng: np.random.Generator) -> None:
    sizes = organs.Sizes(rng)
    paint_soft_tissue(canvas, build, lattice, sizes)
    table = np.arange(256, dtype=np.uint8)
    for old, new in REPLACED.items():
        table[old] = new
    if (labels == GLANDS).any():
        table[T.SALIVARY] = T.MUSCLE
    canvas.tissue[:] = table[canvas.tissue]
    distance = measure_hull_distance(canvas, np.isin(labels, (SPLEEN, LIVER, LUNGS, HEART, STOMACH)), lattice)
    _wrap(canvas, distance, build)
    _paint_skull(canvas, labels, lattice)
    body.paint_spine(canvas)
    body.paint_bones(canvas, build)
    for label, tissue in TISSUE_OF.items():
        canvas.tissue[labels == label] = tissue
    _paint_insides(canvas, labels, lattice, sizes)
    everywhere = tuple(slice(0, n) for n in lattice.shape)
    body.paint_ribs(canvas, distance, (everywhere[0], everywhere[1], everywhere[2]))
    body.paint_skin(canvas)


def measure_hull_distance(canvas: Canvas, trunk: Mask, lattice: Grid) -> Volume:
    """Return how far, in mm, every voxel lies outside a smooth hull around the organs of the trunk; ≤ 0 inside.

    The hull of a slice is a radius for every direction from the body's axis: the farthest organ voxel, with the gaps
    between organs closed and smoothed across directions and slices.
    """
    x, y = canvas.axis_x[:, None, :], canvas.axis_y[:, :, None]
    radius = np.hypot(x, y)
    direction = (np.arctan2(y, x) + np.pi) * (SECTORS / (2 * np.pi))
    rows = np.broadcast_to(np.arange(lattice.shape[0])[:, None, None], trunk.shape)
    farthest = np.zeros((lattice.shape[0], SECTORS), dtype=np.float32)
    np.maximum.at(farthest, (rows[trunk], direction[trunk].astype(np.intp) % SECTORS), radius[trunk])
    step = lattice.spacing_mm[2]
    modes = ("nearest", "wrap")
    closed = ndimage.grey_closing(farthest, (2 * round(30.0 / step) + 1, SECTORS // 5), mode=modes)
    wider = ndimage.grey_dilation(closed, (2 * round(8.0 / step) + 1, 5), mode=modes)
    hull = ndimage.gaussian_filter(wider, (10.0 / step, 2.0), mode=modes)
    low = direction.astype(np.intp)
    share = direction - low
    reach = (1 - share) * hull[rows, low % SECTORS] + share * hull[rows, (low + 1) % SECTORS]
    scale = np.sqrt(np.prod(_measure_scales(canvas, lattice), axis=0))
    return np.asarray((radius - reach) * scale[:, None, None], dtype=np.float32)


def _measure_scales(canvas: Canvas, lattice: Grid) -> NDArray[np.float64]:
    """Return patient mm per reference mm across and from front to back, at every slice: (2, z)."""
    across = lattice.spacing_mm[0] / np.diff(canvas.axis_x[:, :2], axis=1)[:, 0]
    deep = lattice.spacing_mm[1] / np.diff(canvas.axis_y[:, :2], axis=1)[:, 0]
    return np.stack([across, deep]).astype(np.float64)


def _wrap(canvas: Canvas, distance: Volume, build: Build) -> None:
    """Grow the body where organs stick out of it: a wall of muscle, and fat."""
    tissue = canvas.tissue
    trunk = (canvas.z > 1000) & (canvas.z < 1500)
    fat = trunk & (tissue == T.OUTSIDE) & (distance < 14 + 0.8 * build.fat_mm)
    tissue[fat] = T.FAT
    wall = trunk & (tissue == T.FAT) & (distance > -2) & (distance < 13)
    tissue[wall] = T.MUSCLE


def _paint_skull(canvas: Canvas, labels: NDArray[np.uint8], lattice: Grid) -> None:
    """Wrap the brain in 2 mm of fluid, the skull and the scalp."""
    box = _find_box(labels, BRAIN)
    if box is None:
        return
    pads = [int(np.ceil(18.0 / s)) for s in lattice.spacing_mm[::-1]]
    z, y, x = (slice(max(0, s.start - p), min(n, s.stop + p)) for s, p, n in zip(box, pads, lattice.shape, strict=True))
    around = (z, y, x)
    away = ndimage.distance_transform_edt(labels[around] != BRAIN, sampling=lattice.spacing_mm[::-1])
    above = canvas.z[around] > 1600
    tissue = canvas.tissue[around]
    tissue[(tissue == T.OUTSIDE) & above & (away < 16)] = T.FAT
    tissue[above & (away < 10) & (canvas.y[around] > -80)] = T.CORTEX
    tissue[above & (away < 2.5)] = T.CSF


def _find_box(labels: NDArray[np.uint8], label: int) -> VoxelBox | None:
    found = ndimage.find_objects((labels == label).astype(np.uint8))
    return found[0] if found else None


def _measure_depth(inside: Mask, lattice: Grid) -> NDArray[np.float32]:
    padded = np.pad(inside, 1)
    depth = ndimage.distance_transform_edt(padded, sampling=lattice.spacing_mm[::-1])[1:-1, 1:-1, 1:-1]
    return np.asarray(depth, dtype=np.float32)


def _paint_insides(canvas: Canvas, labels: NDArray[np.uint8], lattice: Grid, sizes: organs.Sizes) -> None:
    box = _find_box(labels, BRAIN)
    if box is not None:
        _paint_brain(canvas, labels[box] == BRAIN, box, lattice)
    box = _find_box(labels, STOMACH)
    if box is not None:
        canvas.paint(box, _measure_depth(labels[box] == STOMACH, lattice) > 7.0, T.STOMACH_CONTENT)
    heart = _find_middle(canvas, labels == HEART)
    box = _find_box(labels, HEART)
    if box is not None:
        canvas.paint(box, (labels[box] == HEART) & (_measure_depth(labels[box] == HEART, lattice) <= 4.0), T.HEART_WALL)
    if heart is not None:
        organs.paint_ventricle(
            canvas, sizes, (heart[0] + 16, heart[1] - 6, heart[2] - 8), over=allow(T.BLOOD, T.HEART_WALL)
        )
    for side in (-1.0, 1.0):
        kidney = _find_middle(canvas, (labels == KIDNEYS) & (canvas.x * side > 0))
        if kidney is not None:
            organs.paint_urine(canvas, sizes, kidney, side)


def _find_middle(canvas: Canvas, inside: Mask) -> PointMm | None:
    """Return the centre of a region in the reference body."""
    if inside.sum() < 20:
        return None
    return float(canvas.x[inside].mean()), float(canvas.y[inside].mean()), float(canvas.z[inside].mean())


def _paint_brain(canvas: Canvas, inside: Mask, box: VoxelBox, lattice: Grid) -> None:
    depth = _measure_depth(inside, lattice)
    x, y, z = canvas.x[box], canvas.y[box], canvas.z[box]
    ribbon = 10.0 + 4.0 * np.sin(x / 5.5) * np.sin(y / 6.0) * np.sin(z / 5.0)
    canvas.paint(box, inside & (depth > ribbon) & (np.abs(x) > 6), T.WHITE_MATTER)
    for side in (-1.0, 1.0):
        canvas.paint_ellipsoid((side * 25, -5, 1655), (12, 22, 13), T.DEEP_GREY, over=allow(T.WHITE_MATTER))
        canvas.paint_ellipsoid((side * 9, 5, 1665), (5, 26, 9), T.CSF, over=allow(T.WHITE_MATTER, T.GREY_MATTER))
    canvas.paint(box, inside & (z < 1622) & (y > 22), T.CEREBELLUM)
