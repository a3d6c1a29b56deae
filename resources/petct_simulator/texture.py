"""Tissue labels → uptake and HU before the scanner: texture inside organs, and the variants of a normal study."""

import numpy as np
from scipy import special

from petct_simulator.anatomy import Anatomy
from petct_simulator.shapes import Mask, Volume, smooth_field
from petct_simulator.tissue import UPTAKE, Tissue, draw_hu, draw_uptake

T = Tissue


def uptake_map(anatomy: Anatomy, rng: np.random.Generator) -> Volume:
    """Return the SUV of every voxel (z, y, x) before blur and noise, without lesions."""
    canvas, lattice = anatomy.canvas, anatomy.lattice
    tissue = canvas.tissue
    suv = draw_uptake(rng, anatomy.weight_kg)
    fine = np.array([UPTAKE[t].fine for t in T], dtype=np.float32)
    coarse = np.array([UPTAKE[t].coarse for t in T], dtype=np.float32)
    pattern = fine[tissue] * smooth_field(lattice.shape, lattice.spacing_mm, 12.0, rng)
    pattern += coarse[tissue] * smooth_field(lattice.shape, lattice.spacing_mm, 40.0, rng)
    activity: Volume = suv[tissue]
    activity *= np.exp(np.clip(pattern, -3.0, 1.8))
    _load_lungs(anatomy, activity)
    _activate_muscle(anatomy, activity, rng)
    return activity


def _load_lungs(anatomy: Anatomy, activity: Volume) -> None:
    # Blood collects in the dependent lung: about a third more uptake at the back than in front.
    lung = anatomy.canvas.tissue == T.LUNG
    activity[lung] *= 1.0 + 0.0018 * anatomy.canvas.y[lung]


def _activate_muscle(anatomy: Anatomy, activity: Volume, rng: np.random.Generator) -> None:
    canvas = anatomy.canvas
    kind = rng.random()
    gain = float(rng.uniform(1.6, 4.0))
    side = float(rng.choice([-1.0, 1.0]))
    both = rng.random() < 0.5
    muscle = canvas.tissue == T.MUSCLE
    x, z = canvas.x[muscle], canvas.z[muscle]
    half = np.float32(1.0) if both else _rise(side * x, 15.0)
    if kind < 0.04:  # neck, after talking or from tension
        share = half * _rise(z, 1455.0) * _rise(-z, -1570.0)
    elif kind < 0.08:  # one shoulder or arm
        share = _rise(side * x, 130.0) * _rise(z, 1060.0)
    elif kind < 0.11:  # thighs and buttocks
        share = half * _rise(-z, -985.0)
    elif kind < 0.13:  # a meal or insulin: all muscles, mildly
        share, gain = np.ones_like(x), float(rng.uniform(1.4, 2.2))
    else:
        return
    activity[muscle] *= 1.0 + (gain - 1.0) * share


def _rise(position_mm: Volume, edge_mm: float) -> Volume:
    return np.asarray(special.expit((position_mm - edge_mm) / 8.0), dtype=np.float32)


def hu_map(anatomy: Anatomy, contrast: float, rng: np.random.Generator) -> Volume:
    """Return the HU of every voxel (z, y, x) before noise, without lesions; contrast as in `draw_hu`."""
    canvas, lattice = anatomy.canvas, anatomy.lattice
    tissue = canvas.tissue
    hu: Volume = draw_hu(rng, contrast)[tissue]
    fine = smooth_field(lattice.shape, lattice.spacing_mm, 9.0, rng)
    roughness = np.zeros(len(T), dtype=np.float32)
    for label, spread in ((T.FAT, 9), (T.MUSCLE, 9), (T.RED_MARROW, 60), (T.CORTEX, 150), (T.COLON_CONTENT, 90),
                          (T.MEDIASTINUM, 55), (T.BREAST, 30), (T.SKIN, 30), (T.LIVER, 4), (T.KIDNEY, 10),
                          (T.STOMACH_CONTENT, 25), (T.SMALL_BOWEL, 15)):  # fmt: skip
        roughness[label] = spread
    hu += roughness[tissue] * fine
    lung = tissue == T.LUNG
    hu[lung] += 0.5 * canvas.y[lung] + 12 * fine[lung]
    _branch_lungs(anatomy, hu, lung, rng)
    return hu


def _branch_lungs(anatomy: Anatomy, hu: Volume, lung: Mask, rng: np.random.Generator) -> None:
    # Vessels: where two random fields both pass through zero there are lines; the nearer the hilum the thicker.
    lattice = anatomy.lattice
    first = smooth_field(lattice.shape, lattice.spacing_mm, 26.0, rng)[lung]
    second = smooth_field(lattice.shape, lattice.spacing_mm, 26.0, rng)[lung]
    x, y, z = anatomy.canvas.x[lung], anatomy.canvas.y[lung], anatomy.canvas.z[lung]
    hilum = np.sqrt((np.abs(x) - 40.0) ** 2 + (y - 5.0) ** 2 + (0.7 * (z - 1345.0)) ** 2)
    thick = np.clip(0.30 - 0.0016 * hilum, 0.06, 0.30)
    hu[lung] += 620.0 * np.exp(-(first**2 + second**2) / thick**2)
