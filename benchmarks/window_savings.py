"""How many windows could be left out, study by study: those of air, those outside the body, those of a closer crop.

    python -m benchmarks.window_savings --cases CASES.csv [--simulated 6] --output table.md

Nothing is run through a network. For the recipe of the weights and for the paper's (2 mm, 192^3, on the same lattice),
a line each: windows in all; those in which CT and PET are exactly air; those without tissue (CT above -500 HU) and
without uptake (SUV above 0.25); the windows that are left if each layer of windows is cropped to the tissue and uptake
in its own slab; voxels of one pass over the whole input, as a share of the windows' voxels; studies whose whole input
would fit into one pass of the windows' memory, although it takes several windows.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from itertools import product
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autosegnet.geometry import find_occupied_box, make_image
from autosegnet.io import write_text
from autosegnet.model.recipe import CT_CHANNEL, PET_CHANNEL, Recipe
from autosegnet.model.sliding_window import find_window_starts
from autosegnet.model.weights import open_weights
from autosegnet.preprocess import prepare
from autosegnet.study import Study
from autosegnet_training.cases import read_cases
from autosegnet_training.studies import read_labelled
from petct_simulator.anatomy import make_procedural_anatomy
from petct_simulator.protocol import Protocol
from petct_simulator.whole_study import simulate_study

_TISSUE_HU, _LIVING_SUV = -500.0, 0.25  # as `preprocess.find_body_region` tells tissue and living tissue
_BLOCK = 16


@dataclass(frozen=True, slots=True)
class Savings:
    """Windows of one study, and those that could be left out."""

    windows: int
    air: int
    outside: int
    slab_wise: int
    one_pass_share: float
    merged: int


def count_savings(array: NDArray[np.float32], recipe: Recipe) -> Savings:
    """Return what a network's input would save."""
    shape, patch = array.shape[1:], recipe.patch
    starts = [_list_starts(n, p, recipe.overlap) for n, p in zip(shape, patch, strict=True)]
    low, high = recipe.ct_window_hu
    seen = (array[CT_CHANNEL] > (_TISSUE_HU - low) / (high - low)) | (array[PET_CHANNEL] > _LIVING_SUV)
    measured: NDArray[np.bool_] = np.any(array, axis=0)
    boxes = [tuple(slice(s, s + p) for s, p in zip(at, patch, strict=True)) for at in product(*starts)]
    slab_wise = 0
    for z in starts[2]:
        across = find_occupied_box(seen[:, :, z : z + patch[2]])[:2]
        slab_wise += prod(
            len(_list_starts(part.stop - part.start, p, recipe.overlap)) if part.stop else 0
            for part, p in zip(across, patch[:2], strict=True)
        )
    one_pass = prod(-(-n // _BLOCK) * _BLOCK for n in shape)
    return Savings(
        len(boxes),
        sum(not measured[box].any() for box in boxes),
        sum(not seen[box].any() for box in boxes),
        slab_wise,
        one_pass / (len(boxes) * prod(patch)),
        int(len(boxes) > 1 and one_pass <= prod(patch)),
    )


def _list_starts(length: int, patch: int, overlap: float) -> tuple[int, ...]:
    return find_window_starts(length, patch=patch, overlap=overlap) if length >= patch else (0,)


def list_studies(cases: list[Path], simulated: int) -> Iterator[tuple[str, Study]]:
    """Yield studies with the name of their kind."""
    for table in cases:
        for case in read_cases(table):
            yield table.stem, read_labelled(replace(case, box=None)).study
    for seed in range(simulated):
        protocol = Protocol((4.07, 4.07, 3.0), None, "lymphoma")
        made = simulate_study(seed, anatomy=make_procedural_anatomy, protocol=protocol)
        yield "simulated", Study(make_image(made.suv, made.grid), make_image(made.ct.astype(np.float32), made.grid))


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--cases", type=Path, nargs="*", default=[], metavar="CSV")
    parser.add_argument("--simulated", type=int, default=0, help="number of procedural bodies")
    parser.add_argument("--output", type=Path, help="Markdown")
    args = parser.parse_args()
    own = open_weights(args.weights).recipe
    paper = replace(own, spacing_mm=(2.0, 2.0, 2.0), patch=(192, 192, 192))
    recipes = {
        "the weights'": own,
        "the paper's": paper,
        "the paper's, uncropped": replace(paper, crop="ct_foreground"),
    }
    found: dict[tuple[str, str], list[Savings]] = {}
    for kind, study in list_studies(args.cases, args.simulated):
        for name, recipe in recipes.items():
            found.setdefault((kind, name), []).append(count_savings(prepare(study, recipe).array, recipe))
    lines = [
        "| studies | recipe | number | windows | of air | outside | left if slab-wise | one pass, share | merged |\n"
        "|---|---|---:|---:|---:|---:|---:|---:|---:|\n"
    ]
    for (kind, name), rows in found.items():
        totals = {field.name: sum(getattr(row, field.name) for row in rows) for field in fields(Savings)}
        share = totals.pop("one_pass_share") / len(rows)
        merged = totals.pop("merged")
        cells = " | ".join(map(str, (len(rows), *totals.values(), f"{share:.2f}", merged)))
        lines.append(f"| {kind} | {name} | {cells} |\n")
    sys.stdout.write("".join(lines))
    if args.output:
        write_text("".join(lines), args.output)


if __name__ == "__main__":
    main()
