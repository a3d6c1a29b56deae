"""Maximum intensity projections of the PET, with the lesions on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from autosegnet.geometry import Grid, resample, view_voxels
from autosegnet.lesions import Lesion
from autosegnet.report.annotate import SUV_BLACK, frame_projection, make_overlay, write_suv_scale
from autosegnet.report.draw import RED, find_edge, make_picture, paint_inverted_grey, scale
from autosegnet.report.view import View, project_labels

if TYPE_CHECKING:
    import SimpleITK as sitk

SUV_WIDEST: Final = 20.0
"""SUV at the end of the stored projections' grey scale; the page shows a part of it."""

_SAMPLED_MM = 2.0  # as fine as PETs are; a whole body has 20 million such voxels
_SLAB = 64  # planes resampled at once
_BODY_SUV = 0.3  # fat and lung, the coldest tissues, are above; as in `study`
_AROUND_MM = 12.0
_HEIGHT = 800  # pixels of a whole body from head to foot
_WIDTH = 560  # pixels at most, for short fields of view
_TINT = 0.4

_ACROSS = {"coronal": 0, "sagittal": 1}  # the LPS axis that runs from left to right in the picture
_MARKS = {"coronal": ("R", "L"), "sagittal": ("A", "P")}


@dataclass(frozen=True, slots=True)
class Projected:
    """One projection as pictures of one size.

    Args:
        base: the PET alone, white for SUV 0 and black for `SUV_WIDEST`.
        overlay: outlines and numbers of the lesions, transparent elsewhere.
        whole: both together, black for `SUV_BLACK`.
    """

    base: Image.Image
    overlay: Image.Image
    whole: Image.Image


def project(
    pet: sitk.Image, labels: NDArray[Any], named: Sequence[Lesion], lesions: Sequence[Lesion]
) -> tuple[Projected, Projected]:
    """Return the coronal and the sagittal projection.

    Args:
        pet: in SUV.
        labels: (z, y, x) on its grid, as `number_lesion_voxels` makes them.
        named: lesions whose numbers are written.
        lesions: all of them.
    """
    upright = find_body_grid(pet, lesions)
    projected = project_maxima(pet, upright)
    extent_mm = [n * _SAMPLED_MM for n in upright.size]
    pixel_mm = max(extent_mm[2] / _HEIGHT, extent_mm[0] / _WIDTH, extent_mm[1] / _WIDTH)
    done = []
    for name, values in zip(("coronal", "sagittal"), projected, strict=True):
        view = make_view(upright, _ACROSS[name], pixel_mm)
        flat = project_labels(labels, Grid.from_image(pet), view)
        base = frame_projection(make_base(values, view, SUV_WIDEST), view, _MARKS[name])
        whole = frame_projection(make_base(values, view, SUV_BLACK), view, _MARKS[name])
        write_suv_scale(whole, view)
        overlay = make_overlay(make_outlines(flat), view, named)
        whole.paste(overlay, (0, 0), overlay)
        done.append(Projected(base.convert("L"), overlay, whole))
    return done[0], done[1]


def make_view(upright: Grid, across: int, pixel_mm: float) -> View:
    """Return the plane of a projection of an upright grid along one of its axes."""
    spacing_mm = upright.spacing_mm[0]
    extent_mm = [n * spacing_mm for n in upright.size]
    size = (max(1, round(extent_mm[across] / pixel_mm)), max(1, round(extent_mm[2] / pixel_mm)))
    top_mm = upright.origin_mm[2] + extent_mm[2] - spacing_mm / 2
    return View(across, upright.origin_mm[across] - spacing_mm / 2, top_mm, pixel_mm, size)


def make_base(projected: NDArray[np.float32], view: View, suv_black: float) -> Image.Image:
    """Return a projection as a grey picture of the view's size: white for SUV 0."""
    large = Image.fromarray(projected).resize(view.size, Image.Resampling.BICUBIC)
    return make_picture(paint_inverted_grey(scale(np.asarray(large), 0.0, suv_black)))


def make_outlines(flat: NDArray[np.int32]) -> Image.Image:
    """Return a transparent picture of the projected lesions: tinted inside, with an edge."""
    colours = np.zeros((*flat.shape, 4), np.float32)
    colours[..., :3] = np.array(RED, np.float32) / 255.0
    colours[..., 3] = np.where(find_edge(flat), 1.0, np.where(flat > 0, _TINT, 0.0))
    return make_picture(colours)


def find_body_grid(pet: sitk.Image, lesions: Sequence[Lesion]) -> Grid:
    """Return a grid of 2 mm along the patient's axes that holds the body, every lesion and little air."""
    whole = Grid.from_image(pet)
    stride = np.array([max(1, round(4.0 / s)) for s in whole.spacing_mm])
    inside = view_voxels(pet)[:: stride[2], :: stride[1], :: stride[0]] > _BODY_SUV
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


def project_maxima(pet: sitk.Image, upright: Grid) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the highest SUV along A-P and along R-L, each with the head at the top: (z, x) and (z, y).

    The PET is interpolated linearly, slab by slab, so that no second PET is in memory; 0 outside the PET.
    """
    x, y, z = upright.size
    coronal, sagittal = np.empty((z, x), np.float32), np.empty((z, y), np.float32)
    for low in range(0, z, _SLAB):
        high = min(z, low + _SLAB)
        slab = view_voxels(resample(pet, upright.crop(((0, x), (0, y), (low, high))), outside=0.0))
        slab.max(axis=1, out=coronal[low:high])
        slab.max(axis=2, out=sagittal[low:high])
    return coronal[::-1], sagittal[::-1]
