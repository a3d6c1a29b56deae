"""Finds a reader's clicks on the network's grid. On the PET's grid, `Clicks.find_voxels` does."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autosegnet.corrections.clicks import Clicks, Index
from autosegnet.corrections.strokes import Voxels
from autosegnet.errors import format_count
from autosegnet.geometry import Grid

log = logging.getLogger(__name__)


def find_clicked_voxels(clicks: Clicks, pet: Grid, grid: Grid) -> tuple[Voxels, Voxels]:
    """Return the clicked voxels of another grid, those of the tumour and those of the background.

    A click may lie outside that grid, which usually holds the body only. Such a click still corrects the mask.

    Args:
        clicks: of a reader.
        pet: the grid that they were made on.
        grid: to find them on.

    Returns:
        (n, 3) indices each of an array on the grid, which lists the grid's axes in reverse; they may lie outside.

    Raises:
        InputError: a click lies outside the PET, or one voxel is clicked as both.
    """
    tumor, background = (_find_nearest(voxels, pet, grid) for voxels in clicks.find_voxels(pet))
    both: NDArray[np.int64] = np.concatenate([tumor, background])
    outside = int(((both < 0) | (both >= grid.shape)).any(axis=1).sum())
    if outside:
        count = format_count(outside, "click")
        log.warning("the network does not see %s outside of the body; the mask is still corrected there", count)
    return tumor, background


def _find_nearest(voxels: Sequence[Index], pet: Grid, grid: Grid) -> Voxels:
    centres_mm = np.asarray(pet.origin_mm) + np.reshape(voxels, (-1, 3)) @ pet.steps_mm.T
    index = np.linalg.solve(grid.steps_mm, (centres_mm - np.asarray(grid.origin_mm)).T).T
    return np.floor(index[:, ::-1] + 0.5).astype(np.int64)
