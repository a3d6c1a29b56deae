"""Seeded random folds, for everything that can be checked before there are trained ones.

Untrained networks give logits that hardly vary. Here batch-norm statistics are measured on a smooth random field, and
the output bias is set so that a few percent of it counts as lesion: masks with structure, of no meaning.
"""

import argparse
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch import nn

from autosegnet.network import build_network, fold_bytes
from autosegnet.recipe import Fold, Recipe, to_json

DESCRIPTION = "Seeded random numbers, trained on nothing: masks made with them mean nothing."


def random_fold(seed: int, *, lesion_fraction: float = 0.03) -> nn.Module:
    """A network of random weights whose statistics fit a PET/CT-like random field."""
    torch.manual_seed(seed)
    network = build_network()
    field = _field(np.random.default_rng(seed), 48)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.momentum = None  # cumulative average: one pass sets the statistics
    network.train()
    with torch.no_grad():
        network(field)
        network.eval()
        logits = network(field)[0]
        threshold = torch.quantile((logits[1] - logits[0]).flatten(), 1.0 - lesion_fraction)
        # The output unit ends in a residual convolution whose bias shifts the logits one to one.
        last = [m for m in network.modules() if isinstance(m, nn.Conv3d)][-1]
        last.bias[1] -= threshold
    return network


def _field(rng: np.random.Generator, n: int) -> torch.Tensor:
    """(1, 2, n, n, n): smooth CT in [0, 1] and SUV around 1 with hot spots."""
    smooth = [ndimage.gaussian_filter(rng.standard_normal((n, n, n)), 3.0) for _ in range(2)]
    ct, pet = (s / s.std() for s in smooth)
    return torch.from_numpy(np.stack([np.clip(0.5 + 0.2 * ct, 0, 1), np.exp(pet)])[None].astype(np.float32))


def write_random_weights(folder: Path, *, folds: int = 5, seed: int = 0, recipe: Recipe | None = None) -> Recipe:
    """Fills a folder with random folds and their recipe."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for k in range(folds):
        data = fold_bytes(random_fold(seed + k).state_dict(), where=f"fold {k}")
        (folder / f"fold_{k}.safetensors").write_bytes(data)
        entries.append(Fold(f"fold_{k}.safetensors", hashlib.sha256(data).hexdigest(), weight=1.0 + 0.1 * k))
    done = replace(recipe or Recipe(), folds=tuple(entries), description=DESCRIPTION)
    (folder / "recipe.json").write_text(to_json(done), encoding="utf-8")
    return done


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--crop", choices=["body", "ct_foreground"], default="body")
    args = parser.parse_args()
    write_random_weights(args.folder, seed=args.seed, recipe=Recipe(crop=args.crop))
