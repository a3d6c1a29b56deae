"""Opens the engine for a device name, and says why CUDA cannot be used."""

from __future__ import annotations

import logging
import platform
from pathlib import Path

from autosegnet import __version__
from autosegnet.errors import UsageError
from autosegnet.model.engine import Engine
from autosegnet.model.recipe import Precision
from autosegnet.model.weights import Weights, digest
from autosegnet.runtime.third_party_warnings import catch_warnings

log = logging.getLogger(__name__)

_GPU_NODES = ("/dev/nvidiactl", "/dev/dxg", "/dev/nvhost-gpu")  # Linux, Windows' subsystem for it, and Jetson

PRECISIONS = ("float32", "bfloat16", "auto")
DEVICES = ("auto", "cpu", "cuda", "mps", "reference")


def choose_precision(name: str) -> Precision:
    """Return the arithmetic that a name asks for; "auto" is bfloat16 if the CPU has instructions for it, else float32.

    Raises:
        UsageError: another name.
    """
    if name not in PRECISIONS:
        raise UsageError(f"precision is {name!r}; expected {', '.join(PRECISIONS)}")
    if name != "auto":
        return "float32" if name == "float32" else "bfloat16"
    try:
        from autosegnet.model.openvino_engine import has_bfloat16
    except Exception:  # `_open_on_cpu` says why
        return "float32"
    return "bfloat16" if has_bfloat16() else "float32"


def open_engine(weights: Weights, *, device: str = "auto") -> Engine:
    """Open the engine for a device name, with all folds verified and loaded.

    Args:
        weights: an ensemble.
        device: "cpu": OpenVINO, or torch if that cannot be loaded; "cuda"; "auto": CUDA if there is a usable device,
            else the CPU; "reference": the network in plain torch on the CPU; "mps": the same on
            an Apple GPU. If CUDA runs out of memory, the run
            continues (`out_of_memory`). A device that was asked for and cannot be used is an error.

    Raises:
        UsageError: "cuda" or "mps", and no such device can be used; or bfloat16 on a CPU without it.
        WeightsError: a fold that is missing, altered or of another network.
    """
    if device not in DEVICES:
        raise UsageError(f"device is {device!r}; expected {', '.join(DEVICES)}")
    if device == "reference":
        return _open_reference(weights)
    if device == "cpu":
        return _open_on_cpu(weights)
    if device == "mps":
        return _open_on_mps(weights)
    unusable = _explain_unusable_cuda()
    if unusable is None:
        from autosegnet.model.out_of_memory import FallbackEngine
        from autosegnet.model.torch_engine import TorchEngine

        return FallbackEngine(lambda: TorchEngine(weights, device="cuda"), instead=lambda: _open_on_cpu(weights))
    if device == "cuda":
        raise UsageError(f"--device cuda, but {unusable}; --device auto runs on the CPU")
    log.warning("%s: running on the CPU", unusable)
    return _open_on_cpu(weights)


def _open_on_cpu(weights: Weights) -> Engine:
    try:
        from autosegnet.model.openvino_engine import OpenvinoEngine
    except Exception as error:  # not installed, built for another processor, or broken in another way
        log.warning("OpenVINO cannot be loaded (%s): running in torch, which is slower", " ".join(str(error).split()))
        return _open_reference(weights)
    return OpenvinoEngine.from_weights(weights)


def _open_on_mps(weights: Weights) -> Engine:
    import torch

    if not torch.backends.mps.is_available():
        raise UsageError("--device mps, but torch finds no Apple GPU; --device auto runs on the CPU")
    from autosegnet.model.torch_engine import ReferenceEngine

    return ReferenceEngine(weights, device="mps")


def _open_reference(weights: Weights) -> Engine:
    from autosegnet.model.torch_engine import ReferenceEngine

    return ReferenceEngine(weights)


def _explain_unusable_cuda() -> str | None:
    """Return on one line why torch cannot compute on the GPU; None if it can.

    If the driver is too old, torch warns. If the GPU is too old or busy, only running something on it shows that. If no
    driver shows a device, torch is not imported, because that takes longer than everything else at the start.
    """
    if not any(Path(node).exists() for node in _GPU_NODES):
        return "no CUDA device can be used here (no NVIDIA driver)"
    import torch

    with catch_warnings("always") as said:
        try:
            if torch.cuda.is_available():
                torch.ones(1, device="cuda").add(1).item()
                return None
            reason = " ".join(str(warning.message) for warning in said[:1])
        except RuntimeError as error:
            reason = str(error)
    first = " ".join(reason.split("\n")[0].split())[:200]
    return f"no CUDA device can be used here ({first})" if first else "no CUDA device can be used here"


def is_on_cpu(engine: Engine) -> bool:
    """Return whether an engine takes the cores that would do other work; one on a GPU may move to the CPU."""
    return ", CPU" in engine.name


def log_engine(engine: Engine, weights: Weights) -> None:
    """Log what runs: versions, device, weights."""
    log.info("autosegnet %s, python %s, %s", __version__, platform.python_version(), engine.name)
    log.info("%d folds, weights %s: %s", engine.folds, digest(weights)[:12], weights.recipe.description)
    if weights.recipe.precision not in ("float32", engine.name.rpartition(", ")[2]):
        log.warning("--precision %s is for OpenVINO on a CPU: it has no effect here", weights.recipe.precision)
    if weights.recipe.mode:
        log.info("%s: the mask differs from that of the default mode", weights.recipe.mode.removeprefix(", "))
