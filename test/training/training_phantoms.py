"""Small studies, prepared folders and a small network for the tests of the training code.

Run as a program, it is `autosegnet-train` with the small network in place of the paper's.
"""

import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from torch import nn

from autosegnet.io import write_image
from autosegnet.model.recipe import Recipe
from autosegnet_training import cross_validate, train
from autosegnet_training.__main__ import main
from autosegnet_training.cases import Case, write_cases
from autosegnet_training.validation import NetworkEngine

SIZE = (22, 18, 30)
SPACING_MM = (8.0, 8.0, 8.0)
TINY = "--patch 16 16 16 --inference-patch 32 32 32 --epochs 3 --batch 2 --patches-per-case 3 --validate-every 1"


def image(array: np.ndarray, *, spacing_mm: tuple[float, float, float] = SPACING_MM) -> sitk.Image:
    made = sitk.GetImageFromArray(array)
    made.SetSpacing(spacing_mm)
    made.SetOrigin((-80.0, -70.0, 15.0))
    return made


def study_arrays(seed: int, *, lesion: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """SUV, HU and truth (z, y, x): a noisy cylinder of tissue in air, with a hot ball in it, or none."""
    rng = np.random.default_rng(seed)
    z, y, x = np.mgrid[: SIZE[2], : SIZE[1], : SIZE[0]]
    body = ((x - 11) / 7.5) ** 2 + ((y - 9) / 6.0) ** 2 < 1
    centre = rng.uniform((8, 7, 8), (22, 11, 14))
    ball = (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 < 2.3**2
    truth = (ball & body) if lesion else np.zeros_like(body)
    suv = np.where(body, 0.8, 0.0) + np.where(truth, 6.0, 0.0) + rng.normal(0, 0.05, body.shape) * body
    hu = np.where(body, 40.0, -1000.0) + rng.normal(0, 10, body.shape)
    return suv.astype(np.float32), hu.astype(np.float32), truth.astype(np.uint8)


def write_tree(folder: Path, cases: int, *, negative: int = 0) -> None:
    """Write cases in the layout of tcia2nifti, the last of them without lesion."""
    for k in range(cases):
        suv, hu, truth = study_arrays(k, lesion=k < cases - negative)
        study = folder / f"patient{k}" / "study0"
        for array, name in ((suv, "SUV"), (hu, "CTres"), (truth, "SEG")):
            write_image(image(array), study / f"{name}.nii.gz")


def case_of(folder: Path, k: int, *, fold: int | None = None) -> Case:
    study = folder / f"patient{k}" / "study0"
    files = (study / f"{name}.nii.gz" for name in ("SUV", "CTres", "SEG"))
    return Case(f"patient{k}_study0", f"patient{k}", "lymphoma", *files, fold=fold)


def prepared_folder(folder: Path, *, cases: int = 4, negative: int = 0, folds: int = 2) -> Path:
    """Cases in two folds, prepared at 8 mm."""
    write_tree(folder / "data", cases, negative=negative)
    table = [case_of(folder / "data", k, fold=k % folds) for k in range(cases)]
    write_cases(table, folder / "cases.csv")
    output = folder / "prepared"
    code = main(["prepare", str(folder / "cases.csv"), "--output", str(output), "--spacing", "8", "8", "8"])
    assert code == 0
    return output


def small_network(inputs: int = 2) -> nn.Module:
    """Return a network of the right shape with a few hundred parameters."""
    from monai.networks.nets import UNet

    return UNet(
        spatial_dims=3, in_channels=inputs, out_channels=2, channels=(4, 8), strides=(2,), num_res_units=1, norm="batch"
    )


def small_engine(best: Path, device: torch.device, recipe: Recipe) -> NetworkEngine:
    """Return what cross-validate runs, for the small network."""
    network = small_network(recipe.input_channels)
    network.load_state_dict(torch.load(best, weights_only=True))
    return NetworkEngine(network.eval(), device)


def train_arguments(prepared: Path, output: Path, *more: str) -> list[str]:
    return ["train", str(prepared), "--fold", "0", "--output", str(output), "--device", "cpu", *TINY.split(), *more]


if __name__ == "__main__":
    torch.set_num_threads(1)
    train.build_network = small_network
    cross_validate._open_best = small_engine
    sys.exit(main())
