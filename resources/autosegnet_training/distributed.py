"""The processes of one run: one, or those that `torchrun` started on one machine or several.

Gradients are averaged by DistributedDataParallel; everything else that processes exchange goes through here. The mean
over processes of the losses of equal micro-batches is the loss of the batch. Batch norm takes its statistics from the
micro-batches of all processes on CUDA (SyncBatchNorm). On the CPU this does not exist: each micro-batch has its own
statistics, as with gradient accumulation in one process, and the running statistics are those of process 0.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import distributed, nn

from autosegnet.errors import UsageError

# A process may wait for the others as long as the longest validation case takes on a CPU.
_TIMEOUT = timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among those of the run, and its device."""

    rank: int
    ranks: int
    device: torch.device

    @property
    def writes(self) -> bool:
        """Return whether this process writes files and shows progress. One process does."""
        return self.rank == 0

    def wrap(self, network: nn.Module) -> nn.Module:
        """Return the network wrapped for training by all processes; the network itself if there is one."""
        if self.ranks == 1:
            return network
        if self.device.type == "cuda":
            convert: Callable[[nn.Module], nn.Module] = nn.SyncBatchNorm.convert_sync_batchnorm
            network = convert(network)
            return nn.parallel.DistributedDataParallel(network, device_ids=[self.device.index])
        return nn.parallel.DistributedDataParallel(network)

    def defer_gradients(self, network: nn.Module, *, last: bool) -> AbstractContextManager[None]:
        """Return a context in which gradients stay in this process, unless the micro-batch is the last of its step."""
        if self.ranks == 1 or last:
            return nullcontext()
        context: AbstractContextManager[None] = network.no_sync()  # type: ignore[operator]  # wrapped above
        return context

    def mean(self, value: float) -> float:
        """Return the mean of a number over all processes."""
        if self.ranks == 1:
            return value
        tensor = torch.tensor(
            [value], dtype=torch.float64
        )  # on the CPU's backend, because one number is not worth a GPU
        distributed.all_reduce(tensor)
        return float(tensor) / self.ranks

    def gather(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return the union of every process's values."""
        if self.ranks == 1:
            return values
        parts: list[dict[str, Any]] = [{} for _ in range(self.ranks)]
        distributed.all_gather_object(parts, values)
        return {key: value for part in parts for key, value in part.items()}

    def share_buffers(self, network: nn.Module) -> None:
        """Give every process the batch-norm statistics of process 0, which writes the checkpoints."""
        if self.ranks > 1:
            for buffer in network.buffers():
                distributed.broadcast(buffer, 0)

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.ranks > 1:
            distributed.barrier()


@contextmanager
def join_processes(device: str) -> Iterator[Processes]:
    """Return the processes of the run, joined for as long as the context lasts.

    Args:
        device: auto, cpu or cuda.

    Raises:
        UsageError: "cuda" was asked for and there is none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda, but no CUDA device can be used here; --device auto trains on the CPU")
    cuda = device != "cpu" and torch.cuda.is_available()
    rank, ranks, local = (int(os.environ.get(name, default)) for name, default in _TORCHRUN.items())
    chosen = torch.device("cuda", local) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(chosen)
    if ranks == 1:
        yield Processes(0, 1, chosen)
        return
    distributed.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=_TIMEOUT)
    try:
        yield Processes(rank, ranks, chosen)
    finally:
        distributed.destroy_process_group()


# Variables that torchrun sets, with their values without it.
_TORCHRUN = {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0}
