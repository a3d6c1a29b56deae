"""Simulates a reader's clicks for training: drawn in the augmented patch, shown as at inference.

The rules are those of the public generator of autoPET IV, as far as a patch allows: a first click in the middle of each
of some connected components, then more of them anywhere inside. On tumour, the components are those of the truth. On
background, they are hot spots outside the truth, where a network is wrong most easily; the network itself is not asked.

Source: github.com/lab-midas/autoPETCTIV, clicks/simulate_clicks.py (rules, written anew). Random numbers of clicks did
best with few clicks in autoPET IV (arXiv:2509.02402).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from autosegnet.model.click_channels import draw_clicks
from autosegnet.model.recipe import BACKGROUND_CLICK_CHANNEL, PET_CHANNEL, TUMOR_CLICK_CHANNEL, Recipe
from autosegnet_training.augmentation import Draws

MOST_CLICKS = 10
"""Of each kind in a patch, as in a study of autoPET IV."""

WITHOUT_CLICKS = 0.25
"""Share of patches without any, in which the network learns the round before the first click."""

_CLICKS = 2  # stream of random numbers
_HOT_PERCENTILE = 99.75  # of the SUV outside the truth; the generator's
_TOUCHING = ndimage.generate_binary_structure(3, 3)  # 26 neighbours, as the generator's components have


def add_click_channels(
    draws: Sequence[Draws], image: torch.Tensor, truth: torch.Tensor, recipe: Recipe
) -> torch.Tensor:
    """Return augmented patches with the click channels that a recipe names; they follow from each patch's seed.

    Args:
        draws: how each patch was augmented.
        image: (B, 2, X, Y, Z) float32, augmented.
        truth: (B, 1, X, Y, Z) uint8, augmented alike.
        recipe: of the network.

    Returns:
        (B, C, X, Y, Z) float32 on the same device; the image itself without click channels.
    """
    if recipe.click_channels is None:
        return image
    wide = np.zeros((len(image), recipe.input_channels, *image.shape[2:]), dtype=np.float32)
    clicks = wide[:, image.shape[1] :]
    suv, is_lesion = image[:, PET_CHANNEL].cpu().numpy(), truth[:, 0].cpu().numpy() != 0
    for k, drawn in enumerate(draws):
        tumor, background = simulate_clicks(suv[k], is_lesion[k], np.random.default_rng([_CLICKS, drawn.seed]))
        for channel, voxels in ((TUMOR_CLICK_CHANNEL, tumor), (BACKGROUND_CLICK_CHANNEL, background)):
            draw_clicks(wide[k, channel], voxels, recipe.click_channels, spacing_mm=recipe.spacing_mm)
    return torch.cat([image, torch.from_numpy(clicks).to(image.device)], dim=1)


def simulate_clicks(
    suv: NDArray[np.float32], truth: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the voxels of clicks on tumour and on background, (n, 3) each, from none to ten.

    Args:
        suv: (X, Y, Z) float32.
        truth: of the same shape.
        rng: source of numbers and places.
    """
    is_without = rng.random() < WITHOUT_CLICKS
    on_tumor, on_background = (0 if is_without else int(n) for n in rng.integers(0, MOST_CLICKS, 2, endpoint=True))
    return place_clicks(truth, on_tumor, rng), place_clicks(_find_hot(suv, truth), on_background, rng)


def _find_hot(suv: NDArray[np.float32], truth: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the hottest voxels outside the truth; all of a bladder that the recipe's SUV limit has levelled."""
    outside = suv[~truth]
    if outside.size == 0:
        return np.zeros_like(truth)
    hot: NDArray[np.bool_] = (suv >= np.percentile(outside, _HOT_PERCENTILE)) & (suv > 0) & ~truth
    return hot


def place_clicks(mask: NDArray[np.bool_], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return voxels in the components of a mask: one in the middle of each, in random order, then others, in turn.

    Args:
        mask: (X, Y, Z).
        count: of clicks, if there is any component.
        rng: source of the choice.
    """
    labels, components = ndimage.label(mask, _TOUCHING)
    if components == 0 or count == 0:
        return np.zeros((0, 3), dtype=np.int64)
    boxes = ndimage.find_objects(labels)
    chosen = rng.choice(components, size=min(count, components), replace=False)
    places = []
    for turn in range(count):
        component = int(chosen[turn % len(chosen)])
        box = boxes[component]
        part = labels[box] == component + 1
        place = find_middle(part) if turn < len(chosen) else rng.choice(np.argwhere(part))
        places.append(place + [side.start for side in box])
    return np.array(places, dtype=np.int64)


def find_middle(part: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the voxel of a mask that is deepest inside it, in voxels; what lies beyond the array is outside."""
    depth = ndimage.distance_transform_edt(np.pad(part, 1))[1:-1, 1:-1, 1:-1]
    return np.array(np.unravel_index(int(np.argmax(depth)), depth.shape), dtype=np.int64)
