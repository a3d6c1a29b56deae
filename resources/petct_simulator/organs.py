"""Paints the organs of the procedural body. All lengths in mm of the reference body (see `shapes`).

Each function paints one region; later ones paint over earlier ones. Sizes follow a textbook adult
(ICRP Publication 89: brain 1.4 l, lungs 3–5 l of gas, liver 1.6 l, spleen 0.15 l, kidneys 0.3 l), varied per patient.
"""

import numpy as np

from petct_simulator.body import SOFT, Build, find_cavity_radius
from petct_simulator.shapes import Canvas, Mask, PointMm, allow
from petct_simulator.tissue import Tissue

T = Tissue
BELLY = allow(T.FAT, T.MEDIASTINUM, T.SMALL_BOWEL)


class Sizes:
    """Draws the size of one organ after the other around its usual value."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def scale(self, radii: PointMm, spread: float = 0.08) -> PointMm:
        """Return radii of an organ of this patient."""
        overall = float(np.exp(self.rng.normal(0.0, spread)))
        each = np.exp(self.rng.normal(0.0, spread / 2, 3)) * overall
        return float(radii[0] * each[0]), float(radii[1] * each[1]), float(radii[2] * each[2])

    def shift(self, point: PointMm, spread_mm: float = 4.0) -> PointMm:
        """Return the place of an organ in this patient."""
        moved = np.asarray(point) + self.rng.normal(0.0, spread_mm, 3)
        return float(moved[0]), float(moved[1]), float(moved[2])


def paint_head(canvas: Canvas, sizes: Sizes) -> None:
    """Paint skull, brain, eyes, airways and glands of the head and neck."""
    canvas.paint_ellipsoid((0, 0, 1645), (72, 91, 102), T.CORTEX)
    canvas.paint_tube([(0, -30, 1612), (0, -58, 1600)], 44, T.MUSCLE)  # the face below the skull base
    _paint_brain(canvas)
    for side in (-1.0, 1.0):
        canvas.paint_ellipsoid((side * 32, -74, 1630), (13, 13, 13), T.EYE)
        canvas.paint_ellipsoid((side * 22, -70, 1600), (13, 14, 15), T.GAS)
        canvas.paint_tube([(side * 48, -5, 1600), (side * 46, -20, 1570), (side * 18, -90, 1555)], 6.5, T.CORTEX)
        canvas.paint_ellipsoid((side * 56, 2, 1592), sizes.scale((9, 14, 20)), T.SALIVARY)
        canvas.paint_ellipsoid((side * 30, -35, 1550), sizes.scale((8, 13, 10)), T.SALIVARY)
        canvas.paint_ellipsoid((side * 17, -20, 1578), sizes.scale((6, 8, 10), 0.2), T.TONSIL)
        canvas.paint_ellipsoid((side * 17, -26, 1478), sizes.scale((9, 9, 22), 0.15), T.THYROID)
    _paint_throat(canvas, sizes)


def _paint_throat(canvas: Canvas, sizes: Sizes) -> None:
    """Paint nose, mouth, pharynx and larynx: airways in one continuous lining, the ring of tonsils part of it."""
    thick = float(np.exp(sizes.rng.normal(0.0, 0.2)))
    canvas.paint_ellipsoid((0, -78, 1597), (15, 32, 18), T.MUCOSA)
    canvas.paint_ellipsoid((0, -80, 1597), (11, 26, 15), T.GAS)
    canvas.paint_tube([(0, -50, 1583), (0, -24, 1580)], [14, 12], T.MUCOSA)  # the palate
    canvas.paint_ellipsoid((0, -52, 1568), sizes.scale((23, 32, 17), 0.1), T.TONGUE)
    for side in (-1.0, 1.0):  # the floor of the mouth
        canvas.paint_tube([(side * 20, -78, 1556), (side * 26, -45, 1554)], 7 * thick, T.MUCOSA)
    pharynx: list[PointMm] = [(0, -18, 1608), (0, -17, 1580), (0, -18, 1555), (0, -24, 1530)]
    canvas.paint_tube(pharynx, [7 + 6 * thick, 8 + 5 * thick, 7 + 6 * thick, 6 + 5 * thick], T.MUCOSA)
    canvas.paint_ellipsoid((0, -8, 1605), sizes.scale((11, 5, 8), 0.3), T.TONSIL)  # adenoid
    for side in (-1.0, 1.0):
        canvas.paint_ellipsoid((side * 15, -20, 1574), sizes.scale((6, 8, 11), 0.25), T.TONSIL)
    canvas.paint_ellipsoid((0, -30, 1560), sizes.scale((14, 7, 8), 0.2), T.TONSIL)
    canvas.paint_ellipsoid((0, -36, 1518), sizes.scale((15, 13, 17), 0.1), T.LARYNX)
    canvas.paint_tube([(0, -55, 1522), (0, -47, 1508)], 5, T.CARTILAGE)
    canvas.paint_tube(pharynx, 6, T.GAS)
    canvas.paint_tube([(0, -26, 1530), (0, -32, 1500)], 5, T.GAS)


def _paint_brain(canvas: Canvas) -> None:
    found = canvas.measure_ellipsoid((0, 0, 1652), (66, 84, 89))
    if found is not None:
        box, radius = found
        x, y, z = canvas.x[box], canvas.y[box], canvas.z[box]
        cerebrum = (radius < 1) & (z > 1612 + 0.12 * y)
        # Gyri: the ribbon of grey matter changes its depth around the surface.
        ribbon = 0.83 + 0.07 * np.sin(x / 5.5) * np.sin(y / 6.0) * np.sin(z / 5.0)
        canvas.paint(box, radius < 1, T.CSF)
        canvas.paint(box, cerebrum & (radius < 0.985), T.GREY_MATTER)
        canvas.paint(box, cerebrum & ((radius < ribbon) & (np.abs(x) > 7)), T.WHITE_MATTER)
        canvas.paint(box, cerebrum & (np.abs(x) < 2) & (z > 1670), T.CSF)
    for side in (-1.0, 1.0):
        canvas.paint_ellipsoid((side * 42, -16, 1610), (17, 30, 16), T.GREY_MATTER)
        canvas.paint_ellipsoid((side * 25, -5, 1655), (12, 22, 13), T.DEEP_GREY)
        canvas.paint_ellipsoid((side * 9, 5, 1665), (5, 26, 9), T.CSF)
        canvas.paint_ellipsoid((side * 23, 46, 1611), (25, 22, 20), T.CEREBELLUM)
    canvas.paint_tube([(0, 18, 1625), (0, 25, 1590)], [14, 8], T.WHITE_MATTER)


def paint_thorax(canvas: Canvas, sizes: Sizes) -> None:
    """Paint lungs, and the mediastinum with its vessels and heart; below the diaphragm, fat."""
    found = find_cavity_radius(canvas)
    if found is None:
        return
    box, radius = found
    x, y, z = canvas.x[box], canvas.y[box], canvas.z[box]
    inside = radius < 1
    above = z > find_dome_height(x, y)
    wide = 9 + 24 * np.exp(-(((y - 8) / 38) ** 2)) + 12 * np.exp(-((z - 1285) ** 2 / 1800 + (y + 30) ** 2 / 2500))
    canvas.paint(box, inside & ~above, T.FAT)
    canvas.paint(box, inside & above, T.LUNG)
    canvas.paint(box, inside & above & (np.abs(x - 3) < wide) & (y < 45), T.MEDIASTINUM)
    diaphragm = inside & ~above & (z > find_dome_height(x, y) - 5) & (radius > 0.05)
    canvas.paint(box, diaphragm, T.MUSCLE)
    paint_vessels(canvas)
    _paint_heart(canvas, sizes)


def find_dome_height(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the height of the diaphragm above a place: two domes, the right one higher."""
    depth = (y + 15.0) ** 2
    right = 1256 - 0.0085 * (depth + np.where(x < -62, (x + 62) ** 2, 0.35 * (x + 62) ** 2))
    left = 1240 - 0.0085 * (depth + np.where(x > 62, (x - 62) ** 2, 0.35 * (x - 62) ** 2))
    return np.asarray(np.maximum(right, left))


def paint_vessels(canvas: Canvas) -> None:
    """Paint aorta, caval veins, pulmonary trunk, iliac and carotid arteries, trachea and oesophagus."""
    over = allow(T.FAT, T.MEDIASTINUM, T.LUNG, T.MUSCLE)
    arch: list[PointMm] = [(-5, -25, 1330), (-12, -35, 1380), (5, -5, 1408), (18, 28, 1390), (20, 40, 1330),
                         (12, 26, 1200), (8, 8, 1120), (5, 12, 1045)]  # fmt: skip
    canvas.paint_tube(arch, [15, 15, 14, 13, 12, 11, 10, 8.5], T.BLOOD, over=over)
    canvas.paint_tube([(-20, -10, 1300), (-24, -15, 1370), (-22, -30, 1440)], [11, 9, 8], T.BLOOD, over=over)
    canvas.paint_tube([(-20, 12, 1250), (-18, 14, 1130), (-16, 18, 1045)], 11, T.BLOOD, over=over)
    canvas.paint_tube([(8, -35, 1325), (10, -18, 1358)], 13, T.BLOOD, over=over)
    for side in (-1.0, 1.0):
        canvas.paint_tube([(5, -12, 1356), (side * 42, 5, 1352), (side * 70, 12, 1340)], [11, 9, 5], T.BLOOD, over=over)
        canvas.paint_tube([(-4, 16, 1045), (side * 48, 18, 985), (side * 72, -45, 905), (side * 80, -55, 860)],
                          [8, 8, 7, 6], T.BLOOD, over=over)  # fmt: skip
        canvas.paint_tube(
            [(side * 10, -15, 1410), (side * 26, -15, 1480), (side * 30, -12, 1570)], 5.5, T.BLOOD, over=over
        )
        canvas.paint_tube([(0, -2, 1362), (side * 32, 5, 1342)], [8, 5], T.GAS)
    canvas.paint_tube([(0, -30, 1500), (0, -12, 1420), (0, -2, 1362)], 8.5, T.GAS)
    canvas.paint_tube([(3, 0, 1505), (4, 18, 1400), (6, 20, 1280), (22, -5, 1215)], 7, T.OESOPHAGUS, over=over)


def _paint_heart(canvas: Canvas, sizes: Sizes) -> None:
    size = sizes.scale((56, 46, 52), 0.05)
    over = allow(T.LUNG, T.MEDIASTINUM, T.FAT)
    canvas.paint_ellipsoid((8, -22, 1295), size, T.HEART_WALL, over=over)
    canvas.paint_ellipsoid((8, -22, 1295), (size[0] - 4, size[1] - 4, size[2] - 4), T.BLOOD, over=allow(T.HEART_WALL))
    paint_ventricle(canvas, sizes, (28, -28, 1280))


def paint_ventricle(canvas: Canvas, sizes: Sizes, centre: PointMm, *, over: Mask | None = None) -> None:
    """Paint the left ventricle: a cup of myocardium along an axis to the left, forward and down."""
    found = canvas.measure_ellipsoid(centre, (75, 75, 75))
    if found is None:
        return
    box, _ = found
    axis = (0.68, -0.48, -0.55)
    dx, dy, dz = canvas.x[box] - centre[0], canvas.y[box] - centre[1], canvas.z[box] - centre[2]
    along = dx * axis[0] + dy * axis[1] + dz * axis[2]
    across = np.sqrt(np.maximum(dx**2 + dy**2 + dz**2 - along**2, 0.0))
    long, wide, _ = sizes.scale((46, 31, 31), 0.06)
    outer = (along / long) ** 2 + (across / wide) ** 2
    inner = (along / (long - 10)) ** 2 + (across / (wide - 11)) ** 2
    canvas.paint(box, (outer < 1) & (along > -24), T.MYOCARDIUM, over=over)
    hollow = (inner < 1) | ((across < wide - 11) & (along < 0) & (along > -24))
    canvas.paint(box, hollow, T.BLOOD, over=allow(T.MYOCARDIUM))


def paint_upper_abdomen(canvas: Canvas, sizes: Sizes) -> None:
    """Paint liver, gallbladder, spleen, stomach, pancreas and kidneys."""
    found = find_cavity_radius(canvas)
    if found is None:
        return
    box, radius = found
    x, y, z = canvas.x[box], canvas.y[box], canvas.z[box]
    lower = 1078 + sizes.rng.normal(0, 14) + 0.62 * np.maximum(x + 118, 0) + 0.25 * np.maximum(y, -30)
    liver = (radius < 0.93) & (z < find_dome_height(x, y) - 4) & (z > lower) & (x < 68 + sizes.rng.normal(0, 10))
    liver &= ~((np.abs(x) < 34) & (y > 12))
    canvas.paint(box, liver, T.LIVER, over=allow(T.FAT, T.MUSCLE))
    canvas.paint_ellipsoid((-52, -42, 1128), sizes.scale((14, 18, 28), 0.2), T.GALLBLADDER)
    spleen, radii = sizes.shift((92, 38, 1178)), sizes.scale((23, 34, 46), 0.12)
    canvas.paint_ellipsoid(spleen, radii, T.SPLEEN, over=allow(T.FAT, T.MUSCLE))
    _paint_stomach(canvas, sizes)
    canvas.paint_tube(
        [(-28, -8, 1110), (0, -22, 1130), (40, 5, 1150), (78, 25, 1170)], [14, 11, 10, 8], T.PANCREAS, over=BELLY
    )
    for side in (-1.0, 1.0):
        _paint_kidney(canvas, sizes, side)


def _paint_stomach(canvas: Canvas, sizes: Sizes) -> None:
    line = [sizes.shift(p) for p in ((52, 5, 1195), (62, -20, 1155), (45, -45, 1120), (-8, -45, 1118))]
    full = float(np.exp(sizes.rng.normal(0.0, 0.2)))
    radii = [34 * full, 29 * full, 22 * full, 13]
    over = allow(T.FAT, T.MUSCLE, T.SMALL_BOWEL)
    canvas.paint_tube(line, radii, T.STOMACH_WALL, core=(6.5, T.STOMACH_CONTENT), over=over)
    if sizes.rng.random() < 0.5:
        top = line[1]
        canvas.paint_ellipsoid((top[0], top[1] - 12, top[2] + 8), (16, 8, 18), T.GAS, over=allow(T.STOMACH_CONTENT))


def _paint_kidney(canvas: Canvas, sizes: Sizes, side: float) -> None:
    x, y, z = sizes.shift((side * 64, 42, 1122 + 8 * side))
    canvas.paint_ellipsoid((x, y, z), (34, 34, 60), T.FAT, over=allow(T.MUSCLE, T.LIVER))
    canvas.paint_ellipsoid((x, y, z), sizes.scale((25, 25, 52)), T.KIDNEY)
    paint_urine(canvas, sizes, (x, y, z), side)


def paint_urine(canvas: Canvas, sizes: Sizes, kidney: PointMm, side: float) -> None:
    """Paint sinus, calyces, renal pelvis and ureter of a kidney; side: −1 right, 1 left."""
    x, y, z = kidney
    rng = sizes.rng
    full = float(np.exp(rng.normal(0.0, 0.35)))
    inside = allow(T.KIDNEY, T.RENAL_SINUS)
    canvas.paint_ellipsoid((x - side * 9, y - 3, z), (14, 11, 30), T.RENAL_SINUS, over=allow(T.KIDNEY))
    middle: PointMm = (x - side * 15, y - 4, z - 4)
    for height in np.linspace(-30, 30, int(rng.integers(3, 7))).tolist():
        if rng.random() < 0.25:  # an empty calyx
            continue
        size = float(np.clip(4.6 * full * np.exp(rng.normal(0.0, 0.35)), 2.5, 11.0))
        tip: PointMm = (x - side * float(rng.uniform(-4, 6)), y + float(rng.normal(0, 5)), z + height)
        canvas.paint_tube([middle, tip], [2.2, 0.6 * size], T.RENAL_PELVIS, over=inside)
        canvas.paint_ellipsoid(tip, (size, size, 1.2 * size), T.RENAL_PELVIS, over=inside)
    radii = (6 * full, 6 * full, 10 * full)
    canvas.paint_ellipsoid(
        (x - side * 18, y - 4, z - 4), radii, T.RENAL_PELVIS, over=allow(T.KIDNEY, T.RENAL_SINUS, T.FAT)
    )
    ureter: list[PointMm] = [(x - side * 20, y - 8, z - 15)]
    ureter += [(side * 36, 22, 1060), (side * 44, 18, 990), (side * 40, 45, 925), (side * 16, 20, 908)]
    canvas.paint_tube(ureter, 3.6, T.URETER, over=allow(T.FAT, T.MUSCLE, T.SMALL_BOWEL, T.MEDIASTINUM))


def paint_bowel(canvas: Canvas, sizes: Sizes) -> None:
    """Paint loops of small bowel, and the colon with haustra, stool and gas."""
    _paint_small_bowel(canvas, sizes.rng)
    _paint_colon(canvas, sizes)


def _paint_small_bowel(canvas: Canvas, rng: np.random.Generator) -> None:
    """Paint a wandering loop, kept inside the abdomen, collapsed in some parts and wide in others."""
    point = np.array((60.0, -20.0, 1085.0))
    direction = rng.normal(size=3)
    loops: list[PointMm] = []
    for _ in range(130):
        direction = 0.6 * direction + rng.normal(0.0, 0.9, 3)
        point = point + 22.0 * direction / max(float(np.linalg.norm(direction)), 1e-3)
        point = np.clip(point, (-80.0, -60.0, 925.0), (84.0, 14.0, 1108.0))
        loops.append((float(point[0]), float(point[1]), float(point[2])))
    slow = np.convolve(rng.normal(0.0, 1.0, len(loops) + 8), np.ones(9) / 3.0, "valid")
    radii = np.clip(12.0 * np.exp(0.28 * slow), 6.0, 20.0)
    canvas.paint_tube(loops, radii.tolist(), T.SMALL_BOWEL, over=allow(T.FAT))


def _paint_colon(canvas: Canvas, sizes: Sizes) -> None:
    rng = sizes.rng
    colon: list[PointMm] = [(-88, -20, 985), (-96, -8, 1040), (-92, -15, 1085), (-55, -52, 1090), (0, -62, 1075),
                          (55, -52, 1100), (92, 0, 1140), (100, 12, 1080), (98, 0, 1010), (75, -5, 965), (35, 5, 985),
                          (5, 30, 965), (0, 52, 930), (0, 60, 890), (0, 66, 862)]  # fmt: skip
    knots = np.array([sizes.shift(p, 6.0) for p in colon])
    size = np.linspace(25, 15, len(knots)) * np.exp(rng.normal(0, 0.15, len(knots)))
    at = np.linspace(0, len(knots) - 1, 3 * (len(knots) - 1) + 1)  # haustra: about every 20 mm a waist
    line: list[PointMm] = [
        (float(x), float(y), float(z))
        for x, y, z in zip(*(np.interp(at, range(len(knots)), knots[:, axis]) for axis in range(3)), strict=True)
    ]
    waist = np.where(np.arange(len(at)) % 2 == 0, 1.1, float(rng.uniform(0.6, 0.95)))
    radii = (np.interp(at, range(len(knots)), size) * waist).tolist()
    over = allow(T.FAT, T.SMALL_BOWEL)
    canvas.paint_tube(line, radii, T.COLON_WALL, core=(5.5, T.COLON_CONTENT), over=over)
    for (x, y, z), r in zip(line[::2], radii[::2], strict=True):
        if rng.random() < 0.35:  # gas floats to the front
            floating = (x, y - 0.3 * r, z), (0.6 * r, 0.5 * r, 1.2 * r)
            canvas.paint_ellipsoid(*floating, T.GAS, over=allow(T.COLON_CONTENT))


def paint_pelvis(canvas: Canvas, sizes: Sizes, build: Build) -> None:
    """Paint bladder and genital organs."""
    if build.sex == "F":
        canvas.paint_ellipsoid(sizes.shift((0, 18, 945)), sizes.scale((24, 20, 28), 0.15), T.UTERUS)
    _paint_bladder(canvas, sizes)
    if build.sex == "M":
        canvas.paint_ellipsoid((0, -2, 876), sizes.scale((20, 16, 17), 0.15), T.PROSTATE)
        for side in (-1.0, 1.0):
            canvas.paint_ellipsoid((side * 16, -78, 815), (17, 19, 26), T.FAT, over=allow(T.OUTSIDE, T.FAT, T.MUSCLE))
            canvas.paint_ellipsoid((side * 16, -78, 812), sizes.scale((11, 13, 18)), T.TESTIS)


def _paint_bladder(canvas: Canvas, sizes: Sizes) -> None:
    """Paint a bladder, mostly flat and half full, hollow on top where the bowel lies on it; and the urethra."""
    kind = sizes.rng.random()
    if kind < 0.12:  # voided
        width, depth, height = sizes.scale((20, 15, 9), 0.15)
    elif kind < 0.75:  # a flat crescent
        width, depth, height = sizes.scale((43, 31, 19), 0.12)
    else:  # full and round
        width, depth, height = sizes.scale((46, 38, 38), 0.15)
    found = canvas.measure_ellipsoid((0, -18, 892 + height), (width, depth, height))
    if found is not None:
        box, radius = found
        x, y, z = canvas.x[box], canvas.y[box], canvas.z[box]
        dent = (
            float(sizes.rng.uniform(0.0, 0.55))
            * height
            * np.exp(-((x / (0.55 * width)) ** 2) - ((y + 18) / depth) ** 2)
        )
        canvas.paint(box, (radius < 1) & (z < 892 + 2 * height - dent), T.BLADDER)
    canvas.paint_tube([(0, -20, 893), (0, -18, 855)], 4, T.URETHRA, over=allow(T.FAT, T.MUSCLE, T.MEDIASTINUM))


def paint_brown_fat(canvas: Canvas) -> None:
    """Mark the depots of brown fat: above the collar bones and beside the spine."""
    for side in (-1.0, 1.0):
        canvas.paint_tube(
            [(side * 30, 0, 1492), (side * 58, -5, 1472), (side * 95, 0, 1462)], 8, T.BROWN_FAT, over=SOFT
        )
        for z in range(1190, 1430, 24):
            canvas.paint_ellipsoid((side * 24, 62, z), (5, 5, 5), T.BROWN_FAT, over=allow(T.FAT, T.MEDIASTINUM, T.LUNG))
