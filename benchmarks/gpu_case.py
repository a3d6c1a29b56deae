"""Times a whole case, from two files to the mask on disk, on a device and as published, and a batch: steps of gpu.py.

Both find a warm process: imports, the device's start and the folds' way there are not counted. The study is made of
noise in an elliptic body that fills a box. Beside the body there is air alone, so that both crop the same and run the
same windows.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from autosegnet.model.lending import borrow_device, read_voxels
from autosegnet.model.sliding_window import predict_probability
from autosegnet.model.torch_engine import TorchEngine
from autosegnet.model.weights import Weights
from benchmarks.device_timing import read_peak, reset_peak, summarise, synchronise

T = TypeVar("T")

_SPACING_MM = (2.036, 2.036, 3.0)
_STUDIES = (2, 6)
_STEPS_OF_RESAMPLING = ("placement", "input", "restoring")


def write_case(box: tuple[int, int, int], field: int, folder: Path) -> tuple[Path, Path]:
    """Return PET and CT as NIfTI on one grid, of a body that fills a box, given in voxels of 2 mm.

    Args:
        box: (x, y, z).
        field: voxels of the images along x and y.
        folder: for the files.
    """
    import SimpleITK as sitk

    x, y, z = (round(2.0 * n / mm) for n, mm in zip(box, _SPACING_MM, strict=True))
    rng = np.random.default_rng(0)
    across = (np.linspace(-1, 1, y) ** 2)[:, None] + np.linspace(-1, 1, x) ** 2
    body = np.broadcast_to(across <= 1, (z, y, x))
    uptake = rng.gamma(2.0, 0.5, size=(-(-z // 8), -(-y // 8), -(-x // 8))).astype(np.float32) ** 2
    suv = uptake.repeat(8, 0).repeat(8, 1).repeat(8, 2)[:z, :y, :x] + rng.random((z, y, x), dtype=np.float32)
    hu = np.rint(40 + 20 * rng.standard_normal((z, y, x), dtype=np.float32))
    around = [(2, 2), *(((field - n) // 2, field - n - (field - n) // 2) for n in (y, x))]
    paths = folder / "pet.nii.gz", folder / "ct.nii.gz"
    for path, values, air in zip(paths, (suv, hu), (0.0, -1024.0), strict=True):
        image = sitk.GetImageFromArray(
            np.pad(np.where(body, values, air).astype(np.float32), around, constant_values=air)
        )
        image.SetSpacing(_SPACING_MM)
        sitk.WriteImage(image, str(path))
    return paths


def measure_case(
    weights: Weights, engine: TorchEngine, paths: tuple[Path, Path], folder: Path, rounds: int
) -> dict[str, Any]:
    """Return the time of a case and of its steps on an engine's device, beside resampling in SimpleITK, as published.

    Args:
        weights: of the folds.
        engine: the same folds.
        paths: PET and CT.
        folder: for the masks.
        rounds: after one that is not counted.
    """
    published = replace(weights, recipe=replace(weights.recipe, crop="ct_foreground"))
    found: dict[str, Any] = {}
    masks: dict[str, NDArray[np.bool_]] = {}
    for name, lends in (("on the device", True), ("resampled on the CPU", False)):
        run = _Run(published, engine, paths, folder / "mask.nii.gz", lends=lends)
        found[name], masks[name] = _time(run, engine.device, rounds)
    apart = int((masks["on the device"] != masks["resampled on the CPU"]).sum())
    found["voxels of lesion"] = int(masks["on the device"].sum())
    found["voxels that resampling on the CPU changes"] = apart
    found["published"] = _measure_published(published, paths, folder / "published.nii.gz", engine.device)
    if "whole" in found["published"]:
        whole = found["published"]["whole"]["median_s"] / found["on the device"]["whole"]["median_s"]
        found["times as fast as published"] = round(whole, 2)
    return found


def measure_batch(weights: Path, paths: tuple[Path, Path], folder: Path, device: torch.device) -> dict[str, float]:
    """Return the seconds of `autosegnet batch` for two studies and for six, and of each of the four more.

    There, one study is read and another one written beside the network.

    Args:
        weights: folder of the folds.
        paths: PET and CT, which every study links to.
        folder: for the studies and the masks.
        device: that `batch` uses.
    """
    found: dict[str, float] = {}
    for number in _STUDIES:
        studies = folder / f"studies_{number}"
        for k in range(number):
            study = studies / f"study_{k}"
            study.mkdir(parents=True)
            for path, name in zip(paths, ("SUV.nii.gz", "CTres.nii.gz"), strict=True):
                os.link(path, study / name)
        command = [sys.executable, "-m", "autosegnet", "batch", str(studies), str(folder / f"masks_{number}")]
        start = time.perf_counter()
        subprocess.run(
            [*command, "--weights", str(weights), "--device", device.type], check=True, capture_output=True, text=True
        )
        found[f"{number}_studies_s"] = round(time.perf_counter() - start, 3)
    few, many = _STUDIES
    found["per_study_s"] = round((found[f"{many}_studies_s"] - found[f"{few}_studies_s"]) / (many - few), 3)
    return found


class _Run:
    """A case, with the seconds of its steps."""

    def __init__(
        self, weights: Weights, engine: TorchEngine, paths: tuple[Path, Path], output: Path, *, lends: bool
    ) -> None:
        self._weights, self._engine, self._paths, self._output, self._lends = weights, engine, paths, output, lends
        self.seconds: dict[str, float] = {}

    def __call__(self) -> NDArray[np.bool_]:
        from autosegnet import postprocess, preprocess
        from autosegnet.geometry import Grid, view_voxels
        from autosegnet.io import write_image
        from autosegnet.loading import load_study
        from autosegnet.on_device import fill_on_device, restore_on_device

        recipe, engine, pet, ct = self._weights.recipe, self._engine, *self._paths
        study = self._time("reading", lambda: load_study(pet=pet, ct=ct)).study
        placement = self._time("placement", lambda: preprocess.find_placement(study, recipe))
        array = self._time(
            "input",
            lambda: self._choose(
                lambda device: fill_on_device(study, placement, recipe, device),
                lambda: preprocess.fill(study, placement, recipe),
            ),
        )
        chance = self._time("network", lambda: predict_probability(array, engine, recipe))
        whole = Grid.from_image(study.pet)
        mask = self._time(
            "restoring",
            lambda: self._choose(
                lambda device: restore_on_device(chance, placement, whole),
                lambda: postprocess.restore(
                    read_voxels(chance), grid=placement.grid, region=placement.region, whole=whole
                ),
            ),
        )
        self._time("writing", lambda: write_image(mask, self._output))
        found: NDArray[np.bool_] = view_voxels(mask) > 0
        return found

    def _choose(self, use: Callable[[Any], T], instead: Callable[[], T]) -> T:
        return borrow_device(self._engine, use, instead) if self._lends else instead()

    def _time(self, step: str, work: Callable[[], T]) -> T:
        start = time.perf_counter()
        result = work()
        synchronise(self._engine.device)
        self.seconds[step] = time.perf_counter() - start
        return result


def _time(run: _Run, device: torch.device, rounds: int) -> tuple[dict[str, Any], NDArray[np.bool_]]:
    mask = run()
    reset_peak(device)
    each: list[dict[str, float]] = []
    for _ in range(rounds):
        run()
        each.append(dict(run.seconds))
    whole = [sum(seconds.values()) for seconds in each]
    share = [sum(s[step] for step in _STEPS_OF_RESAMPLING) / w for s, w in zip(each, whole, strict=True)]
    steps = {step: round(float(np.median([seconds[step] for seconds in each])), 4) for step in each[0]}
    found = {"whole": summarise(whole), "share of resampling": round(float(np.median(share)), 3), "steps": steps}
    return found | read_peak(device), mask


def _measure_published(
    weights: Weights, paths: tuple[Path, Path], output: Path, device: torch.device
) -> dict[str, Any]:
    """Return the time of the published pipeline on the same device, the second of two runs, or why there is none."""
    try:
        import SimpleITK as sitk

        from benchmarks.published_pipeline import load_networks, segment_as_published
    except ImportError as error:
        return {"not measured": f"{error}; carry wheels of monai and nibabel"}
    networks = load_networks(weights, str(device))
    seconds = 0.0
    for _ in range(2):
        reset_peak(device)
        start = time.perf_counter()
        with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stderr(nowhere):
            mask = segment_as_published(*paths, weights, device=str(device), networks=networks)
        sitk.WriteImage(mask, str(output), useCompression=True)
        synchronise(device)
        seconds = time.perf_counter() - start
    return {"whole": summarise([seconds])} | read_peak(device)
