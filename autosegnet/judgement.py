"""Judge PET and CT by three facts: air is air, a body has one place, and activity is conserved.

Every file of a study can be readable and the study still be wrong: HU with the wrong sign, a mirrored CT, a PET in
kBq/ml. Three figures on a coarse grid show it. The limits lie between the values of sound studies and of spoilt ones
(docs/evidence/image-checks.md, by benchmarks/image_checks.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autosegnet.alignment import Rival

_COLD_SUV = 0.1  # SUV: air is below, the coldest tissue above
_ENOUGH_COLD = 0.05  # share of the voxels that both images cover; inside a body, only fat and gas are cold
_AIR_BELOW_HU = -500.0  # median where the PET is cold; sound studies: -879 and lower
_DENSE_HU, _DENSE_SHARE = 1000.0, 0.05  # denser than this is bone or metal, which is warm or small
_TISSUE_HU = -500.0  # half-way from air to soft tissue
_ENOUGH_BODY_L = 30.0
_MEAN_SUV = (0.4, 2.2)
# Fat takes up little of any tracer, in a crop as in a body. Sound studies: 0.21 to 0.88.
_FAT_HU = (-140.0, -60.0)
_FAT_SUV = (0.1, 1.2)
_ENOUGH_FAT_L = 0.05
# The mean SUV times the litres is the weight of a patient whose activity lies in them all.
_HEAVIEST_KG = 300.0
_TURNED_GAIN = 1.03  # a phantom may fit its mirror image as well as itself
_CERTAIN_GAIN = 1.5
_LITRES_PER_MM3 = 1e-6


@dataclass(frozen=True, slots=True)
class Doubt:
    """A doubt about a study.

    Args:
        text: what was found, what was expected, and what it may be.
        is_certain: whether no sound study can look like this.
    """

    text: str
    is_certain: bool


@dataclass(frozen=True, slots=True)
class Judgement:
    """The figures by which a study is judged.

    Args:
        body_l: litres of tissue that both images show.
        mean_suv: mean over that tissue; 0 if there is none.
        fat_suv: median SUV of what the CT shows as fat; None if that is too little.
        air_hu: the CT's median where the PET is cold; None if it is cold almost nowhere.
        dense_share: share of the cold voxels that are denser than bone; None if almost nothing is cold.
        rival: the place that would fit the CT best, other than its own; None if there is too little to compare.
    """

    body_l: float
    mean_suv: float
    fat_suv: float | None
    air_hu: float | None
    dense_share: float | None
    rival: Rival | None

    @property
    def summary(self) -> str:
        """Return the figures in one line."""
        parts = [f"image checks: mean SUV {self.mean_suv:.2f} over {self.body_l:.1f} l of tissue"]
        if self.fat_suv is not None:
            parts.append(f"{self.fat_suv:.2f} in fat")
        if self.air_hu is not None:
            parts.append(f"CT {self.air_hu:.0f} HU where the PET is cold")
        if self.rival is not None:
            parts.append(f"the CT elsewhere fits at most {self.rival.gain:.2f} times as well")
        return ", ".join(parts)


def measure_images(
    suv: NDArray[np.float32],
    hu: NDArray[np.float32],
    covered: NDArray[np.bool_],
    *,
    voxel_mm3: float,
    rival: Rival | None,
) -> Judgement:
    """Return the figures of a study.

    Args:
        suv: PET on a coarse grid.
        hu: CT on the same grid.
        covered: whether the CT covers a voxel.
        voxel_mm3: volume of a voxel.
        rival: best other place of the CT.
    """
    tissue = covered & (hu > _TISSUE_HU)
    count = int(np.count_nonzero(tissue))
    fat = suv[covered & (hu > _FAT_HU[0]) & (hu < _FAT_HU[1])]
    cold = hu[covered & (suv < _COLD_SUV)]
    is_enough = cold.size > 0 and cold.size >= _ENOUGH_COLD * np.count_nonzero(covered)
    return Judgement(
        body_l=count * voxel_mm3 * _LITRES_PER_MM3,
        mean_suv=float(suv[tissue].mean(dtype=np.float64)) if count else 0.0,
        fat_suv=float(np.median(fat)) if fat.size * voxel_mm3 * _LITRES_PER_MM3 >= _ENOUGH_FAT_L else None,
        air_hu=float(np.median(cold)) if is_enough else None,
        dense_share=float(np.mean(cold > _DENSE_HU)) if is_enough else None,
        rival=rival,
    )


def find_doubts(judged: Judgement) -> list[Doubt]:
    """Return the doubts about a study, the strongest first."""
    doubts = (
        _doubt_amount(judged) or _doubt_fat(judged),
        _doubt_air(judged),
        _doubt_dense(judged),
        _doubt_place(judged),
    )
    return [doubt for doubt in doubts if doubt is not None]


def _doubt_amount(judged: Judgement) -> Doubt | None:
    low, high = _MEAN_SUV
    if judged.body_l < _ENOUGH_BODY_L or low <= judged.mean_suv <= high:
        return None
    return Doubt(
        f"PET has a mean SUV of {judged.mean_suv:.2g} over {judged.body_l:.0f} l of tissue; expected {low:g} to "
        f"{high:g}, because the body keeps the activity (is the PET in kBq/ml, scaled, or of another dose or weight?)",
        is_certain=judged.mean_suv * judged.body_l > _HEAVIEST_KG,
    )


def _doubt_fat(judged: Judgement) -> Doubt | None:
    low, high = _FAT_SUV
    if judged.fat_suv is None or low <= judged.fat_suv <= high:
        return None
    return Doubt(
        f"PET has a median SUV of {judged.fat_suv:.2g} in fat; expected {low:g} to {high:g} (is the PET in kBq/ml, "
        "scaled, or of another dose or weight?)",
        is_certain=False,
    )


def _doubt_air(judged: Judgement) -> Doubt | None:
    if judged.air_hu is None or judged.air_hu <= _AIR_BELOW_HU:
        return None
    return Doubt(
        f"CT has a median of {judged.air_hu:.0f} HU where the PET is cold; expected air, -1000 HU (is the CT inverted, "
        "scaled, or padded with another value outside its field of view, or is the PET far too low?)",
        is_certain=False,
    )


def _doubt_dense(judged: Judgement) -> Doubt | None:
    if judged.dense_share is None or judged.dense_share <= _DENSE_SHARE:
        return None
    return Doubt(
        f"CT is denser than {_DENSE_HU:.0f} HU in {judged.dense_share:.0%} of what is cold in the PET; expected air "
        "(is it padded with another value than -1024 outside its field of view, or was its padding read as unsigned?)",
        is_certain=False,
    )


def _doubt_place(judged: Judgement) -> Doubt | None:
    rival = judged.rival
    if rival is None or rival.gain <= (_TURNED_GAIN if rival.is_turned else 1.0):
        return None
    return Doubt(
        f"CT would fit the PET better {rival.place} ({rival.gain:.2f} times the mutual information); expected "
        "it to fit best as it is (are both of one patient and one examination, and is each file's orientation right?)",
        is_certain=rival.is_turned and rival.gain > _CERTAIN_GAIN,
    )
