"""Projections of the PET from all sides of the body, for a view that turns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from autosegnet.geometry import Grid
from autosegnet.lesions import Lesion
from autosegnet.report.projection import (
    SUV_WIDEST,
    find_body_grid,
    make_base,
    make_outlines,
    make_view,
    project_maxima,
)
from autosegnet.report.view import project_labels

if TYPE_CHECKING:
    import SimpleITK as sitk

DEGREES: Final = 15
"""Angle between two pictures. The other half of the turn mirrors them."""

_SAMPLED_MM = 4.0
_HEIGHT = 420  # pixels of a whole body
_WIDTH = 420


@dataclass(frozen=True, slots=True)
class TurnedView:
    """The body seen from one direction: the PET alone, and the lesions' outlines as a layer of the same size.

    Args:
        degrees: direction of view: 0 from the front, 90 from the patient's left.
        base: white for SUV 0, black for `SUV_WIDEST`.
        overlay: transparent except for the outlines.
    """

    degrees: int
    base: Image.Image
    overlay: Image.Image


def turn_around(pet: sitk.Image, labels: NDArray[Any], lesions: Sequence[Lesion]) -> list[TurnedView]:
    """Return the views of half a turn, from the front to the back by the patient's left.

    Args:
        pet: in SUV.
        labels: (z, y, x) on its grid.
        lesions: all of them.
    """
    grid = _round_grid(find_body_grid(pet, lesions))
    x, y, z = ((n - 1) / 2 for n in grid.size)
    centre_mm = np.array(grid.find_position_mm((x, y, z)))
    pixel_mm = max(grid.size[2] * _SAMPLED_MM / _HEIGHT, grid.size[0] * _SAMPLED_MM / _WIDTH)
    views = []
    for degrees in range(0, 90, DEGREES):
        turned = _turn(pet, centre_mm, degrees)
        for across, values in enumerate(project_maxima(turned, grid)):
            view = make_view(grid, across, pixel_mm)
            flat = project_labels(labels, Grid.from_image(turned), view)
            base = make_base(values, view, SUV_WIDEST).convert("L")
            views.append(TurnedView(degrees + 90 * across, base, make_outlines(flat)))
    return sorted(views, key=lambda view: view.degrees)


def _round_grid(body: Grid) -> Grid:
    """Return a grid as wide as deep, around the same middle, that holds the body at every angle."""
    x, y, z = (n * s for n, s in zip(body.size, body.spacing_mm, strict=True))
    across = math.ceil(math.hypot(x, y) / _SAMPLED_MM)
    middle = np.array(body.origin_mm) + (np.array([x, y, z]) - body.spacing_mm) / 2
    size = (across, across, math.ceil(z / _SAMPLED_MM))
    origin = middle - (np.array(size) - 1) * _SAMPLED_MM / 2
    return Grid(size, (_SAMPLED_MM,) * 3, (float(origin[0]), float(origin[1]), float(origin[2])), body.direction)


def _turn(pet: sitk.Image, centre_mm: NDArray[np.float64], degrees: int) -> sitk.Image:
    """Return the PET turned about the body's long axis, so that the side becomes the front."""
    import SimpleITK as sitk

    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    rotation = np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])
    turned = sitk.Image(pet)  # the voxels are shared
    turned.SetOrigin((rotation @ (np.array(pet.GetOrigin()) - centre_mm) + centre_mm).tolist())
    turned.SetDirection((rotation @ np.reshape(pet.GetDirection(), (3, 3))).ravel().tolist())
    return turned
