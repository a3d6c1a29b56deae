"""Runs the checks of `autosegnet.study` over real and simulated studies: none may be refused; prints the extremes.

    python benchmarks/study_checks.py ../shared/data/sts --simulated 6

Real: whole studies of the STS set and the sub-crops in its boxes.json. Simulated: whole bodies and, of each, head,
legs, five slices of lung, a bladder of SUV 196, a crop around that bladder, and noise as of few counts.
"""

import argparse
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autosegnet.errors import InputError
from autosegnet.geometry import image_on, voxels
from autosegnet.io import read_image
from autosegnet.study import Study, _coarse, check_study
from petct_simulator.whole_study import simulate_study


def real_studies(folder: Path) -> Iterator[tuple[str, Study]]:
    """Every study of a folder in the layout of STS, whole and cropped to its box."""
    boxes = json.loads((folder / "boxes.json").read_text())
    for case in sorted(folder.glob("STS_*")):
        whole = Study(read_image(case / "SUV.nii.gz"), read_image(case / "CTres.nii.gz"))
        yield case.name, whole
        yield f"{case.name} box", part(whole, *(slice(*bounds) for bounds in boxes[case.name]))


def simulated_studies(count: int) -> Iterator[tuple[str, Study]]:
    """Yield simulated studies and their variants."""
    for seed in range(count):
        made = simulate_study(seed)
        grid = made.grid
        whole = Study(image_on(made.suv, grid), image_on(made.ct, grid))
        x, y, z = grid.size
        middle = slice(x // 2 - 20, x // 2 + 20), slice(y // 2 - 20, y // 2 + 20)
        hot = replace(whole, pet=image_on(with_bladder(made.suv), grid))
        noisy = replace(whole, pet=image_on(with_noise(made.suv, seed), grid))
        for name, study in {
            "whole": whole,
            "head": part(whole, slice(None), slice(None), slice(z - 60, z)),
            "legs": part(whole, slice(None), slice(None), slice(0, 60)),
            "five slices": part(whole, slice(None), slice(None), slice(z // 2, z // 2 + 5)),
            "hot bladder": hot,
            "around it": part(hot, *middle, slice(z // 4 - 5, z // 4 + 20)),
            "few counts": noisy,
            "few counts, legs": part(noisy, slice(None), slice(None), slice(0, 60)),
        }.items():
            yield f"simulated {seed}, {name}", study


def part(study: Study, x: slice, y: slice, z: slice) -> Study:
    """Return a box of voxels of both images, which share a grid."""
    return Study(study.pet[x, y, z], study.ct[x, y, z])


def with_bladder(suv: NDArray[np.float32]) -> NDArray[np.float32]:
    """SUV 196, the highest measured in a bladder, in a box of some 200 ml in the pelvis."""
    z, y, x = suv.shape
    hot = suv.copy()
    hot[z // 4 : z // 4 + 15, y // 2 - 8 : y // 2 + 8, x // 2 - 8 : x // 2 + 8] = 196
    return hot


def with_noise(suv: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Noise of SUV 0.4 in air and more in tissue, cut at 0 as iterative reconstruction does."""
    noise = np.random.default_rng(seed).normal(0.0, 0.4, suv.shape) * np.sqrt(1 + suv)
    noisy: NDArray[np.float32] = np.clip(suv + noise, 0, None).astype(np.float32)
    return noisy


def figures(study: Study) -> dict[str, float]:
    """Return what the checks look at."""
    suv, hu = _coarse(study)
    pet, ct = voxels(study.pet), voxels(study.ct)
    return {
        "lowest SUV": float(pet.min()),
        "1st percentile of SUV": float(np.percentile(pet, 1.0)),
        "99.9th percentile of SUV": float(np.percentile(pet, 99.9)),
        "median SUV over tissue": float(np.median(suv[hu > -300])),
        "HU from lowest to highest": float(ct.max()) - float(ct.min()),
        "median HU where SUV > 0.3": float(np.median(hu[suv > 0.3])),
    }


def main() -> None:
    """Check every study; print refusals, warnings and the extremes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sts", type=Path, help="folder of the STS studies")
    parser.add_argument("--simulated", type=int, default=6)
    args = parser.parse_args()
    logging.basicConfig(format="  warning: %(message)s")
    found: dict[str, list[float]] = {}
    refused = studies = 0
    for studies_of in (real_studies(args.sts), simulated_studies(args.simulated)):
        for name, study in studies_of:
            studies += 1
            for what, value in figures(study).items():
                found.setdefault(what, []).append(value)
            try:
                check_study(pet=study.pet, ct=study.ct)
            except InputError as error:
                refused += 1
                print(f"{name} is refused: {error}")
    for what, values in found.items():
        print(f"{what}: {min(values):.3g} to {max(values):.3g}")
    print(f"{studies} studies, {refused} refused")


if __name__ == "__main__":
    main()
