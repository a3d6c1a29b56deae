"""Reads a case: the study as inference would get it, and its truth, both cut to the case's box."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from autosegnet.errors import InputError
from autosegnet.geometry import Box, Grid, cut, is_same_grid
from autosegnet.io import read_image, read_mask
from autosegnet.study import Study, check_study
from autosegnet_training.cases import Case

if TYPE_CHECKING:
    import SimpleITK as sitk


@dataclass(frozen=True, slots=True)
class Labelled:
    """A study and its truth: uint8 0/1 on the PET's grid."""

    study: Study
    truth: sitk.Image


def read_labelled(case: Case) -> Labelled:
    """Return the study and the truth of a case.

    Raises:
        InputError: an image cannot be trusted, the mask is on another grid than the PET, or the box exceeds it.
    """
    try:
        pet, ct, truth = read_image(case.pet), read_image(case.ct), read_mask(case.mask)
        grid = Grid.from_image(pet)
        if not is_same_grid(grid, Grid.from_image(truth)):
            raise InputError(f"mask of {truth.GetSize()} voxels is not on the grid of the PET, {pet.GetSize()}")
        if case.box is not None:
            region = _find_region(grid, case.box)
            # The mask's grid may differ from the PET's in the last digits, so it is cut by its own voxels.
            pet, ct, truth = cut(pet, region), _cut_ct(ct, region), cut(truth, Grid.from_image(truth).crop(case.box))
        return Labelled(check_study(pet=pet, ct=ct), truth)
    except InputError as error:
        raise InputError(f"case {case.name}: {error}") from error


def _find_region(grid: Grid, box: Box) -> Grid:
    if any(end > n for (_, end), n in zip(box, grid.size, strict=True)):
        raise InputError(f"box {box} reaches beyond the PET's {grid.size} voxels")
    return grid.crop(box)


def _cut_ct(ct: sitk.Image, region: Grid) -> sitk.Image:
    """Return the voxels of the CT in and next to a region of the PET: those that interpolation inside it needs."""
    grid = Grid.from_image(ct)
    corners = np.array([[x, y, z] for x in (0, region.size[0] - 1) for y in (0, region.size[1] - 1)
                        for z in (0, region.size[2] - 1)])  # fmt: skip
    positions_mm = np.asarray(region.origin_mm) + corners @ region.steps_mm.T
    inside = np.linalg.solve(grid.steps_mm, (positions_mm - np.asarray(grid.origin_mm)).T)
    # A thousandth of a voxel is rounding of headers, as in `geometry.is_same_grid`.
    first = np.clip(np.floor(inside.min(axis=1) + 1e-3), 0, None).astype(int)
    end = np.minimum(np.ceil(inside.max(axis=1) - 1e-3).astype(int) + 1, grid.size)
    if np.any(first >= end):
        raise InputError("the box lies outside the CT")
    x, y, z = ((int(a), int(b)) for a, b in zip(first, end, strict=True))
    return cut(ct, grid.crop((x, y, z)))
