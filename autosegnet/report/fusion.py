"""Axial PET/CT fusion through each lesion's hottest voxel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from autosegnet.geometry import Grid, resample, voxels
from autosegnet.lesions import Lesion
from autosegnet.report.draw import CYAN, WHITE, hot, picture, rim, scaled, text
from autosegnet.study import AIR_HU, Study

CT_WINDOW_HU: Final = (-160.0, 240.0)
"""Soft tissue: width 400, level 40."""

SUV_WHITE: Final = 10.0
_PIXELS = 280
_FIELD_MM = 260.0  # half a body: enough to see where the lesion is
_AROUND_MM = 40.0
_OPAQUE_SUV = 4.0  # below, the CT shines through the more the colder
_OPACITY = 0.7


def fusion_pictures(
    case: Study, labels: NDArray[Any], lesions: Sequence[Lesion]
) -> Iterator[tuple[Lesion, Image.Image]]:
    """A square axial picture of each lesion, the patient's right on the left and the front at the top.

    Args:
        case: PET in SUV, CT in HU.
        labels: (z, y, x) on the PET's grid.
        lesions: to be shown.
    """
    for lesion in lesions:
        plane = axial_plane(lesion)
        suv = voxels(resample(case.pet, plane, outside=0.0))[0]
        hu = voxels(resample(case.ct, plane, outside=AIR_HU))[0]
        grey = np.repeat(scaled(hu, *CT_WINDOW_HU)[..., None], 3, axis=-1)
        opacity = (_OPACITY * scaled(suv, 0.0, _OPAQUE_SUV))[..., None]
        colours = (1 - opacity) * grey + opacity * hot(scaled(suv, 0.0, SUV_WHITE))
        colours[rim(_labels_on(plane, labels, Grid.of(case.pet)) > 0)] = np.array(CYAN) / 255.0
        done = picture(colours)
        draw = ImageDraw.Draw(done)
        for words, x in (("R", 12), ("L", _PIXELS - 12)):
            text(draw, (x, _PIXELS / 2), words, colour=WHITE, size=18)
        yield lesion, done


def axial_plane(lesion: Lesion) -> Grid:
    """The plane of the picture: across the body at the hottest voxel, around the middle of the lesion."""
    (left, right), (front, back), _ = lesion.box_mm
    side_mm = max(_FIELD_MM, max(right - left, back - front) + _AROUND_MM)
    step = side_mm / _PIXELS
    half = side_mm / 2 - step / 2
    corner = ((left + right) / 2 - half, (front + back) / 2 - half, lesion.suv_max_mm[2])
    identity = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    return Grid((_PIXELS, _PIXELS, 1), (step, step, 1.0), corner, identity)


def _labels_on(plane: Grid, labels: NDArray[Any], grid: Grid) -> NDArray[Any]:
    """(rows, columns): the label of the voxel that each pixel of a plane lies in."""
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
