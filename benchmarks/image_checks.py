"""Judges sound and spoilt studies by the checks of `autosegnet.study`, and prints how far both lie from the limits.

    python benchmarks/image_checks.py ../shared/data --simulated 6

Real: every folder with SUV.nii.gz and CTres.nii.gz below the first argument, and the sub-crops in a boxes.json beside
them. Simulated: whole bodies and, of each, head, legs, five slices of lung, a bladder of SUV 196, a crop around that
bladder, and noise as of few counts. Sound studies must be neither refused nor warned of, but for a truncated CT; spoilt
ones are made from the whole studies.
"""

import argparse
import json
import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from autosegnet.errors import InputError
from autosegnet.geometry import Grid, make_image, view_voxels
from autosegnet.io import read_image
from autosegnet.study import Study, check_study
from petct_simulator.protocol import Protocol
from petct_simulator.whole_study import simulate_study

Named = Iterator[tuple[str, Study]]
SPACING_MM = (5.0, 5.0, 5.0)  # of simulated studies; coarse, to be quick


def yield_real_studies(root: Path) -> Named:
    """Yield every study below a folder, and the part of it that a boxes.json names."""
    boxes = {name: box for path in root.rglob("boxes.json") for name, box in json.loads(path.read_text()).items()}
    for path in sorted(root.rglob("SUV.nii.gz")):
        if (ct := path.with_name("CTres.nii.gz")).exists():
            whole = Study(read_image(path), read_image(ct))
            yield path.parent.name, whole
            if path.parent.name in boxes:
                yield f"{path.parent.name} box", part(whole, *(slice(*bounds) for bounds in boxes[path.parent.name]))


def yield_simulated_bodies(count: int) -> Named:
    """Yield simulated whole bodies."""
    for seed in range(count):
        made = simulate_study(seed, protocol=Protocol(SPACING_MM))
        yield f"simulated {seed}", Study(make_image(made.suv, made.grid), make_image(made.ct, made.grid))


def yield_parts(name: str, whole: Study, seed: int) -> Named:
    """Yield parts and variants of a simulated body that are sound, too."""
    grid = Grid.from_image(whole.pet)
    x, y, z = grid.size
    ten_cm = round(100 / SPACING_MM[0])
    middle = slice(x // 2 - ten_cm, x // 2 + ten_cm), slice(y // 2 - ten_cm, y // 2 + ten_cm)
    hot = replace(whole, pet=make_image(add_bladder(view_voxels(whole.pet)), grid))
    noisy = replace(whole, pet=make_image(add_noise(view_voxels(whole.pet), seed), grid))
    for variant, study in {
        "head": part(whole, slice(None), slice(None), slice(z - 36, z)),
        "legs": part(whole, slice(None), slice(None), slice(0, 36)),
        "five slices": part(whole, slice(None), slice(None), slice(z // 2, z // 2 + 5)),
        "hot bladder": hot,
        "around it": part(hot, *middle, slice(z // 4 - 3, z // 4 + 12)),
        "few counts": noisy,
        "few counts, legs": part(noisy, slice(None), slice(None), slice(0, 36)),
    }.items():
        yield f"{name}, {variant}", study


def part(study: Study, x: slice, y: slice, z: slice) -> Study:
    """Return a box of voxels of both images, which share a grid."""
    return Study(study.pet[x, y, z], study.ct[x, y, z])


def add_bladder(suv: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a PET with SUV 196, the highest measured in a bladder, in some 60 ml: more is half of the dose."""
    z, y, x = suv.shape
    hot = suv.copy()
    hot[z // 4 : z // 4 + 8, y // 2 - 4 : y // 2 + 4, x // 2 - 4 : x // 2 + 4] = 196
    return hot


def add_noise(suv: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Return a PET with noise of SUV 0.4 in air and more in tissue, cut at 0 as iterative reconstruction does."""
    noise = np.random.default_rng(seed).normal(0.0, 0.4, suv.shape) * np.sqrt(1 + suv)
    noisy: NDArray[np.float32] = np.clip(suv + noise, 0, None).astype(np.float32)
    return noisy


def yield_spoilt(study: Study) -> Iterator[tuple[str, Study]]:
    """Yield the study as it must not be."""
    suv, hu = view_voxels(study.pet), view_voxels(study.ct).astype(np.float32)
    top = float(suv.max())
    for name, factor in {"kBq/ml": 2.8, "x 10": 10.0, "/ 10": 0.1, "0 to 255": 255 / top, "0 to 1": 1 / top}.items():
        yield f"PET {name}", replace(study, pet=make_image(suv * np.float32(factor), Grid.from_image(study.pet)))
    ring = _beyond_the_field(Grid.from_image(study.ct))
    arrays = {
        "inverted": -hu,
        "3071 beyond the field": np.where(ring, np.float32(3071), hu),
        "63536 beyond the field": np.where(ring, np.float32(63536), hu),
        "mirrored left to right": hu[:, :, ::-1],
        "mirrored front to back": hu[:, ::-1],
        "mirrored head to feet": hu[::-1],
        "RAS taken for LPS": hu[:, ::-1, ::-1],
    }
    for name, array in arrays.items():
        yield f"CT {name}", replace(study, ct=make_image(np.ascontiguousarray(array), Grid.from_image(study.ct)))
    for axis, shift_mm in ((axis, shift) for axis in range(3) for shift in (20.0, -20.0, 50.0)):
        moved = sitk.Image(study.ct)
        origin = list(moved.GetOrigin())
        origin[axis] += shift_mm
        moved.SetOrigin(origin)
        yield f"CT {shift_mm:+.0f} mm along {'xyz'[axis]}", replace(study, ct=moved)


def _beyond_the_field(grid: Grid) -> NDArray[np.bool_]:
    """Return what lies outside the circle that touches the shorter side of every slice."""
    x, y = ((np.arange(n) - (n - 1) / 2) * s for n, s in zip(grid.size[:2], grid.spacing_mm[:2], strict=True))
    outside: NDArray[np.bool_] = np.hypot(x[None, :], y[:, None]) > min(x[-1], y[-1])
    return np.broadcast_to(outside, grid.shape)


def measure_figures(study: Study) -> dict[str, float]:
    """Return the figures by which a checked study was judged."""
    judged = study.judgement
    assert judged is not None
    pet, ct = view_voxels(study.pet), view_voxels(study.ct)
    found = {
        "lowest SUV": float(pet.min()),
        "1st percentile of SUV": float(np.percentile(pet, 1.0)),
        "99.9th percentile of SUV": float(np.percentile(pet, 99.9)),
        "HU from lowest to highest": float(ct.max()) - float(ct.min()),
    }
    if judged.body_l >= 30:
        found["mean SUV over 30 l and more"] = judged.mean_suv
    if judged.fat_suv is not None:
        found["median SUV in fat"] = judged.fat_suv
    if judged.air_hu is not None:
        found["median HU where the PET is cold"] = judged.air_hu
    if judged.dense_share is not None:
        found["share above 1000 HU there"] = judged.dense_share
    if judged.rival is not None:
        kind = "mirrored or turned" if judged.rival.is_turned else "shifted"
        found[f"best other place, {kind}"] = judged.rival.gain
    return found


class Listener(logging.Handler):
    """Keeps warnings."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a warning."""
        self.heard.append(record.getMessage())


def judge(study: Study, listener: Listener) -> tuple[str, Study | None]:
    """Return what the checks say of a study: refused, warned or silent; and the study if it was accepted."""
    listener.heard.clear()
    try:
        checked = check_study(pet=study.pet, ct=study.ct)
    except InputError as error:
        listener.heard.append(str(error))
        return "refused", None
    return ("warned" if listener.heard else "silent"), checked


def main() -> None:
    """Judge every study; print what was said of sound ones, the extremes, and what spoilt ones came to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with real studies")
    parser.add_argument("--simulated", type=int, default=6)
    args = parser.parse_args()
    listener = Listener()
    logging.getLogger("autosegnet").addHandler(listener)
    logging.getLogger("autosegnet").propagate = False
    extremes: dict[tuple[str, str], list[float]] = {}
    verdicts: dict[tuple[str, str], Counter[str]] = {}
    for kind, studies in (
        ("real", yield_real_studies(args.data)),
        ("simulated", yield_simulated_bodies(args.simulated)),
    ):
        for seed, (name, whole) in enumerate(studies):
            variants = yield_parts(name, whole, seed) if kind == "simulated" else iter(())
            for variant, study in [(name, whole), *variants]:
                verdict, checked = judge(study, listener)
                verdicts.setdefault(("sound", kind), Counter())[verdict] += 1
                if verdict != "silent":
                    print(f"{variant} is {verdict}: {'; '.join(listener.heard)}")
                for what, value in measure_figures(checked).items() if checked else ():
                    extremes.setdefault((what, kind), []).append(value)
            if not name.endswith("box"):
                for how, study in yield_spoilt(whole):
                    verdicts.setdefault((how, kind), Counter())[judge(study, listener)[0]] += 1
    print("\n| figure | studies | lowest | highest |\n|---|---|---|---|")
    for (what, kind), values in sorted(extremes.items()):
        print(f"| {what} | {len(values)} {kind} | {min(values):.3g} | {max(values):.3g} |")
    print("\n| study | | refused | warned | silent |\n|---|---|---|---|---|")
    for (how, kind), counts in sorted(verdicts.items()):
        print(f"| {how} | {kind} | {counts['refused']} | {counts['warned']} | {counts['silent']} |")


if __name__ == "__main__":
    main()
