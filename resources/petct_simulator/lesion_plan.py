"""The lesions of one study: how many, where, how large, how hot. Drawn before any voxel is.

A lesion is one or more balls of any shape, or a share of a tissue (diffuse marrow, spleen). Numbers, volumes and
sites follow `cohorts`; volumes are split so that they add up to the study's burden.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from petct_simulator.cohorts import FITTED, Cohort
from petct_simulator.regions import SITES, Regions
from petct_simulator.tissue import Tissue

T = Tissue
Points = NDArray[np.float64]
Place = tuple[str, Points]
"""A site of `regions.SITES` and a voxel of the label volume."""
_MARROW = (T.RED_MARROW,)
_PLEURA = (T.FAT, T.MUSCLE, T.CORTEX, T.RED_MARROW, T.MEDIASTINUM, T.LUNG)
_PERITONEUM = (T.FAT, T.SMALL_BOWEL, T.MUSCLE, T.COLON_WALL)


@dataclass(frozen=True, slots=True)
class PlannedLesion:
    """A lesion or benign focus.

    Args:
        site: of `regions.SITES`.
        centre: (3,), voxel of the label volume.
        offsets_mm: (K, 3), of the balls from the centre, in axes of the label volume.
        radii_mm: (K,), of the balls; of a `diffuse` lesion, half its extent.
        heat: (K,), uptake of the balls over that of the lesion.
        suv: uptake before blur.
        hu: CT number; None if the CT shows nothing.
        necrosis: radius of the cold core over the radius; irregular: SD of the surface over the radius;
        grain: SD of the logarithm of the uptake inside; flat: how much flatter than a ball (1: not).
        within: the tissues it is confined to; None for any but air.
        diffuse: it is a share of the tissues in `within`, not balls.
        malignant: it belongs to the truth.
    """

    site: str
    centre: Points
    offsets_mm: Points
    radii_mm: Points
    heat: Points
    suv: float
    hu: float | None
    necrosis: float = 0.0
    irregular: float = 0.12
    grain: float = 0.18
    flat: float = 1.0
    within: tuple[Tissue, ...] | None = None
    diffuse: bool = False
    malignant: bool = True

    @property
    def reach_mm(self) -> float:
        """Return the radius of a ball around the centre that holds the lesion."""
        return float((np.linalg.norm(self.offsets_mm, axis=1) + self.radii_mm).max())

    @property
    def radius_mm(self) -> float:
        """Return the radius of the ball of the same volume."""
        return float(np.cbrt((self.radii_mm**3).sum()))


def plan_lesions(
    cohort: str,
    regions: Regions,
    rng: np.random.Generator,
    *,
    varied: bool,
    places: Sequence[Place] | None = None,
) -> list[PlannedLesion]:
    """Return the lesions of a study; empty for the negative cohort.

    Args:
        cohort: a key of `cohorts.FITTED`, or negative.
        regions: of the label volume.
        rng: source of everything.
        varied: draw sites, shapes and uptake far beyond the plausible, too.
        places: where lesions shall lie, as real ones do; the study gets more if its number asks for them.
    """
    if cohort == "negative":
        return []
    figures = FITTED[cohort]
    number, burden_ml = figures.draw_number_and_burden(rng)
    number = max(number, 0 if places is None else len(places))
    volumes = split_burden(number, burden_ml, figures.spread, rng)
    level = figures.suv[0] * np.exp((1.3 if varied else 1.0) * figures.suv[1] * rng.standard_normal())
    places = _draw_places(figures, find_radii_mm(volumes), regions, rng, varied=varied, given=places or ())
    lesions = []
    for volume, (site, centre) in zip(volumes, places, strict=True):
        suv = float(np.clip(level * np.exp(rng.normal(-0.1, 0.35)), 2.2, 45.0))
        lesions.append(_draw_lesion(site, centre, volume, suv, cohort, rng, varied=varied))
    if rng.random() < 0.05 and T.RED_MARROW in regions.tissue:
        lesions.append(_plan_diffuse(regions, "bone", _MARROW, level, rng))
    if rng.random() < 0.04 and "peritoneum" in regions.site:
        lesions += _plan_coat(regions, "peritoneum", _PERITONEUM, level, rng)
    if cohort == "lung_cancer" and rng.random() < 0.05 and "pleura" in regions.site:
        lesions += _plan_coat(regions, "pleura", _PLEURA, level, rng)
    if cohort == "lymphoma" and rng.random() < 0.05 and T.SPLEEN in regions.tissue:
        lesions.append(_plan_diffuse(regions, "spleen", (T.SPLEEN,), level, rng))
    return lesions


def split_burden(number: int, burden_ml: float, spread: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the volumes of a study's lesions in ml, largest first, none below 0.1 ml."""
    shares = np.sort(np.exp(spread * rng.standard_normal(number)))[::-1]
    return np.asarray(np.maximum(shares / shares.sum() * burden_ml, 0.1))


def find_radii_mm(volumes_ml: Points) -> Points:
    """Return the radii in mm of balls of so many ml."""
    return np.asarray(np.cbrt(volumes_ml * 1000 * 3 / (4 * np.pi)))


_SITES_TRIED, _VOXELS_TRIED = 4, 12  # for a lesion: the first place that is far enough from the others is taken
_APART_MM = 8.0  # between surfaces; what lies nearer looks like one lesion at 4 mm


def _draw_places(
    figures: Cohort,
    radii_mm: Points,
    regions: Regions,
    rng: np.random.Generator,
    *,
    varied: bool,
    given: Sequence[Place],
) -> list[Place]:
    """Return site and voxel of every lesion.

    The fitted numbers count components, so lesions lie apart. One whose site is full lies at another.
    """
    names = [site for site in figures.sites if site in regions.site]
    fitted = np.array([figures.sites[site] for site in names])
    shares = rng.dirichlet(figures.concentration * fitted / fitted.sum())
    places = [given[i] for i in rng.permutation(len(given))]
    for number in range(len(places), len(radii_mm)):
        if varied and rng.random() < 0.2:
            sites = [str(rng.choice(list(regions.site)))]
        else:
            sites = [names[k] for k in rng.choice(len(names), size=_SITES_TRIED, p=shares)]
        tried = [site for site in sites for _ in range(_VOXELS_TRIED)]
        voxels = np.concatenate([rng.choice(regions.site[site], _VOXELS_TRIED) for site in sites])
        voxels = voxels + rng.uniform(-0.5, 0.5, voxels.shape)
        best = 0
        if places:
            others = np.stack([voxel for _, voxel in places])
            away_mm = np.linalg.norm((voxels[:, None] - others) * regions.spacing_mm, axis=2)
            gap_mm = (away_mm - radii_mm[:number] - radii_mm[number]).min(axis=1)
            best = int(np.argmax(np.minimum(gap_mm, _APART_MM)))
        places.append((tried[best], voxels[best]))
    return places


_SOLID_HU = {"lung": 30.0, "liver": 38.0, "spleen": 38.0, "skin": 30.0}
_BONY = ("thoracic spine", "lumbar spine", "bone")


def _draw_lesion(
    site: str, centre: Points, volume_ml: float, suv: float, cohort: str, rng: np.random.Generator, *, varied: bool
) -> PlannedLesion:
    radius = float(find_radii_mm(np.asarray(volume_ml)))
    offsets, radii, heat = _draw_balls(radius, rng)
    bony = site in _BONY
    hu = _SOLID_HU.get(site, 42.0) + float(rng.normal(0, 10))
    if bony:
        hu = float(rng.choice([60.0, 650.0])) + float(rng.normal(0, 20))
    hidden = rng.random() < (0.5 if bony else 0.15)
    necrosis = float(rng.uniform(0.25, 0.75)) if radius > 16 and rng.random() < 0.4 else 0.0
    within: tuple[Tissue, ...] | None = None
    flat = float(np.exp(abs(rng.normal(0.0, 0.25))))
    if site == "pleura" and rng.random() < 0.5:
        within, flat = _PLEURA, float(rng.uniform(1.5, 4.0))
    elif bony and rng.random() < 0.4:  # the rest break the cortex
        within = (T.RED_MARROW, T.CORTEX)
    elif site in ("liver", "spleen", "kidney", "brain", "prostate", "stomach"):
        within = (*SITES[site][0], T.FAT, T.RENAL_PELVIS)
    grain = float(rng.uniform(0.3, 0.8)) if cohort == "sarcoma" else 0.18
    if varied:
        grain = float(rng.choice([0.05, 0.2, 0.45, 0.8], p=[0.25, 0.35, 0.25, 0.15]))
    return PlannedLesion(
        site, centre, offsets, radii, heat, suv, None if hidden else hu, necrosis,
        float(rng.uniform(0.05, 0.3)), grain, flat, within,
    )  # fmt: skip


def _draw_balls(radius_mm: float, rng: np.random.Generator) -> tuple[Points, Points, Points]:
    """Return offsets, radii and heat of the balls of a lesion: one, or a conglomerate of the same volume."""
    chance = float(np.clip((radius_mm - 9.0) / 14.0, 0.0, 0.65))
    if rng.random() >= chance:
        return np.zeros((1, 3)), np.array([radius_mm]), np.ones(1)
    count = int(rng.integers(3, 13))
    shares = np.exp(rng.normal(0.0, 0.8, count))
    radii = radius_mm * 1.12 * np.cbrt(shares / shares.sum())  # they overlap
    offsets = np.zeros((count, 3))
    direction = rng.standard_normal(3)
    for i in range(1, count):  # every ball touches an earlier one, mostly along one chain
        parent = int(rng.integers(max(0, i - 3), i))
        towards = 0.7 * direction + rng.standard_normal(3)
        reach = 0.8 * (radii[i] + radii[parent])
        offsets[i] = offsets[parent] + reach * towards / max(float(np.linalg.norm(towards)), 1e-6)
    offsets -= (offsets * (radii**3)[:, None]).sum(0) / (radii**3).sum()
    return offsets, radii, np.exp(rng.normal(0.0, 0.2, count))


def _plan_diffuse(
    regions: Regions, site: str, within: tuple[Tissue, ...], level: float, rng: np.random.Generator
) -> PlannedLesion:
    voxels = regions.tissue[within[0]]
    centre = voxels[rng.integers(len(voxels))].astype(np.float64)
    extent = float(np.exp(rng.uniform(np.log(40.0), np.log(500.0))))
    suv = max(3.0, 0.7 * level)
    return PlannedLesion(
        site,
        centre,
        np.zeros((1, 3)),
        np.array([extent]),
        np.ones(1),
        suv,
        None,
        grain=0.3,
        within=within,
        diffuse=True,
    )


def _plan_coat(
    regions: Regions, site: str, within: tuple[Tissue, ...], level: float, rng: np.random.Generator
) -> list[PlannedLesion]:
    """Return plaques on pleura or peritoneum: many, flat, in one part of it."""
    voxels = regions.site[site].astype(np.float64)
    middle = voxels[rng.integers(len(voxels))]
    near = voxels[np.argsort(((voxels - middle) ** 2).sum(1))[: max(20, len(voxels) // int(rng.integers(2, 12)))]]
    plaques = []
    for _ in range(int(rng.integers(5, 40))):
        radius = float(np.clip(6.0 * np.exp(rng.normal(0.0, 0.45)), 2.5, 20.0))
        suv = max(2.2, level * float(rng.uniform(0.4, 1.0)))
        centre = near[rng.integers(len(near))] + rng.uniform(-0.5, 0.5, 3)
        plaques.append(
            PlannedLesion(
                site,
                centre,
                np.zeros((1, 3)),
                np.array([radius]),
                np.ones(1),
                suv,
                None,
                irregular=0.3,
                flat=float(rng.uniform(1.5, 4.0)),
                within=within,
            )
        )
    return plaques


# Site or tissue, share of studies, median radius in mm, median SUV: this project's choice (Shreve et al. 1999 lists
# the kinds).
_BENIGN: Sequence[tuple[str, float, float, float]] = (
    ("bone", 0.25, 6.0, 2.8), ("mediastinum", 0.2, 5.0, 2.8), ("axilla", 0.08, 4.5, 2.2), ("groin", 0.1, 4.5, 2.0),
    ("skin", 0.12, 5.0, 2.8), ("bowel", 0.15, 6.0, 6.0), ("arm", 0.1, 4.0, 12.0), ("lung", 0.08, 6.0, 1.6),
    ("neck", 0.08, 4.5, 2.5), ("stomach", 0.05, 7.0, 5.0), ("prostate", 0.05, 5.0, 4.0),
)  # fmt: skip


def plan_benign(regions: Regions, rng: np.random.Generator) -> list[PlannedLesion]:
    """Return foci that are hot but no lesion: joints, inflamed nodes and skin, healing ribs, an injection site."""
    foci = []
    for site, chance, radius, suv in _BENIGN:
        if rng.random() < chance and site in regions.site:
            voxels = regions.site[site]
            for _ in range(1 + int(rng.poisson(0.6))):
                size = float(np.clip(radius * np.exp(rng.normal(0, 0.25)), 3, 14))
                heat = float(np.clip(suv * np.exp(rng.normal(0, 0.25)), 1.3, 60))
                centre = voxels[rng.integers(len(voxels))].astype(np.float64)
                foci.append(PlannedLesion(site, centre, np.zeros((1, 3)), np.array([size]), np.ones(1), heat, None,
                                   malignant=False))  # fmt: skip
    return foci
