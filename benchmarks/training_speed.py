"""How many patches a second training sees, where the time goes, and the memory it takes.

    python -m benchmarks.training_speed --patch 80 80 80 --batch 2 --steps 6 [--device cuda] [--channels-last false]

Patches come from a random array of the size of a body at 2 mm, mapped from disk as in training, and are augmented as
the paper's preset says. The first step is not counted. On CUDA the parts are told apart by waiting for the device.
CPU seconds of all threads are given beside wall-clock time: on a machine that does other things they are what counts.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from autosegnet.model.recipe import Recipe
from autosegnet_training import arrays, distributed
from autosegnet_training import configuration as settings
from autosegnet_training.runs import Run
from autosegnet_training.sampling import MicroBatch
from autosegnet_training.train import Trainer

_BODY = (200, 180, 400)  # voxels of 2 mm


class TimedTrainer(Trainer):
    """A trainer that notes how long it waits for patches and augments them."""

    reading = augmenting = 0.0

    def read(self, micro_batches: Iterator[MicroBatch]) -> MicroBatch:
        """As `Trainer.read`."""
        before = time.perf_counter()
        batch = super().read(micro_batches)
        self.reading += time.perf_counter() - before
        return batch

    def move_to_device(self, batch: MicroBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """As `Trainer.on_device`."""
        self.wait()
        before = time.perf_counter()
        done = super().move_to_device(batch)
        self.wait()
        self.augmenting += time.perf_counter() - before
        return done

    def wait(self) -> None:
        """Wait until the device has nothing left to do."""
        if self.processes.device.type == "cuda":
            torch.cuda.synchronize()


def _write_body(folder: Path) -> None:
    rng = np.random.default_rng(0)
    array = rng.random((2, *_BODY), dtype=np.float32)
    truth = np.zeros(_BODY, dtype=np.bool_)
    truth[90:105, 80:95, 200:215] = True
    arrays.save(folder / "body", array=array, truth=truth, note={})


def main() -> None:
    """Measure, and print one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--device", default="cpu")
    settings.add_arguments(parser)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, distributed.join_processes(args.device) as processes:
        _write_body(Path(folder))
        case = arrays.load(Path(folder), "body")
        wanted = settings.read_configuration(args)
        configuration = replace(wanted, patches_per_case=wanted.batch * (args.steps + 1))
        run = Run(Path(folder), 0, configuration, Recipe(), ("body",), ())
        trainer = TimedTrainer(run, processes, training=[case], validation=[])
        micro_batches = trainer.patches.iterate_epoch(0)
        trainer.train_step(micro_batches)
        trainer.reading = trainer.augmenting = 0.0
        seconds, cpu_seconds = [], time.process_time()
        for _ in range(args.steps):
            before = time.perf_counter()
            trainer.train_step(micro_batches)
            trainer.wait()
            seconds.append(time.perf_counter() - before)
        cpu_seconds = time.process_time() - cpu_seconds
    total, patches = sum(seconds), configuration.batch * args.steps
    cuda = torch.cuda.max_memory_allocated() / 2**30 if processes.device.type == "cuda" else 0.0
    sys.stdout.write(
        f"patch {configuration.patch}, batch {configuration.batch}, micro-batch {configuration.micro_batch or 'all'}, "
        f"channels_last {configuration.channels_last}, {processes.device}, {trainer.dtype or 'float32'}, "
        f"{torch.get_num_threads()} threads: {patches / total:.3f} patches/s, {cpu_seconds / patches:.2f} CPU s each; "
        f"step {min(seconds):.2f}-{sorted(seconds)[len(seconds) // 2]:.2f}-{max(seconds):.2f} s (min-median-max); "
        f"reading {trainer.reading / total:.1%}, augmentation {trainer.augmenting / total:.1%}, "
        f"network {1 - (trainer.reading + trainer.augmenting) / total:.1%}; peak memory "
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB, CUDA {cuda:.2f} GiB\n"
    )


if __name__ == "__main__":
    main()
