"""`correct_mask`: the mask of the folds, with what a reader's clicks take away and add."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from autosegnet.corrections.clicks import Clicks
from autosegnet.corrections.growth import REACH_MM, Surroundings, grow_lesion
from autosegnet.corrections.removal import find_removed
from autosegnet.corrections.strokes import Voxels, group_strokes
from autosegnet.errors import format_count
from autosegnet.geometry import Box, Grid, find_occupied_box, make_image, resample, view_voxels
from autosegnet.lesions import label_lesions
from autosegnet.study import AIR_HU, Study

if TYPE_CHECKING:
    import SimpleITK as sitk

log = logging.getLogger(__name__)

_Part = tuple[slice, slice, slice]


def correct_mask(probability: sitk.Image, study: Study, clicks: Clicks) -> sitk.Image:
    """Return the lesion mask (uint8, 0 or 1) of the folds, corrected: it holds every tumour click, no background click.

    Every call starts from the folds' own mask, probability above 0.5: give all clicks of all rounds. The order of the
    clicks does not matter.

    Args:
        probability: of lesion, on the PET's grid, as `pipeline.segment_study` makes it.
        study: PET and CT of the same study.
        clicks: on tumour and background.

    Raises:
        InputError: a click lies outside the PET, or one voxel is clicked as both.
    """
    grid = Grid.from_image(study.pet)
    found_tumor, found_background = clicks.find_voxels(grid)
    tumor, background = _join(group_strokes(found_tumor)), _join(group_strokes(found_background))
    chance, suv = view_voxels(probability), view_voxels(study.pet)
    mask = chance > 0.5
    spacing_mm = grid.spacing_mm[::-1]
    removed = _find_removed_parts(mask, suv, chance, background, tumor, spacing_mm)
    mask[removed] = False
    removed[tuple(background.T)] = True
    for stroke in group_strokes(found_tumor):
        if mask[tuple(stroke.T)].all():
            continue
        box = _find_box_around(stroke, mask.shape, spacing_mm)
        start = [side.start for side in box]
        around = Surroundings(
            suv=suv[box].astype(np.float32, copy=False),
            hu=_cut_hu(study.ct, grid, box),
            chance=chance[box],
            is_free=~removed[box],
            mask=mask[box],
            stroke=stroke - start,
            background=_select(background - start, mask[box].shape),
            spacing_mm=spacing_mm,
        )
        mask[box] |= grow_lesion(around)
    mask[tuple(background.T)] = False
    mask[tuple(tumor.T)] = True
    log.info("corrected by %s: %s", format_count(len(clicks), "click"), clicks.describe())
    return make_image(mask.astype(np.uint8), grid)


def _find_removed_parts(
    mask: NDArray[np.bool_],
    suv: NDArray[np.float32],
    chance: NDArray[np.float32],
    background: Voxels,
    tumor: Voxels,
    spacing_mm: tuple[float, ...],
) -> NDArray[np.bool_]:
    """Return what the background clicks take away from the lesions of a mask."""
    from scipy import ndimage

    removed = np.zeros_like(mask)
    if not mask[tuple(background.T)].any():
        return removed
    occupied = find_occupied_box(mask)
    labels, _ = label_lesions(mask[occupied])
    boxes = ndimage.find_objects(labels)
    corner = [side.start for side in occupied]
    own, others = (_select(points - corner, labels.shape) for points in (background, tumor))
    for label in np.unique(labels[tuple(own.T)]).tolist():
        if label == 0:
            continue
        box: _Part = boxes[label - 1]
        start = [side.start for side in box]
        lesion = labels[box] == label
        clicked, kept = (points[labels[tuple(points.T)] == label] - start for points in (own, others))
        taken = find_removed(lesion, suv[occupied][box], chance[occupied][box], clicked, kept, spacing_mm=spacing_mm)
        removed[occupied][box] |= taken
    return removed


def _join(strokes: list[Voxels]) -> Voxels:
    return np.concatenate(strokes) if strokes else np.zeros((0, 3), dtype=np.int64)


def _select(points: Voxels, shape: tuple[int, ...]) -> Voxels:
    """Return the points inside an array."""
    inside: Voxels = points[((points >= 0) & (points < shape)).all(axis=1)]
    return inside


def _find_box_around(stroke: Voxels, shape: tuple[int, ...], spacing_mm: tuple[float, ...]) -> _Part:
    reach = np.ceil(REACH_MM / np.array(spacing_mm)).astype(int) + 1
    low = np.maximum(stroke.min(axis=0) - reach, 0).tolist()
    high = np.minimum(stroke.max(axis=0) + reach + 1, shape).tolist()
    z, y, x = (slice(a, b) for a, b in zip(low, high, strict=True))
    return z, y, x


def _cut_hu(ct: sitk.Image, grid: Grid, box: _Part) -> NDArray[np.float32]:
    """Return the CT on a part of the PET's grid: HU, air beyond the CT."""
    z, y, x = ((side.start, side.stop) for side in box)
    region: Box = (x, y, z)
    hu: NDArray[np.float32] = view_voxels(resample(ct, grid.crop(region), outside=AIR_HU))
    return hu
