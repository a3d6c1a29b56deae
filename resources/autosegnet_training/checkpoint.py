"""Checkpoints: written whole or not at all, read back only if unaltered, the last two kept.

A file is a line `autosegnet checkpoint <SHA-256>` followed by what `torch.save` wrote. Nothing in it is executed.
"""

from __future__ import annotations

import hashlib
import io
import logging
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autosegnet.errors import InputError
from autosegnet.io import write_bytes

log = logging.getLogger(__name__)

_KEPT = 2
_HEAD = b"autosegnet checkpoint "
_HEAD_BYTES = len(_HEAD) + 64 + 1


def write_checkpoint(folder: Path, state: dict[str, Any], *, epoch: int, step: int) -> None:
    """Write a checkpoint and remove all but the last two.

    Args:
        folder: of the run's checkpoints.
        state: tensors, numbers, texts, and lists and dicts of them.
        epoch, step: those with which training continues.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getvalue()
    head = _HEAD + hashlib.sha256(payload).hexdigest().encode() + b"\n"
    write_bytes(head + payload, folder / f"{epoch:05d}_{step:06d}.ckpt")
    for path in _sort_newest_first(folder)[_KEPT:]:
        path.unlink()


def read_newest(folder: Path) -> dict[str, Any] | None:
    """Return the state of the newest intact checkpoint; None if there are no checkpoints.

    Raises:
        InputError: all checkpoints are damaged.
    """
    paths = _sort_newest_first(folder)
    for path in paths:
        state = _read(path)
        if state is not None:
            return state
        log.warning("checkpoint %s is damaged; falling back to the one before", path)
    if paths:
        raise InputError(f"all {len(paths)} checkpoints in {folder} are damaged; remove them to train from the start")
    return None


def _sort_newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.ckpt"), reverse=True)


def _read(path: Path) -> dict[str, Any] | None:
    data = path.read_bytes()
    head, payload = data[:_HEAD_BYTES], memoryview(data)[_HEAD_BYTES:]
    if head != _HEAD + hashlib.sha256(payload).hexdigest().encode() + b"\n":
        return None
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError):
        return None
    return state


def collect_random_states() -> dict[str, Any]:
    """Return the states of the global generators of Python, NumPy and torch.

    Patches and augmentation do not use them (see `sampling`); networks and libraries do.
    """
    version, internal, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "python": [version, list(internal), gauss],
        "numpy": [name, torch.from_numpy(np.asarray(keys, dtype=np.int64)), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_states(states: dict[str, Any]) -> None:
    """Set the global generators to the states that `collect_random_states` returned."""
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(states["torch"])
    if states["cuda"] and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])
