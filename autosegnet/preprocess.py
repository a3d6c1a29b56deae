"""Turns a study into the network's input, for inference and training alike.

Order (paper, section 2.2): CT onto the PET's grid, CT clipped and scaled, crop outside the body, both to the recipe's
spacing by linear interpolation. If the recipe names click channels, a reader's clicks follow.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from autosegnet.geometry import (
    Grid,
    cut,
    extend_to_blocks,
    find_occupied_box,
    is_same_grid,
    make_lattice_grid,
    make_working_grid,
    resample,
    view_voxels,
)
from autosegnet.model.click_channels import draw_clicks
from autosegnet.model.recipe import BLOCK, CT_CHANNEL, IMAGE_CHANNELS, PET_CHANNEL, Anchor, Recipe
from autosegnet.model.sliding_window import Outline
from autosegnet.study import AIR_HU, Study

if TYPE_CHECKING:
    import SimpleITK as sitk

    from autosegnet.corrections import Clicks

# Numbers of the body rule. Changing one changes the input of weights that were trained with it.
_COARSE_MM = 6.0  # mm; fine enough for the body's outline, and the search stays below a quarter of a second
_TISSUE_HU = -500.0  # half-way from air to soft tissue; the lungs are enclosed by it
_LIVING_SUV = 0.25  # mean of a limb is above (fat 0.3, muscle 0.8); tables and pads carry no tracer
_UPTAKE_SUV = 1.0  # beyond a truncated CT, only uptake shows where the patient is
_MARGIN_MM = 8.0  # mm beyond the skin, where there is only the PET's blur
_AROUND_MM = _MARGIN_MM + _COARSE_MM  # a coarse voxel represents its surroundings up to the next one


@dataclass(frozen=True, slots=True)
class InputPlace:
    """Where the network's input lies.

    Args:
        region: the part of the PET's grid that it covers.
        measured: the network's grid of the region: axes (Superior, Anterior, Right), so that an image on it has
            (X, Y, Z) as its array.
        grid: of the input: `measured`, or on a lattice `measured` extended to whole blocks, with air there.
        outline: of the body on `grid`, if the recipe passes over layers and a body was found.
    """

    region: Grid
    measured: Grid
    grid: Grid
    outline: Outline | None = None

    @property
    def inside(self) -> tuple[slice, slice, slice]:
        """Return where `measured` lies in an array (X, Y, Z) on `grid`."""
        z, y, x = (slice(*bounds) for bounds in self.grid.find_box(self.measured))
        return x, y, z


@dataclass(frozen=True, slots=True)
class Prepared:
    """The network's input and where it lies.

    Args:
        array: (C, X, Y, Z) float32 in RAS; channel 0 the CT in [0, 1], channel 1 the PET in SUV (g/ml); if the recipe
            names click channels, two more in [0, 1], clicks on tumour and on background.
        grid: of the array; axes (Superior, Anterior, Right), so that an image on it has (X, Y, Z) as its array.
        region: the part of the PET's grid that the array covers.
    """

    array: NDArray[np.float32]
    grid: Grid
    region: Grid


def prepare(study: Study, recipe: Recipe, clicks: Clicks | None = None) -> Prepared:
    """Prepare the network's input from a checked study: `find_placement`, then `fill`."""
    placement = find_placement(study, recipe)
    return Prepared(fill(study, placement, recipe, clicks), placement.grid, placement.region)


def find_placement(study: Study, recipe: Recipe) -> InputPlace:
    """Find where the network's input of a study lies."""
    body = _find_body(study, recipe.anchor) if recipe.crop == "body" else None
    region = body.region if body else _find_foreground_region(study, recipe.ct_window_hu[0])
    measured = _anchor_grid(region, spacing_mm=recipe.spacing_mm, anchor=recipe.anchor)
    grid = extend_to_blocks(measured, block=BLOCK) if recipe.anchor == "lattice" else measured
    outline = _find_outline(body, grid) if body and recipe.passes == "layers" else None
    return InputPlace(region, measured, grid, outline)


def fill(study: Study, placement: InputPlace, recipe: Recipe, clicks: Clicks | None = None) -> NDArray[np.float32]:
    """Return the network's input (C, X, Y, Z) of a study, as in `Prepared`.

    Args:
        study: PET and CT.
        placement: where the input lies.
        recipe: of the folds.
        clicks: of a reader; without click channels in the recipe they have no effect.

    Raises:
        InputError: as `show_clicks`.

    Source: paper, section 2.2 (i)-(iv). CT outside its field of view is air. Negative SUV, which only noise makes,
        is set to 0. The recipe's SUV limit is ours.
    """
    region, measured = placement.region, placement.measured
    array = np.zeros((recipe.input_channels, *placement.grid.shape), dtype=np.float32)  # air outside the CT
    inside = array[(slice(None), *placement.inside)]
    # One channel after the other: in a large study, each intermediate image takes gigabytes.
    inside[CT_CHANNEL] = view_voxels(resample(_window_ct(region, study, recipe.ct_window_hu), measured, outside=None))
    inside[PET_CHANNEL] = view_voxels(resample(_clip_pet(region, study), measured, outside=None))
    if recipe.suv_limit is not None:
        np.minimum(inside[PET_CHANNEL], np.float32(recipe.suv_limit), out=inside[PET_CHANNEL])
    if clicks:
        show_clicks(clicks, array[IMAGE_CHANNELS:], pet=Grid.from_image(study.pet), grid=placement.grid, recipe=recipe)
    return array


def show_clicks(clicks: Clicks, channels: NDArray[np.float32], *, pet: Grid, grid: Grid, recipe: Recipe) -> None:
    """Draw a reader's clicks into the click channels of the network's input.

    Args:
        clicks: on tumour and background.
        channels: (2, X, Y, Z) zeros; (0, X, Y, Z), in which nothing is drawn, if the recipe names none.
        pet: the PET's grid.
        grid: of the channels.
        recipe: of the folds.

    Raises:
        InputError: a click lies outside the PET, or one voxel is clicked as both.
    """
    from autosegnet.corrections.clicked_voxels import find_clicked_voxels

    if recipe.click_channels is None:
        return
    for channel, voxels in zip(channels, find_clicked_voxels(clicks, pet, grid), strict=True):
        draw_clicks(channel, voxels, recipe.click_channels, spacing_mm=recipe.spacing_mm)


def _anchor_grid(region: Grid, *, spacing_mm: tuple[float, float, float], anchor: Anchor) -> Grid:
    make_grid = make_lattice_grid if anchor == "lattice" else make_working_grid
    return make_grid(region, spacing_mm=spacing_mm)


def _window_ct(region: Grid, study: Study, window_hu: tuple[float, float]) -> sitk.Image:
    import SimpleITK as sitk

    ct = bring_ct(region, study)
    if ct.GetPixelID() != sitk.sitkFloat32:
        ct = sitk.Cast(ct, sitk.sitkFloat32)
    low, high = window_hu
    windowed: sitk.Image = sitk.IntensityWindowing(ct, low, high, 0.0, 1.0)
    return windowed


def _clip_pet(region: Grid, study: Study) -> sitk.Image:
    import SimpleITK as sitk

    clipped: sitk.Image = sitk.Clamp(cut(study.pet, region), sitk.sitkFloat32, 0.0)
    return clipped


def bring_ct(region: Grid, study: Study) -> sitk.Image:
    """Return the CT in HU on a part of the PET's grid: float32, or of its own type if its voxels are the PET's."""
    if is_same_grid(Grid.from_image(study.ct), Grid.from_image(study.pet)):
        # The voxel centres agree to a thousandth of a voxel, so the CT's own voxels are cut.
        box = Grid.from_image(study.pet).find_box(region)
        return cut(study.ct, Grid.from_image(study.ct).crop(box))
    return resample(study.ct, region, outside=AIR_HU)


def _find_foreground_region(study: Study, low_hu: float) -> Grid:
    """Return the smallest part of the PET's grid that holds every voxel with CT > low_hu.

    Source: MONAI `CropForegroundd(source_key=CT)` after `ScaleIntensityRanged`, as in the published inference.
    """

    grid = Grid.from_image(study.pet)
    return _find_bounding_region(grid, view_voxels(bring_ct(grid, study)) > low_hu, grid, margin_mm=0.0)


def find_body_region(study: Study, *, anchor: Anchor = "region") -> Grid:
    """Find the part of the PET's grid that holds the patient and a margin of 8 mm.

    The patient is the largest connected tissue of the CT; every other tissue with uptake (arms and legs apart from the
    trunk, but no table); thin parts with uptake that are connected with these (fingers, ears); and uptake beyond the
    CT's field of view. If no tissue is found, the region is the whole grid.

    The search runs on a coarse grid in anatomical axes, so that it does not depend on how the PET is stored. Anchored
    to a lattice, it does not depend on air around the study either.

    Source: paper, section 2.2 (iii), whose rule is not given.
    """
    return _find_body(study, anchor).region


@dataclass(frozen=True, slots=True)
class _Body:
    """The patient on a coarse grid, and the part of the PET's grid that holds them; no voxels if none were found."""

    region: Grid
    sampled: Grid
    voxels: NDArray[np.bool_] | None


def _find_body(study: Study, anchor: Anchor) -> _Body:
    from scipy import ndimage

    whole = Grid.from_image(study.pet) if anchor == "region" else _find_measured_region(study.pet)
    coarse = _anchor_grid(whole, spacing_mm=(_COARSE_MM, _COARSE_MM, _COARSE_MM), anchor=anchor)
    suv = view_voxels(resample(cut(study.pet, whole), coarse, outside=None))
    hu = view_voxels(resample(study.ct, coarse, outside=AIR_HU))
    tissue, uptake = hu > _TISSUE_HU, suv > _UPTAKE_SUV
    box = find_occupied_box(tissue | uptake)  # outside of it there is neither tissue nor uptake
    labels, count = ndimage.label(ndimage.binary_opening(tissue[box]))
    if count == 0:
        return _Body(whole, coarse, None)
    sizes = np.bincount(labels.ravel())
    mean_suv = np.bincount(labels.ravel(), weights=suv[box].ravel()) / np.maximum(sizes, 1)
    kept = mean_suv > _LIVING_SUV
    kept[np.argmax(sizes[1:]) + 1] = True
    kept[0] = False
    body = kept[labels] | ndimage.binary_opening(uptake[box])
    # The opening separates a table from the patient, but also removes parts as thin as a finger.
    body |= uptake[box] & ndimage.binary_propagation(kept[labels], mask=tissue[box])
    z, y, x = ((part.start, part.stop) for part in box)
    sampled = coarse.crop((x, y, z))
    return _Body(_find_bounding_region(whole, body, sampled, margin_mm=_AROUND_MM), sampled, body)


def _find_outline(body: _Body, grid: Grid) -> Outline | None:
    """Return where the body and its margin lie in each plane of the network's grid, parallel to the coarse one."""
    if body.voxels is None:
        return None
    outline = np.zeros((grid.shape[2], 2, 2), dtype=np.int64)
    outline[:, :, 0] = grid.shape[:2]
    first = np.array(grid.find_index(body.sampled.find_position_mm((0, 0, 0))))[::-1]
    step = np.array(body.sampled.spacing_mm)[::-1] / grid.spacing_mm[::-1]
    margin = _AROUND_MM / np.array(grid.spacing_mm)[::-1]
    for coarse_z in np.flatnonzero(body.voxels.any(axis=(0, 1))).tolist():
        x, y, _ = find_occupied_box(body.voxels[:, :, coarse_z, None])
        lowest, highest = np.array([(x.start, y.start, coarse_z), (x.stop - 1, y.stop - 1, coarse_z)])
        begins = np.clip(np.floor(first + lowest * step - margin).astype(int), 0, grid.shape)
        ends = np.clip(np.ceil(first + highest * step + margin).astype(int) + 1, 0, grid.shape)
        planes = outline[begins[2] : ends[2]]
        planes[..., 0] = np.minimum(planes[..., 0], begins[:2])
        planes[..., 1] = np.maximum(planes[..., 1], ends[:2])
    return outline


def _find_measured_region(pet: sitk.Image) -> Grid:
    """Return the PET's grid without outer slices, along any axis, that hold nothing above 0."""
    grid = Grid.from_image(pet)
    z, y, x = ((part.start, part.stop) for part in find_occupied_box(view_voxels(pet) > 0))
    return grid if x == (0, 0) else grid.crop((x, y, z))


def _find_bounding_region(whole: Grid, inside: NDArray[np.bool_], sampled: Grid, *, margin_mm: float) -> Grid:
    """Return the smallest part of a grid that holds a mask on another grid of parallel axes, and a margin around it."""
    if not inside.any():
        return whole
    box = find_occupied_box(inside)[::-1]
    margin = [margin_mm / spacing for spacing in sampled.spacing_mm]
    corners = [
        sampled.find_position_mm((x, y, z))
        for x, y, z in product(*[(part.start - m, part.stop - 1 + m) for part, m in zip(box, margin, strict=True)])
    ]
    index = np.linalg.solve(whole.steps_mm, (np.array(corners) - np.array(whole.origin_mm)).T)
    # Rounds outwards, but the last bit of a position must not add a voxel.
    first = np.maximum(np.floor(index.min(axis=1) + 1e-6), 0).astype(int).tolist()
    stop = np.minimum(np.ceil(index.max(axis=1) - 1e-6) + 1, whole.size).astype(int).tolist()
    x, y, z = zip(first, stop, strict=True)
    return whole.crop((x, y, z))
