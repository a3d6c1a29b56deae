"""Our masks against those of the published pipeline, with the same folds, study by study.

    python -m benchmarks.agreement --weights DIR --output docs/evidence/agreement.md STUDY [STUDY ...]

A study is a folder with SUV.nii.gz and CTres.nii.gz (autoPET layout) or the platform's images/pet and images/ct. Each
is run as it is, turned (its direction cosines rotated, so that the grid is oblique) and flipped (axes stored in
reverse). The published pipeline crops at the CT's foreground; ours runs with that crop and with the recipe's `body`.
With `--as-published`, ours has the published crop, grid and last step, and no limit of SUV.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from autosegnet.geometry import view_voxels
from autosegnet.io import find_only_image, read_image, write_text
from autosegnet.model.devices import DEVICES, open_engine
from autosegnet.model.engine import Engine
from autosegnet.model.recipe import Crop, Recipe
from autosegnet.model.weights import Weights, open_weights
from autosegnet.pipeline import segment_study
from autosegnet.study import Study
from benchmarks.published_pipeline import segment_as_published

_TURN = np.deg2rad([12.0, -8.0, 20.0])


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two masks of one study: voxels of theirs, voxels that differ, and how many of these lie off its border."""

    case: str
    crop: str
    theirs: int
    differing: int
    off_border: int
    dice: float

    def row(self) -> str:
        """Return a line of the table."""
        return f"| {self.case} | {self.crop} | {self.theirs} | {self.differing} | {self.off_border} | {self.dice:.5f} |"


def read_study(folder: Path) -> Study:
    """Return the study of a folder in autoPET's or the platform's layout."""
    if (folder / "SUV.nii.gz").is_file():
        return Study(read_image(folder / "SUV.nii.gz"), read_image(folder / "CTres.nii.gz"))
    return Study(
        read_image(find_only_image(folder / "images" / "pet")), read_image(find_only_image(folder / "images" / "ct"))
    )


def turn(image: sitk.Image) -> sitk.Image:
    """Return the image with its grid rotated in space."""
    a, b, c = _TURN
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    copy = sitk.Image(image)
    direction = about_z @ about_y @ about_x @ np.reshape(image.GetDirection(), (3, 3))
    copy.SetDirection(direction.ravel().tolist())
    return copy


def compare(case: str, ours: NDArray[np.bool_], theirs: NDArray[np.bool_], crop: str) -> Agreement:
    """Measure how well two masks agree."""
    border = ndimage.binary_dilation(theirs) & ~ndimage.binary_erosion(theirs)
    apart = ours != theirs
    total = int(ours.sum() + theirs.sum())
    dice = 2.0 * float(np.sum(ours & theirs)) / total if total else 1.0
    return Agreement(case, crop, int(theirs.sum()), int(apart.sum()), int((apart & ~border).sum()), dice)


def list_recipes(recipe: Recipe, *, as_published: bool) -> list[Recipe]:
    """Return the recipes that are compared with the published pipeline."""
    if as_published:
        return [replace(recipe, crop="ct_foreground", anchor="region", last_step="two_sigmoids", suv_limit=None)]
    return [replace(recipe, crop=crop) for crop in get_args(Crop)[::-1]]


def measure_agreements(
    name: str, study: Study, weights: Weights, engine: Engine, recipes: list[Recipe]
) -> list[Agreement]:
    """Return the study with every recipe against the published pipeline."""
    with tempfile.TemporaryDirectory() as folder:
        paths = Path(folder, "pet.nii.gz"), Path(folder, "ct.nii.gz")
        for image, path in zip((study.pet, study.ct), paths, strict=True):
            sitk.WriteImage(image, str(path))
        # Both read the same files, so that float32 in a NIfTI header is no difference.
        same = Study(read_image(paths[0]), read_image(paths[1]))
        theirs = view_voxels(segment_as_published(*paths, weights)) > 0
    found = []
    for recipe in recipes:
        found.append(compare(name, view_voxels(segment_study(same, engine, recipe).mask) > 0, theirs, recipe.crop))
        sys.stdout.write(found[-1].row() + "\n")
        sys.stdout.flush()
    return found


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", type=Path, nargs="+", metavar="STUDY")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--as-stored-only", action="store_true", help="no turned and flipped copies")
    parser.add_argument("--as-published", action="store_true", help="with the published crop, grid and last step")
    parser.add_argument("--device", choices=DEVICES, default="cpu", help="that ours runs on; default: %(default)s")
    parser.add_argument("--output", type=Path, help="Markdown table")
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # MONAI's own
    weights = open_weights(args.weights)
    recipes = list_recipes(weights.recipe, as_published=args.as_published)
    engine = open_engine(replace(weights, recipe=recipes[0]), device=args.device)
    rows = []
    for folder in args.studies:
        study = read_study(folder)
        copies = {"": study}
        if not args.as_stored_only:
            copies["turned"] = Study(turn(study.pet), turn(study.ct))
            copies["flipped"] = Study(
                sitk.Flip(study.pet, (True, False, True)), sitk.Flip(study.ct, (True, False, True))
            )
        for label, copy in copies.items():
            start = time.perf_counter()
            rows += measure_agreements(f"{folder.name} {label}".strip(), copy, weights, engine, recipes)
            sys.stdout.write(f"{time.perf_counter() - start:.0f} s\n")
    if args.output:
        head = "| study | our crop | voxels | differing | of these off the border | Dice |\n|---|---|---|---|---|---|\n"
        write_text(head + "\n".join(row.row() for row in rows) + "\n", args.output)


if __name__ == "__main__":
    main()
