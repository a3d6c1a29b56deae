"""How many windows of 192^3 voxels of 2 mm a crop of each layer by itself would save, and what it does to the mask.

    python -m benchmarks.layer_windows DIR --output table.md
    python -m benchmarks.layer_windows --weights W --organ-maps MAPS --number 4

DIR holds label volumes (`autosegnet-train label-volumes`). Windows are those of the crop to the body; "left" are those
if each layer of windows, along z, is cropped to the body in it. Both crops leave a margin of 14 mm.

With `--weights`, both are run with the first fold on the paper's grid, on studies simulated around the longest organ
maps, and their masks compared. Windows of a cropped layer start elsewhere, so the mask is another one.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from itertools import product
from math import ceil, floor, prod
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from autosegnet.geometry import find_occupied_box, make_image, resample_labels, view_voxels
from autosegnet.io import write_text
from autosegnet.model.accumulator import Window
from autosegnet.model.engine import Engine
from autosegnet.model.openvino_engine import OpenvinoEngine
from autosegnet.model.recipe import Recipe
from autosegnet.model.sliding_window import find_window_starts, predict_probability
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


def _place_windows(low: int, high: int) -> tuple[int, ...]:
    """Return where windows start over voxels; one that is longer has them in its middle, as in the sliding window."""
    length = high - low
    if length < _PATCH:
        return (low - (_PATCH - length) // 2,)
    return tuple(low + start for start in find_window_starts(length, patch=_PATCH, overlap=_OVERLAP))


def _measure_length_mm(path: Path) -> float:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    length: float = reader.GetSize()[2] * reader.GetSpacing()[2]
    return length


def _list_starts(extent_mm: float) -> tuple[int, ...]:
    length = max(_PATCH, round(extent_mm / _VOXEL_MM))
    return find_window_starts(length, patch=_PATCH, overlap=_OVERLAP)


def compare_masks(path: Path, weights: Weights) -> str:
    """Return a line on one simulated study: windows, Dice between the masks, seconds of the network."""
    made = simulate_study(0, anatomy=from_file(path), protocol=Protocol((2.036, 2.036, 3.0), None, "lymphoma"))
    study = Study(make_image(made.suv, made.grid), make_image(made.ct.astype(np.float32), made.grid))
    recipe = Recipe(folds=weights.recipe.folds[:1])
    placement = find_placement(study, recipe)
    array = fill(study, placement, recipe)
    outline = make_image((~np.isin(made.tissue, _NO_BODY)).astype(np.uint8), made.grid)
    body = view_voxels(resample_labels(outline, placement.grid)) > 0
    engine = OpenvinoEngine.from_weights(replace(weights, recipe=recipe))
    begun = time.perf_counter()
    exact = predict_probability(array, engine, recipe) > 0.5
    middle = time.perf_counter()
    layered, run, of = predict_by_layers(array, body, engine, recipe)
    end = time.perf_counter()
    overlap = 2 * int((exact & layered).sum()) / max(int(exact.sum()) + int(layered.sum()), 1)
    return f"| {path.name} | {of} | {run} | {overlap:.4f} | {middle - begun:.1f} | {end - middle:.1f} |\n"


def predict_by_layers(
    array: NDArray[np.float32], body: NDArray[np.bool_], engine: Engine, recipe: Recipe
) -> tuple[NDArray[np.bool_], int, int]:
    """Return the mask by the first fold if each layer is cropped to the body in it, the windows run, and all windows.

    Args:
        array: (2, X, Y, Z), the network's input.
        body: (X, Y, Z).
        engine: its first fold runs.
        recipe: of the fold.
    """
    logits = np.zeros(array.shape[1:], dtype=np.float32)
    margin = round(_MARGIN_MM / _VOXEL_MM)
    of, run = prod(len(_place_windows(0, n)) for n in array.shape[1:]), 0
    for z in _place_windows(0, array.shape[3]):
        across = find_occupied_box(body[:, :, max(0, z) : z + _PATCH])[:2]
        bounds = [
            (max(0, part.start - margin), min(n, part.stop + margin))
            for part, n in zip(across, array.shape[1:], strict=False)
        ]
        starts = [_place_windows(low, high) for low, high in bounds]
        for x, y in product(*starts):
            window = Window((x, y, z), recipe.patch)
            of_study, of_window = window.clip(array.shape[1:])
            patch = np.zeros((len(array), *recipe.patch), dtype=np.float32)
            patch[(slice(None), *of_window)] = array[(slice(None), *of_study)]
            logits[of_study] += engine.compute_logits(patch, 0)[of_window]
            run += 1
    return logits > 0, run, of


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
            "| map | windows | left | Dice with all | all, s | left, s |\n|---|---:|---:|---:|---:|---:|\n"
        )
        for path in longest:
            sys.stdout.write(compare_masks(path, open_weights(args.weights)))
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
