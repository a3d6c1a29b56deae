"""What simulated training patches cost, beside the step of the network that they feed.

    python benchmarks/patch_speed.py --bodies DIR [--patch 96 96 96] [--count 2] [--steps 12] [--device cuda]

DIR holds label volumes (`autosegnet-train label-volumes`); without it, eight procedural bodies are made. CPU seconds of
all threads are given beside wall-clock time: on a machine that does other things they are what counts.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from autosegnet.model.network import build_network
from petct_simulator.bodies import make_body
from petct_simulator.generator import BodyGenerator, BodyLibrary, Patches
from petct_simulator.label_volume import LabelVolume, read_label_volumes

SPACING_MM = 4.0


def measure(work: Callable[[int], object], steps: int, device: torch.device) -> tuple[float, float]:
    """Return the median of wall-clock and of CPU seconds per step."""
    wall, cpu = [], []
    for step in range(steps):
        before, before_cpu = time.perf_counter(), time.process_time()
        work(step)
        if device.type == "cuda":
            torch.cuda.synchronize()
        wall.append(time.perf_counter() - before)
        cpu.append(time.process_time() - before_cpu)
    return float(np.median(wall)), float(np.median(cpu))


def open_bodies(folder: Path | None) -> list[LabelVolume]:
    """Return the label volumes of a folder, 24 at most, or eight procedural bodies."""
    if folder is not None:
        return read_label_volumes(folder)[:24]
    return [make_body(f"procedural_{i}", i, (SPACING_MM, SPACING_MM, SPACING_MM)) for i in range(8)]


def train_step(patches: Patches) -> Callable[[int], object]:
    """Return forward and backward of the network on patches, in bfloat16."""
    device = patches.image.device
    network = build_network().to(device).train()

    def step(_: int) -> None:
        with torch.autocast(device.type, torch.bfloat16):
            loss = network(patches.image).float().square().mean()
        loss.backward()

    return step


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--bodies", type=Path, help="folder of label volumes")
    parser.add_argument("--patch", type=int, nargs=3, default=(96, 96, 96), metavar=("X", "Y", "Z"))
    parser.add_argument("--count", type=int, default=2, help="patches per step")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device, bodies = torch.device(arguments.device), open_bodies(arguments.bodies)
    x, y, z = arguments.patch
    generator = BodyGenerator(BodyLibrary(bodies, device), patch=(x, y, z), spacing_mm=SPACING_MM, seed=0)
    for step in range(3 * len(bodies)):  # every body's regions are found once
        generator.make_patches(1000 + step, 1)
    wall, cpu = measure(lambda step: generator.make_patches(step, arguments.count), arguments.steps, device)
    train = train_step(generator.make_patches(0, arguments.count))
    train(0)
    net_wall, net_cpu = measure(train, max(2, arguments.steps // 4), device)
    print(f"{arguments.count} patches of {x} x {y} x {z} voxels, {device}, {arguments.threads} threads")
    print(f"patches: {wall:.2f} s, {cpu:.2f} CPU s")
    print(f"network: {net_wall:.2f} s, {net_cpu:.2f} CPU s")
    print(f"patches over network: {wall / net_wall:.2f}, CPU {cpu / net_cpu:.2f}")


if __name__ == "__main__":
    main()
