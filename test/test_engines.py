"""What happens when the GPU is not there, or runs out of memory half-way."""

import logging
import warnings
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from conftest import THRESHOLD_RECIPE, ThresholdEngine, phantom
from numpy.typing import NDArray

from autosegnet.engines import open_engine
from autosegnet.engines.fallback import FallbackEngine
from autosegnet.errors import UsageError
from autosegnet.pipeline import segment
from autosegnet.weights import Weights


@dataclass
class Crowded:
    """A GPU engine that fails at some of its passes."""

    fails_at: set[int]
    error: type[Exception] = torch.OutOfMemoryError
    name: str = "GPU"
    folds: int = 1
    passes: int = 0
    answers: ThresholdEngine = field(default_factory=ThresholdEngine)

    def logit_difference(self, window: NDArray[np.float32], fold: int) -> NDArray[np.float32]:
        self.passes += 1
        if self.passes - 1 in self.fails_at:
            raise self.error("CUDA out of memory")
        return self.answers.logit_difference(window, fold)


@dataclass(frozen=True)
class Spare(ThresholdEngine):
    name: str = "CPU"


def mask_of(engine) -> NDArray[np.uint8]:
    several_windows = replace(THRESHOLD_RECIPE, patch=(64, 64, 64))
    return sitk.GetArrayFromImage(segment(phantom(), engine, several_windows).mask)


@pytest.mark.parametrize(
    ("fails_at", "steps", "engine_at_the_end"),
    [
        (set(), [], "GPU"),
        ({1}, ["trying again"], "GPU"),
        ({0, 2}, ["trying again", "trying again"], "GPU"),
        ({1, 2}, ["trying again", "on the CPU"], "CPU"),
        ({0, 1}, ["trying again", "on the CPU"], "CPU"),
    ],
)
def test_out_of_memory_changes_no_voxel_and_is_logged(
    caplog: pytest.LogCaptureFixture, fails_at: set[int], steps: list[str], engine_at_the_end: str
) -> None:
    expected = mask_of(ThresholdEngine())
    assert expected.any()
    engine = FallbackEngine(lambda: Crowded(fails_at), Spare)
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(mask_of(engine), expected)
    assert len(caplog.messages) == len(steps)
    for message, step in zip(caplog.messages, steps, strict=True):
        assert step in message
    assert engine.name == engine_at_the_end


def test_folds_that_do_not_fit_go_to_the_cpu(caplog: pytest.LogCaptureFixture) -> None:
    def crowded() -> Crowded:
        raise torch.OutOfMemoryError("CUDA out of memory")

    engine = FallbackEngine(crowded, Spare)
    assert (engine.name, engine.folds) == ("CPU", 1)
    assert ["on the CPU" in message for message in caplog.messages] == [True]
    np.testing.assert_array_equal(mask_of(engine), mask_of(ThresholdEngine()))


@pytest.mark.parametrize("error", [RuntimeError, MemoryError, ValueError])
def test_no_other_error_is_taken_for_a_lack_of_gpu_memory(error: type[Exception]) -> None:
    engine = FallbackEngine(lambda: Crowded({0}, error), Spare)
    with pytest.raises(error, match="CUDA out of memory"):
        mask_of(engine)
    assert engine.name == "GPU"


def test_the_cpu_running_out_of_memory_ends_the_run() -> None:
    engine = FallbackEngine(lambda: Crowded({0, 1}), lambda: Crowded({0}, MemoryError))
    with pytest.raises(MemoryError):
        mask_of(engine)


def test_the_memory_of_the_failed_pass_is_free_before_the_next_try() -> None:
    """An error's traceback holds on to the frames it came through, and those to their tensors."""
    alive: set[int] = set()

    class Tensor:
        def __init__(self) -> None:
            alive.add(id(self))

        def __del__(self) -> None:
            alive.discard(id(self))

    class Greedy(ThresholdEngine):
        def logit_difference(self, window: NDArray[np.float32], fold: int) -> NDArray[np.float32]:
            assert not alive
            activations = Tensor()
            raise torch.OutOfMemoryError(f"no room beside {activations}")

    class Watching(ThresholdEngine):
        def logit_difference(self, window: NDArray[np.float32], fold: int) -> NDArray[np.float32]:
            assert not alive
            return window[0]

    FallbackEngine(Greedy, Watching).logit_difference(np.zeros((2, 4, 4, 4), np.float32), 0)


@pytest.fixture
def old_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def is_available() -> bool:
        warnings.warn("CUDA initialization: The NVIDIA driver on your system is too old\n(found 11040)", stacklevel=1)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", is_available)


@pytest.mark.usefixtures("old_driver")
def test_an_old_driver_is_one_warning_and_the_cpu(tiny_weights: Weights, caplog: pytest.LogCaptureFixture) -> None:
    assert "CPU" in open_engine(tiny_weights, device="auto").name
    (message,) = caplog.messages
    assert "driver on your system is too old" in message
    assert "\n" not in message


@pytest.mark.usefixtures("old_driver")
def test_an_old_driver_is_an_error_where_cuda_was_asked_for(tiny_weights: Weights) -> None:
    with pytest.raises(UsageError, match="driver on your system is too old"):
        open_engine(tiny_weights, device="cuda")


def test_a_gpu_that_cannot_compute_is_one_warning_and_the_cpu(
    tiny_weights: Weights, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU older than torch supports, or full of another program's data, is "available" until something runs on it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

    ones = torch.ones

    def ones_on(*size: int, device: object = None, **more: object) -> torch.Tensor:
        if device == "cuda":
            raise RuntimeError("CUDA error: no kernel image is available for execution on the device\nCompile with ...")
        return ones(*size, device=device, **more)

    monkeypatch.setattr(torch, "ones", ones_on)
    assert "CPU" in open_engine(tiny_weights, device="auto").name
    (message,) = caplog.messages
    assert "no kernel image" in message
    assert "Compile" not in message


def test_the_cpu_asked_for_is_no_warning(tiny_weights: Weights, caplog: pytest.LogCaptureFixture) -> None:
    assert "CPU" in open_engine(tiny_weights, device="cpu").name
    assert caplog.messages == []
