"""Times work on a device of torch, waiting for the device where the clock is read."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch


def synchronise(device: torch.device) -> None:
    """Wait until the device has nothing left to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def time_rounds(run: Callable[[], Any], device: torch.device, rounds: int) -> dict[str, float]:
    """Return minimum, median and maximum seconds of rounds after one that is not counted, and the peak of memory."""
    run()
    synchronise(device)
    reset_peak(device)
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        synchronise(device)
        seconds.append(time.perf_counter() - start)
    return summarise(seconds) | read_peak(device)


def summarise(seconds: list[float]) -> dict[str, float]:
    """Return minimum, median and maximum."""
    low, middle, high = min(seconds), float(np.median(seconds)), max(seconds)
    return {"min_s": round(low, 4), "median_s": round(middle, 4), "max_s": round(high, 4)}


def reset_peak(device: torch.device) -> None:
    """Start to watch the peak of memory, with nothing kept for later."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def read_peak(device: torch.device) -> dict[str, float]:
    """Return the peaks of memory since `reset_peak`: taken from the device, and in use; nothing on a CPU."""
    if device.type != "cuda":
        return {}
    return {
        "peak_gb": round(torch.cuda.max_memory_reserved(device) / 1e9, 3),
        "peak_in_use_gb": round(torch.cuda.max_memory_allocated(device) / 1e9, 3),
    }
