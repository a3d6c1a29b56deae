"""Lesions and benign foci: how many, where, how large, how hot, and what they change in PET and CT.

Sources of the figures:
    lymphoma: highest SUV of a study 19.6 ± 9.3 when aggressive, 7.0 ± 3.1 when indolent (Schöder et al. 2005,
        J Clin Oncol 23:4643);
    lung cancer: SUVmax of squamous cell carcinoma 11.0 ± 4.1, of adenocarcinoma 7.4 ± 4.4, of their nodes 4.6 ± 3.1
        and 3.6 ± 2.5 (Wang et al. 2015, BMC Pulm Med 15:20); diameter 37 ± 20 mm (Karaman et al. 2022, JCPSP 34(12));
    melanoma: wide range of sites, skin and soft tissue among them (Strobel et al. 2007, Radiology 244:566);
    sarcoma: masses of 17–2339 ml, a quarter of them mostly cold (the 41 studies of Vallières et al. 2015).
Numbers of lesions and shares of sites are this project's choice; they are not fitted to a patient collection.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage, special

from petct_simulator.anatomy import Anatomy
from petct_simulator.frame import Lattice
from petct_simulator.shapes import Box, Mask, Point, Volume, smooth_field
from petct_simulator.sites import find_site

COHORTS = ("lymphoma", "lung_cancer", "melanoma", "negative")
# Studies per cohort of FDG-PET-CT-Lesions as the paper gives them; sarcoma only on request.
COHORT_STUDIES = {"lymphoma": 145, "lung_cancer": 168, "melanoma": 188, "negative": 513}
ISOCONTOUR = 0.42  # of the blurred lesion's maximum: the 40–42 % contour that readers of FDG-PET draw


@dataclass(frozen=True, slots=True)
class Lesion:
    """A lesion or benign focus to be placed.

    suv: uptake before blur; hu: CT number, or None where the CT shows nothing; necrosis: radius of the cold core over
    the radius; irregular: SD of the surface over the radius; grain: SD of the uptake's logarithm inside.
    """

    site: str
    voxel: tuple[int, int, int]
    radius_mm: float
    suv: float
    hu: float | None = None
    necrosis: float = 0.0
    irregular: float = 0.12
    grain: float = 0.18
    malignant: bool = True


@dataclass(frozen=True, slots=True)
class Placed:
    """A lesion on the lattice: box, share of every voxel that it fills, its uptake there, and its contour."""

    lesion: Lesion
    box: Box
    share: Volume
    uptake: Volume
    contour: Mask


def draw_cohort(rng: np.random.Generator) -> str:
    """Return a cohort with the proportions of FDG-PET-CT-Lesions."""
    counts = np.array([COHORT_STUDIES[c] for c in COHORTS], dtype=np.float64)
    return str(rng.choice(COHORTS, p=counts / counts.sum()))


def draw_lesions(cohort: str, anatomy: Anatomy, rng: np.random.Generator) -> list[Lesion]:
    """Return the lesions of a study; empty only for the negative cohort."""
    draw = {"lymphoma": _lymphoma, "lung_cancer": _lung_cancer, "melanoma": _melanoma, "sarcoma": _sarcoma}
    if cohort == "negative":
        return []
    for _ in range(20):
        found = [lesion for lesion in draw[cohort](anatomy, rng) if lesion is not None]
        if found:
            return [_faded(lesion, rng) for lesion in found]
    raise AssertionError(f"no site for a lesion of cohort {cohort} in this anatomy")


def _lognormal(rng: np.random.Generator, median: float, spread: float, low: float, high: float) -> float:
    return float(np.clip(median * np.exp(spread * rng.standard_normal()), low, high))


def _faded(lesion: Lesion, rng: np.random.Generator) -> Lesion:
    if rng.random() > 0.06:
        return lesion
    suv = max(1.5, 0.4 * lesion.suv)
    return replace(lesion, suv=suv)


def _at(
    anatomy: Anatomy,
    site: str,
    radius: float,
    suv: float,
    rng: np.random.Generator,
    necrosis: float = 0.0,
    irregular: float = 0.12,
) -> Lesion | None:
    voxel = find_site(anatomy, site, rng)
    if voxel is None:
        return None
    hu = {"lung": 30.0, "liver": 38.0, "spleen": 38.0, "bone": float(rng.choice([70.0, 600.0]))}.get(site, 42.0)
    shown: float | None = None if site == "bone" and rng.random() < 0.5 else hu + float(rng.normal(0, 8))
    return Lesion(site, voxel, radius, suv, shown, necrosis, irregular)


def _lymphoma(anatomy: Anatomy, rng: np.random.Generator) -> list[Lesion | None]:
    hot = _lognormal(rng, 15.0, 0.4, 4, 40) if rng.random() < 0.7 else _lognormal(rng, 6.0, 0.35, 2.5, 13)
    chains = [
        "cervical",
        "supraclavicular",
        "axillary",
        "mediastinal",
        "hilar",
        "para-aortic",
        "mesenteric",
        "iliac",
        "inguinal",
    ]
    chosen = rng.choice(chains, size=int(rng.integers(1, 7)), replace=False, p=_shares([3, 2, 2, 4, 2, 3, 2, 2, 2]))
    lesions: list[Lesion | None] = []
    for chain in chosen.tolist():
        for _ in range(1 + int(rng.poisson(2.5))):
            radius = _lognormal(rng, 9.5, 0.45, 3.5, 32)
            lesions.append(_at(anatomy, chain, radius, hot * float(rng.uniform(0.5, 1.05)), rng))
    if rng.random() < 0.22:  # a bulky mass
        site = str(rng.choice(["mediastinal", "mesenteric", "para-aortic"]))
        radius = float(rng.uniform(30, 55))
        lesions.append(_at(anatomy, site, radius, hot, rng, necrosis=float(rng.uniform(0, 0.5)), irregular=0.25))
    for site, chance in (("spleen", 0.15), ("bone", 0.18), ("liver", 0.08), ("soft tissue", 0.08), ("bowel", 0.06)):
        if rng.random() < chance:
            for _ in range(1 + int(rng.poisson(3.0))):
                lesions.append(
                    _at(anatomy, site, _lognormal(rng, 9, 0.4, 4, 30), hot * float(rng.uniform(0.4, 0.9)), rng)
                )
    return lesions


def _shares(weights: list[float]) -> list[float]:
    return [w / sum(weights) for w in weights]


def _lung_cancer(anatomy: Anatomy, rng: np.random.Generator) -> list[Lesion | None]:
    hot = _lognormal(rng, 9.5, 0.45, 2.5, 35)
    radius = _lognormal(rng, 18.5, 0.5, 5, 60)
    necrosis = float(rng.uniform(0.3, 0.7)) if radius > 25 and rng.random() < 0.5 else 0.0
    lesions = [_at(anatomy, "lung", radius, hot, rng, necrosis=necrosis, irregular=float(rng.uniform(0.1, 0.3)))]
    if rng.random() < 0.55:
        for _ in range(1 + int(rng.poisson(2.0))):
            site = str(rng.choice(["mediastinal", "hilar", "supraclavicular"], p=[0.55, 0.35, 0.1]))
            lesions.append(
                _at(anatomy, site, _lognormal(rng, 7.5, 0.4, 3.5, 22), hot * float(rng.uniform(0.4, 0.95)), rng)
            )
    if rng.random() < 0.35:
        for _ in range(1 + int(rng.poisson(3.5))):
            site = str(rng.choice(["bone", "liver", "adrenal", "lung", "soft tissue"], p=[0.4, 0.22, 0.13, 0.17, 0.08]))
            lesions.append(
                _at(anatomy, site, _lognormal(rng, 8.5, 0.4, 3, 28), hot * float(rng.uniform(0.4, 1.0)), rng)
            )
    return lesions


def _melanoma(anatomy: Anatomy, rng: np.random.Generator) -> list[Lesion | None]:
    sites = [
        "skin",
        "soft tissue",
        "axillary",
        "inguinal",
        "cervical",
        "lung",
        "liver",
        "bone",
        "muscle",
        "bowel",
        "iliac",
    ]
    chosen = rng.choice(
        sites, size=int(rng.integers(1, 5)), replace=False, p=_shares([3, 3, 2.5, 2.5, 1.5, 3, 2, 2, 1.2, 0.8, 1])
    )
    hot = _lognormal(rng, 9.0, 0.5, 2.5, 35)
    number = int(_lognormal(rng, 4.0, 0.9, 1, 45))
    return [
        _at(anatomy, str(rng.choice(chosen)), _lognormal(rng, 7.5, 0.5, 3, 40), hot * float(rng.uniform(0.4, 1.1)), rng)
        for _ in range(number)
    ]


def _sarcoma(anatomy: Anatomy, rng: np.random.Generator) -> list[Lesion | None]:
    hot = _lognormal(rng, 7.0, 0.5, 1.5, 25)
    necrosis = float(rng.uniform(0.4, 0.9)) if rng.random() < 0.6 else 0.0
    radius = _lognormal(rng, 35.0, 0.4, 15, 80)
    site = str(rng.choice(["muscle", "soft tissue"]))
    mass = _at(anatomy, site, radius, hot, rng, necrosis, 0.22)
    # Hot rims around several cold cavities, as in the 41 studies.
    lesions = [None if mass is None else replace(mass, grain=float(rng.uniform(0.3, 0.8)))]
    if rng.random() < 0.25:
        lesions += [
            _at(anatomy, "lung", _lognormal(rng, 6, 0.4, 3, 18), 0.7 * hot, rng) for _ in range(1 + int(rng.poisson(2)))
        ]
    return lesions


# Site, share of studies, median radius in mm, median SUV: this project's choice (Shreve et al. 1999 lists the kinds).
BENIGN = (
    ("joint", 0.35, 7.0, 3.0),
    ("facet", 0.30, 5.0, 3.5),
    ("hilar", 0.18, 5.5, 3.2),
    ("axillary", 0.08, 5.0, 2.5),
    ("inguinal", 0.12, 4.5, 2.2),
    ("rib", 0.06, 5.0, 3.5),
    ("skin", 0.10, 5.0, 3.0),
    ("bowel", 0.12, 6.0, 7.0),
    ("hand", 0.10, 4.0, 15.0),
)


def draw_benign(anatomy: Anatomy, rng: np.random.Generator) -> list[Lesion]:
    """Return foci that are hot but no lesion: joints, inflamed nodes and skin, healing ribs, an injection site."""
    foci: list[Lesion | None] = []
    for site, chance, radius, suv in BENIGN:
        if rng.random() < chance:
            for _ in range(1 + int(rng.poisson(0.8))):
                voxel = find_site(anatomy, site, rng)
                size, heat = _lognormal(rng, radius, 0.25, 3, 14), _lognormal(rng, suv, 0.3, 1.5, 60)
                foci.append(None if voxel is None else Lesion(site, voxel, size, heat, malignant=False))
    return [focus for focus in foci if focus is not None]


def place(lesion: Lesion, lattice: Lattice, blur_mm: Point, rng: np.random.Generator) -> Placed:
    """Return a lesion on the lattice. blur_mm: SD of the PET's blur along (x, y, z) where the lesion lies."""
    reach = 1.7 * lesion.radius_mm + 8.0
    box = _box(lesion.voxel, reach, lattice)
    shape = (box[0].stop - box[0].start, box[1].stop - box[1].start, box[2].stop - box[2].start)
    bumps = smooth_field(shape, lattice.spacing_mm, max(10.0, 0.9 * lesion.radius_mm), rng)
    radius = _ellipsoid_radius(lesion, box, lattice, rng)
    depth = (1.0 + lesion.irregular * np.clip(bumps, -2.0, 2.0) - radius) * lesion.radius_mm
    share = np.clip(0.5 + depth / float(np.cbrt(np.prod(lattice.spacing_mm))), 0.0, 1.0).astype(np.float32)
    grain = smooth_field(shape, lattice.spacing_mm, max(14.0, 0.6 * lesion.radius_mm), rng)
    uptake = lesion.suv * np.exp(lesion.grain * np.clip(grain, -2.5, 1.5))
    if lesion.necrosis > 0:
        cold = special.expit(
            -(radius - lesion.necrosis * (1.0 + (0.3 + 0.5 * lesion.grain) * grain)) * lesion.radius_mm / 3.0
        )
        uptake *= 1.0 - float(rng.uniform(0.65, 0.9)) * cold
    return Placed(lesion, box, share, uptake.astype(np.float32), _contour(share, lattice, blur_mm))


def _box(voxel: tuple[int, int, int], reach_mm: float, lattice: Lattice) -> Box:
    steps = [int(np.ceil(reach_mm / s)) for s in lattice.spacing_mm[::-1]]
    z, y, x = (slice(max(0, v - s), min(n, v + s + 1)) for v, s, n in zip(voxel, steps, lattice.shape, strict=True))
    return z, y, x


def _ellipsoid_radius(lesion: Lesion, box: Box, lattice: Lattice, rng: np.random.Generator) -> Volume:
    jitter = rng.uniform(-0.5, 0.5, 3)  # a lesion's centre is not a voxel's centre
    z, y, x = (
        (np.arange(part.start, part.stop) - centre - shift) * step
        for part, centre, shift, step in zip(box, lesion.voxel, jitter, lattice.spacing_mm[::-1], strict=True)
    )
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    stretch = np.exp(rng.normal(0.0, 0.2, 3))
    turn = turn / (stretch / np.cbrt(stretch.prod()) * lesion.radius_mm)[:, None]
    squares = sum(
        (turn[i, 0] * z[:, None, None] + turn[i, 1] * y[None, :, None] + turn[i, 2] * x[None, None, :]) ** 2
        for i in range(3)
    )
    return np.sqrt(np.asarray(squares, dtype=np.float32))


def _contour(share: Volume, lattice: Lattice, blur_mm: Point) -> Mask:
    """Return the isocontour of the lesion's blurred shape: as a reader sees it, its cold core included."""
    sigma = [b / s for b, s in zip(blur_mm[::-1], lattice.spacing_mm[::-1], strict=True)]
    seen = ndimage.gaussian_filter(share, sigma, mode="constant")
    return np.asarray(seen > ISOCONTOUR * max(float(seen.max()), 1e-6))
