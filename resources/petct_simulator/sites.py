"""Where lesions and benign foci sit: node chains and joints of the reference body, or inside a tissue."""

import numpy as np
from scipy import ndimage

from petct_simulator.anatomy import Anatomy
from petct_simulator.body import arm_line
from petct_simulator.shapes import Mask, Point, allow
from petct_simulator.tissue import Tissue

T = Tissue
Voxel = tuple[int, int, int]
# Points of the reference body in mm: x to the left (mirrored at random), y to the back, z above the soles.
CHAINS: dict[str, list[Point]] = {
    "cervical": [(38, 5, 1560), (42, 8, 1535), (44, 8, 1510), (40, 12, 1490)],
    "supraclavicular": [(45, -10, 1470), (55, -5, 1475)],
    "axillary": [(138, 12, 1395), (135, 20, 1375), (125, -10, 1400), (140, 15, 1415)],
    "mediastinal": [(18, -15, 1420), (22, -18, 1395), (18, -25, 1375), (8, 8, 1345), (5, -55, 1390)],
    "hilar": [(42, 5, 1345), (46, 8, 1330)],
    "para-aortic": [(26, 10, 1130), (24, 5, 1100), (22, 5, 1070), (0, -8, 1110), (12, -12, 1160)],
    "mesenteric": [(15, -30, 1075), (0, -35, 1050), (30, -25, 1040)],
    "iliac": [(48, 10, 1000), (62, -5, 965), (60, 10, 940), (75, -30, 920)],
    "inguinal": [(82, -72, 890), (80, -72, 865), (76, -70, 840)],
    "adrenal": [(42, 30, 1178)],
    "facet": [(17, 75, 1060), (17, 72, 1100), (16, 58, 1500)],
    "joint": [(168, 5, 1428), (90, 2, 935), (150, -5, 1460), (105, 5, 480)],
}
TISSUES: dict[str, Mask] = {
    "lung": allow(T.LUNG),
    "liver": allow(T.LIVER),
    "spleen": allow(T.SPLEEN),
    "bone": allow(T.RED_MARROW),
    "rib": allow(T.CORTEX),
    "muscle": allow(T.MUSCLE),
    "soft tissue": allow(T.FAT, T.MUSCLE),
    "bowel": allow(T.SMALL_BOWEL, T.COLON_WALL),
}
# Nodes grow in fat and between muscles; not in air, bone or solid organs.
NODE_TISSUES = allow(
    T.FAT, T.MUSCLE, T.MEDIASTINUM, T.BLOOD, T.SMALL_BOWEL, T.BROWN_FAT, T.LUNG, T.URETER, T.OESOPHAGUS
)
ANY = np.ones(256, dtype=bool)


def find_site(anatomy: Anatomy, site: str, rng: np.random.Generator) -> Voxel | None:
    """Return a voxel (z, y, x) of a site; None when this study does not show it."""
    if site == "hand":
        return _near(anatomy, [arm_line(1, anatomy.build.arms)[2]], ANY, 12.0, rng)
    if site in ("facet", "joint"):
        return _near(anatomy, CHAINS[site], ANY, 3.0, rng)
    if site in CHAINS:
        return _near(anatomy, CHAINS[site], NODE_TISSUES, 7.0, rng)
    if site == "skin":
        return _within(
            anatomy, ndimage.binary_dilation(anatomy.canvas.tissue == T.SKIN) & (anatomy.canvas.tissue == T.FAT), rng
        )
    inside = TISSUES[site][anatomy.canvas.tissue]
    if site == "rib":
        inside &= (anatomy.canvas.z > 1150) & (anatomy.canvas.z < 1420) & (np.abs(anatomy.canvas.x) > 60)
    if site in ("lung", "liver", "spleen", "muscle"):
        inside = ndimage.binary_erosion(inside)
    if site in ("muscle", "soft tissue", "bone"):
        inside &= anatomy.canvas.z < 1560
    return _within(anatomy, inside, rng)


def _near(
    anatomy: Anatomy, points: list[Point], over: Mask, spread_mm: float, rng: np.random.Generator
) -> Voxel | None:
    for _ in range(8):
        point = points[int(rng.integers(len(points)))]
        side = float(rng.choice([-1.0, 1.0]))
        x, y, z = np.array((side * point[0], point[1], point[2])) + rng.normal(0.0, spread_mm, 3)
        voxel = anatomy.canvas.locate((float(x), float(y), float(z)))
        if voxel is not None and anatomy.canvas.tissue[voxel] > 0 and over[anatomy.canvas.tissue[voxel]]:
            return voxel
    return None


def _within(anatomy: Anatomy, inside: Mask, rng: np.random.Generator) -> Voxel | None:
    candidates = np.flatnonzero(inside)
    if candidates.size == 0:
        return None
    z, y, x = np.unravel_index(int(candidates[int(rng.integers(candidates.size))]), anatomy.canvas.tissue.shape)
    return int(z), int(y), int(x)
