"""Makes patches ahead on the host's other cores while a GPU trains."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from petct_simulator.generator import BodyGenerator, Patches

_SHARED_MEMORY = "/dev/shm"  # noqa: S108  # where processes hand tensors over, on Linux
_READ_AHEAD = 2  # steps per process
# Fewer make patches more slowly than a GPU, on which a patch takes 40 ms, nearly all of it to start its small kernels
# (one H100). A core takes 270 ms for a patch of 128³.
_FEWEST_PROCESSES = 6


def choose_processes(device: torch.device, step_bytes: int) -> int:
    """Return how many processes of the host make the patches; 0 if the device makes them itself.

    A CPU trains on all its cores. A GPU makes the patches if the host has few cores, or too little shared memory for
    what they read ahead.

    Args:
        device: where the network is trained.
        step_bytes: size of a step's patches.
    """
    processes = (os.cpu_count() or 1) - 2
    if device.type != "cuda" or processes < _FEWEST_PROCESSES or not os.path.isdir(_SHARED_MEMORY):
        return 0
    enough = shutil.disk_usage(_SHARED_MEMORY).free > 2 * _READ_AHEAD * processes * step_bytes
    return processes if enough else 0


class StepsAhead:
    """The patches of consecutive steps, made by processes of the host; the same as in one process.

    Args:
        generator: on the CPU.
        first: step.
        count: patches per step.
        processes: that make them.
    """

    def __init__(self, generator: BodyGenerator, *, first: int, count: int, processes: int) -> None:
        self.next_step = first
        loader = DataLoader(
            _Steps(generator, count),
            batch_size=None,
            sampler=_From(first),
            num_workers=processes,
            prefetch_factor=_READ_AHEAD,
            pin_memory=torch.cuda.is_available(),
            multiprocessing_context="fork",  # shares the bodies' memory; the processes use no CUDA
        )
        self._steps: Iterator[Sequence[torch.Tensor]] = iter(loader)

    def take(self, device: torch.device) -> Patches:
        """Return the patches of the next step on a device."""
        image, truth = (values.to(device, non_blocking=True) for values in next(self._steps))
        self.next_step += 1
        return Patches(image.float(), truth)


class _From(Sampler[int]):
    """Number steps from the first on, without end."""

    def __init__(self, first: int) -> None:
        self._first = first

    def __iter__(self) -> Iterator[int]:
        step = self._first
        while True:
            yield step
            step += 1


class _Steps(Dataset[Sequence[torch.Tensor]]):
    """Make the patches of a step, in float16 to be handed over."""

    def __init__(self, generator: BodyGenerator, count: int) -> None:
        self._generator, self._count = generator, count

    def __getitem__(self, step: int) -> Sequence[torch.Tensor]:
        patches = self._generator.make_patches(step, self._count)
        return patches.image.half(), patches.truth
