"""Measures the GPU path in one call: agreement, time and memory, whole cases, as published, training, the card's rate.

    bash benchmarks/gpu.sh [--device cuda] [--output gpu.json] [--steps "whole case" launching]

Needs torch, numpy, scipy and safetensors; for whole cases SimpleITK; for what was published MONAI and nibabel. The
folds are untrained: their masks mean nothing, but time, memory and agreement are those of trained ones.
`--device cpu --small` proves the script.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from autosegnet.model.network import build_network, load_fold
from autosegnet.model.recipe import Recipe
from autosegnet.model.sliding_window import Outline, predict_probability
from autosegnet.model.torch_engine import _FACTOR, ReferenceEngine, TorchEngine
from autosegnet.model.weights import Weights, open_weights
from autosegnet_training.configuration import PRESETS
from autosegnet_training.loss import build_loss
from autosegnet_training.mixture import Mixture, Share, SimulatedPatches
from autosegnet_training.validation import autocast
from benchmarks.device_timing import synchronise, time_rounds
from benchmarks.gpu_case import measure_batch, measure_case, write_case
from benchmarks.gpu_launching import measure_launching
from petct_simulator.bodies import make_body
from petct_simulator.generator import BodyLibrary, Patches

WINDOWS = {4: (1, 1, 4), 10: (1, 2, 5), 20: (2, 2, 5), 60: (3, 4, 5)}
"""Bodies by their number of windows: windows along each axis, half overlapping."""
FLOP_PER_VOXEL = 44.8e3  # of one fold's forward pass, multiplications and additions
TRAINING_FLOP_PER_VOXEL = 3 * FLOP_PER_VOXEL  # forward, and backward with respect to inputs and to weights
_SPACING_MM = 4.0


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large everything is: the paper's sizes, or small ones that prove the script on a CPU."""

    patch: int
    bodies: tuple[int, ...]
    rounds: int
    training_patch: int
    training_batch: int
    training_steps: int
    channels: int
    box: tuple[int, int, int]
    field: int


FULL = Sizes(192, (4, 10, 20, 60), 3, 128, 4, 20, 64, (240, 200, 500), 400)  # as the 20 windows of speed.py
SMALL = Sizes(32, (4, 10), 1, 32, 1, 2, 16, (46, 40, 60), 64)


def main() -> None:
    """Measure, print a line per figure, write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--small", action="store_true", help="small windows and few steps")
    parser.add_argument("--output", type=Path, default=Path("gpu.json"), help="default: %(default)s")
    parser.add_argument("--steps", nargs="+", metavar="STEP", help="only these (default: all)")
    args = parser.parse_args()
    device, sizes = torch.device(args.device), SMALL if args.small else FULL
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    figures: dict[str, Any] = {"device": name, "torch": torch.__version__, "sizes": str(sizes)}
    with tempfile.TemporaryDirectory() as folder:
        weights = write_folds(Path(folder), sizes)
        steps: list[tuple[str, Callable[[], Any]]] = [
            ("convolution rate", lambda: measure_convolution_rate(device, sizes)),
            ("training", lambda: measure_training(device, sizes)),
            ("inference", lambda: measure_inference(weights, device, sizes)),
            ("whole case", lambda: measure_whole_case(weights, device, sizes, Path(folder))),
            ("batch", lambda: measure_whole_batch(device, sizes, Path(folder))),
            ("agreement", lambda: measure_agreement(weights, device, sizes)),
            ("published inferer", lambda: measure_published(weights, device, sizes)),
            ("launching", lambda: measure_one_pass(weights, device, sizes)),
            ("variants", lambda: measure_variants(weights, device, sizes)),
            ("operations", lambda: profile_operations(weights, device, sizes)),
            ("training compiled", lambda: measure_training(device, sizes, compiled=True)),
        ]
        if unknown := set(args.steps or []) - {step for step, _ in steps}:
            parser.error(f"no steps {sorted(unknown)}; expected some of {[step for step, _ in steps]}")
        for step, measure in steps:
            if args.steps and step not in args.steps:
                continue
            start = time.perf_counter()
            try:
                figures[step] = measure()
            except Exception as error:  # the other figures are worth having without this one
                figures[step] = {"failed": f"{type(error).__name__}: {error}"[:500]}
            seconds = time.perf_counter() - start
            sys.stdout.write(f"{step} ({seconds:.1f} s): {json.dumps(figures[step])}\n")
            sys.stdout.flush()
            args.output.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    rate = figures.get("convolution rate", {}).get("tflops")
    for variant in [*figures.get("training", {}).values(), *figures.get("training compiled", {}).values()]:
        if rate and isinstance(variant, dict) and "tflops" in variant:
            variant["share_of_convolution_rate"] = round(variant["tflops"] / rate, 3)
    args.output.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def write_folds(folder: Path, sizes: Sizes) -> Weights:
    """Return five untrained folds with the paper's recipe."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "test"))
    import_module("untrained_folds").write_untrained_weights(
        folder, folds=5, recipe=replace(Recipe(), patch=(sizes.patch,) * 3)
    )
    return open_weights(folder)


def make_input(windows: int, sizes: Sizes) -> NDArray[np.float32]:
    """Return an input (2, X, Y, Z) that a body of so many windows has: smooth CT and PET with hot spots."""
    x, y, z = (sizes.patch + (n - 1) * (sizes.patch // 2) for n in WINDOWS[windows])
    rng = np.random.default_rng(windows)
    coarse = torch.from_numpy(rng.random((1, 2, x // 8, y // 8, z // 8), dtype=np.float32))
    smooth = torch.nn.functional.interpolate(coarse, size=(x, y, z), mode="trilinear")[0].numpy()
    smooth[1] = 6.0 * smooth[1] ** 2
    return smooth


def measure_convolution_rate(device: torch.device, sizes: Sizes) -> dict[str, float]:
    """Return the rate of one large 3 x 3 x 3 convolution in the arithmetic of inference: what the card can do."""
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    channels, side = sizes.channels, sizes.patch // 2
    convolution = torch.nn.Conv3d(channels, channels, 3, padding=1, bias=False).to(device, dtype)
    convolution.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # missing in its types
    x = torch.randn(2, channels, side, side, side, device=device, dtype=dtype)
    x = x.contiguous(memory_format=torch.channels_last_3d)
    with torch.inference_mode():
        seconds = time_rounds(lambda: convolution(x), device, 5)["median_s"]
    flop = 2.0 * 2 * channels * channels * 27 * side**3
    return {"tflops": round(flop / max(seconds, 1e-9) / 1e12, 3), "median_s": seconds}


def measure_variants(weights: Weights, device: torch.device, sizes: Sizes) -> dict[str, Any]:
    """Return the time of a window through one fold: the engine's choices, and those that it did not make.

    The first pass is counted apart: cuDNN's search for the fastest kernels is part of it.
    """
    found: dict[str, Any] = {}
    for multiple, together, search in (
        (8, 2, False),
        (8, 1, False),
        (8, 4, False),
        (8, 2, True),
        (1, 2, False),
        (1, 2, True),
    ):
        engine = open_device_engine(weights, device, channel_multiple=multiple)
        torch.backends.cudnn.benchmark = search
        windows = make_windows(engine, together, sizes)
        start = time.perf_counter()
        engine.run(windows, 0)
        synchronise(device)
        first = time.perf_counter() - start
        if device.type == "cuda":
            torch.cuda.empty_cache()
        timed = time_rounds(lambda engine=engine, windows=windows: engine.run(windows, 0), device, 5)  # type: ignore[misc]
        name = f"channels in {multiple}s, {together} windows together, {'searched' if search else 'not searched'}"
        found[name] = timed | {"first_s": round(first, 3), "window_s": round(timed["median_s"] / together, 5)}
        del engine, windows
    torch.backends.cudnn.benchmark = False  # as the engine has it
    return found


def make_windows(engine: TorchEngine, together: int, sizes: Sizes) -> torch.Tensor:
    """Return random windows as the engine takes them."""
    windows = engine.make_batch(together, (sizes.patch,) * 3, engine.dtype)
    windows[:, :2] = torch.rand(together, 2, *(3 * [sizes.patch]), device=engine.device) * _FACTOR
    return windows


def profile_operations(weights: Weights, device: torch.device, sizes: Sizes) -> dict[str, float]:
    """Return the milliseconds that kernels take in one pass of two windows, the longest first."""
    engine = open_device_engine(weights, device)
    windows = make_windows(engine, 2, sizes)
    engine.run(windows, 0)
    return profile_kernels(lambda: engine.run(windows, 0), device)


def profile_kernels(run: Callable[[], object], device: torch.device) -> dict[str, float]:
    """Return the milliseconds that kernels take in one run, the longest first."""
    from torch.profiler import ProfilerActivity, profile

    synchronise(device)
    on_gpu = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]) as profiled:
        run()
        synchronise(device)
    times = [
        (float(e.self_device_time_total if on_gpu else e.self_cpu_time_total) / 1000, f"{e.key[:90]} x {e.count}")
        for e in profiled.key_averages()
    ]
    return {name: round(ms, 3) for ms, name in sorted(times, reverse=True)[:16]}


def measure_one_pass(weights: Weights, device: torch.device, sizes: Sizes) -> dict[str, Any]:
    """Return the time of a pass of two windows as the engine runs it, as a CUDA graph, and compiled."""
    engine = open_device_engine(weights, device)
    return measure_launching(engine, make_windows(engine, 2, sizes), device)


def measure_whole_case(weights: Weights, device: torch.device, sizes: Sizes, folder: Path) -> dict[str, Any]:
    """Return the time of a case with all folds, from files to the mask on disk, and as published."""
    try:
        paths = write_case(sizes.box, sizes.field, folder)
    except ImportError as error:
        return {"not measured": f"{error}; carry a wheel of SimpleITK"}
    return measure_case(weights, open_device_engine(weights, device), paths, folder, sizes.rounds)


def measure_whole_batch(device: torch.device, sizes: Sizes, folder: Path) -> dict[str, Any]:
    """Return the time per study of a batch, in which the host works beside the device."""
    studies = folder / "batch"
    studies.mkdir()
    try:
        paths = write_case(sizes.box, sizes.field, studies)
        return measure_batch(folder, paths, studies, device)
    except ImportError as error:
        return {"not measured": f"{error}; carry a wheel of SimpleITK"}
    except subprocess.CalledProcessError as error:
        return {"failed": error.stderr[-500:]}


def measure_agreement(weights: Weights, device: torch.device, sizes: Sizes) -> dict[str, float]:
    """Return the largest difference of logits and the Dice of masks between the device's engine and the reference."""
    engine, reference = open_device_engine(weights, device), ReferenceEngine(weights)
    array = make_input(4, sizes)
    layers = replace(weights.recipe, passes="layers")
    window = np.ascontiguousarray(array[:, : sizes.patch, : sizes.patch, : sizes.patch])
    differences = [
        float(np.abs(engine.compute_logits(window, k) - reference.compute_logits(window, k)).max()) for k in (0, 1)
    ]
    found: dict[str, float] = {"largest_logit_difference": max(differences)}
    for name, recipe, outline in (("", weights.recipe, None), ("layers_", layers, make_outline(array))):
        masks = [predict_probability(array, by, recipe, outline=outline) > 0.5 for by in (engine, reference)]
        shared, both = int((masks[0] & masks[1]).sum()), int(masks[0].sum() + masks[1].sum())
        found[f"{name}dice"] = 2.0 * shared / both if both else 1.0
        found[f"{name}voxels_that_differ"] = int((masks[0] != masks[1]).sum())
    return found


def make_outline(array: NDArray[np.float32]) -> Outline:
    """Return the outline of a body that fills an input below its middle, and half of each axis above it."""
    x, y, z = array.shape[1:]
    outline = np.zeros((z, 2, 2), dtype=np.int64)
    outline[: z // 2] = [(0, x), (0, y)]
    outline[z // 2 :] = [(x // 4, x - x // 4), (y // 4, y - y // 4)]
    return outline


def open_device_engine(weights: Weights, device: torch.device, *, channel_multiple: int = 8) -> TorchEngine:
    """Return the engine as inference opens it: float16 on CUDA, float32 elsewhere."""
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    return TorchEngine(weights, device=str(device), dtype=dtype, channel_multiple=channel_multiple)


def measure_inference(weights: Weights, device: torch.device, sizes: Sizes) -> dict[str, Any]:
    """Return time and memory of the network. The study is on the device, and the probability stays there."""
    found: dict[str, Any] = {}
    for folds in (1, 5):
        some = replace(weights, recipe=replace(weights.recipe, folds=weights.recipe.folds[:folds]))
        engine = open_device_engine(some, device)
        for windows in sizes.bodies:
            array = torch.from_numpy(make_input(windows, sizes)).to(device)
            timed = time_rounds(
                lambda array=array, engine=engine, some=some: predict_probability(array, engine, some.recipe),  # type: ignore[misc]
                device,
                sizes.rounds,
            )
            flop = FLOP_PER_VOXEL * sizes.patch**3 * windows * folds
            found[f"{windows} windows, {folds} folds"] = timed | {
                "tflops": round(flop / max(timed["median_s"], 1e-9) / 1e12, 3)
            }
    return found


def measure_published(weights: Weights, device: torch.device, sizes: Sizes) -> dict[str, Any]:
    """Return the time of MONAI's inferer with one and five plain networks, as the published pipeline runs them."""
    try:
        from monai.inferers import SlidingWindowInferer
    except ImportError:
        return {"not measured": "MONAI is not installed here"}
    networks = [load_fold(weights.find_path(fold), fold).to(device) for fold in weights.recipe.folds]
    inferer = SlidingWindowInferer(roi_size=weights.recipe.patch, sw_batch_size=1, overlap=weights.recipe.overlap)
    found: dict[str, Any] = {}
    for windows in [w for w in sizes.bodies if w <= 20]:
        batch = torch.from_numpy(make_input(windows, sizes))[None].to(device)
        for folds in (1, 5):

            def run(batch: torch.Tensor = batch, folds: int = folds) -> torch.Tensor:
                with torch.inference_mode():
                    return torch.stack([inferer(batch, network) for network in networks[:folds]]).mean(0)

            found[f"{windows} windows, {folds} folds"] = time_rounds(run, device, sizes.rounds)
    return found


def measure_training(device: torch.device, sizes: Sizes, *, compiled: bool = False) -> dict[str, Any]:
    """Return the time of training steps on patches that are there, where it goes, and how fast patches are made.

    Batch norm's statistics move in one variant and stay in the other, as in a network that goes on. If compiled, only
    the step of the latter is timed.
    """
    torch.backends.cudnn.benchmark = True  # as `starter` has it
    configuration = PRESETS["starter"]
    share = Share(real=0.0, size=sizes.training_patch, spacing_mm=_SPACING_MM, suv_limit=20.0)
    bodies = [make_body(f"procedural_benchmark_{seed}", seed, (_SPACING_MM,) * 3) for seed in range(4)]
    simulated = SimulatedPatches(BodyLibrary(bodies, device), share, seed=0)
    found: dict[str, Any] = {} if compiled else {"patches_per_s": measure_patches(simulated, device, sizes)}
    mixture = Mixture(simulated, [], share=share, configuration=configuration, fold=0)
    patches = mixture.make(0, sizes.training_batch)
    found["augmenting"] = time_rounds(lambda: mixture.make(0, sizes.training_batch), device, 5)
    loss = build_loss(configuration, voxel_ml=_SPACING_MM**3 / 1000).to(device)
    flop = TRAINING_FLOP_PER_VOXEL * sizes.training_batch * sizes.training_patch**3
    for name, fixed in [("fixed norm", True)] if compiled else [("moving norm", False), ("fixed norm", True)]:
        network = build_network().to(device, memory_format=torch.channels_last_3d).train()  # type: ignore[call-overload]
        for module in network.modules():
            if fixed and isinstance(module, torch.nn.BatchNorm3d):
                module.eval()
        step = make_training_step(network, loss, patches, compiled=compiled)
        start = time.perf_counter()
        step()
        synchronise(device)
        first = time.perf_counter() - start
        timed = time_rounds(step, device, sizes.training_steps)
        found[name] = timed | {
            "first_s": round(first, 3),
            "steps_per_s": round(1 / max(timed["median_s"], 1e-9), 3),
            "tflops": round(flop / max(timed["median_s"], 1e-9) / 1e12, 3),
        }
        if not compiled:
            found[name]["operations_ms"] = profile_kernels(step, device)
    torch.backends.cudnn.benchmark = False  # as the engine has it
    return found


def make_training_step(
    network: torch.nn.Module, loss: torch.nn.Module, patches: Patches, *, compiled: bool
) -> Callable[[], None]:
    """Return what trains a network on patches once, as `train_by_the_clock` does."""
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-5, fused=True)
    image = patches.image.contiguous(memory_format=torch.channels_last_3d)
    dtype = torch.bfloat16 if image.device.type == "cuda" else None

    def compute_loss(image: torch.Tensor, truth: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        with autocast(image.device, dtype):
            logits = network(image)
        found: torch.Tensor = loss(logits.float(), truth, weight)
        return found

    run = torch.compile(compute_loss) if compiled else compute_loss

    def step() -> None:
        assert patches.weight is not None
        optimiser.zero_grad(set_to_none=True)
        run(image, patches.truth, patches.weight).backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    return step


def measure_patches(simulated: SimulatedPatches, device: torch.device, sizes: Sizes) -> float:
    """Return how many simulated patches are made per second."""
    warm_up, steps = 2, 8
    for step in range(warm_up):
        simulated.make(step, sizes.training_batch)
    synchronise(device)
    start = time.perf_counter()
    for step in range(warm_up, warm_up + steps):
        simulated.make(step, sizes.training_batch)
    synchronise(device)
    return round(steps * sizes.training_batch / (time.perf_counter() - start), 2)


if __name__ == "__main__":
    main()
