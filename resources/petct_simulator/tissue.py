"""Tissues of the simulated body: their CT numbers and their FDG uptake, and how both vary between patients.

Uptake (SUV, g/ml) of normal tissues about an hour after injection. Sources of the figures in `UPTAKE`:
    Wang et al. 2007, Mol Imaging Biol 9:83 (98 patients): cerebellum 8.0 ± 2.2, palatine tonsils 3.5 ± 1.4,
    lingual tonsils 3.1 ± 1.1, sublingual glands 3.3 ± 1.5, testes 2.6 ± 0.6;
    Shreve et al. 1999, Radiographics 19:61: the pattern of variants (myocardium from none to intense, segments of
    bowel, urine in pelvis, ureters and bladder, active muscle, brown fat);
    Boellaard et al. 2015, Eur J Nucl Med Mol Imaging 42:328: liver 1.3–3.0 and higher in heavy patients when
    normalised by body weight; metformin raises bowel uptake several times (Gontier et al. 2008, EJNMMI 35:95).
Where a source gives no figure, the value is what one real whole-body study showed (see docs/explanation/simulation.md).
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Tissue(IntEnum):
    """Labels of the tissue map of an `Anatomy`."""

    OUTSIDE = 0
    FAT = 1
    SKIN = 2
    MUSCLE = 3
    CORTEX = 4
    RED_MARROW = 5
    YELLOW_MARROW = 6
    DISC = 7
    CORD = 8
    LUNG = 9
    GAS = 10
    BLOOD = 11
    MYOCARDIUM = 12
    LIVER = 13
    SPLEEN = 14
    STOMACH_WALL = 15
    STOMACH_CONTENT = 16
    SMALL_BOWEL = 17
    COLON_WALL = 18
    COLON_CONTENT = 19
    KIDNEY = 20
    RENAL_PELVIS = 21
    URETER = 22
    BLADDER = 23
    GALLBLADDER = 24
    PANCREAS = 25
    GREY_MATTER = 26
    WHITE_MATTER = 27
    CEREBELLUM = 28
    CSF = 29
    EYE = 30
    SALIVARY = 31
    TONSIL = 32
    TONGUE = 33
    LARYNX = 34
    THYROID = 35
    OESOPHAGUS = 36
    UTERUS = 37
    PROSTATE = 38
    TESTIS = 39
    BREAST = 40
    BROWN_FAT = 41
    MEDIASTINUM = 42
    CARTILAGE = 43
    DEEP_GREY = 44
    MUCOSA = 45
    URETHRA = 46
    RENAL_SINUS = 47
    HEART_WALL = 48
    TABLE = 49
    TABLE_FOAM = 50
    MATTRESS = 51


@dataclass(frozen=True, slots=True)
class Uptake:
    """SUV of a tissue.

    median: SUV of the median patient; spread: SD of its logarithm between patients;
    fine, coarse: SD of the logarithm inside one organ, correlated over about 12 and 40 mm.
    """

    median: float
    spread: float = 0.15
    fine: float = 0.06
    coarse: float = 0.05


T = Tissue
UPTAKE: dict[Tissue, Uptake] = {
    T.OUTSIDE: Uptake(0.0, 0.0, 0.0, 0.0),
    T.FAT: Uptake(0.29, 0.20, 0.15, 0.15),
    T.SKIN: Uptake(0.55, 0.20),
    T.MUSCLE: Uptake(0.75, 0.13, 0.08, 0.08),
    T.CORTEX: Uptake(0.80, 0.20, 0.15, 0.10),
    T.RED_MARROW: Uptake(1.45, 0.20, 0.10, 0.10),
    T.YELLOW_MARROW: Uptake(0.45, 0.20, 0.10, 0.10),
    T.DISC: Uptake(0.70, 0.15),
    T.CORD: Uptake(1.9, 0.15),
    T.LUNG: Uptake(0.50, 0.15, 0.10, 0.12),
    T.GAS: Uptake(0.15, 0.2),
    T.BLOOD: Uptake(2.0, 0.15, 0.03, 0.03),
    T.MYOCARDIUM: Uptake(3.2, 0.75, 0.10, 0.20),
    T.LIVER: Uptake(2.65, 0.15, 0.04, 0.03),
    T.SPLEEN: Uptake(2.05, 0.15, 0.04, 0.03),
    T.STOMACH_WALL: Uptake(2.5, 0.35, 0.10, 0.20),
    T.STOMACH_CONTENT: Uptake(0.8, 0.3),
    T.SMALL_BOWEL: Uptake(1.5, 0.35, 0.12, 0.30),
    T.COLON_WALL: Uptake(1.8, 0.45, 0.10, 0.45),
    T.COLON_CONTENT: Uptake(1.0, 0.35, 0.20, 0.40),
    T.KIDNEY: Uptake(2.95, 0.20, 0.10, 0.05),
    T.RENAL_PELVIS: Uptake(20.0, 0.70, 0.30, 0.30),
    T.URETER: Uptake(2.2, 0.60, 1.00, 0.80),
    T.BLADDER: Uptake(28.0, 0.85, 0.02, 0.05),
    T.GALLBLADDER: Uptake(0.6, 0.3),
    T.PANCREAS: Uptake(1.7, 0.15),
    T.GREY_MATTER: Uptake(14.5, 0.22, 0.08, 0.05),
    T.WHITE_MATTER: Uptake(6.0, 0.22, 0.06, 0.04),
    T.CEREBELLUM: Uptake(8.5, 0.22, 0.10, 0.04),
    T.CSF: Uptake(2.5, 0.2),
    T.EYE: Uptake(1.2, 0.2),
    T.SALIVARY: Uptake(2.2, 0.35),
    T.TONSIL: Uptake(4.0, 0.35, 0.15, 0.05),
    T.TONGUE: Uptake(2.0, 0.30, 0.15, 0.10),
    T.LARYNX: Uptake(3.0, 0.45, 0.20, 0.10),
    T.THYROID: Uptake(1.5, 0.35),
    T.OESOPHAGUS: Uptake(2.0, 0.25, 0.20, 0.20),
    T.UTERUS: Uptake(2.2, 0.30, 0.15, 0.10),
    T.PROSTATE: Uptake(2.0, 0.20),
    T.TESTIS: Uptake(2.6, 0.22),
    T.BREAST: Uptake(0.9, 0.30, 0.20, 0.15),
    T.BROWN_FAT: Uptake(0.35, 0.25),
    T.MEDIASTINUM: Uptake(0.9, 0.15, 0.20, 0.10),
    T.CARTILAGE: Uptake(0.5, 0.15),
    T.DEEP_GREY: Uptake(14.0, 0.22, 0.06, 0.04),
    T.MUCOSA: Uptake(2.2, 0.30, 0.20, 0.15),
    T.URETHRA: Uptake(3.0, 0.80, 0.30, 0.20),
    T.RENAL_SINUS: Uptake(1.0, 0.30),
    T.HEART_WALL: Uptake(2.0, 0.25, 0.10, 0.10),
    T.TABLE: Uptake(0.0, 0.0, 0.0, 0.0),
    T.TABLE_FOAM: Uptake(0.0, 0.0, 0.0, 0.0),
    T.MATTRESS: Uptake(0.0, 0.0, 0.0, 0.0),
}

# HU at 100–120 kV without and with contrast medium in the portal venous phase. Usual textbook values (e.g. Kalender,
# Computed Tomography, 2011, table of CT numbers); liver, lung, fat, muscle: measured, docs/explanation/simulation.md.
HU: dict[Tissue, tuple[float, float]] = {
    T.OUTSIDE: (-1000, -1000),
    T.FAT: (-105, -103),
    T.SKIN: (10, 20),
    T.MUSCLE: (51, 60),
    T.CORTEX: (800, 800),
    T.RED_MARROW: (230, 240),
    T.YELLOW_MARROW: (40, 45),
    T.DISC: (85, 90),
    T.CORD: (32, 36),
    T.LUNG: (-820, -810),
    T.GAS: (-960, -960),
    T.BLOOD: (42, 155),
    T.MYOCARDIUM: (45, 105),
    T.LIVER: (56, 108),
    T.SPLEEN: (48, 118),
    T.STOMACH_WALL: (40, 75),
    T.STOMACH_CONTENT: (15, 15),
    T.SMALL_BOWEL: (30, 65),
    T.COLON_WALL: (35, 70),
    T.COLON_CONTENT: (-20, -20),
    T.KIDNEY: (32, 175),
    T.RENAL_PELVIS: (8, 40),
    T.URETER: (15, 40),
    T.BLADDER: (6, 8),
    T.GALLBLADDER: (10, 10),
    T.PANCREAS: (38, 85),
    T.GREY_MATTER: (38, 41),
    T.WHITE_MATTER: (29, 31),
    T.CEREBELLUM: (37, 40),
    T.CSF: (8, 8),
    T.EYE: (14, 14),
    T.SALIVARY: (15, 60),
    T.TONSIL: (48, 85),
    T.TONGUE: (50, 65),
    T.LARYNX: (60, 80),
    T.THYROID: (105, 165),
    T.OESOPHAGUS: (30, 50),
    T.UTERUS: (45, 95),
    T.PROSTATE: (40, 70),
    T.TESTIS: (35, 45),
    T.BREAST: (15, 30),
    T.BROWN_FAT: (-85, -80),
    T.MEDIASTINUM: (-30, -15),
    T.CARTILAGE: (120, 125),
    T.DEEP_GREY: (38, 41),
    T.MUCOSA: (45, 75),
    T.URETHRA: (25, 40),
    T.RENAL_SINUS: (-60, -50),
    T.HEART_WALL: (44, 110),
    T.TABLE: (-330, -330),
    T.TABLE_FOAM: (-930, -930),
    T.MATTRESS: (-890, -890),
}


def draw_uptake(rng: np.random.Generator, weight_kg: float) -> NDArray[np.float32]:
    """Return the SUV of every tissue in one patient, indexed by label.

    All tissues but fat share a factor that grows with weight, since SUV is normalised by body weight while fat
    takes up little (Keramida et al. 2016, Eur J Radiol 85:1012: liver SUV correlates with weight).
    """
    heavy = (weight_kg / 73.0) ** 0.25
    suv = np.zeros(len(Tissue), dtype=np.float32)
    for tissue, uptake in UPTAKE.items():
        suv[tissue] = uptake.median * np.exp(uptake.spread * rng.standard_normal()) * heavy
    suv[Tissue.FAT] /= heavy
    suv[Tissue.BLADDER] = np.clip(suv[Tissue.BLADDER], 3.0, 220.0)
    return _add_variants(suv, rng)


def _add_variants(suv: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    fasting = rng.random()
    if fasting < 0.35:  # long fast: the myocardium burns fat and fades into the blood pool
        suv[Tissue.MYOCARDIUM] = suv[Tissue.BLOOD] * rng.uniform(0.9, 1.4)
    brain = np.exp(0.18 * rng.standard_normal())  # blood glucose moves the whole brain at once
    for tissue in (Tissue.GREY_MATTER, Tissue.WHITE_MATTER, Tissue.CEREBELLUM):
        suv[tissue] = UPTAKE[tissue].median * brain * rng.uniform(0.95, 1.05)
    if rng.random() < 0.10:  # metformin
        suv[Tissue.COLON_WALL] *= rng.uniform(2.5, 5.0)
        suv[Tissue.SMALL_BOWEL] *= rng.uniform(1.2, 3.0)
    if rng.random() < 0.12:  # growth factors, anaemia, infection
        suv[Tissue.RED_MARROW] *= rng.uniform(1.5, 2.8)
        suv[Tissue.SPLEEN] *= rng.uniform(1.1, 1.8)
    if rng.random() < 0.08:
        suv[Tissue.BROWN_FAT] = rng.uniform(3.0, 14.0)
    if rng.random() < 0.08:
        suv[Tissue.THYROID] *= rng.uniform(2.0, 4.0)
    return suv


def draw_hu(rng: np.random.Generator, contrast: float) -> NDArray[np.float32]:
    """Return the HU of every tissue in one patient, indexed by label; contrast: 0 none … 1 portal venous phase."""
    plain = np.array([HU[tissue][0] for tissue in Tissue], dtype=np.float32)
    full = np.array([HU[tissue][1] for tissue in Tissue], dtype=np.float32)
    hu = plain + np.float32(contrast) * (full - plain) + rng.normal(0.0, 3.0, len(plain)).astype(np.float32)
    hu[Tissue.LIVER] -= max(0.0, rng.normal(0.0, 10.0))  # fatty liver
    hu[Tissue.LUNG] += rng.normal(0.0, 20.0)
    hu[Tissue.CORTEX] += rng.normal(0.0, 100.0)
    hu[Tissue.RED_MARROW] += rng.normal(0.0, 40.0)
    hu[Tissue.OUTSIDE] = -1000.0
    return hu
