"""Pictures of two dates at one scale: projections side by side, level with each other, and axial slices of each change.

A change has one number and one colour on both dates; colours repeat, numbers do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from autosegnet.comparison.changes import LesionChange
from autosegnet.geometry import Grid, view_voxels
from autosegnet.lesions import Lesion
from autosegnet.report.annotate import SUV_BLACK, frame_projection, make_overlay, write_suv_scale
from autosegnet.report.draw import encode_png, find_edge, make_picture
from autosegnet.report.fusion import make_axial_pictures
from autosegnet.report.projection import find_body_grid, make_base, make_view, project_maxima
from autosegnet.report.view import View, project_labels

if TYPE_CHECKING:
    from autosegnet.comparison.comparison_result import Comparison
    from autosegnet.comparison.visits import Visit

COLOURS: Final = (
    (214, 39, 84),
    (24, 116, 205),
    (28, 138, 62),
    (201, 112, 0),
    (122, 62, 190),
    (0, 131, 138),
    (138, 98, 46),
)
NUMBERED: Final = 40
"""Changes whose numbers are written beside the projections; more would hide each other."""
SLICED: Final = 16
"""Changes with a pair of axial slices in the page."""
_HEIGHT, _WIDTH = 720, 430  # pixels at most
_TINT = 0.35
_UNSEEN_GREY = 232  # beyond the PET


def find_colour(number: int) -> tuple[int, int, int]:
    """Return the colour of a change."""
    return COLOURS[(number - 1) % len(COLOURS)]


@dataclass(frozen=True, slots=True)
class DateProjection:
    """PNG files of one date's coronal projection: the PET in its frame, and a layer with outlines and numbers."""

    base: bytes
    overlay: bytes
    size: tuple[int, int]


def draw_projections(found: Comparison) -> tuple[DateProjection, DateProjection]:
    """Return the projections of baseline and follow-up, of one size and scale, with the same levels side by side."""
    grids = _find_level_grids(found)
    extent = [max(n * grid.spacing_mm[0] for grid in grids for n in (grid.size[axis],)) for axis in (0, 2)]
    pixel_mm = max(extent[0] / _WIDTH, extent[1] / _HEIGHT)
    first, second = (
        _draw_projection(found, visit, grid, pixel_mm)
        for visit, grid in zip((found.baseline, found.followup), grids, strict=True)
    )
    return first, second


def _find_level_grids(found: Comparison) -> tuple[Grid, Grid]:
    """Return the grids of both projections: of one size, and as high above a place as above the same place there."""
    own = [find_body_grid(visit.loaded.study.pet, visit.table.lesions) for visit in (found.baseline, found.followup)]
    middle = np.array(
        own[1].find_position_mm(((own[1].size[0] - 1) / 2, (own[1].size[1] - 1) / 2, (own[1].size[2] - 1) / 2))
    )
    lift_mm = float(found.warp.to_baseline(middle[None])[0, 2] - middle[2])
    step = own[0].spacing_mm[2]
    lows = [own[0].origin_mm[2] - lift_mm, own[1].origin_mm[2]]
    highs = [low + step * grid.size[2] for low, grid in zip(lows, own, strict=True)]
    columns = max(grid.size[0] for grid in own)
    rows = int(np.ceil((max(highs) - min(lows)) / step))
    made = []
    for grid, rise in zip(own, (lift_mm, 0.0), strict=True):
        left = grid.origin_mm[0] - step * (columns - grid.size[0]) / 2
        made.append(
            replace(grid, size=(columns, grid.size[1], rows), origin_mm=(left, grid.origin_mm[1], min(lows) + rise))
        )
    return made[0], made[1]


def _draw_projection(found: Comparison, visit: Visit, grid: Grid, pixel_mm: float) -> DateProjection:
    pet = visit.loaded.study.pet
    view = make_view(grid, 0, pixel_mm)
    numbers = found.number_changes(visit)
    flat = project_labels(view_voxels(numbers).astype(np.int32), Grid.from_image(numbers), view)
    body = _shade_unseen(make_base(project_maxima(pet, grid)[0], view, SUV_BLACK), view, Grid.from_image(pet))
    base = frame_projection(body, view, ("R", "L"))
    write_suv_scale(base, view)
    overlay = make_overlay(_outline(flat), view, _list_named(found, visit), find_colour=find_colour)
    return DateProjection(encode_png(base), encode_png(overlay), base.size)


def _shade_unseen(body: Image.Image, view: View, grid: Grid) -> Image.Image:
    """Return a projection in which what the PET does not cover is grey, not white as cold tissue."""
    corners = [grid.find_position_mm((0, 0, z))[2] for z in (-0.5, grid.size[2] - 0.5)]
    heights = view.top_mm - (np.arange(view.size[1]) + 0.5) * view.pixel_mm
    pixels = np.array(body.convert("RGB"))
    pixels[(heights < min(corners)) | (heights > max(corners))] = _UNSEEN_GREY
    return Image.fromarray(pixels)


def _outline(flat: NDArray[np.int32]) -> Image.Image:
    """Return a transparent picture of shadows in the colours of their numbers."""
    palette = np.array(COLOURS, np.float32) / 255.0
    colours = np.zeros((*flat.shape, 4), np.float32)
    colours[..., :3] = palette[(flat - 1) % len(COLOURS)]
    colours[..., 3] = np.where(find_edge(flat), 1.0, np.where(flat > 0, _TINT, 0.0))
    return make_picture(colours)


def _list_named(found: Comparison, visit: Visit) -> list[Lesion]:
    """Return the lesions of a date, numbered by their changes."""
    named = []
    for change in found.changes[:NUMBERED]:
        figures = change.baseline if visit is found.baseline else change.followup
        named += [replace(visit.table.lesions[number - 1], number=change.number) for number in figures.lesions]
    return named


@dataclass(frozen=True, slots=True)
class SlicePair:
    """PNG files of one change: PET over CT at both dates; None where a date does not show the place."""

    number: int
    baseline: bytes | None
    followup: bytes | None


def draw_slices(found: Comparison) -> list[SlicePair]:
    """Return axial slices through the hottest voxel of the largest changes, or through the same place on that date."""
    labels = {id(visit): view_voxels(found.number_changes(visit)) for visit in (found.baseline, found.followup)}
    pairs = []
    for change in found.changes[:SLICED]:
        shown = _find_places(found, change)
        pairs.append(SlicePair(change.number, *(
            None if lesion is None else _draw_slice(visit, labels[id(visit)], lesion)
            for visit, lesion in zip((found.baseline, found.followup), shown, strict=True)
        )))  # fmt: skip
    return pairs


def _draw_slice(visit: Visit, labels: NDArray[Any], lesion: Lesion) -> bytes | None:
    grid = Grid.from_image(visit.loaded.study.pet)
    index = np.array(grid.find_index(lesion.suv_max_mm))
    if ((index < -0.5) | (index > np.array(grid.size) - 0.5)).any():
        return None
    (picture,) = make_axial_pictures(visit.loaded.study, labels, [lesion])
    return encode_png(picture.fusion)


def _find_places(found: Comparison, change: LesionChange) -> tuple[Lesion | None, Lesion | None]:
    """Return a lesion per date that says where to cut; both cover as much of the body."""
    first, second = (
        visit.table.lesions[figures.lesions[0] - 1] if figures.lesions else None
        for visit, figures in ((found.baseline, change.baseline), (found.followup, change.followup))
    )
    if first is None and second is not None:
        first = _move(second, found.warp.to_baseline(np.array([second.suv_max_mm]))[0])
    elif second is None and first is not None:
        second = _move(first, found.warp.to_followup(np.array([first.suv_max_mm]))[0])
    assert first is not None
    assert second is not None
    widths = [max(high - low for low, high in pair) for pair in zip(first.box_mm, second.box_mm, strict=True)]
    return _widen(first, widths), _widen(second, widths)


def _move(lesion: Lesion, place: NDArray[np.float64]) -> Lesion:
    """Return a lesion at another place: the pictures look at its box and its hottest voxel alone."""
    by = place - np.array(lesion.suv_max_mm)
    x, y, z = ((low + shift, high + shift) for (low, high), shift in zip(lesion.box_mm, by.tolist(), strict=True))
    left, front, foot = place.tolist()
    return replace(lesion, box_mm=(x, y, z), suv_max_mm=(left, front, foot))


def _widen(lesion: Lesion, widths: Sequence[float]) -> Lesion:
    x, y, z = (
        ((low + high - width) / 2, (low + high + width) / 2)
        for (low, high), width in zip(lesion.box_mm, widths, strict=True)
    )
    return replace(lesion, box_mm=(x, y, z))
