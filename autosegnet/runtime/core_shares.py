"""Shares the cores and GPUs of this machine among processes: each takes as many threads as it has cores."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def share_cores(jobs: int) -> list[list[int]]:
    """Divide this process's cores into parts of neighbouring cores. If there are too few, processes share cores.

    Returns:
        The cores of each process; empty on a system that cannot bind a process to cores.
    """
    if not hasattr(os, "sched_getaffinity"):
        return [[] for _ in range(jobs)]
    cores = sorted(os.sched_getaffinity(0), key=_place)
    if jobs > len(cores):
        return [[cores[k % len(cores)]] for k in range(jobs)]
    return [cores[k * len(cores) // jobs : (k + 1) * len(cores) // jobs] for k in range(jobs)]


def _place(core: int) -> tuple[int, int, int]:
    """Return socket, physical core and number: hyperthreads of a core and cores of a socket become neighbours."""
    topology = Path(f"/sys/devices/system/cpu/cpu{core}/topology")
    try:
        socket, physical = (int((topology / name).read_text()) for name in ("physical_package_id", "core_id"))
    except (OSError, ValueError):
        socket = physical = 0
    return socket, physical, core


def bind_to_cores(cores: Sequence[int]) -> None:
    """Bind this process to its cores. torch, OpenMP, ITK and OpenVINO use at most as many threads.

    They use fewer if their environment variable says so. It may have been set for all cores, before they were shared.
    """
    if not cores:
        return
    os.sched_setaffinity(0, cores)
    for name in ("OMP_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"):
        named = os.environ.get(name, "")
        limit = int(named) if named.isdigit() and int(named) > 0 else len(cores)
        os.environ[name] = str(min(limit, len(cores)))


def bind_to_gpu(worker: int) -> None:
    """Show this process one GPU. Processes take the GPUs of a machine in turn.

    CUDA reads the variable when it is first used. GPUs that the variable hides already stay hidden.

    Args:
        worker: the number of this process, from 0.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = [name for name in visible.split(",") if name] if visible is not None else _list_gpus()
    if len(gpus) > 1:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[worker % len(gpus)]


def _list_gpus(devices: Path = Path("/dev")) -> list[str]:
    """Return the numbers of the NVIDIA GPUs that this machine or container shows."""
    numbers = [path.name.removeprefix("nvidia") for path in devices.glob("nvidia*")]
    return [str(k) for k in range(sum(number.isdigit() for number in numbers))]
