"""Speed and memory against the published pipeline: the same study, weights and machine, in turn, several rounds.

    python -m benchmarks.speed --weights DIR --windows 4 10 20 --folds 1 5 --rounds 3 --output table.md

Every run is a process of its own, from its start to the mask on disk, as a user would run it. The study is simulated,
its body stretched to a box that takes 4, 10, 20 or 40 windows, in a field of 400 x 400 voxels with nothing but air
around it, so that the published crop (everything above -1024 HU) is the body, and both run the same windows.

Whatever recipe the folds have, they run at the paper's: 2 mm, windows of 192^3, SUV as it is. Of folds trained at
another spacing the masks mean nothing, but their logits are those of trained folds, which tell how alike two masks
are as those of untrained ones do not.

Methods: `published` (`benchmarks.published_pipeline`), `published-cuda` (its network and what follows on a GPU), `cuda`
(`autosegnet predict --device cuda`), `exact` (`autosegnet predict`), `bfloat16` (`--precision
bfloat16`), `fast` (`--fast`), `fast-bfloat16` (both), `reference` (`--device reference`). "Network" is what each says
its network took, "else" the rest of the process. "Times faster" is the median of the ratios within a round, so that a
busy machine slows both sides of a ratio.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from autosegnet.geometry import view_voxels
from autosegnet.io import write_text
from autosegnet.model.recipe import Recipe, format_recipe
from autosegnet.model.weights import RECIPE, Weights, open_weights
from petct_simulator.anatomy import make_procedural_anatomy
from petct_simulator.protocol import Protocol
from petct_simulator.whole_study import SimulatedStudy, simulate_study

# Windows of 192 -> voxels of 2 mm; the last is a large patient from vertex to soles.
BOXES = {4: (180, 160, 480), 10: (200, 180, 500), 20: (240, 200, 500), 40: (240, 240, 1000)}
_FIELD = 400  # voxels of the PET along x and y
_AIR_HU = -1024
# A process counts the memory of the one that started it as its own peak, so a small one starts it.
_WATCH = """
import resource, subprocess, sys, time
start = time.perf_counter()
code = subprocess.run(sys.argv[1:], stdout=sys.stderr).returncode
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""
METHODS = {
    "published": [],
    "published-cuda": ["--device", "cuda"],
    "cuda": ["--device", "cuda"],
    "exact": ["--device", "cpu"],
    "bfloat16": ["--device", "cpu", "--precision", "bfloat16"],
    "fast": ["--device", "cpu", "--fast"],
    "fast-bfloat16": ["--device", "cpu", "--fast", "--precision", "bfloat16"],
    "reference": ["--device", "reference"],
}
"""Methods, with what `autosegnet predict` or the published pipeline is given for them."""


_BASELINES = ("published", "published-cuda")


@dataclass(frozen=True, slots=True)
class Timed:
    """One run: wall-clock seconds of the process and of its network, and its peak memory."""

    whole_s: float
    network_s: float
    peak_gb: float
    mask: sitk.Image

    @property
    def else_s(self) -> float:
        """Return the seconds of everything but the network."""
        return self.whole_s - self.network_s


def write_study(study: SimulatedStudy, box: tuple[int, int, int], folder: Path) -> tuple[Path, Path]:
    """Return the PET and CT of a simulated study whose body fills a box of 2 mm voxels, as NIfTI."""
    labels, count = ndimage.label(study.ct > -300)
    body = labels == 1 + np.argmax(ndimage.sum_labels(study.ct > -300, labels, range(1, count + 1)))
    inside = ndimage.find_objects(body.astype(np.int8))[0]
    body = ndimage.binary_fill_holes(body[inside])
    ct = np.where(body, np.maximum(study.ct[inside], _AIR_HU + 1), _AIR_HU).astype(np.float32)
    suv = np.where(body, study.suv[inside], 0).astype(np.float32)
    spacing = [2.0 * mm / n for mm, n in zip(box, reversed(body.shape), strict=True)]
    around = [(2, 2), *(((_FIELD - n) // 2, _FIELD - n - (_FIELD - n) // 2) for n in body.shape[1:])]
    paths = folder / "pet.nii.gz", folder / "ct.nii.gz"
    for path, array, air in zip(paths, (suv, ct), (0, _AIR_HU), strict=True):
        image = sitk.GetImageFromArray(np.pad(array, around, constant_values=air))
        image.SetSpacing(spacing)
        sitk.WriteImage(image, str(path))
    return paths


def write_first_folds(weights: Weights, count: int, folder: Path) -> Path:
    """Return a folder with the first folds of an ensemble, and the paper's recipe with the published crop."""
    folder.mkdir()
    folds = weights.recipe.folds[:count]
    for fold in folds:
        (folder / fold.file).symlink_to(weights.find_path(fold).resolve())
    recipe = Recipe(folds=folds, crop="ct_foreground", description=weights.recipe.description)
    write_text(format_recipe(recipe), folder / RECIPE)
    return folder


def run(method: str, study: tuple[Path, Path], weights: Path, folder: Path) -> Timed:
    """Run one method in a process of its own.

    Raises:
        RuntimeError: it failed.
    """
    mask, log = folder / "mask.nii.gz", folder / "log"
    pet, ct = map(str, study)
    if method in _BASELINES:
        command = ["benchmarks.published_pipeline", pet, ct, str(mask), *METHODS[method]]
    else:
        command = ["autosegnet", "predict", "--pet", pet, "--ct", ct, "--output", str(mask), *METHODS[method]]
    with log.open("wb") as file:
        arguments = [sys.executable, "-m", *command, "--weights", str(weights)]
        watched = [sys.executable, "-I", "-S", "-c", _WATCH, *arguments]
        done = subprocess.run(watched, stdout=subprocess.PIPE, stderr=file, text=True, check=False)
    said = log.read_text(errors="replace")
    found = re.findall(r"network ([\d.]+) s", said)
    if done.returncode or not found:
        raise RuntimeError(f"{method} ended with {done.returncode}: {said[-2000:]}")
    whole_s, peak_kib = map(float, done.stdout.split())
    return Timed(whole_s, float(found[-1]), peak_kib / 2**20, sitk.ReadImage(str(mask)))


def dice(a: sitk.Image, b: sitk.Image) -> float:
    """Return the overlap of two masks; 1 if both are empty."""
    x, y = view_voxels(a) > 0, view_voxels(b) > 0
    total = int(x.sum()) + int(y.sum())
    return 2.0 * int((x & y).sum()) / total if total else 1.0


def format_row(windows: int, folds: int, method: str, runs: Sequence[Timed], against: Sequence[Timed]) -> str:
    """Return a line of the table: minimum, median and maximum over the rounds, medians of the ratios within a round."""
    whole, network, rest = ([getattr(r, f"{name}_s") for r in runs] for name in ("whole", "network", "else"))
    ratios = "| | | "
    if against:
        of = [
            median(getattr(a, name) / getattr(r, name) for a, r in zip(against, runs, strict=True))
            for name in ("whole_s", "network_s", "else_s")
        ]
        ratios = "| " + " | ".join(f"{ratio:.1f}" for ratio in of) + " "
    overlap = f"{dice(runs[0].mask, against[0].mask):.4f}" if against else ""
    peak = max(r.peak_gb for r in runs)
    cells = " | ".join(_spread(values) for values in (whole, network, rest))
    return f"| {windows} | {folds} | {method} | {cells} | {peak:.2f} {ratios}| {overlap} |"


def _spread(values: Sequence[float]) -> str:
    return f"{min(values):.1f} – {median(values):.1f} – {max(values):.1f}"


HEAD = (
    "| windows | folds | method | whole case, s | network, s | everything else, s | peak memory, GB "
    "| times faster: whole | network | else | Dice with published |\n"
    "|---:|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|\n"
)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="folder of weights (default: as autosegnet finds them)")
    parser.add_argument("--windows", type=int, nargs="+", choices=sorted(BOXES), default=[4, 10, 20])
    parser.add_argument("--folds", type=int, nargs="+", default=[1, 5])
    parser.add_argument(
        "--methods", nargs="+", choices=METHODS, default=["published", "exact", "bfloat16", "fast", "fast-bfloat16"]
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=7, help="of the simulated study")
    parser.add_argument("--output", type=Path, help="Markdown table")
    args = parser.parse_args()
    weights = open_weights(args.weights)
    study = simulate_study(
        args.seed, anatomy=make_procedural_anatomy, protocol=Protocol((2.036, 2.036, 3.0), None, "lymphoma")
    )
    lines = [f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}\n"]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for windows in args.windows:
            paths = write_study(study, BOXES[windows], folder)
            for folds in args.folds:
                chosen = write_first_folds(weights, folds, folder / f"weights_{windows}_{folds}")
                runs: dict[str, list[Timed]] = {method: [] for method in args.methods}
                for _ in range(args.rounds):
                    for method in args.methods:
                        runs[method].append(run(method, paths, chosen, folder))
                for method in args.methods:
                    baseline = "published-cuda" if method == "cuda" else "published"
                    against = [] if method in _BASELINES else runs.get(baseline, [])
                    lines.append(format_row(windows, folds, method, runs[method], against))
                    sys.stdout.write(lines[-1] + "\n")
                    sys.stdout.flush()
    if args.output:
        write_text(lines[0] + "\n" + HEAD + "\n".join(lines[1:]) + "\n", args.output)


if __name__ == "__main__":
    main()
