"""The plane of a projection, and the lesions projected onto it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autosegnet.geometry import Grid


@dataclass(frozen=True, slots=True)
class View:
    """Say where the pixels of a picture lie.

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

    def find_pixels(self, positions_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (N, 2) columns and rows, as fractions, of (N, 3) positions."""
        columns = (positions_mm[:, self.across] - self.left_mm) / self.pixel_mm
        return np.stack([columns, (self.top_mm - positions_mm[:, 2]) / self.pixel_mm], axis=1)


def project_labels(labels: NDArray[Any], grid: Grid, view: View) -> NDArray[np.int32]:
    """Return (rows, columns): the number of the smallest lesion that the line of sight meets, else 0.

    Every voxel is drawn with its full extent, on pixels of at least 1 mm.
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
        at = view.find_pixels((centres_mm[:, None] + spots_mm).reshape(-1, 3)) / coarse
        column, row = np.floor(at).astype(int).T
        there = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
        numbers = np.repeat(labels.reshape(-1)[chunk], len(spots))
        np.maximum.at(canvas, (row * columns + column)[there], numbers[there].astype(np.int32))
    fine = np.kron(canvas.reshape(rows, columns), np.ones((coarse, coarse), np.int32))
    return fine[: view.size[1], : view.size[0]]
