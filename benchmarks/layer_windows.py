"""How many windows of 192^3 voxels of 2 mm a crop of each layer by itself would save, and what it does to the mask.

    python -m benchmarks.layer_windows DIR --output table.md
    python -m benchmarks.layer_windows --weights W --organ-maps MAPS --number 4

DIR holds label volumes (`autosegnet-train label-volumes`). Windows are those of the crop to the body; "left" are those
if each layer of windows, along z, is cropped to the body in it. Both crops leave a margin of 14 mm.

With `--weights`, all windows, layers and the fast mode are run with the first fold, on studies simulated around the
longest organ maps: on the paper's grid, and on the folds' own with windows as wide. Dice is with the mask of all
windows.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from math import ceil, floor, prod
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from autosegnet.geometry import find_occupied_box, make_image
from autosegnet.io import write_text
from autosegnet.model.openvino_engine import OpenvinoEngine
from autosegnet.model.recipe import Recipe
from autosegnet.model.sliding_window import count_voxels, find_window_starts, predict_probability
from autosegnet.model.weights import Weights, open_weights
from autosegnet.preprocess import fill, find_placement
from autosegnet.study import Study
from petct_simulator.label_volume import LabelVolume, read_label_volume
from petct_simulator.organ_maps import from_file
from petct_simulator.protocol import Protocol
from petct_simulator.tissue import Tissue
from petct_simulator.whole_study import simulate_study

_VOXEL_MM, _PATCH, _OVERLAP = 2.0, 192, 0.5  # as trained in the paper
_MARGIN_MM = 14.0  # beyond tissue, as `preprocess.find_body_region` leaves
_LONG_MM = 1200.0  # from here on, a scan goes beyond the thighs
_NO_BODY = (Tissue.OUTSIDE, Tissue.TABLE, Tissue.TABLE_FOAM, Tissue.MATTRESS)


def count_windows(volume: LabelVolume) -> tuple[int, int]:
    """Return the windows of a body, and those that are left if each layer is cropped by itself."""
    body = ~np.isin(volume.labels, _NO_BODY)
    body = body[find_occupied_box(body)]
    extents_mm = [n * mm + 2 * _MARGIN_MM for n, mm in zip(body.shape, volume.spacing_mm, strict=True)]
    x, y, z = (_list_starts(extent) for extent in extents_mm)
    left, mm = 0, volume.spacing_mm[2]
    for start in z:
        low, high = (_VOXEL_MM * place - _MARGIN_MM for place in (start, start + _PATCH))
        across = find_occupied_box(body[:, :, max(0, floor(low / mm)) : ceil(high / mm)])[:2]
        left += prod(
            len(_list_starts(min(whole, (part.stop - part.start) * step + 2 * _MARGIN_MM)))
            for part, step, whole in zip(across, volume.spacing_mm, extents_mm, strict=False)
        )
    return len(x) * len(y) * len(z), left


def _measure_length_mm(path: Path) -> float:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    length: float = reader.GetSize()[2] * reader.GetSpacing()[2]
    return length


def _list_starts(extent_mm: float) -> tuple[int, ...]:
    length = max(_PATCH, round(extent_mm / _VOXEL_MM))
    return find_window_starts(length, patch=_PATCH, overlap=_OVERLAP)


def compare_masks(path: Path, weights: Weights) -> Iterator[str]:
    """Yield lines on one simulated study, on the paper's grid and on the folds' own with windows as wide."""
    made = simulate_study(0, anatomy=from_file(path), protocol=Protocol((2.036, 2.036, 3.0), None, "lymphoma"))
    study = Study(make_image(made.suv, made.grid), make_image(made.ct.astype(np.float32), made.grid))
    folds = weights.recipe.folds[:1]
    wide = round(_PATCH * _VOXEL_MM / weights.recipe.spacing_mm[0])
    own = replace(weights.recipe, folds=folds, patch=(wide, wide, wide))
    for recipe in (Recipe(folds=folds), own):
        engine = OpenvinoEngine.from_weights(replace(weights, recipe=recipe))
        layered = replace(recipe, passes="layers")
        placement = find_placement(study, layered)
        array = fill(study, placement, recipe)
        masks, seconds = [], []
        for mode in (recipe, layered, replace(recipe, passes="slabs")):
            begun = time.perf_counter()
            masks.append(predict_probability(array, engine, mode, outline=placement.outline) > 0.5)
            seconds.append(f"{time.perf_counter() - begun:.1f}")
        counts = [
            count_voxels(mode, array.shape[1:], placement.outline) // prod(mode.patch) for mode in (recipe, layered)
        ]
        overlaps = [f"{2 * (masks[0] & mask).sum() / (masks[0].sum() + mask.sum()):.4f}" for mask in masks[1:]]
        grid = f"{recipe.spacing_mm[0]:g} mm"
        yield f"| {path.name[:14]} | {grid} | {' | '.join([*map(str, counts), *overlaps, *seconds])} |\n"


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="label volumes")
    parser.add_argument("--weights", type=Path, help="run both, with the first fold of this folder")
    parser.add_argument("--organ-maps", type=Path, help="folder of organ label maps (.nii.gz)")
    parser.add_argument("--number", type=int, default=4, help="of the longest maps (default: 4)")
    parser.add_argument("--output", type=Path, help="Markdown")
    args = parser.parse_args()
    if args.weights:
        longest = sorted(args.organ_maps.glob("*.nii.gz"), key=_measure_length_mm)[-args.number :]
        sys.stdout.write(
            "| map | voxels | windows | by layers | Dice: layers | Dice: fast | s | layers, s | fast, s |\n"
        )
        sys.stdout.write("|---|---|---:|---:|---:|---:|---:|---:|---:|\n")
        for path in longest:
            sys.stdout.writelines(compare_masks(path, open_weights(args.weights)))
            sys.stdout.flush()
        return
    if args.folder is None:
        parser.error("give a folder of label volumes, or --weights")
    found: dict[str, list[tuple[int, int]]] = {}
    for path in sorted(args.folder.glob("*.npz")):
        volume = read_label_volume(path)
        height_mm = volume.labels.shape[2] * volume.spacing_mm[2]
        kind = "procedural" if volume.from_map is None else "around an organ map"
        length = "longer" if height_mm >= _LONG_MM else "shorter"
        found.setdefault(f"{kind}, {length} than {_LONG_MM / 1000:g} m", []).append(count_windows(volume))
    lines = ["| bodies | number | windows | left | bodies with fewer |\n|---|---:|---:|---:|---:|\n"]
    for name, counts in sorted(found.items()):
        windows, left = (sum(column) for column in zip(*counts, strict=True))
        fewer = sum(after < before for before, after in counts)
        lines.append(f"| {name} | {len(counts)} | {windows} | {left} | {fewer} |\n")
    sys.stdout.write("".join(lines))
    if args.output:
        write_text("".join(lines), args.output)


if __name__ == "__main__":
    main()
