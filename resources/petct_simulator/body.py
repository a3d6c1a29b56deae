"""Paints what every patient has around the organs: outline, fat, muscle, skeleton, airways.

All lengths in mm of the reference body (see `shapes`). The proportions are drawn after an adult of 1750 mm.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from petct_simulator.shapes import Canvas, Mask, PointMm, Volume, VoxelBox, allow, make_smooth_field
from petct_simulator.tissue import Tissue

T = Tissue
Profile = NDArray[np.float64]
SOFT_OR_BONE = allow(T.FAT, T.MUSCLE, T.MEDIASTINUM, T.SKIN, T.CORTEX)
SOFT = allow(T.FAT, T.MUSCLE, T.MEDIASTINUM, T.SKIN)
# Height, half width and half depth of the trunk without its subcutaneous fat.
OUTLINE = np.array(
    [
        (800, 166, 94), (860, 168, 99), (905, 168, 101), (960, 163, 100), (1060, 145, 96), (1120, 134, 93),
        (1200, 140, 99), (1280, 151, 106), (1350, 163, 105), (1400, 184, 95), (1435, 176, 78), (1458, 130, 66),
        (1480, 78, 60), (1500, 60, 58), (1545, 57, 60), (1580, 56, 62), (1600, 40, 40),
    ],
    dtype=np.float64,
)  # fmt: skip
# Height, half width and half depth of the cavity inside ribs and abdominal wall.
CAVITY = np.array(
    [
        (852, 6, 6), (872, 48, 42), (905, 82, 62), (960, 100, 70), (1040, 112, 76), (1110, 118, 80), (1160, 124, 84),
        (1220, 129, 87), (1290, 128, 88), (1350, 119, 82), (1410, 96, 70), (1450, 68, 54), (1478, 34, 30), (1488, 8, 8),
    ],
    dtype=np.float64,
)  # fmt: skip
# The middle of the vertebral bodies: height, position from front to back, radius.
SPINE = np.array(
    [
        (1010, 52, 25), (1040, 44, 25), (1100, 38, 24), (1190, 48, 21), (1310, 62, 17), (1430, 52, 14), (1475, 36, 11),
        (1510, 24, 9), (1585, 18, 8), (1600, 18, 8),
    ],
    dtype=np.float64,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Build:
    """How a patient is built. sex: F or M; fat_mm: subcutaneous fat at the abdomen;
    arms: up (bent over the head), raised (straight), down or crossed (on the belly)."""

    sex: str
    fat_mm: float
    arms: str


def paint_outline(canvas: Canvas, build: Build) -> None:
    """Paint the whole body as fat with muscle inside it."""
    for label, fat in ((T.FAT, build.fat_mm), (T.MUSCLE, 0.0)):
        _paint_trunk(canvas, label, fat)
        canvas.paint_ellipsoid((0, 0, 1645), (76 + 0.1 * fat, 95 + 0.1 * fat, 106 + 0.05 * fat), label)
        canvas.paint_tube([(0, -25, 1575), (0, -62, 1562)], 46 + 0.25 * fat, label)
        canvas.paint_tube([(0, -95, 1625), (0, -104, 1605)], 11, label)
        for side in (-1, 1):
            for points, radii, share in _list_limbs(side, build.arms):
                canvas.paint_tube(points, [r + f * fat for r, f in zip(radii, share, strict=True)], label)
    if build.sex == "F":
        for side in (-1, 1):
            size = 38 + 0.7 * build.fat_mm
            centre = (side * 82.0, -95.0 - 0.4 * build.fat_mm, 1300.0)
            canvas.paint_ellipsoid(centre, (size * 1.15, size, size * 1.2), T.FAT, over=allow(T.OUTSIDE))
            canvas.paint_ellipsoid(centre, (size * 0.7, size * 0.6, size * 0.7), T.BREAST, over=allow(T.FAT))


def _paint_trunk(canvas: Canvas, label: int, fat_mm: float) -> None:
    box = canvas.find_box((-400, -300, 815), (400, 300, 1590))
    if box is None:
        return
    heights = canvas.axis_z[box[0]]
    share = np.interp(heights, [830, 960, 1120, 1300, 1430, 1480, 1590], [0.9, 1.1, 1.0, 0.6, 0.5, 0.25, 0.1])
    a = np.interp(heights, OUTLINE[:, 0], OUTLINE[:, 1]) + fat_mm * share
    b = np.interp(heights, OUTLINE[:, 0], OUTLINE[:, 2]) + fat_mm * share
    middle = np.interp(heights, [830, 1120, 1400, 1480, 1560], [0, -3, 5, 12, 8])
    middle = middle - fat_mm * np.interp(heights, [860, 960, 1120, 1300], [0.0, 0.25, 0.35, 0.0])
    canvas.paint(box, make_superellipse(canvas, box, a, b, middle) < 1.0, label)


def make_superellipse(canvas: Canvas, box: VoxelBox, a: Profile, b: Profile, middle: Profile) -> Volume:
    """Return the radius (1 on the surface) of an upright shape with half axes a and b and centre y at each slice."""
    x = np.abs(canvas.x[box]) * (1.0 / a[:, None, None]).astype(np.float32)
    y = np.abs(canvas.y[box] - middle[:, None, None].astype(np.float32)) * (1.0 / b[:, None, None]).astype(np.float32)
    # An exponent of 2.5 in two square roots: x**2.5 = x * x * sqrt(x).
    return np.asarray(x * x * np.sqrt(x) + y * y * np.sqrt(y), dtype=np.float32)


def _list_limbs(side: int, arms: str) -> list[tuple[list[PointMm], list[float], list[float]]]:
    """Return polylines, radii without fat, and what share of the abdomen's fat covers them."""
    s = float(side)
    return [
        ([(s * 88, 0, 880), (s * 92, 5, 700), (s * 95, 8, 480)], [80, 74, 50], [0.9, 0.7, 0.3]),
        ([(s * 95, 8, 480), (s * 93, 25, 360), (s * 88, 20, 75)], [50, 52, 32], [0.3, 0.3, 0.15]),
        ([(s * 88, 25, 45), (s * 98, -120, 25)], [36, 28], [0.1, 0.05]),
        (find_arm_line(side, arms), [46, 38, 27, 26], [0.45, 0.35, 0.15, 0.05]),
    ]


def find_arm_line(side: int, arms: str) -> list[PointMm]:
    """Return shoulder, elbow, wrist and finger tips."""
    s = float(side)
    if arms == "up":
        return [(s * 165, 5, 1425), (s * 215, -5, 1690), (s * 75, -10, 1850), (s * 10, -10, 1960)]
    if arms == "raised":
        return [(s * 165, 5, 1425), (s * 138, 0, 1700), (s * 100, 0, 1930), (s * 90, 0, 2060)]
    if arms == "crossed":
        return [(s * 165, 5, 1425), (s * 222, 10, 1130), (s * 70, -150, 1090), (s * 5, -155, 1080)]
    return [(s * 165, 5, 1425), (s * 215, 20, 1120), (s * 225, -5, 880), (s * 215, -15, 740)]


def find_cavity_radius(canvas: Canvas) -> tuple[VoxelBox, Volume] | None:
    """Return a box and in it the radius of the body cavity (1 on its wall), from the pelvis to the lungs' apex."""
    box = canvas.find_box((-150, -120, 853), (150, 120, 1488))
    if box is None:
        return None
    heights = canvas.axis_z[box[0]]
    a = np.interp(heights, CAVITY[:, 0], CAVITY[:, 1], left=1.0, right=1.0)
    b = np.interp(heights, CAVITY[:, 0], CAVITY[:, 2], left=1.0, right=1.0)
    middle = np.interp(heights, [852, 870, 1110, 1290, 1450], [18, 10, -5, -2, 15])
    return box, make_superellipse(canvas, box, a, b, middle)


def paint_fasciae(canvas: Canvas, spacing_mm: PointMm, rng: np.random.Generator) -> None:
    """Part the muscles by sheets of fat: the zeros of a random field."""
    sheets = np.abs(make_smooth_field(canvas.tissue.shape, spacing_mm, 55.0, rng)) < 0.075
    canvas.tissue[sheets & (canvas.tissue == T.MUSCLE) & (canvas.z < 1460)] = T.FAT


def paint_skin(canvas: Canvas) -> None:
    """Turn the outermost voxels of the body into skin."""
    body = canvas.tissue > 0
    inner = ndimage.binary_erosion(body, border_value=1)
    canvas.tissue[body & ~inner] = T.SKIN


def paint_spine(canvas: Canvas) -> None:
    """Paint vertebrae, discs, cord and sacrum."""
    levels = np.concatenate([np.arange(1010, 1190, 35), np.arange(1190, 1460, 24), np.arange(1466, 1600, 17)])
    for low, high in zip(levels[:-1].tolist(), levels[1:].tolist(), strict=True):
        _paint_vertebra(canvas, float(low), float(high))
    path = [(0.0, float(np.interp(z, SPINE[:, 0], SPINE[:, 1]) + np.interp(z, SPINE[:, 0], SPINE[:, 2]) + 8), float(z))
            for z in (1010, 1040, 1100, 1190, 1310, 1430, 1475, 1510, 1600)]  # fmt: skip
    canvas.paint_tube(path, 6.5, T.CORD)
    sacrum: list[PointMm] = [(0, 58, 1015), (0, 82, 965), (0, 88, 925), (0, 72, 895)]
    canvas.paint_tube(sacrum, [30, 24, 15, 7], T.CORTEX, core=(4, T.RED_MARROW))
    for side in (-1.0, 1.0):
        canvas.paint_tube([(0, 62, 1005), (side * 44, 66, 995)], 22, T.CORTEX, core=(4, T.RED_MARROW))


def _paint_vertebra(canvas: Canvas, low: float, high: float) -> None:
    middle, tall = (low + high) / 2, high - low
    y, radius = (float(np.interp(middle, SPINE[:, 0], SPINE[:, i])) for i in (1, 2))
    box = canvas.find_box((-3 * radius, y - radius, low), (3 * radius, y + 4 * radius, high))
    if box is None:
        return
    x, dy, dz = canvas.x[box], canvas.y[box] - y, canvas.z[box]
    level = (dz >= low) & (dz < high)
    body = level & ((x / (1.15 * radius)) ** 2 + (dy / radius) ** 2 < 1)
    core = (x / (1.15 * radius)) ** 2 + (dy / radius) ** 2 < (1 - 3.0 / radius) ** 2
    disc = np.abs(dz - high) < 0.11 * tall
    arch = level & (np.abs(x) < 13) & (dy > radius) & (dy < radius + 17) & (np.abs(dz - middle) < 0.35 * tall)
    spinous = level & (np.abs(x) < 3.5) & (dy > radius + 15) & (dy < radius + 31)
    transverse = (np.abs(dz - middle) < 5) & (np.abs(x) < 1.9 * radius) & (np.abs(dy - radius - 4) < 5)
    for inside, label in (((arch | (spinous & (np.abs(dz - middle) < 0.3 * tall)) | transverse), T.CORTEX),
                          (body, T.CORTEX), (body & core, T.RED_MARROW), (body & disc, T.DISC)):  # fmt: skip
        canvas.paint(box, inside, label)


def paint_bones(canvas: Canvas, build: Build) -> None:
    """Paint pelvis, shoulder girdle, sternum and the long bones."""
    for side in (-1.0, 1.0):
        _paint_pelvis(canvas, side)
        _paint_shoulder(canvas, side)
        _paint_long_bones(canvas, side, build.arms)
    canvas.paint_tube([(0, -70, 1430), (0, -93, 1380), (0, -101, 1290), (0, -96, 1255)], [11, 9, 8, 5], T.CORTEX,
                      core=(3, T.RED_MARROW))  # fmt: skip


def _paint_pelvis(canvas: Canvas, s: float) -> None:
    marrow = (4.0, int(T.RED_MARROW))
    hip: PointMm = (s * 84, 8, 925)
    crest = np.array(
        [(62, 60, 1030), (98, 40, 1055), (122, 8, 1052), (128, -28, 1020), (115, -45, 985)], dtype=np.float64
    )
    fan = [tuple(np.interp(t, range(5), crest[:, axis]) for axis in range(3)) for t in np.arange(0, 4.1, 0.4)]
    for label, thinner in (
        (T.CORTEX, 0.0),
        (T.RED_MARROW, 4.0),
    ):  # a wing: capsules from the hip to points of the crest
        for x, y, z in fan:
            canvas.paint_tube([hip, (s * x, y, z)], [17 - thinner, 7.5 - thinner], label, over=SOFT_OR_BONE)
    canvas.paint_tube([(s * 82, 25, 905), (s * 60, 48, 845)], [16, 14], T.CORTEX, core=marrow)
    canvas.paint_tube([(s * 80, -12, 908), (s * 12, -48, 890)], [13, 10], T.CORTEX, core=marrow)
    canvas.paint_tube([(s * 14, -44, 884), (s * 56, 35, 845)], 7, T.CORTEX)
    canvas.paint_tube([(s * 90, 2, 915), (s * 92, 2, 915)], 24, T.CORTEX, core=marrow)
    canvas.paint_tube([(s * 90, 2, 915), (s * 132, 10, 890)], [15, 18], T.CORTEX, core=marrow)


def _paint_shoulder(canvas: Canvas, s: float) -> None:
    canvas.paint_tube([(s * 18, -62, 1440), (s * 75, -45, 1458), (s * 150, 0, 1462)], 6.5, T.CORTEX)
    for low in ((s * 95, 82, 1330), (s * 70, 84, 1400), (s * 72, 80, 1440)):
        canvas.paint_tube([(s * 145, 30, 1430), low], [9, 4.5], T.CORTEX)
    canvas.paint_tube([(s * 163, 5, 1422), (s * 168, 5, 1424)], 23, T.CORTEX, core=(4, T.RED_MARROW))


def _paint_long_bones(canvas: Canvas, s: float, arms: str) -> None:
    yellow = (5.0, int(T.YELLOW_MARROW))
    canvas.paint_tube([(s * 128, 10, 885), (s * 105, 5, 700), (s * 95, 5, 490)], [16, 14, 20], T.CORTEX, core=yellow)
    canvas.paint_tube([(s * 95, -5, 475), (s * 90, -5, 300), (s * 88, 15, 80)], [24, 13, 14], T.CORTEX, core=yellow)
    canvas.paint_tube([(s * 110, 25, 440), (s * 102, 25, 80)], 7, T.CORTEX)
    canvas.paint_tube([(s * 88, 35, 40), (s * 90, 0, 50), (s * 98, -110, 22)], [22, 16, 8], T.CORTEX, core=yellow)
    shoulder, elbow, wrist, fingers = find_arm_line(int(s), arms)
    canvas.paint_tube([shoulder, elbow], [12, 12], T.CORTEX, core=(4.5, T.YELLOW_MARROW))
    for shift in (-9.0, 9.0):
        a, b = ((p[0], p[1] + shift, p[2]) for p in (elbow, wrist))
        canvas.paint_tube([a, b], 7.5, T.CORTEX)
    canvas.paint_tube([wrist, fingers], [16, 9], T.CORTEX, core=(6, T.MUSCLE))


def paint_ribs(canvas: Canvas, lungs_mm: Volume, box: VoxelBox) -> None:
    """Paint ribs and costal cartilage in the shell around lungs and upper abdomen.

    lungs_mm: distance in mm from the thoracic cavity inside the box (0 within).
    """
    x, y, z = canvas.x[box], canvas.y[box], canvas.z[box]
    shell = (lungs_mm > 1.0) & (lungs_mm < 11.5) & (z > 1120)
    stripe = np.mod(z - 0.55 * y, 25.0) < 10.5
    front = (np.abs(x) < 48) & (y < 0)
    rib: Mask = shell & stripe & SOFT[canvas.tissue[box]]
    canvas.paint(box, rib & ~front, T.CORTEX)
    canvas.paint(box, rib & ~front & (lungs_mm > 4) & (lungs_mm < 8), T.RED_MARROW)
    canvas.paint(box, rib & front & (lungs_mm < 9), T.CARTILAGE)
