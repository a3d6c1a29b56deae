"""What is known of lesions: the figures of one, of the body, and the table of them."""

from __future__ import annotations

from dataclasses import dataclass

from autosegnet.geometry import Box

Position = tuple[float, float, float]
"""LPS, mm."""


@dataclass(frozen=True, slots=True)
class Lesion:
    """The figures of one lesion.

    Args:
        number: from 1, in the order of `number_lesions`.
        voxels: how many.
        volume_ml: voxels x voxel volume.
        suv_max: highest SUV in the lesion.
        suv_mean: mean SUV in the lesion.
        suv_peak: highest mean of a 1 cm3 sphere around any voxel of the lesion (IBSI: global intensity peak).
        suv_peak_at_max: mean of the 1 cm3 sphere around the hottest voxel (IBSI: local intensity peak).
        suv_max_mm: centre of the hottest voxel; of several, that of suv_peak_at_max; of several such, the highest.
        tlg_g: total lesion glycolysis, volume_ml x suv_mean.
        centroid_mm: mean of the voxel centres, LPS.
        box: half-open voxel ranges (x, y, z) of the PET's grid.
        box_mm: (lowest, highest) L, P and S that the lesion's voxels reach with their whole bodies.
        suv_4_ml: volume of the lesion's voxels with SUV >= 4.
        suv_2_5_ml: volume of the lesion's voxels with SUV >= 2.5.
        percent_41_ml: volume of the lesion's voxels with SUV >= 41 % of its suv_max.
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


@dataclass(frozen=True, slots=True)
class BodyFigures:
    """The figures of all lesions together; None where there is nothing to measure.

    Args:
        lesions: how many.
        tmtv_ml: total metabolic tumour volume, the sum of the lesions' volumes.
        tlg_g: sum of the lesions' TLG.
        suv_max: highest SUV of all lesions.
        suv_peak: highest SUVpeak of all lesions.
        dmax_centroids_mm: distance of the two lesions farthest apart, by their centroids; 0 with one lesion.
        dmax_voxels_mm: distance of the two voxel centres of lesion tissue farthest apart.
        suv_4_ml: as of the lesions, summed.
        suv_2_5_ml: as of the lesions, summed.
        percent_41_ml: as of the lesions, summed.
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


@dataclass(frozen=True, slots=True)
class LesionTable:
    """What a mask holds.

    Args:
        lesions: in the order of their numbers.
        body: all of them together.
        connectivity: neighbours that make one lesion.
        voxel_volume_ml: of the PET's grid.
        peak_voxels: voxels that stand for the sphere of 1 cm3.
    """

    lesions: tuple[Lesion, ...]
    body: BodyFigures
    connectivity: int
    voxel_volume_ml: float
    peak_voxels: int
