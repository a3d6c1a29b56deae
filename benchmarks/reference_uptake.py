"""Judge the rules that find liver and blood pool without an organ map, on simulated bodies whose organs are known.

    python benchmarks/reference_uptake.py ORGAN_MAPS [--others] [--number 37] [--without-aorta]

The bodies have the organs of real maps; aorta, spine and outline are made. The rules were adjusted on the maps of
`--others`; the default are the maps of resources/petct_simulator/held_out_maps.txt, of other patients. For each body it
prints what each rule found: which share of its region is that organ, and its SUVmean beside that of the organ's inside.
`--without-aorta` turns the thin vessels of the CT into fat: then whatever is found is wrong.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from autosegnet.geometry import Grid, make_image
from autosegnet.lesions.landmarks import find_landmarks
from autosegnet.lesions.reference_regions import Reference
from autosegnet.lesions.references import measure_references
from petct_simulator.label_volume import is_held_out
from petct_simulator.organ_maps import from_file
from petct_simulator.protocol import Protocol
from petct_simulator.tissue import Tissue
from petct_simulator.whole_study import SimulatedStudy, simulate_study

SPACING_MM = (4.07, 4.07, 3.0)
TISSUES = {"liver": Tissue.LIVER, "blood pool": Tissue.BLOOD}


def list_maps(folder: Path, *, held_out: bool) -> list[Path]:
    """Return the maps of one side, and of the others none of a patient who has a held-out one."""
    maps = sorted(folder.glob("*.nii.gz"))
    kept = [path for path in maps if is_held_out(path.name[:-7])]
    if held_out:
        return kept
    patients = {path.name.split("_")[1] for path in kept}
    return [path for path in maps if path.name.split("_")[1] not in patients]


def simulate_bodies(maps: list[Path], seed: int) -> Iterator[tuple[str, SimulatedStudy]]:
    """Yield a study per map."""
    for number, path in enumerate(maps):
        yield path.name[:-7], simulate_study(seed + number, anatomy=from_file(path), protocol=Protocol(SPACING_MM))


def make_ct(study: SimulatedStudy, *, without_aorta: bool) -> sitk.Image:
    """Return the CT; without the aorta, vessels thinner than 4 cm are fat."""
    hu = study.ct.astype(np.float32)
    if without_aorta:
        blood = study.tissue == Tissue.BLOOD
        thin = blood & ~ndimage.binary_opening(blood, iterations=5)
        hu[thin] = np.random.default_rng(0).normal(-100.0, 15.0, int(thin.sum()))
    return make_image(hu, study.grid)


def describe(reference: Reference, study: SimulatedStudy) -> tuple[float, float]:
    """Return which share of a reference's region is its organ, and its SUVmean relative to the organ's core."""
    is_organ = study.tissue == TISSUES[reference.organ]
    core = ndimage.binary_erosion(is_organ, iterations=3) & (study.truth == 0)
    inside = _find_region(reference, study.grid)
    return float(is_organ[inside].mean()), reference.suv_mean / float(study.suv[core].mean())


def _find_region(reference: Reference, grid: Grid) -> NDArray[np.bool_]:
    x, y, z = (
        grid.origin_mm[k] + grid.spacing_mm[k] * np.arange(grid.size[k]) - reference.centre_mm[k] for k in range(3)
    )
    across = np.hypot(y[:, None], x[None, :])[None]
    if reference.organ == "liver":
        return np.asarray(np.hypot(across, z[:, None, None]) <= 15.0)
    return np.asarray((across <= 5.0) & (np.abs(z) <= 10.0)[:, None, None])


def main() -> None:
    """Print a line per body, and how many regions were found, right, and how near their SUVmean is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("organ_maps", type=Path)
    parser.add_argument("--others", action="store_true", help="maps that are not held out, every ninth")
    parser.add_argument("--number", type=int, default=37)
    parser.add_argument("--seed", type=int, default=5000)
    parser.add_argument("--without-aorta", action="store_true")
    args = parser.parse_args()
    maps = list_maps(args.organ_maps, held_out=not args.others)[:: 9 if args.others else 1][: args.number]
    found: dict[str, list[tuple[float, float]]] = {organ: [] for organ in TISSUES}
    for name, study in simulate_bodies(maps, args.seed):
        suv, ct = make_image(study.suv, study.grid), make_ct(study, without_aorta=args.without_aorta)
        landmarks = find_landmarks(study.grid, ct=ct, organs=None)
        references = measure_references(suv, study.truth > 0, organs=None, landmarks=landmarks, ct=ct)
        told = []
        for reference, why in (
            (references.liver, references.without_liver),
            (references.blood, references.without_blood),
        ):
            if reference is not None:
                found[reference.organ].append(describe(reference, study))
                share, ratio = found[reference.organ][-1]
            told.append(why if reference is None else f"{reference.organ} {share:.0%}, SUV x {ratio:.2f}")
        sys.stdout.write(f"{name}: {'; '.join(told)}\n")
        sys.stdout.flush()
    for organ, figures in found.items():
        shares, ratios = np.array(figures).reshape(-1, 2).T
        right = int((shares >= 0.9).sum())
        spread = f"{np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})" if len(ratios) else "-"
        sys.stdout.write(
            f"{organ}: found in {len(shares)} of {len(maps)}; at least nine tenths inside it in {right}; "
            f"SUVmean relative to the organ's: median {spread}\n"
        )


if __name__ == "__main__":
    main()
