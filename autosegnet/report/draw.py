"""Numbers to pixels: grey and colour scales, contours, text."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

RED: Final = (226, 24, 52)
INK: Final = (40, 44, 52)
GREY: Final = (130, 136, 146)
WHITE: Final = (255, 255, 255)
CYAN: Final = (0, 225, 255)


def scale(values: NDArray[Any], low: float, high: float) -> NDArray[np.float32]:
    """Return values as a fraction of a window, clipped to 0 and 1."""
    fraction: NDArray[np.float32] = np.clip((values.astype(np.float32) - low) / (high - low), 0.0, 1.0)
    return fraction


def paint_inverted_grey(fraction: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (..., 3) in [0, 1]: white for 0, black for 1."""
    return np.repeat(1.0 - fraction[..., None], 3, axis=-1)


def paint_hot(fraction: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (..., 3) in [0, 1]: black, red, yellow, white."""
    colours: NDArray[np.float32] = np.clip(3.0 * fraction[..., None] - np.array([0, 1, 2], np.float32), 0.0, 1.0)
    return colours


def make_picture(colours: NDArray[Any]) -> Image.Image:
    """Return a picture of (rows, columns), (…, 3) or, with opacity, (…, 4) in [0, 1]."""
    return Image.fromarray((colours * 255.0 + 0.5).astype(np.uint8))


def find_edge(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Return the pixels of each label that touch a pixel of another label or of none."""
    inner = np.ones(labels.shape, bool)
    inner[1:] &= labels[1:] == labels[:-1]
    inner[:-1] &= labels[:-1] == labels[1:]
    inner[:, 1:] &= labels[:, 1:] == labels[:, :-1]
    inner[:, :-1] &= labels[:, :-1] == labels[:, 1:]
    return (labels > 0) & ~inner


def find_rim(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the rim of two pixels around a region, without the region."""
    grown = inside
    for _ in range(2):
        last, grown = grown, grown.copy()
        grown[1:] |= last[:-1]
        grown[:-1] |= last[1:]
        grown[:, 1:] |= last[:, :-1]
        grown[:, :-1] |= last[:, 1:]
    return grown & ~inside


@lru_cache
def load_font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """Return the typeface that comes with Pillow."""
    return ImageFont.load_default(size)


def write_words(
    draw: ImageDraw.ImageDraw,
    at: tuple[float, float],
    words: str,
    *,
    anchor: str = "mm",
    colour: Any = INK,
    size: int = 13,
) -> None:
    """Write words; anchor as Pillow's: l, m, r across and t, m, b down."""
    draw.text(at, words, fill=colour, font=load_font(size), anchor=anchor)


def encode_png(image: Image.Image) -> bytes:
    """Return a PNG file that holds only pixels, no date."""
    data = io.BytesIO()
    image.save(data, "PNG", compress_level=6)
    return data.getvalue()
