"""Draws the frame of a projection: the numbers of the lesions, marks of orientation, scales."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from autosegnet.lesions import Lesion
from autosegnet.report.draw import GREY, INK, RED, WHITE, write_words
from autosegnet.report.view import View

SUV_BLACK: Final = 10.0
"""SUV at the end of the projections' grey scale."""

_MARGIN = 46  # pixels beside the body, for numbers
_TOP, _BOTTOM = 6, 40
_LABEL_PITCH = 17


def frame_projection(body: Image.Image, view: View, marks: tuple[str, str]) -> Image.Image:
    """Return a projection in a white frame with marks of orientation and a bar of some centimetres.

    Args:
        body: the projection.
        view: its plane.
        marks: of orientation, left and right.
    """
    width, height = view.size
    whole = Image.new("RGB", measure_frame(view), WHITE)
    whole.paste(body, (_MARGIN, _TOP))
    draw = ImageDraw.Draw(whole)
    for words, x in zip(marks, (12, width + 2 * _MARGIN - 12), strict=True):
        write_words(draw, (x, _TOP + 12), words, size=20, colour=GREY)
    _write_length(draw, view)
    return whole


def measure_frame(view: View) -> tuple[int, int]:
    """Return the size of a projection in its frame, (columns, rows)."""
    return view.size[0] + 2 * _MARGIN, view.size[1] + _TOP + _BOTTOM


def make_overlay(
    outlines: Image.Image,
    view: View,
    named: Sequence[Lesion],
    *,
    find_colour: Callable[[int], tuple[int, int, int]] = lambda number: RED,
) -> Image.Image:
    """Return a transparent picture, as large as the frame, of outlines and the numbers of lesions.

    Args:
        outlines: as large as the projection, with opacity.
        view: its plane.
        named: lesions whose numbers are written.
        find_colour: of the line to a lesion, by its number.
    """
    whole = Image.new("RGBA", measure_frame(view), (255, 255, 255, 0))
    whole.paste(outlines, (_MARGIN, _TOP))
    _write_numbers(ImageDraw.Draw(whole), view, named, find_colour)
    return whole


def write_suv_scale(framed: Image.Image, view: View) -> None:
    """Write the grey scale of SUV below a projection in its frame."""
    draw = ImageDraw.Draw(framed)
    width, height = view.size
    y = height + _TOP + 22
    left, right = width + _MARGIN - 110, width + _MARGIN
    for x in range(left, right):
        level = round(255 * (1 - (x - left) / (right - left)))
        draw.line([(x, y - 8), (x, y)], fill=(level, level, level))
    draw.rectangle([left, y - 8, right, y], outline=GREY)
    for at, words in ((left, "0"), ((left + right) / 2, "SUV"), (right, f"{SUV_BLACK:g}")):
        write_words(draw, (at, y + 10), words)


def _write_numbers(
    draw: ImageDraw.ImageDraw,
    view: View,
    named: Sequence[Lesion],
    find_colour: Callable[[int], tuple[int, int, int]],
) -> None:
    if not named:
        return
    width, height = view.size
    at = view.find_pixels(np.array([lesion.centroid_mm for lesion in named]))
    for right in (False, True):
        side = [(row, column, lesion) for (column, row), lesion in zip(at, named, strict=True)]
        side = sorted((s for s in side if (s[1] >= width / 2) == right), key=lambda s: (s[0], s[2].number))
        levels = spread_levels([row for row, _, _ in side], pitch=_LABEL_PITCH, low=44.0, high=height - 6.0)
        for (row, column, lesion), level in zip(side, levels, strict=True):
            outer = width + 2 * _MARGIN - 24 if right else 24
            ends = [(column + _MARGIN, row + _TOP), (outer, level + _TOP)]
            draw.line(ends, fill=(*find_colour(lesion.number), 255), width=1)
            anchor = "lm" if right else "rm"
            write_words(draw, (outer + (3 if right else -3), level + _TOP), str(lesion.number), anchor=anchor, size=16)


def spread_levels(wanted: Sequence[float], *, pitch: float, low: float, high: float) -> list[float]:
    """Return levels near the wanted ones, in the same order, at least a pitch apart if they fit between low and high.

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


def _write_length(draw: ImageDraw.ImageDraw, view: View) -> None:
    """Write a bar of some centimetres on the left."""
    width, height = view.size
    y = height + _TOP + 22
    length_cm = next((cm for cm in (10, 5, 2) if 10 * cm / view.pixel_mm < min(width / 2.2, width - 135)), 1)
    end = _MARGIN + 10 * length_cm / view.pixel_mm
    draw.line([(_MARGIN, y - 5), (_MARGIN, y), (end, y), (end, y - 5)], fill=INK, width=2)
    write_words(draw, ((_MARGIN + end) / 2, y + 10), f"{length_cm} cm")
