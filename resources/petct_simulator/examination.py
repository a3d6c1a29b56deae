"""What one examination of a body shows: uptake, CT numbers, inner patterns, scanner. Drawn once per study or patch.

Two ways to draw: as fitted to real studies, and varied far beyond the plausible (domain randomisation, Billot et al.
2023, Med Image Anal 86:102789), so that what the real world shows lies inside the variety, not at its centre.
Sources of the fitted figures: `tissue`; noise and resolution of a Siemens and of a GE scanner, kidneys, bladder and
brain as measured (docs/explanation/simulation.md).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
class PetScanner:
    """The PET of one examination.

    Args:
        fwhm_mm: point spread.
        noise: SD of a voxel over its uptake, at SUV 2.8.
        noise_fwhm_mm: kernel that correlates the noise, in plane and along z.
        end_noise: how much noisier the end slices are (0: not), falling off over end_mm.
        end_mm: see end_noise.
        floor_suv: uptake whose noise the air around the patient has.
        breath_mm: SD of the diaphragm's excursion.
        filter_fwhm_mm: of a filter after reconstruction; negative sharpens; 0 none.
    """

    fwhm_mm: float
    noise: float
    noise_fwhm_mm: tuple[float, float]
    end_noise: float
    end_mm: float
    floor_suv: float
    breath_mm: float
    filter_fwhm_mm: float = 0.0


@dataclass(frozen=True, slots=True)
class CtScanner:
    """The CT of one examination.

    Args:
        noise_hu: SD.
        fwhm_mm: width of the tissue borders.
        shift_mm: (x, y, z) against the PET.
        breath_mm: how much higher its diaphragm stands.
        field_mm: diameter of its field of view.
        table: whether it shows the table.
        metal: number of metal pieces.
    """

    noise_hu: float
    fwhm_mm: float
    shift_mm: tuple[float, float, float]
    breath_mm: float
    field_mm: float
    table: bool
    metal: int


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
    pattern = _fitted_pattern(rng)
    holes = np.zeros(len(T), dtype=np.float32)
    if varied:
        suv = _vary_uptake(suv, rng)
        pattern = _vary_pattern(pattern, rng)
        _dig_holes(holes, rng)
    suv[list(_STILL)] = 0.0
    pattern[:, list(_STILL)] = 0.0
    ct, contrast = _draw_ct(rng, varied=varied)
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
    return Examination(
        suv, pattern, holes, hu, roughness, bool(rng.random() < 0.85), _draw_pet(rng, weight_kg, varied=varied), ct
    )


def _fitted_pattern(rng: np.random.Generator) -> Table:
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


def _draw_pet(rng: np.random.Generator, weight_kg: float, *, varied: bool) -> PetScanner:
    heavy = (weight_kg / 73.0) ** 0.5
    ends = rng.random() < 0.7
    if varied:
        sharper = float(rng.choice([0.0, 1.0, -1.0], p=[0.8, 0.13, 0.07]))
        return PetScanner(
            fwhm_mm=float(rng.uniform(4.0, 10.5)),
            noise=float(0.14 * np.exp(rng.normal(0.0, 0.45)) * heavy),
            noise_fwhm_mm=(float(rng.uniform(4.0, 11.5)), float(rng.uniform(3.5, 9.0))),
            end_noise=float(np.exp(rng.uniform(np.log(1.5), np.log(35.0)))) if ends else 0.0,
            end_mm=float(rng.uniform(3.0, 12.0)),
            floor_suv=float(np.exp(rng.uniform(np.log(0.005), np.log(0.3)))),
            breath_mm=float(rng.uniform(1.0, 8.0)),
            filter_fwhm_mm=sharper * float(rng.uniform(3.0, 8.0)),
        )
    siemens = rng.random() < 0.6  # the two reconstructions that were measured
    # Kernels: measured widths of the noise's autocorrelation in the liver, over the square root of 2.
    noise, in_plane, axial = (0.145, 6.0, 4.6) if siemens else (0.22, 6.1, 2.9)
    return PetScanner(
        fwhm_mm=float(rng.uniform(5.0, 7.5) if siemens else rng.uniform(5.5, 9.0)),
        noise=float(np.clip(noise * np.exp(rng.normal(0.0, 0.18)) * heavy, 0.08, 0.32)),
        noise_fwhm_mm=(float(in_plane * np.exp(rng.normal(0, 0.12))), float(axial * np.exp(rng.normal(0, 0.1)))),
        end_noise=float(np.clip(14.0 * np.exp(rng.normal(0.0, 0.5)), 4.0, 40.0)) if ends else 0.4,
        end_mm=float(rng.uniform(3.0, 6.0)),
        floor_suv=float(rng.uniform(0.04, 0.12)),
        breath_mm=float(rng.uniform(2.0, 6.0)),
    )


def _draw_ct(rng: np.random.Generator, *, varied: bool) -> tuple[CtScanner, float]:
    moved = rng.random() < (0.4 if varied else 0.2)
    shift = rng.normal(0.0, 4.0 if varied else 3.0, 3).tolist() if moved else [0.0, 0.0, 0.0]
    contrast = float(rng.uniform(0.2 if varied else 0.7, 1.3 if varied else 1.15)) if rng.random() < 0.6 else 0.0
    ct = CtScanner(
        noise_hu=float(rng.uniform(4.0, 35.0) if varied else rng.uniform(7.0, 16.0)),
        fwhm_mm=float(rng.uniform(2.0, 7.0) if varied else 3.0),
        shift_mm=(shift[0], shift[1], shift[2]),
        breath_mm=float(np.clip(rng.normal(0.0, 6.0), -14.0, 14.0)),
        field_mm=500.0 if rng.random() < 0.3 else 780.0,
        table=bool(rng.random() < (0.7 if varied else 1.0)),
        metal=int(rng.integers(1, 4)) if rng.random() < (0.2 if varied else 0.3) else 0,
    )
    return ct, contrast
