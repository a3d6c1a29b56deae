"""How many of the machine's cores this process may use, on every system."""

from __future__ import annotations

import math
import os
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # Linux, control groups version 2: "<microseconds or max> <period>"


def count_cores() -> int:
    """Return the number of cores that this process may use: its affinity if the system has one, and its quota."""
    return max(1, math.ceil(min(count_bound_cores(), _read_quota())))


def count_bound_cores() -> int:
    """Return the number of cores that this process is bound to, or that the machine has if processes are not bound."""
    affinity = getattr(os, "sched_getaffinity", None)  # neither on macOS nor on Windows
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _read_quota() -> float:
    """Return the cores that a container's limit is worth; infinity without one."""
    try:
        share, period = _QUOTA.read_text(encoding="ascii").split()
        return int(share) / int(period)
    except (OSError, ValueError):  # "max", or a system without it
        return math.inf
