"""What one examination of a body shows: uptake, CT numbers, inner patterns, scanner. Drawn once per study or patch.

Two ways to draw: as fitted to real studies, and varied far beyond the plausible (domain randomisation, Billot et al.
2023, Med Image Anal 86:102789), so that what the real world shows lies inside the variety, not at its centre.
Sources of the fitted figures: `tissue`; noise and resolution of a Siemens and of a GE scanner, kidneys, bladder and
brain as measured (docs/explanation/simulation.md).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from petct_simulator.scanners import CtScanner, PetScanner, draw_ct_scanner, draw_pet_scanner
from petct_simulator.tissue import UPTAKE, Tissue, draw_hu, draw_uptake

T = Tissue
PATTERN_FWHM_MM = (8.0, 18.0, 35.0, 90.0)
_BRAIN = (T.GREY_MATTER, T.WHITE_MATTER, T.CEREBELLUM, T.CSF, T.DEEP_GREY)
_HOT = (*_BRAIN, T.MYOCARDIUM, T.KIDNEY, T.RENAL_PELVIS, T.URETER, T.BLADDER, T.LIVER, T.SPLEEN, T.STOMACH_WALL,
        T.SMALL_BOWEL, T.COLON_WALL, T.COLON_CONTENT, T.TONSIL, T.TONGUE, T.LARYNX, T.MUCOSA, T.SALIVARY, T.THYROID,
        T.OESOPHAGUS, T.TESTIS, T.UTERUS, T.PROSTATE, T.URETHRA, T.BROWN_FAT, T.HEART_WALL, T.RED_MARROW)  # fmt: skip
_STILL = (T.OUTSIDE, T.TABLE, T.TABLE_FOAM, T.MATTRESS)
_HU_ROUGHNESS = {T.FAT: 9, T.MUSCLE: 9, T.RED_MARROW: 60, T.CORTEX: 150, T.COLON_CONTENT: 90, T.MEDIASTINUM: 55,
                 T.BREAST: 30, T.SKIN: 30, T.LIVER: 4, T.KIDNEY: 10, T.STOMACH_CONTENT: 25, T.SMALL_BOWEL: 15,
                 T.LUNG: 12}  # fmt: skip

# Tissues that are never hot, and how warm they may be: blood soon or long after injection, muscle in use, marrow.
_WARM = ((T.BLOOD, 0.8, 4.5), (T.MUSCLE, 0.4, 2.5), (T.RED_MARROW, 0.6, 6.0), (T.MEDIASTINUM, 0.4, 2.5),
         (T.FAT, 0.1, 1.0), (T.LUNG, 0.2, 1.6), (T.SKIN, 0.3, 2.0), (T.BREAST, 0.4, 3.0))  # fmt: skip

Table = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Examination:
    """Uptake and CT numbers of every tissue, and the scanners.

    Args:
        suv: (tissues,) uptake.
        pattern: (scales, tissues), SD of the logarithm of the uptake at each scale of `PATTERN_FWHM_MM`.
        holes: (tissues,), share of the uptake that cold areas of an organ lose.
        hu: (tissues,) CT number.
        roughness_hu: (tissues,), SD of the CT number inside a tissue.
        vessels: whether the CT shows the lungs' vessels.
        pet, ct: the scanners.
    """

    suv: Table
    pattern: Table
    holes: Table
    hu: Table
    roughness_hu: Table
    vessels: bool
    pet: PetScanner
    ct: CtScanner


def draw_examination(rng: np.random.Generator, weight_kg: float, *, varied: bool) -> Examination:
    """Return an examination of a patient, fitted, or varied beyond the plausible."""
    suv = draw_uptake(rng, weight_kg)
    pattern = _draw_fitted_pattern(rng)
    holes = np.zeros(len(T), dtype=np.float32)
    if varied:
        suv = _vary_uptake(suv, rng)
        pattern = _vary_pattern(pattern, rng)
        _dig_holes(holes, rng)
    suv[list(_STILL)] = 0.0
    pattern[:, list(_STILL)] = 0.0
    ct, contrast = draw_ct_scanner(rng, varied=varied)
    roughness = np.zeros(len(T), dtype=np.float32)
    for label, spread in _HU_ROUGHNESS.items():
        roughness[label] = spread
    hu = draw_hu(rng, contrast)
    if varied:
        hu += rng.normal(0.0, 12.0, len(T)).astype(np.float32) * (hu > -200)
        roughness *= float(rng.uniform(0.3, 1.5))
    hu[T.OUTSIDE] = -1000.0
    for label, value in ((T.TABLE, -330.0), (T.TABLE_FOAM, -930.0), (T.MATTRESS, -890.0)):
        hu[label] = value if ct.table else -1000.0
    vessels = bool(rng.random() < 0.85)
    pet = draw_pet_scanner(rng, weight_kg, varied=varied)
    return Examination(suv, pattern, holes, hu, roughness, vessels, pet, ct)


def _draw_fitted_pattern(rng: np.random.Generator) -> Table:
    pattern = np.zeros((len(PATTERN_FWHM_MM), len(T)), dtype=np.float32)
    for tissue, uptake in UPTAKE.items():
        pattern[0, tissue] = 0.8 * uptake.fine
        pattern[1, tissue] = 0.6 * uptake.fine
        pattern[2, tissue] = uptake.coarse
    pattern[3, [T.COLON_WALL, T.SMALL_BOWEL, T.COLON_CONTENT]] = 0.30
    if rng.random() < 0.12:  # muscles in use: one region takes up several times what the others do
        pattern[3, T.MUSCLE] = float(rng.uniform(0.3, 0.7))
    return pattern


def _vary_uptake(suv: Table, rng: np.random.Generator) -> Table:
    """Return uptake spread 1, 2 or 3.5 times as wide between patients, and a brain of any level and pattern."""
    wider = float(rng.choice([0.0, 1.0, 2.5], p=[0.3, 0.4, 0.3]))
    spread = np.array([UPTAKE[t].spread for t in T], dtype=np.float32)
    suv = suv * np.exp(np.clip(wider * spread * rng.standard_normal(len(T)), -2.5, 2.2)).astype(np.float32)
    suv *= np.float32(np.exp(rng.normal(0.0, 0.12)))
    if rng.random() < 0.8:
        suv = _vary_brain(suv, rng)
    if rng.random() < 0.35:  # kidneys as hot as any seen, and calyces from empty to glaring
        suv[T.KIDNEY] = np.exp(rng.uniform(np.log(1.5), np.log(8.0)))
        suv[T.RENAL_PELVIS] = np.exp(rng.uniform(np.log(1.5), np.log(60.0)))
    for tissue in (T.MYOCARDIUM, T.COLON_WALL, T.SMALL_BOWEL, T.STOMACH_WALL, T.TONSIL, T.MUCOSA, T.TONGUE, T.LARYNX,
                   T.SALIVARY, T.THYROID, T.OESOPHAGUS, T.TESTIS, T.UTERUS, T.SPLEEN, T.LIVER, T.URETER, T.URETHRA,
                   T.BROWN_FAT, T.PANCREAS, T.HEART_WALL, T.BLADDER, T.GALLBLADDER, T.COLON_CONTENT):  # fmt: skip
        if rng.random() < 0.08:
            suv[tissue] = np.exp(rng.uniform(np.log(0.7), np.log(14.0)))
    for tissue, low, high in _WARM:
        if rng.random() < 0.2:
            suv[tissue] = np.exp(rng.uniform(np.log(low), np.log(high)))
    return np.clip(suv, 0.0, 220.0).astype(np.float32)


def _vary_brain(suv: Table, rng: np.random.Generator) -> Table:
    level = np.exp(rng.uniform(np.log(3.0), np.log(22.0)))
    kind = rng.random()
    shares = {  # of the level: grey, white, cerebellum, fluid, deep nuclei
        "solid": (1.0, rng.uniform(0.75, 1.1), rng.uniform(0.6, 1.1), rng.uniform(0.4, 1.0), rng.uniform(0.95, 1.35)),
        "ribbon": (1.0, rng.uniform(0.25, 0.5), rng.uniform(0.5, 0.9), rng.uniform(0.1, 0.3), rng.uniform(0.9, 1.2)),
        "nuclei": (rng.uniform(0.4, 0.8), rng.uniform(0.3, 0.6), rng.uniform(0.5, 1.2), 0.25, 1.0),
        "free": tuple(np.exp(rng.normal((0.0, -0.5, -0.3, -1.2, 0.1), 0.5)).tolist()),
    }
    share = shares["solid" if kind < 0.4 else "ribbon" if kind < 0.6 else "nuclei" if kind < 0.75 else "free"]
    suv = suv.copy()
    suv[list(_BRAIN)] = level * np.asarray(share)
    return suv


def _vary_pattern(pattern: Table, rng: np.random.Generator) -> Table:
    """Return patterns in which every hot organ has its own strength at every scale."""
    pattern = pattern * np.exp(rng.normal(0.0, 0.4, pattern.shape)).astype(np.float32)
    strength = rng.choice([0.0, 0.15, 0.35, 0.6], p=[0.35, 0.3, 0.22, 0.13], size=(3, len(_HOT)))
    pattern[:3, list(_HOT)] = strength
    wide = rng.choice([0.0, 0.3, 0.7], p=[0.6, 0.25, 0.15], size=len(_HOT))
    pattern[3, list(_HOT)] = wide
    if rng.random() < 0.25:
        pattern[3, T.MUSCLE] = float(rng.uniform(0.2, 0.9))
    if rng.random() < 0.2:
        pattern[:3, [T.MUSCLE, T.FAT, T.BLOOD, T.LUNG, T.MEDIASTINUM]] = rng.uniform(0.0, 0.35, (3, 5))
    return pattern


def _dig_holes(holes: Table, rng: np.random.Generator) -> None:
    if rng.random() < 0.3:
        holes[list(_BRAIN)] = rng.uniform(0.3, 0.85)
    for tissue in (T.MYOCARDIUM, T.LIVER, T.SPLEEN, T.KIDNEY, T.BLADDER, T.THYROID, T.STOMACH_WALL, T.COLON_WALL):
        if rng.random() < 0.12:
            holes[tissue] = rng.uniform(0.3, 0.9)
