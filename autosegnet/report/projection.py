"""Maximum intensity projections of the PET, with the lesions on them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from autosegnet.geometry import Grid, resample, voxels
from autosegnet.lesions import Lesion
from autosegnet.report.annotate import SUV_BLACK, annotated
from autosegnet.report.draw import RED, edge, inverted_grey, picture, scaled
from autosegnet.report.view import View, shadow

if TYPE_CHECKING:
    import SimpleITK as sitk

_SAMPLED_MM = 2.0  # as fine as PETs are; a whole body has 20 million such voxels
_SLAB = 64  # planes resampled at once
_BODY_SUV = 0.3  # fat and lung, the coldest tissues, are above; as in `study`
_AROUND_MM = 12.0
_HEIGHT = 800  # pixels of a whole body from head to foot
_WIDTH = 560  # pixels at most, for short fields of view
_TINT = 0.4

_ACROSS = {"coronal": 0, "sagittal": 1}  # the LPS axis that runs from left to right in the picture
_MARKS = {"coronal": ("R", "L"), "sagittal": ("A", "P")}


def projection_pictures(
    pet: sitk.Image, labels: NDArray[Any], named: Sequence[Lesion], lesions: Sequence[Lesion]
) -> tuple[Image.Image, Image.Image]:
    """The coronal and the sagittal projection.

    Args:
        pet: in SUV.
        labels: (z, y, x) on its grid, as `number_lesions` makes them.
        named: lesions whose numbers are written.
        lesions: all of them.
    """
    upright = upright_grid(pet, lesions)
    coronal, sagittal = projections(pet, upright)
    extent_mm = [n * _SAMPLED_MM for n in upright.size]
    pixel_mm = max(extent_mm[2] / _HEIGHT, extent_mm[0] / _WIDTH, extent_mm[1] / _WIDTH)
    done = []
    for name, projected in (("coronal", coronal), ("sagittal", sagittal)):
        across = _ACROSS[name]
        size = (round(extent_mm[across] / pixel_mm), round(extent_mm[2] / pixel_mm))
        left_mm = upright.origin_mm[across] - _SAMPLED_MM / 2
        top_mm = upright.origin_mm[2] + extent_mm[2] - _SAMPLED_MM / 2
        view = View(across, left_mm, top_mm, pixel_mm, size)
        flat = shadow(labels, Grid.of(pet), view)
        done.append(annotated(_tinted(projected, flat, view), view, named, _MARKS[name]))
    return done[0], done[1]


def upright_grid(pet: sitk.Image, lesions: Sequence[Lesion]) -> Grid:
    """A grid of 2 mm along the patient's axes that holds the body and every lesion, and little of the air around."""
    whole = Grid.of(pet)
    stride = np.array([max(1, round(4.0 / s)) for s in whole.spacing_mm])
    inside = voxels(pet)[:: stride[2], :: stride[1], :: stride[0]] > _BODY_SUV
    if inside.any():
        index = np.argwhere(inside)[:, ::-1] * stride
        around_mm = _AROUND_MM
    else:
        index = np.array(list(product(*((-0.5, n - 0.5) for n in whole.size))))
        around_mm = 0.0
    at_mm = index @ whole.steps_mm.T + whole.origin_mm
    reach_mm = np.array(
        [at_mm.min(axis=0), at_mm.max(axis=0), *(end for lesion in lesions for end in np.transpose(lesion.box_mm))]
    )
    low_mm, high_mm = reach_mm.min(axis=0) - around_mm, reach_mm.max(axis=0) + around_mm
    x, y, z = (max(1, int(np.ceil(extent / _SAMPLED_MM))) for extent in high_mm - low_mm)
    origin = low_mm + _SAMPLED_MM / 2
    return Grid(
        (x, y, z),
        (_SAMPLED_MM, _SAMPLED_MM, _SAMPLED_MM),
        (float(origin[0]), float(origin[1]), float(origin[2])),
        (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
    )


def projections(pet: sitk.Image, upright: Grid) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The highest SUV along A-P and along R-L, each with the head at the top: (z, x) and (z, y).

    Interpolated linearly, slab by slab, so that no second PET is held; 0 outside the PET.
    """
    x, y, z = upright.size
    coronal, sagittal = np.empty((z, x), np.float32), np.empty((z, y), np.float32)
    for low in range(0, z, _SLAB):
        high = min(z, low + _SLAB)
        slab = voxels(resample(pet, upright.crop(((0, x), (0, y), (low, high))), outside=0.0))
        slab.max(axis=1, out=coronal[low:high])
        slab.max(axis=2, out=sagittal[low:high])
    return coronal[::-1], sagittal[::-1]


def _tinted(projected: NDArray[np.float32], flat: NDArray[np.int32], view: View) -> Image.Image:
    large = Image.fromarray(projected).resize(view.size, Image.Resampling.BICUBIC)
    colours = inverted_grey(scaled(np.asarray(large), 0.0, SUV_BLACK))
    red = np.array(RED, np.float32) / 255.0
    inside = flat > 0
    colours[inside] = (1 - _TINT) * colours[inside] + _TINT * red
    colours[edge(flat)] = red
    return picture(colours)
