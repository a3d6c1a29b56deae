"""A PET/CT study as two images in physical space, and the checks that let the rest of the program trust it."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autosegnet.alignment import find_best_rival
from autosegnet.errors import InputError
from autosegnet.geometry import Grid, resample, view_voxels
from autosegnet.judgement import Judgement, find_doubts, measure_images
from autosegnet.suv_check import LIKE_BQML, check_suv, refuse_constant, sample_voxels

if TYPE_CHECKING:
    import SimpleITK as sitk

log = logging.getLogger(__name__)

AIR_HU = -1024.0
"""HU beyond the CT's field of view."""

# Limits from which a study is doubtful. The figures in brackets are the extremes over the 41 STS studies, their
# sub-crops, and simulated whole bodies, heads, legs, five slices of lung, hot bladders and low counts
# (docs/evidence/reliability.md).
_TISSUE_SUV = (0.05, 50.0)  # median over tissue [0.40 to 6.1]
_NARROWEST_HU = 100.0  # from lowest to highest [1600]; scaled CTs span 1, 2 or 255
_BODY_HU = 500.0  # median over what takes up tracer [-500 to 50]
_UNCOVERED = -1e6  # HU that marks voxels that the CT does not cover
_COARSE_MM = 8.0  # averages noise, keeps the checks below a second
_BODY_SUV = 0.3  # fat and lung, the coldest tissues, measure 0.3 and 0.5 SUV; air without noise is below 0.1
_LEAST_COVERED, _WELL_COVERED = 0.5, 0.9  # [0.83 for the one study with a truncated CT, above 0.9 for all others]


@dataclass(frozen=True, slots=True)
class Study:
    """One PET/CT examination.

    Args:
        pet: PET in SUV (body weight, g/ml), any grid.
        ct: CT in HU, any grid in the same physical space.
        judgement: the figures by which it was judged; None if it was not.
    """

    pet: sitk.Image
    ct: sitk.Image
    judgement: Judgement | None = field(default=None, compare=False)


def check_study(*, pet: sitk.Image, ct: sitk.Image) -> Study:
    """Return the study of a PET and a CT, once they look like what they claim to be.

    Geometry and finiteness are checked when files are read. This finds mistakes that no single file shows: swapped
    images, wrong units, and images that do not overlap. What looks wrong but may be right causes a warning. CT values
    below air, the padding of scanners, become air.

    Args:
        pet: in SUV, with noise below 0 at most.
        ct: in HU.

    Raises:
        InputError: the images look like something else; the message says what was expected.
    """
    for name, image in (("PET", pet), ("CT", ct)):
        if min(image.GetSize()) < 3:
            times = " x ".join(str(n) for n in image.GetSize())
            raise InputError(f"{name} has {times} voxels; at least 3 along each axis are needed")
    ct_sample = sample_voxels(ct)
    is_like_pet = float(np.percentile(ct_sample, 1.0)) >= -1.0
    check_suv(pet, advice="; PET and CT may be swapped" if is_like_pet else "")
    refuse_constant("CT", ct_sample)
    _check_ct_unit(ct_sample)
    ct = _lift_padding(ct)
    coarse = _average(pet)
    suv, hu, covered = view_voxels(coarse), *_sample_at(coarse, ct)
    _check_together(suv, hu)
    rival = find_best_rival(coarse, ct)
    judged = measure_images(suv, hu, covered, voxel_mm3=math.prod(coarse.GetSpacing()), rival=rival)
    log.info("%s", judged.summary)
    _tell_doubts(judged)
    return Study(pet, ct, judged)


def _lift_padding(ct: sitk.Image) -> sitk.Image:
    """Return a CT without values below air, because interpolation would spread them into the patient's edge."""
    import SimpleITK as sitk

    lowest = float(view_voxels(ct).min())
    if lowest >= AIR_HU:
        return ct
    log.info("CT has values down to %g HU; what lies below %g is read as air", lowest, AIR_HU)
    lifted: sitk.Image = sitk.Clamp(ct, ct.GetPixelID(), AIR_HU)
    return lifted


def _tell_doubts(judged: Judgement) -> None:
    for doubt in find_doubts(judged):
        if doubt.is_certain:
            raise InputError(doubt.text)
        log.warning("%s", doubt.text)


def _check_ct_unit(ct: NDArray[Any]) -> None:
    low, high = float(ct.min()), float(ct.max())
    if low > -200.0 and float(np.mean((ct >= 900) & (ct <= 1200))) > 0.05:
        raise InputError(
            f"CT has no voxel below {low:g} and many from 900 to 1200, which looks like HU stored with an offset of "
            "1024; expected HU, with air at -1000"
        )
    if low >= 0.0 or high - low < _NARROWEST_HU:
        raise InputError(
            f"CT lies in [{low:g}, {high:g}], which looks like SUV or scaled values; expected HU (air -1000)"
        )


def _check_together(suv: NDArray[np.float32], hu: NDArray[np.float32]) -> None:
    """Compare both on a coarse grid: uptake must lie in the CT, with the SUV and HU of tissue."""
    outside = hu <= -950.0
    typical_suv = float(np.median(suv[hu > -300.0])) if (hu > -300.0).any() else None
    if typical_suv is not None and typical_suv > _TISSUE_SUV[1]:
        raise InputError(f"PET has a median of {typical_suv:g} over the CT's tissue, {LIKE_BQML}, about 0.5 there")
    body = suv > max(_BODY_SUV, _estimate_noise_suv(suv[outside]))
    if not body.any():
        body = suv > _BODY_SUV
    if not body.any():
        raise InputError(f"PET has no voxel above SUV 0.3 (maximum {float(suv.max()):g}); expected an FDG uptake image")
    _check_coverage(float(np.mean(~outside[body])))
    typical_hu = float(np.median(hu[body]))
    if typical_hu > _BODY_HU:
        raise InputError(
            f"CT has a median of {typical_hu:g} where the PET shows the patient, which looks like HU stored with an "
            "offset of 1024; expected HU, with soft tissue at 0 to 100"
        )
    if typical_suv is not None and typical_suv < _TISSUE_SUV[0]:
        raise InputError(
            f"PET has a median of {typical_suv:g} over the CT's tissue, which looks like scaled values, another "
            "patient's CT, or a CT that is inverted or padded with another value than air; expected SUV (g/ml), "
            "about 0.5 there"
        )


def _average(pet: sitk.Image) -> sitk.Image:
    """Return the PET averaged to voxels of about 8 mm, float32."""
    import SimpleITK as sitk

    factors = [max(1, min(n, round(_COARSE_MM / s))) for n, s in zip(pet.GetSize(), pet.GetSpacing(), strict=True)]
    stored = pet if pet.GetPixelID() == sitk.sitkFloat32 else sitk.Cast(pet, sitk.sitkFloat32)
    averaged: sitk.Image = sitk.BinShrink(stored, factors)
    return averaged


def _sample_at(coarse: sitk.Image, ct: sitk.Image) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the HU at the voxels (z, y, x) of a coarse image, and whether the CT covers them; the others are air."""
    hu = view_voxels(resample(ct, Grid.from_image(coarse), outside=_UNCOVERED))
    covered = hu > _UNCOVERED / 2
    return np.where(covered, hu, np.float32(AIR_HU)), covered


def _estimate_noise_suv(air: NDArray[np.float32]) -> float:
    """Return an upper bound of the noise in air, by median and median absolute deviation; a limb hardly matters."""
    if air.size == 0:
        return 0.0
    middle = float(np.median(air))
    return middle + 3 * 1.4826 * float(np.median(np.abs(air - middle)))


def _check_coverage(covered: float) -> None:
    if covered < _LEAST_COVERED:
        raise InputError(
            f"CT covers {covered:.0%} of the body in the PET; expected at least half of it "
            "(are both of the same patient, in the same frame of reference?)"
        )
    if covered < _WELL_COVERED:
        log.warning(
            "CT covers %.0f %% of the body in the PET; outside the CT, the network sees only the PET", 100 * covered
        )
