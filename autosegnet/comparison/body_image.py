"""What the registration sees of a CT: the body without table and clothes, on an upright grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from autosegnet.errors import InputError
from autosegnet.geometry import Grid, make_image, make_upright_grid, resample, view_voxels
from autosegnet.lesions.landmarks import Landmarks, find_body, find_landmarks

if TYPE_CHECKING:
    import SimpleITK as sitk

FINE_MM: Final = 4.0
"""Of the grid on which the body is found and checked."""

COARSE_MM: Final = 8.0
"""Of the finest grid on which images are registered; 4 mm took eight times as long and moved landmarks by 0.3 mm."""

AIR: Final = -1000.0
_HIGHEST_HU = 300.0  # above, bone differs by energy and contrast medium more than by place
_AIR_HU = -1024.0


@dataclass(frozen=True, slots=True)
class BodyImage:
    """A CT prepared for registration.

    Args:
        hu: from `AIR` to 300 HU, `AIR` outside the body, spacing `COARSE_MM`, float32.
        body: uint8, 1 inside, spacing `FINE_MM`.
        landmarks: found on the CT; None if there are no lungs.
    """

    hu: sitk.Image
    body: sitk.Image
    landmarks: Landmarks | None


def prepare_body(ct: sitk.Image) -> BodyImage:
    """Return a CT prepared for registration.

    Args:
        ct: in HU, any grid.

    Raises:
        InputError: it shows no body.
    """
    fine = make_upright_grid(Grid.from_image(ct), spacing_mm=FINE_MM)
    hu = view_voxels(resample(smooth(ct, FINE_MM), fine, outside=_AIR_HU))
    body = find_body(hu)
    if not body.any():
        raise InputError("the CT shows no tissue above -300 HU; expected a body to register")
    clean = make_image(np.where(body, np.clip(hu, AIR, _HIGHEST_HU), AIR).astype(np.float32), fine)
    coarse = make_upright_grid(fine, spacing_mm=COARSE_MM)
    return BodyImage(
        resample(smooth(clean, COARSE_MM), coarse, outside=AIR),
        make_image(body.astype(np.uint8), fine),
        find_landmarks(fine, ct=ct, organs=None),
    )


def smooth(image: sitk.Image, spacing_mm: float) -> sitk.Image:
    """Return an image without what a grid of this spacing cannot show; along coarser axes as it is."""
    import SimpleITK as sitk

    smoothed: sitk.Image = sitk.Cast(image, sitk.sitkFloat32)
    for axis, step in enumerate(image.GetSpacing()):
        if step < 0.75 * spacing_mm:
            smoothed = sitk.RecursiveGaussian(smoothed, sigma=0.4 * spacing_mm, direction=axis)
    return smoothed
