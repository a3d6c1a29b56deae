"""A PET/CT study as two images in physical space, and the checks that let the rest of the program trust it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autosegnet.errors import InputError
from autosegnet.geometry import voxels

if TYPE_CHECKING:
    import SimpleITK as sitk

AIR_HU = -1024.0
"""What lies beyond the CT's field of view."""

_SAMPLES = 2_000_000  # voxels that a look at a distribution needs at most


@dataclass(frozen=True, slots=True)
class Study:
    """One PET/CT examination.

    Args:
        pet: PET in SUV (body weight, g/ml), any grid.
        ct: CT in HU, any grid in the same physical space.
    """

    pet: sitk.Image
    ct: sitk.Image


def checked_study(*, pet: sitk.Image, ct: sitk.Image) -> Study:
    """The study of a PET and a CT that look like what they claim to be.

    Geometry and finiteness of each image are checked where files are read; here are the mistakes of which each file
    alone looks fine: swapped images, wrong units, and images that do not overlap.

    Args:
        pet: in SUV, with noise below 0 at most.
        ct: in HU.

    Raises:
        InputError: naming what the images look like and what was expected.
    """
    for name, image in (("PET", pet), ("CT", ct)):
        if min(image.GetSize()) < 3:
            times = " x ".join(str(n) for n in image.GetSize())
            raise InputError(f"{name} has {times} voxels; at least 3 along each axis are needed")
    pet_sample, ct_sample = _sample(pet), _sample(ct)
    _refuse_constant("PET", pet_sample)
    _refuse_constant("CT", ct_sample)
    _check_pet_unit(pet_sample, ct_sample)
    _check_ct_unit(ct_sample)
    study = Study(pet, ct)
    _check_overlap(study)
    return study


def _sample(image: sitk.Image) -> NDArray[Any]:
    whole = voxels(image)
    stride = max(1, round((whole.size / _SAMPLES) ** (1 / 3)))
    sample: NDArray[Any] = whole[::stride, ::stride, ::stride]
    return sample


def _refuse_constant(name: str, voxels: NDArray[Any]) -> None:
    if voxels.min() == voxels.max():
        raise InputError(f"{name} is constant ({voxels.flat[0]:g} everywhere); expected an image of a patient")


def _check_pet_unit(pet: NDArray[Any], ct: NDArray[Any]) -> None:
    low, high = (float(v) for v in np.percentile(pet, [1.0, 99.9]))
    if low < -200.0:
        advice = "; PET and CT may be swapped" if float(np.percentile(ct, 1.0)) >= -1.0 else ""
        raise InputError(f"PET has a 1st percentile of {low:g}, which looks like a CT in HU{advice}; expected SUV >= 0")
    if low < -1.0:
        raise InputError(f"PET has a 1st percentile of {low:g}; expected SUV, which is at or above 0 but for noise")
    if high >= 1000.0:
        raise InputError(
            f"PET has a 99.9th percentile of {high:g}, which looks like Bq/ml or counts; expected SUV (g/ml)"
        )


def _check_ct_unit(ct: NDArray[Any]) -> None:
    low, high = float(ct.min()), float(ct.max())
    if low > -200.0 and float(np.mean((ct >= 900) & (ct <= 1200))) > 0.05:
        raise InputError(
            f"CT has no voxel below {low:g} and many from 900 to 1200, which looks like HU stored with an offset of "
            "1024; expected HU, with air at -1000"
        )
    if low >= 0.0:
        raise InputError(
            f"CT lies in [{low:g}, {high:g}], which looks like SUV or scaled values; expected HU (air -1000)"
        )


def _check_overlap(study: Study) -> None:
    import SimpleITK as sitk

    stride = [max(1, round(8.0 / s)) for s in study.pet.GetSpacing()]
    pet = study.pet[:: stride[0], :: stride[1], :: stride[2]]
    ct = sitk.Resample(study.ct, pet, sitk.Transform(), sitk.sitkNearestNeighbor, AIR_HU, sitk.sitkFloat32)
    suv, hu = voxels(pet), voxels(ct)
    body = suv > 0.3  # fat and lung, the coldest tissues, measure 0.3 and 0.5 SUV; the air around is below 0.1
    if not body.any():
        raise InputError(f"PET has no voxel above SUV 0.3 (maximum {float(suv.max()):g}); expected an FDG uptake image")
    covered = float(np.mean(hu[body] > -950.0))
    if covered < 0.5:
        raise InputError(
            f"CT covers {covered:.0%} of the body in the PET; expected at least half of it "
            "(are both of the same patient, in the same frame of reference?)"
        )
