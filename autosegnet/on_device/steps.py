"""The steps around the network on a device: only the study's voxels go up, and only those of the result come down.

The body is searched on the CPU (`preprocess.find_placement`). A CT whose axes are not the PET's comes to the PET's grid
there, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autosegnet.geometry import Grid, is_same_grid, view_voxels
from autosegnet.model.accumulator import VoxelData
from autosegnet.model.recipe import CT_CHANNEL, IMAGE_CHANNELS, PET_CHANNEL, Recipe
from autosegnet.on_device.shared_axes import SharedAxes, find_shared_axes
from autosegnet.postprocess import place
from autosegnet.preprocess import InputPlace, bring_ct, show_clicks
from autosegnet.study import AIR_HU, Study

if TYPE_CHECKING:
    import SimpleITK as sitk

    from autosegnet.corrections import Clicks


def fill_on_device(
    study: Study, placement: InputPlace, recipe: Recipe, device: Any, *, clicks: Clicks | None = None
) -> VoxelData:
    """Return the network's input (C, X, Y, Z) float32 on a device of torch, as `preprocess.fill` does on the CPU."""
    from autosegnet.on_device.interpolation import clip_suv, interpolate_into, make_zeros, send, window_hu

    array = make_zeros((recipe.input_channels, *placement.grid.shape), device)
    ct, pet = (array[(channel, *placement.inside)] for channel in (CT_CHANNEL, PET_CHANNEL))
    axes = _share_axes(placement.region, placement.measured)
    low, high = recipe.ct_window_hu
    hu = _bring_ct(study, placement.region, device)
    interpolate_into(hu, axes, into=ct, change=lambda values: window_hu(values, low, high))
    del hu
    suv = send(_cut(study.pet, placement.region), device)
    interpolate_into(suv, axes, into=pet, change=clip_suv)
    if recipe.suv_limit is not None:
        pet.clamp_(max=recipe.suv_limit)
    if clicks and recipe.click_channels is not None:
        drawn = np.zeros((array.shape[0] - IMAGE_CHANNELS, *array.shape[1:]), dtype=np.float32)
        show_clicks(clicks, drawn, pet=Grid.from_image(study.pet), grid=placement.grid, recipe=recipe)
        array[IMAGE_CHANNELS:] = send(drawn, device)
    return array


def restore_on_device(probability: VoxelData, placement: InputPlace, whole: Grid) -> sitk.Image:
    """Return the lesion mask on the PET's grid, as `postprocess.restore` does on the CPU."""
    from autosegnet.on_device.interpolation import sample_mask

    inside = sample_mask(probability, _share_axes(placement.grid, placement.region))
    return place(inside, placement.region, whole)


def restore_map_on_device(values: VoxelData, placement: InputPlace, whole: Grid) -> sitk.Image:
    """Return a map on the PET's grid, as `postprocess.restore_map` does on the CPU."""
    from autosegnet.on_device.interpolation import sample_map

    inside = sample_map(values, _share_axes(placement.grid, placement.region))
    return place(inside, placement.region, whole)


def _share_axes(source: Grid, target: Grid) -> SharedAxes:
    axes = find_shared_axes(source, target)
    assert axes is not None  # the network's grids have the region's axes
    return axes


def _bring_ct(study: Study, region: Grid, device: Any) -> VoxelData:
    """Return the CT on the region, in HU: of its own type if its voxels are the PET's, else float32."""
    from autosegnet.on_device.interpolation import interpolate_into, make_zeros, send

    own, pet = Grid.from_image(study.ct), Grid.from_image(study.pet)
    if is_same_grid(own, pet):
        return send(_cut(study.ct, own.crop(pet.find_box(region))), device)
    axes = find_shared_axes(own, region)
    if axes is None:
        return send(view_voxels(bring_ct(region, study)), device)
    part = own.crop(axes.find_box(own))
    hu = make_zeros(region.shape, device)
    interpolate_into(send(_cut(study.ct, part), device), _share_axes(part, region), into=hu, outside=AIR_HU)
    return hu


def _cut(image: sitk.Image, region: Grid) -> NDArray[Any]:
    x, y, z = (slice(*bounds) for bounds in Grid.from_image(image).find_box(region))
    voxels: NDArray[Any] = view_voxels(image)[z, y, x]
    return voxels
