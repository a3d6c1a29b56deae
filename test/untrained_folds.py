"""Seeded folds without training, for everything that can be checked before there are trained ones.

Purely random networks answer with salt and pepper. These hold random weights everywhere, and one straight path from
the PET through the first skip connection to the lesion's logit, so that they mark smooth regions of uptake: masks with
the shape of masks, and of no meaning.
"""

import argparse
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch import nn
from torch.nn import functional

from autosegnet.model.network import build_network, count_inputs, fold_bytes
from autosegnet.model.recipe import IMAGE_CHANNELS, PET_CHANNEL, Fold, Recipe, format_recipe

DESCRIPTION = "Untrained: seeded random numbers and a threshold of uptake. Masks made with these folds mean nothing."

_RANDOM_SHARE = 0.05  # of the random paths in the logits


def untrained_fold(seed: int, *, threshold_suv: float = 2.5, inputs: int = IMAGE_CHANNELS) -> nn.Module:
    """Return a network whose lesion logit is about SUV, smoothed over 3 voxels, minus a threshold."""
    torch.manual_seed(seed)
    network = build_network(inputs)
    _measure_statistics(network, seed)
    first, _, last = network.model
    up, out = last[0], last[1]
    with torch.no_grad():
        first.residual.weight[0] = 0
        first.residual.weight[0, PET_CHANNEL] = 1 / 27
        first.residual.bias[0] = 0
        first.conv.unit1.adn.N.weight[0] = first.conv.unit1.adn.N.bias[0] = 0
        up.conv.weight *= _RANDOM_SHARE
        up.conv.bias.zero_()
        linear = torch.tensor([0.5, 1.0, 0.5])
        up.conv.weight[0, 0] = 0
        up.conv.weight[0, 1] = linear[:, None, None] * linear[:, None] * linear
        up.adn.N.reset_parameters()
        out.conv.unit0.conv.weight *= _RANDOM_SHARE
        out.conv.unit0.conv.bias.copy_(torch.tensor([0.0, -threshold_suv]))
    return network.eval()


def _measure_statistics(network: nn.Module, seed: int) -> None:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.momentum = None  # cumulative average: one pass sets the statistics
    network.train()
    image = _field(np.random.default_rng(seed), 48)
    inputs = count_inputs(network.state_dict())
    with torch.no_grad():
        network(functional.pad(image, (0, 0, 0, 0, 0, 0, 0, inputs - IMAGE_CHANNELS)))  # without clicks


def _field(rng: np.random.Generator, n: int) -> torch.Tensor:
    """(1, 2, n, n, n): smooth CT in [0, 1] and SUV around 1 with hot spots."""
    smooth = [ndimage.gaussian_filter(rng.standard_normal((n, n, n)), 3.0) for _ in range(2)]
    ct, pet = (s / s.std() for s in smooth)
    return torch.from_numpy(np.stack([np.clip(0.5 + 0.2 * ct, 0, 1), np.exp(pet)])[None].astype(np.float32))


def write_untrained_weights(folder: Path, *, folds: int = 5, seed: int = 0, recipe: Recipe | None = None) -> Recipe:
    """Fill a folder with untrained folds of different thresholds and weights, and their recipe."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for k in range(folds):
        inputs = (recipe or Recipe()).input_channels
        state = untrained_fold(seed + k, threshold_suv=2.3 + 0.1 * k, inputs=inputs).state_dict()
        data = fold_bytes(state, where=f"fold {k}", inputs=inputs)
        (folder / f"fold_{k}.safetensors").write_bytes(data)
        entries.append(Fold(f"fold_{k}.safetensors", hashlib.sha256(data).hexdigest(), weight=1.0 + 0.1 * k))
    done = replace(recipe or Recipe(), folds=tuple(entries), description=DESCRIPTION)
    (folder / "recipe.json").write_text(format_recipe(done), encoding="utf-8")
    return done


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--crop", choices=["body", "ct_foreground"], default="body")
    args = parser.parse_args()
    write_untrained_weights(args.folder, seed=args.seed, recipe=Recipe(crop=args.crop))
