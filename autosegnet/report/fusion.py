"""Draws axial PET, CT and their fusion: through each lesion's hottest voxel, and through the reference regions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from autosegnet.geometry import Grid, resample, view_voxels
from autosegnet.lesions import Lesion
from autosegnet.lesions.references import References
from autosegnet.report.draw import CYAN, WHITE, find_rim, make_picture, paint_hot, scale, write_words
from autosegnet.report.projection import SUV_WIDEST
from autosegnet.study import AIR_HU, Study

SOFT_TISSUE_HU: Final = (-160.0, 240.0)
"""Soft tissue: width 400, level 40."""

SUV_WHITE: Final = 10.0
_PIXELS = 280
_FIELD_MM = 260.0  # half a body: enough to see where the lesion is
_AROUND_MM = 40.0
_OPAQUE_SUV = 4.0  # SUV; the colder the PET below it, the more of the CT is visible
_OPACITY = 0.7


@dataclass(frozen=True, slots=True)
class AxialPictures:
    """An axial slice as pictures of one size.

    Args:
        name: "lesion_1", "reference_liver" and the like.
        fusion: PET over CT, with the contour of what is shown.
        ct: alone.
        pet: alone, white for SUV 0 and black for `SUV_WIDEST`.
        hot: the PET in colours, transparent where it is cold.
        contour: of the lesions or the region, transparent elsewhere.
    """

    name: str
    fusion: Image.Image
    ct: Image.Image
    pet: Image.Image
    hot: Image.Image
    contour: Image.Image


def make_axial_pictures(study: Study, labels: NDArray[Any], lesions: Sequence[Lesion]) -> Iterator[AxialPictures]:
    """Return square axial pictures of each lesion, the patient's right on the left and the front at the top.

    Args:
        study: PET in SUV, CT in HU.
        labels: (z, y, x) on the PET's grid.
        lesions: to be shown.
    """
    for lesion in lesions:
        plane = make_axial_plane(lesion)
        shown = _find_labels_on(plane, labels, Grid.from_image(study.pet)) > 0
        yield _draw_slice(study, plane, shown, f"lesion_{lesion.number}")


def make_reference_pictures(study: Study, references: References) -> Iterator[AxialPictures]:
    """Return axial pictures through the middle of the reference regions, with their outline."""
    for reference in (references.liver, references.blood):
        if reference is not None:
            x, y, z = reference.centre_mm
            plane = _make_plane((x, y), z, _FIELD_MM)
            steps = (np.arange(_PIXELS) - (_PIXELS - 1) / 2) * plane.spacing_mm[0]
            inside = np.hypot(steps[:, None], steps[None, :]) <= reference.radius_mm
            yield _draw_slice(study, plane, inside, f"reference_{reference.organ.replace(' ', '_')}")


def _draw_slice(study: Study, plane: Grid, shown: NDArray[np.bool_], name: str) -> AxialPictures:
    """Return the pictures of a plane, with the contour of what is shown."""
    suv = view_voxels(resample(study.pet, plane, outside=0.0))[0]
    hu = view_voxels(resample(study.ct, plane, outside=AIR_HU))[0]
    ct = make_picture(scale(hu, *SOFT_TISSUE_HU))
    hot = _paint_see_through(suv)
    contour = np.zeros((*suv.shape, 4), np.float32)
    contour[find_rim(shown)] = [*(c / 255.0 for c in CYAN), 1.0]
    contours = make_picture(contour)
    fusion = ct.convert("RGB")
    for layer in (hot.convert("RGBA"), contours):
        fusion.paste(layer, (0, 0), layer)
    _write_sides(fusion)
    return AxialPictures(name, fusion, ct, make_picture(1.0 - scale(suv, 0.0, SUV_WIDEST)), hot, contours)


def _paint_see_through(suv: NDArray[Any]) -> Image.Image:
    """Return a PET in colours as a palette picture, the colder the more transparent."""
    levels = np.arange(256) / 255.0
    opacity = _OPACITY * scale(levels * SUV_WHITE, 0.0, _OPAQUE_SUV)
    colours = np.concatenate([paint_hot(levels.astype(np.float32)), opacity[:, None]], axis=1)
    picture = Image.fromarray((scale(suv, 0.0, SUV_WHITE) * 255.0 + 0.5).astype(np.uint8)).convert("P")
    picture.putpalette((colours * 255.0 + 0.5).astype(np.uint8).tobytes(), "RGBA")
    return picture


def _write_sides(picture: Image.Image) -> None:
    draw = ImageDraw.Draw(picture)
    for words, x in (("R", 12), ("L", _PIXELS - 12)):
        write_words(draw, (x, _PIXELS / 2), words, colour=WHITE, size=18)


def make_axial_plane(lesion: Lesion) -> Grid:
    """Return the plane of the picture: across the body at the hottest voxel, around the middle of the lesion."""
    (left, right), (front, back), _ = lesion.box_mm
    side_mm = max(_FIELD_MM, max(right - left, back - front) + _AROUND_MM)
    return _make_plane(((left + right) / 2, (front + back) / 2), lesion.suv_max_mm[2], side_mm)


def _make_plane(middle_mm: tuple[float, float], height_mm: float, side_mm: float) -> Grid:
    step = side_mm / _PIXELS
    half = side_mm / 2 - step / 2
    corner = (middle_mm[0] - half, middle_mm[1] - half, height_mm)
    identity = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    return Grid((_PIXELS, _PIXELS, 1), (step, step, 1.0), corner, identity)


def _find_labels_on(plane: Grid, labels: NDArray[Any], grid: Grid) -> NDArray[Any]:
    """Return (rows, columns): the label of the voxel that each pixel of a plane lies in."""
    # A pixel's voxel index is linear in its column and row.
    to_index = np.linalg.inv(grid.steps_mm)
    first = to_index @ (np.asarray(plane.origin_mm) - np.asarray(grid.origin_mm))
    across, down = (to_index @ plane.steps_mm).T[:2]
    columns, rows = (np.arange(n, dtype=float) for n in plane.size[:2])
    found = np.zeros((rows.size, columns.size), labels.dtype)
    index = np.rint(first + rows[:, None, None] * down + columns[None, :, None] * across).astype(np.intp)
    there = ((index >= 0) & (index < grid.size)).all(axis=-1)
    x, y, z = index[there].T
    found[there] = labels[z, y, x]
    return found
