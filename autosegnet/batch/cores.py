"""The CPU's cores, shared among processes of which each takes as many threads as it has cores."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def core_shares(jobs: int) -> list[list[int]]:
    """The cores that this process may use, in as many parts of neighbours; with too few, processes share cores."""
    if not hasattr(os, "sched_getaffinity"):
        return [[] for _ in range(jobs)]
    cores = sorted(os.sched_getaffinity(0), key=_place)
    if jobs > len(cores):
        return [[cores[k % len(cores)]] for k in range(jobs)]
    return [cores[k * len(cores) // jobs : (k + 1) * len(cores) // jobs] for k in range(jobs)]


def _place(core: int) -> tuple[int, int, int]:
    """Socket, physical core, number: hyperthreads of one core and cores of one socket are neighbours."""
    topology = Path(f"/sys/devices/system/cpu/cpu{core}/topology")
    try:
        socket, physical = (int((topology / name).read_text()) for name in ("physical_package_id", "core_id"))
    except (OSError, ValueError):
        socket = physical = 0
    return socket, physical, core


def stay_on(cores: Sequence[int]) -> None:
    """Keeps this process to its cores; torch, OpenMP, ITK and OpenVINO take at most as many threads.

    Fewer where the variable that limits them says so; it may speak for all cores, as it did before they were shared.
    """
    if not cores:
        return
    os.sched_setaffinity(0, cores)
    for name in ("OMP_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"):
        named = os.environ.get(name, "")
        limit = int(named) if named.isdigit() and int(named) > 0 else len(cores)
        os.environ[name] = str(min(limit, len(cores)))
