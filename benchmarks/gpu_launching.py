"""Times one pass of the network as the engine runs it, as a CUDA graph, and compiled by torch: steps of gpu.py."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch.fx.experimental.proxy_tensor import make_fx

from autosegnet.model.torch_engine import TorchEngine
from benchmarks.device_timing import synchronise, time_rounds

_PASSES = 10  # in a row without waiting, so that only the device's own time is left


def measure_launching(engine: TorchEngine, windows: torch.Tensor, device: torch.device) -> dict[str, Any]:
    """Return the time of a pass: waiting after each, without waiting, replayed as a graph, and compiled."""
    found: dict[str, Any] = {"waiting after each": time_rounds(lambda: engine.run(windows, 0), device, 5)}
    in_a_row = time_rounds(lambda: [engine.run(windows, 0) for _ in range(_PASSES)], device, 3)
    found["without waiting"] = {"median_s": round(in_a_row["median_s"] / _PASSES, 5)}
    if device.type != "cuda":
        return found | {
            "CUDA graph": {"not measured": "a CPU has no CUDA graphs"},
            "torch.compile": {"not measured": "fused kernels are for a GPU"},
        }
    expected = engine.run(windows, 0)
    for name, prepare in (("CUDA graph", _capture), ("torch.compile", compile_pass)):
        try:
            start = time.perf_counter()
            run = prepare(engine, windows)
            difference = float((run() - expected).abs().max())
            synchronise(device)
            first_s = round(time.perf_counter() - start, 2)
            found[name] = time_rounds(run, device, 5) | {"first_s": first_s, "largest_difference": difference}
        except Exception as error:  # one way that fails must not cost the other its figure
            found[name] = {"failed": f"{type(error).__name__}: {error}"[:500]}
    return found


def _capture(engine: TorchEngine, windows: torch.Tensor) -> Callable[[], torch.Tensor]:
    """Return a function that replays a pass over the same windows as one CUDA graph."""
    beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # missing in its types
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):  # torch asks for passes on another stream before a graph is captured
        for _ in range(3):
            engine.run(windows, 0)
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        logits = engine.run(windows, 0)

    def replay() -> torch.Tensor:
        graph.replay()
        return logits

    return replay


def compile_pass(engine: TorchEngine, windows: torch.Tensor) -> Callable[[], torch.Tensor]:
    """Return a function that runs a pass over the same windows with the kernels that torch makes for it."""
    run = TorchEngine.run.__wrapped__  # type: ignore[attr-defined]  # without its inference mode
    with torch.no_grad():
        plain = windows.clone(memory_format=torch.preserve_format)
        traced = make_fx(lambda batch: run(engine, batch, 0))(plain)
    compiled = torch.compile(traced)

    def run_compiled() -> torch.Tensor:
        with torch.no_grad():
            logits: torch.Tensor = compiled(plain)
        return logits

    return run_compiled
