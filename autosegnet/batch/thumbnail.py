"""A small picture of a study for the overview: the highest SUV along A-P, the mask in red."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from autosegnet.geometry import Grid, view_voxels

if TYPE_CHECKING:
    import SimpleITK as sitk

_HEIGHT, _WIDTH = 160, 120  # pixels at most
_SUV_BLACK = 8.0  # as in the report's projections, rounded
_BODY_SUV = 0.3  # as in the report's projections
_RED = np.array([226, 24, 52], np.float32)


def draw_thumbnail(pet: sitk.Image, mask: sitk.Image) -> bytes:
    """Return a PNG of the PET seen from the front, the head at the top and the patient's right on the left.

    Each axis of the image is drawn as the patient's axis nearest to it, so a tilted image stays tilted.

    Args:
        pet: in SUV.
        mask: on its grid.
    """
    grid = Grid.from_image(pet)
    across, depth, height = _match_axes(grid)
    flip = [axis for axis in (across, height) if grid.steps_mm[{across: 0, height: 2}[axis], axis] < 0]
    projected, red = (_project(image, depth, flip, across < height) for image in (pet, mask))
    rows, columns = _find_body(projected, red)
    projected, red = projected[rows, columns], red[rows, columns]
    size_mm = [projected.shape[1] * grid.spacing_mm[across], projected.shape[0] * grid.spacing_mm[height]]
    pixel_mm = max(size_mm[0] / _WIDTH, size_mm[1] / _HEIGHT)
    size = (max(1, round(size_mm[0] / pixel_mm)), max(1, round(size_mm[1] / pixel_mm)))
    grey = np.asarray(Image.fromarray(projected).resize(size, Image.Resampling.BOX))
    share = np.asarray(Image.fromarray(red).resize(size, Image.Resampling.BOX))[..., None]
    shown = np.repeat(255.0 * (1.0 - np.clip(grey / _SUV_BLACK, 0.0, 1.0))[..., None], 3, axis=-1)
    share = np.clip(3.0 * share, 0.0, 0.7)  # small lesions stay visible
    colours = (1.0 - share) * shown + share * _RED
    data = io.BytesIO()
    Image.fromarray((colours + 0.5).astype(np.uint8)).quantize(64).save(data, "PNG", optimize=True)
    return data.getvalue()


def _find_body(projected: NDArray[np.float32], red: NDArray[np.float32]) -> tuple[slice, slice]:
    """Return the rows and columns that hold the body and the mask; all if there is neither."""
    inside = np.argwhere((projected > _BODY_SUV) | (red > 0))
    if not inside.size:
        return slice(None), slice(None)
    (top, left), (bottom, right) = inside.min(axis=0), inside.max(axis=0) + 1
    return slice(top, bottom), slice(left, right)


def _match_axes(grid: Grid) -> tuple[int, int, int]:
    """Return the voxel axes that run most nearly along L, P and S."""
    steps = np.abs(np.asarray(grid.steps_mm)) / np.asarray(grid.spacing_mm)
    height = int(np.argmax(steps[2]))
    depth = max((axis for axis in range(3) if axis != height), key=lambda axis: float(steps[1, axis]))
    return 3 - height - depth, depth, height


def _project(image: sitk.Image, depth: int, flip: list[int], upright: bool) -> NDArray[np.float32]:
    """Return the maximum along an axis as (rows from the head, columns from the patient's right)."""
    array = np.asarray(view_voxels(image)).transpose(2, 1, 0)  # (x, y, z)
    flat = array.max(axis=depth, keepdims=True)
    flat = np.flip(flat, tuple(flip)).squeeze(depth)
    if upright:
        flat = flat.T
    return np.ascontiguousarray(flat[::-1], np.float32)
