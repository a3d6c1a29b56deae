"""Where in a label volume lesions can sit: candidate voxels per site and per tissue.

The sites are those of the landmark rule by which real lesion centres were sorted (see `cohorts`), written for the
reference body: x to the left, y to the back, z above the soles, mm.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from petct_simulator.label_volume import LabelVolume
from petct_simulator.tissue import Tissue

T = Tissue
RegionVoxels = NDArray[np.int16]
_SOFT = (T.FAT, T.MUSCLE, T.MEDIASTINUM, T.BROWN_FAT)
_BONE = (T.RED_MARROW, T.CORTEX)
_BOWEL = (T.SMALL_BOWEL, T.COLON_WALL)
_PER_SITE, _PER_TISSUE = 1500, 400

# site: tissues, and lower and upper bounds of |x|, y, z.
Bounds = tuple[float, float]
_ANY: Bounds = (-1e4, 1e4)
SITES: dict[str, tuple[tuple[Tissue, ...], Bounds, Bounds, Bounds]] = {
    "lung": ((T.LUNG,), _ANY, _ANY, _ANY),
    "pleura": ((T.FAT, T.MUSCLE, *_BONE), (45, 170), _ANY, (1150, 1470)),
    "mediastinum": ((T.MEDIASTINUM, T.OESOPHAGUS, T.BLOOD, T.LUNG), (0, 55), (-45, 45), (1290, 1450)),
    "neck": (_SOFT, (12, 75), (-45, 45), (1450, 1580)),
    "axilla": (_SOFT, (95, 165), (-40, 60), (1320, 1450)),
    "groin": (_SOFT, (35, 150), (-110, 60), (-200, 905)),
    "pelvis": ((*_SOFT, *_BONE, T.COLON_WALL), (0, 130), (-70, 90), (860, 1010)),
    "lateral abdomen": ((*_SOFT, *_BOWEL, *_BONE), (65, 220), _ANY, (1000, 1190)),
    "central abdomen": ((*_SOFT, *_BOWEL), (0, 65), (-70, 40), (1010, 1190)),
    "upper abdomen": ((*_SOFT, T.PANCREAS), (0, 75), (-60, 60), (1120, 1260)),
    "lumbar spine": (_BONE, (0, 45), (10, 120), (1000, 1190)),
    "thoracic spine": (_BONE, (0, 40), (20, 120), (1190, 1460)),
    "chest wall": ((T.FAT, T.MUSCLE, T.BREAST), (50, 190), (-220, -50), (1200, 1430)),
    "back": ((T.FAT, T.MUSCLE), (0, 170), (75, 220), (1000, 1450)),
    "head": ((T.FAT, T.MUSCLE, T.CORTEX, T.SALIVARY, T.MUCOSA), _ANY, _ANY, (1575, 1800)),
    "arm": ((T.FAT, T.MUSCLE, T.CORTEX), (175, 500), _ANY, _ANY),
    "skin": ((T.SKIN,), _ANY, _ANY, _ANY),
    "soft tissue": ((T.FAT, T.MUSCLE), _ANY, _ANY, _ANY),
    "bone": (_BONE, _ANY, _ANY, (800, 1700)),
    "liver": ((T.LIVER,), _ANY, _ANY, _ANY),
    "spleen": ((T.SPLEEN,), _ANY, _ANY, _ANY),
    "stomach": ((T.STOMACH_WALL,), _ANY, _ANY, _ANY),
    "bowel": (_BOWEL, _ANY, _ANY, _ANY),
    "heart": ((T.HEART_WALL, T.MYOCARDIUM), _ANY, _ANY, _ANY),
    "kidney": ((T.KIDNEY,), _ANY, _ANY, _ANY),
    "adrenal": ((T.FAT,), (30, 60), (15, 45), (1165, 1195)),
    "prostate": ((T.PROSTATE, T.UTERUS), _ANY, _ANY, _ANY),
    "brain": ((T.GREY_MATTER, T.WHITE_MATTER), _ANY, _ANY, _ANY),
    "peritoneum": ((T.FAT, T.SMALL_BOWEL), (0, 115), (-90, 30), (930, 1190)),
}


@dataclass(frozen=True, slots=True)
class Regions:
    """Candidate voxels of one volume: up to a few hundred per site and per tissue, drawn once."""

    site: dict[str, RegionVoxels]
    tissue: dict[int, RegionVoxels]
    spacing_mm: tuple[float, float, float]


def find_regions(volume: LabelVolume) -> Regions:
    """Return the candidate voxels of a volume; sites and tissues that it lacks are left out."""
    rng = np.random.default_rng(volume.labels.shape)
    flat = volume.labels.ravel()
    body = np.flatnonzero((flat > 0) & (flat < T.TABLE))
    tissue = flat[body]
    order = np.argsort(tissue, kind="stable")
    ends = np.cumsum(np.bincount(tissue, minlength=len(T)))
    groups = {label: order[ends[label - 1] : ends[label]] for label in range(1, len(T))}
    shape = volume.labels.shape

    def choose_voxels(of: NDArray[np.intp], most: int) -> RegionVoxels:
        chosen = of if of.size <= most else of[rng.integers(of.size, size=most)]
        return np.stack(np.unravel_index(body[chosen], shape), axis=1).astype(np.int16)

    tissues = {label: choose_voxels(group, _PER_TISSUE) for label, group in groups.items() if group.size}
    sites = {}
    for site, (labels, *bounds) in SITES.items():
        # Few are needed: thin them out before their places are computed.
        thinned = [group if group.size < 40_000 else group[rng.integers(group.size, size=40_000)]
                   for group in (groups[label] for label in labels)]  # fmt: skip
        candidates = choose_voxels(np.concatenate(thinned), 10**9)
        places = volume.find_reference_mm(candidates)
        places[:, 0] = np.abs(places[:, 0])
        inside = np.ones(len(places), dtype=bool)
        for axis, (low, high) in enumerate(bounds):
            inside &= (places[:, axis] >= low) & (places[:, axis] <= high)
        if site == "pleura":
            inside &= _find_near_lung(volume.labels, candidates)
        found = np.flatnonzero(inside)
        if found.size > 5:
            sites[site] = candidates[found if found.size <= _PER_SITE else rng.choice(found, _PER_SITE, replace=False)]
    return Regions(sites, tissues, volume.spacing_mm)


def _find_near_lung(labels: NDArray[np.uint8], voxels: RegionVoxels) -> NDArray[np.bool_]:
    near = np.zeros(len(voxels), dtype=bool)
    for axis in range(3):
        for step in (-3, -2, -1, 1, 2, 3):
            moved = voxels.copy()
            moved[:, axis] = np.clip(moved[:, axis] + step, 0, labels.shape[axis] - 1)
            near |= labels[tuple(moved.T)] == T.LUNG
    return near
