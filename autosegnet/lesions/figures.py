"""Figures of lesions: of one, of the body, and the table of them."""

from __future__ import annotations

from dataclasses import dataclass

from autosegnet.geometry import Box
from autosegnet.lesions.position import Position
from autosegnet.lesions.sites import Site


@dataclass(frozen=True, slots=True)
class Lesion:
    """Hold the figures of one lesion.

    Args:
        number: from 1, in the order of `number_lesion_voxels`.
        voxels: how many.
        volume_ml: voxels x voxel volume.
        suv_max: highest SUV in the lesion.
        suv_mean: mean SUV in the lesion.
        suv_peak: highest mean of a 1 cm3 sphere around any voxel of the lesion (IBSI: global intensity peak).
        suv_peak_at_max: mean of the 1 cm3 sphere around the hottest voxel (IBSI: local intensity peak).
        suv_max_mm: centre of the hottest voxel. If several are equally hot, the one with the highest suv_peak_at_max;
            if
            several have that, the one nearest to the head.
        tlg_g: total lesion glycolysis, volume_ml x suv_mean.
        centroid_mm: mean of the voxel centres, LPS.
        box: half-open voxel ranges (x, y, z) of the PET's grid.
        box_mm: (lowest, highest) L, P and S that the lesion's whole voxels reach.
        suv_4_ml: volume of the lesion's voxels with SUV >= 4.
        suv_2_5_ml: volume of the lesion's voxels with SUV >= 2.5.
        percent_41_ml: volume of the lesion's voxels with SUV >= 41 % of its suv_max.
        diameter_mm: largest distance between two of its voxel centres.
        touches_border: whether a voxel lies in the outermost layer of the PET, so that the lesion may be cut.
        probability: mean probability of its voxels; None if it is not known.
        disagreement: mean standard deviation between the folds' probabilities; None if it is not known.
        site: where it lies, and whether it may be physiological.
        label: its value in a labelled mask, 0 if the mask has none.
    """

    number: int
    voxels: int
    volume_ml: float
    suv_max: float
    suv_mean: float
    suv_peak: float
    suv_peak_at_max: float
    suv_max_mm: Position
    tlg_g: float
    centroid_mm: Position
    box: Box
    box_mm: tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
    suv_4_ml: float
    suv_2_5_ml: float
    percent_41_ml: float
    diameter_mm: float
    touches_border: bool
    probability: float | None = None
    disagreement: float | None = None
    site: Site = Site()
    label: int = 0


@dataclass(frozen=True, slots=True)
class BodyFigures:
    """Hold the figures of all lesions together; None if there is nothing to measure.

    Args:
        lesions: how many.
        tmtv_ml: total metabolic tumour volume, the sum of the lesions' volumes.
        tlg_g: sum of the lesions' TLG.
        suv_max: highest SUV of all lesions.
        suv_peak: highest SUVpeak of all lesions.
        dmax_centroids_mm: distance of the two lesions farthest apart, by their centroids; 0 with one lesion.
        dmax_voxels_mm: distance of the two voxel centres of lesion tissue farthest apart.
        suv_4_ml: sum over the lesions.
        suv_2_5_ml: sum over the lesions.
        percent_41_ml: sum over the lesions.
        sdmax_per_m: dmax_centroids over the body surface, 1/m; None if the body's size is not known.
        bulk_mm: largest diameter of a lesion.
    """

    lesions: int
    tmtv_ml: float
    tlg_g: float
    suv_max: float | None
    suv_peak: float | None
    dmax_centroids_mm: float | None
    dmax_voxels_mm: float | None
    suv_4_ml: float
    suv_2_5_ml: float
    percent_41_ml: float
    sdmax_per_m: float | None = None
    bulk_mm: float | None = None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Lesions that the user asked to leave out.

    Args:
        reason: why, for a reader.
        lesions: how many.
        volume_ml: of all of them.
    """

    reason: str
    lesions: int
    volume_ml: float
