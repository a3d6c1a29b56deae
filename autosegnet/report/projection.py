"""Maximum intensity projections of the PET, with the lesions on them and their numbers beside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from autosegnet.geometry import Grid, resample, voxels
from autosegnet.lesions import Lesion
from autosegnet.report.draw import GREY, INK, RED, WHITE, edge, inverted_grey, picture, scaled, text

if TYPE_CHECKING:
    import SimpleITK as sitk

SUV_BLACK: Final = 10.0
_SAMPLED_MM = 2.0  # as fine as PETs are; a whole body has 20 million such voxels
_SLAB = 64  # planes resampled at once
_BODY_SUV = 0.3  # fat and lung, the coldest tissues, are above; as in `study`
_AROUND_MM = 12.0
_HEIGHT = 800  # pixels of a whole body from head to foot
_WIDTH = 560  # pixels at most, for short fields of view
_MARGIN = 46  # pixels beside the body, for numbers
_TOP, _BOTTOM = 6, 40
_LABEL_PITCH = 17
_TINT = 0.4

_ACROSS = {"coronal": 0, "sagittal": 1}  # the LPS axis that runs from left to right in the picture
_MARKS = {"coronal": ("R", "L"), "sagittal": ("A", "P")}


@dataclass(frozen=True, slots=True)
class View:
    """Where the pixels of a picture lie.

    Args:
        across: LPS axis that runs from left to right.
        left_mm: position along it of the picture's left edge.
        top_mm: S of the picture's upper edge.
        pixel_mm: side of a pixel.
        size: (columns, rows).
    """

    across: int
    left_mm: float
    top_mm: float
    pixel_mm: float
    size: tuple[int, int]

    def pixels(self, positions_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, 2) columns and rows, as fractions, of (N, 3) positions."""
        columns = (positions_mm[:, self.across] - self.left_mm) / self.pixel_mm
        return np.stack([columns, (self.top_mm - positions_mm[:, 2]) / self.pixel_mm], axis=1)


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
        done.append(_compose(_tinted(projected, flat, view), view, named, _MARKS[name]))
    return done[0], done[1]


def upright_grid(pet: sitk.Image, lesions: Sequence[Lesion]) -> Grid:
    """A grid of 2 mm along the patient's axes that holds the body and every lesion, and little of the air around."""
    whole = Grid.of(pet)
    stride = [max(1, round(4.0 / s)) for s in whole.spacing_mm]
    inside = voxels(pet)[:: stride[2], :: stride[1], :: stride[0]] > _BODY_SUV
    box = []
    for axis in range(3):
        found = np.flatnonzero(inside.any(axis=tuple(a for a in range(3) if a != 2 - axis))) * stride[axis]
        edges = [*found[[0, -1]].tolist(), *(i for lesion in lesions for i in lesion.box[axis])] if found.size else []
        margin = _AROUND_MM / whole.spacing_mm[axis]
        low, high = (min(edges) - margin, max(edges) + margin) if edges else (0, whole.size[axis] - 1)
        box.append((max(-0.5, low), min(whole.size[axis] - 0.5, high)))
    corners = np.array([whole.position_mm((x, y, z)) for x, y, z in product(*box)])
    low_mm, high_mm = corners.min(axis=0), corners.max(axis=0)
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


def shadow(labels: NDArray[Any], grid: Grid, view: View) -> NDArray[np.int32]:
    """(rows, columns): the number of the smallest lesion that the line of sight meets, else 0.

    Every voxel is drawn with its whole body, on pixels of at least 1 mm.
    """
    coarse = max(1, int(np.ceil(1.0 / view.pixel_mm)))
    columns, rows = (-(-n // coarse) for n in view.size)
    canvas = np.zeros(rows * columns, np.int32)
    pixel_mm = view.pixel_mm * coarse
    parts = [np.arange(n) for n in np.ceil(np.array(grid.spacing_mm) / (0.7 * pixel_mm)).astype(int)]
    spots = np.array([[(i + 0.5) / len(p) - 0.5 for i, p in zip(at, parts, strict=True)] for at in product(*parts)])
    spots_mm = spots @ grid.steps_mm.T
    flat = np.flatnonzero(labels)
    for chunk in np.array_split(flat, max(1, flat.size * len(spots) // 2_000_000)):
        index = np.stack(np.unravel_index(chunk, labels.shape)[::-1], axis=1)
        centres_mm = index @ grid.steps_mm.T + grid.origin_mm
        at = view.pixels((centres_mm[:, None] + spots_mm).reshape(-1, 3)) / coarse
        column, row = np.floor(at).astype(int).T
        there = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
        numbers = np.repeat(labels.reshape(-1)[chunk], len(spots))
        np.maximum.at(canvas, (row * columns + column)[there], numbers[there].astype(np.int32))
    fine = np.kron(canvas.reshape(rows, columns), np.ones((coarse, coarse), np.int32))
    return fine[: view.size[1], : view.size[0]]


def _tinted(projected: NDArray[np.float32], flat: NDArray[np.int32], view: View) -> Image.Image:
    large = Image.fromarray(projected).resize(view.size, Image.Resampling.BICUBIC)
    colours = inverted_grey(scaled(np.asarray(large), 0.0, SUV_BLACK))
    red = np.array(RED, np.float32) / 255.0
    inside = flat > 0
    colours[inside] = (1 - _TINT) * colours[inside] + _TINT * red
    colours[edge(flat)] = red
    return picture(colours)


def _compose(body: Image.Image, view: View, named: Sequence[Lesion], marks: tuple[str, str]) -> Image.Image:
    width, height = view.size
    whole = Image.new("RGB", (width + 2 * _MARGIN, height + _TOP + _BOTTOM), WHITE)
    whole.paste(body, (_MARGIN, _TOP))
    draw = ImageDraw.Draw(whole)
    for words, x in zip(marks, (12, width + 2 * _MARGIN - 12), strict=True):
        text(draw, (x, _TOP + 12), words, size=20, colour=GREY)
    _write_numbers(draw, view, named)
    _write_scales(draw, view)
    return whole


def _write_numbers(draw: ImageDraw.ImageDraw, view: View, named: Sequence[Lesion]) -> None:
    if not named:
        return
    width, height = view.size
    at = view.pixels(np.array([lesion.centroid_mm for lesion in named]))
    for right in (False, True):
        side = [(row, column, lesion) for (column, row), lesion in zip(at, named, strict=True)]
        side = sorted((s for s in side if (s[1] >= width / 2) == right), key=lambda s: (s[0], s[2].number))
        levels = spread([row for row, _, _ in side], pitch=_LABEL_PITCH, low=44.0, high=height - 6.0)
        for (row, column, lesion), level in zip(side, levels, strict=True):
            outer = width + 2 * _MARGIN - 24 if right else 24
            ends = [(column + _MARGIN, row + _TOP), (outer, level + _TOP)]
            draw.line(ends, fill=(*RED, 255), width=1)
            anchor = "lm" if right else "rm"
            text(draw, (outer + (3 if right else -3), level + _TOP), str(lesion.number), anchor=anchor, size=16)


def spread(wanted: Sequence[float], *, pitch: float, low: float, high: float) -> list[float]:
    """Levels near the wanted ones, in the same order, at least a pitch apart where they fit between low and high.

    Args:
        wanted: ascending.
    """
    if len(wanted) > 1:
        pitch = min(pitch, (high - low) / (len(wanted) - 1))
    levels: list[float] = []
    for k, level in enumerate(wanted):
        least = low if k == 0 else levels[-1] + pitch
        most = high - pitch * (len(wanted) - 1 - k)
        levels.append(min(max(level, least), most))
    return levels


def _write_scales(draw: ImageDraw.ImageDraw, view: View) -> None:
    """A bar of some centimetres on the left, the grey scale of SUV on the right."""
    width, height = view.size
    y = height + _TOP + 22
    length_cm = next((cm for cm in (10, 5, 2) if 10 * cm / view.pixel_mm < width / 3), 1)
    end = _MARGIN + 10 * length_cm / view.pixel_mm
    draw.line([(_MARGIN, y - 5), (_MARGIN, y), (end, y), (end, y - 5)], fill=INK, width=2)
    text(draw, ((_MARGIN + end) / 2, y + 10), f"{length_cm} cm")
    left, right = width + _MARGIN - 110, width + _MARGIN
    for x in range(left, right):
        level = round(255 * (1 - (x - left) / (right - left)))
        draw.line([(x, y - 8), (x, y)], fill=(level, level, level))
    draw.rectangle([left, y - 8, right, y], outline=GREY)
    for at, words in ((left, "0"), ((left + right) / 2, "SUV"), (right, f"{SUV_BLACK:g}")):
        text(draw, (at, y + 10), words)
