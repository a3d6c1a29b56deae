"""The published inference pipeline, written once more from MONAI's own parts: oracle and baseline.

Load, scale the CT, crop at its foreground, RAS, 2 mm, sliding window 192^3 with overlap 0.5 per fold, weighted mean of
logits, sigmoid per channel, `Invertd` of both channels, argmax. The product never imports it.

Source: the steps of the authors' public inference container of 2023 for the paper (section 2.5).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer
from monai.transforms import (
    Activationsd,
    AsDiscreted,
    Compose,
    ConcatItemsd,
    CropForegroundd,
    EnsureChannelFirstd,
    Invertd,
    LoadImaged,
    MeanEnsembled,
    Orientationd,
    ScaleIntensityRanged,
    Spacingd,
)
from numpy.typing import NDArray

from autosegnet.model.network import load_fold
from autosegnet.model.weights import Weights, open_weights


def load_networks(weights: Weights, device: str) -> list[torch.nn.Module]:
    """Return every fold's network on a device."""
    return [load_fold(weights.find_path(fold), fold).to(device) for fold in weights.recipe.folds]


def segment_as_published(
    pet: Path,
    ct: Path,
    weights: Weights,
    *,
    softmax: bool = False,
    device: str = "cpu",
    networks: list[torch.nn.Module] | None = None,
) -> sitk.Image:
    """Return the lesion mask of the published pipeline, uint8 on the PET's grid.

    Args:
        pet: NIfTI, SUV.
        ct: NIfTI, HU, on the PET's grid (the published pipeline resamples the CT before).
        weights: the same five folds; the recipe's crop rule is not used, the CT's foreground is.
        softmax: of the two logits, as in the product, in place of the published pipeline's two sigmoids.
        device: for the network and all that follows it.
        networks: the folds, already on the device; else one after the other is loaded.
    """
    recipe = weights.recipe
    keys = ["CT", "PET"]
    before = Compose(
        [
            LoadImaged(keys, reader="NibabelReader"),
            EnsureChannelFirstd(keys),
            ScaleIntensityRanged(
                "CT", a_min=recipe.ct_window_hu[0], a_max=recipe.ct_window_hu[1], b_min=0.0, b_max=1.0, clip=True
            ),
            CropForegroundd(keys, source_key="CT", allow_smaller=True),
            Orientationd(keys, axcodes="RAS"),
            Spacingd(keys, pixdim=recipe.spacing_mm, mode="bilinear"),
            ConcatItemsd(keys, name="image", dim=0),
        ]
    )
    item = before({"CT": str(ct), "PET": str(pet)})
    inferer = SlidingWindowInferer(roi_size=recipe.patch, sw_batch_size=1, overlap=recipe.overlap)
    names = [f"fold_{k}" for k in range(len(recipe.folds))]
    start = time.perf_counter()
    with torch.inference_mode():
        batch = item["image"].as_tensor()[None].float().to(device)
        for k, (name, fold) in enumerate(zip(names, recipe.folds, strict=True)):
            network = networks[k] if networks else load_fold(weights.find_path(fold), fold).to(device)
            logits = inferer(batch, network)[0]
            item[name] = MetaTensor(logits, meta=item["PET"].meta)
    sys.stderr.write(f"network {time.perf_counter() - start:.2f} s\n")
    if len(names) == 1:  # a single item is taken for a stack of folds by MeanEnsembled
        item["lesion"] = item[names[0]]
    else:
        item = MeanEnsembled(names, output_key="lesion", weights=[fold.weight for fold in recipe.folds])(item)
    after = Compose(
        [
            Activationsd("lesion", sigmoid=not softmax, softmax=softmax),
            Invertd("lesion", transform=before, orig_keys="PET", nearest_interp=False, to_tensor=True),
            AsDiscreted("lesion", argmax=True),
        ]
    )
    mask = after(item)["lesion"]
    return _on_grid_of(mask[0].cpu().numpy().astype(np.uint8), sitk.ReadImage(str(pet)))


def _on_grid_of(array: NDArray[np.uint8], pet: sitk.Image) -> sitk.Image:
    image = sitk.GetImageFromArray(array.transpose(2, 1, 0))
    image.CopyInformation(pet)
    return image


def _as_nifti(path: Path, folder: Path) -> Path:
    if path.name.endswith((".nii", ".nii.gz")):
        return path
    converted = folder / f"{path.stem}.nii.gz"
    sitk.WriteImage(sitk.ReadImage(str(path)), str(converted))
    return converted


def main() -> None:
    """Run the command line PET CT MASK, in any format that SimpleITK reads; what is not NIfTI is converted first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pet", type=Path)
    parser.add_argument("ct", type=Path)
    parser.add_argument("mask", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--device", default="cpu", help="for the network and what follows (default: %(default)s)")
    parser.add_argument("--softmax", action="store_true", help="of the logits, in place of two sigmoids")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pet, ct = (_as_nifti(path, Path(folder)) for path in (args.pet, args.ct))
        mask = segment_as_published(pet, ct, open_weights(args.weights), softmax=args.softmax, device=args.device)
    sitk.WriteImage(mask, str(args.mask), useCompression=True)


if __name__ == "__main__":
    main()
