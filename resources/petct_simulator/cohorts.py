"""What the lesions of real studies are like: number, burden, volumes and sites per cohort, as fitted figures.

Source: 456 studies with lesions of FDG-PET-CT-Lesions (Gatidis et al. 2022), of which the challenges' public side
files tell where the lesions lie and how large they are: simulated clicks (lab-midas/autoPETCTIV, Apache-2.0) and
component volumes (civodlu/AutoPET2022, MIT). The figures below are quantiles and shares over these studies; no
study's own data is kept. Command: `python benchmarks/simulation_figures.py`.
"""

import math
from dataclasses import dataclass

import numpy as np

COHORTS = ("lymphoma", "lung_cancer", "melanoma", "negative")
# Studies per cohort of FDG-PET-CT-Lesions as the paper gives them; sarcoma only on request.
COHORT_STUDIES = {"lymphoma": 145, "lung_cancer": 168, "melanoma": 188, "negative": 513}
BALANCED = ("lymphoma", "negative", "melanoma", "lung_cancer", "negative", "lymphoma", "melanoma", "negative",
            "lung_cancer")  # fmt: skip
MOST_LESIONS = 200  # beyond this the published counts are specks of a voxel or two
_SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Cohort:
    """The lesions of a cohort.

    Args:
        number: components of a study at the quantiles `_SHARES`.
        burden_ml: total volume of a study at the same quantiles.
        correlation: of the ranks of number and burden.
        spread: SD of the logarithm of the components' volumes inside a study.
        sites: share of lesions per site of `regions.SITES`.
        concentration: how many sites are involved in one study: the shares of its sites are drawn from a Dirichlet
            distribution of concentration times `sites`. Fitted to how often two lesions of a study share a site.
        suv: median over studies of the level of a study's lesions, and the SD of its logarithm.
    """

    number: tuple[float, ...]
    burden_ml: tuple[float, ...]
    correlation: float
    spread: float
    sites: dict[str, float]
    concentration: float
    suv: tuple[float, float]

    def draw_number_and_burden(self, rng: np.random.Generator) -> tuple[int, float]:
        """Return how many lesions a study has and their volume together in ml."""
        first = rng.standard_normal()
        second = self.correlation * first + np.sqrt(1 - self.correlation**2) * rng.standard_normal()
        ranks = [0.5 * (1 + math.erf(v / math.sqrt(2))) for v in (first, second)]
        number = np.exp(np.interp(ranks[0], _SHARES, np.log(self.number)))
        burden = np.exp(np.interp(ranks[1], _SHARES, np.log(self.burden_ml)))
        return int(np.clip(round(float(number)), 1, MOST_LESIONS)), float(burden)


FITTED = {
    "melanoma": Cohort(
        number=(1, 1, 1, 1.8, 2, 3.6, 5, 8, 11.6, 17, 50, 80, 463),
        burden_ml=(0.2, 1.2, 2.0, 4.1, 8.2, 16.1, 29.1, 53.7, 85, 150, 235, 453, 1525),
        correlation=0.74,
        spread=1.44,
        sites={"groin": 12, "pelvis": 11, "neck": 9.5, "lung": 9, "lateral abdomen": 9, "central abdomen": 8,
               "liver": 7, "pleura": 6.5, "mediastinum": 4.5, "thoracic spine": 4, "lumbar spine": 4, "axilla": 6,
               "arm": 2, "chest wall": 2, "upper abdomen": 2.5, "head": 1.5, "spleen": 1.2, "back": 1, "stomach": 0.8,
               "skin": 3, "heart": 0.3, "kidney": 0.3, "brain": 0.2, "bowel": 1},
        concentration=2.7,
        suv=(6.3, 0.75),
    ),
    "lung_cancer": Cohort(
        number=(1, 1, 2, 2, 3, 4, 6, 7.2, 9, 13, 32.6, 95, 752),
        burden_ml=(0.7, 17.5, 29, 53, 76, 111, 147, 219, 287, 393, 553, 790, 2094),
        correlation=0.61,
        spread=1.69,
        sites={"lung": 26, "mediastinum": 19, "pleura": 10, "neck": 9.5, "lateral abdomen": 6, "pelvis": 5.5,
               "lumbar spine": 4, "thoracic spine": 3.5, "central abdomen": 3, "liver": 2.5, "upper abdomen": 3,
               "head": 1.5, "groin": 1.6, "arm": 1, "heart": 1, "axilla": 0.7, "chest wall": 0.5, "adrenal": 1.5,
               "back": 0.3, "spleen": 0.1},
        concentration=18.6,
        suv=(6.8, 0.7),
    ),
    "lymphoma": Cohort(
        number=(1, 1, 1, 2, 3.1, 5.8, 10, 15, 21, 44, 126, 581, 936),
        burden_ml=(0.1, 3.8, 7.3, 21, 55, 91, 148, 206, 275, 459, 721, 1094, 1553),
        correlation=0.65,
        spread=1.81,
        sites={"neck": 25, "mediastinum": 18, "pleura": 10, "pelvis": 10, "central abdomen": 9, "lumbar spine": 5,
               "lung": 4.5, "lateral abdomen": 4, "thoracic spine": 3, "spleen": 2.6, "axilla": 4, "groin": 2,
               "heart": 1.5, "upper abdomen": 2.5, "liver": 1.6, "chest wall": 0.9, "head": 0.8, "bowel": 1},
        concentration=3.0,
        suv=(7.0, 0.75),
    ),
    "sarcoma": Cohort(
        number=(1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 3, 4, 8),
        burden_ml=(17, 30, 45, 80, 120, 180, 250, 350, 500, 700, 1200, 1700, 2339),
        correlation=0.0,
        spread=1.5,
        sites={"groin": 60, "soft tissue": 20, "arm": 8, "back": 6, "lung": 6},
        concentration=2.7,
        suv=(5.5, 0.6),
    ),
}  # fmt: skip


def draw_cohort(rng: np.random.Generator) -> str:
    """Return a cohort with the proportions of FDG-PET-CT-Lesions."""
    counts = np.array([COHORT_STUDIES[c] for c in COHORTS], dtype=np.float64)
    return str(rng.choice(COHORTS, p=counts / counts.sum()))
