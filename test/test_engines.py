"""What happens when the GPU is not there, or runs out of memory half-way."""

import logging
import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from threading import Event

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from numpy.typing import NDArray
from phantoms import THRESHOLD_RECIPE, phantom
from threshold import ThresholdEngine

from autosegnet.dicom.header import keep_quiet
from autosegnet.errors import UsageError, WeightsError
from autosegnet.model import devices, torch_engine
from autosegnet.model.accumulator import HostAccumulator, LogitAccumulator, Window
from autosegnet.model.devices import open_engine
from autosegnet.model.folded import fold_batch_norm
from autosegnet.model.network import build_network
from autosegnet.model.out_of_memory import FallbackEngine
from autosegnet.model.recipe import LastStep, Recipe
from autosegnet.model.sliding_window import predict_probability
from autosegnet.model.torch_engine import TorchEngine
from autosegnet.model.weights import Weights
from autosegnet.pipeline import segment_study


@dataclass
class Crowded:
    """A GPU engine that fails at some of its passes."""

    fails_at: set[int]
    error: type[Exception] = torch.OutOfMemoryError
    name: str = "GPU"
    folds: int = 1
    passes: int = 0
    answers: ThresholdEngine = field(default_factory=ThresholdEngine)

    def compute_logits(self, window: NDArray[np.float32], fold: int) -> NDArray[np.float32]:
        self.passes += 1
        if self.passes - 1 in self.fails_at:
            raise self.error("CUDA out of memory")
        return self.answers.compute_logits(window, fold)


@dataclass(frozen=True)
class Spare(ThresholdEngine):
    name: str = "CPU"


def mask_of(engine) -> NDArray[np.uint8]:
    several_windows = replace(THRESHOLD_RECIPE, patch=(64, 64, 64))
    return sitk.GetArrayFromImage(segment_study(phantom(), engine, several_windows).mask)


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


@dataclass
class CrowdedDevice(Crowded):
    """A GPU engine that keeps the study, and fails at some of its canvases."""

    canvas_fails: int = 0

    def open_accumulator(self, array: NDArray[np.float32], *, sums: int, channels: int) -> LogitAccumulator:
        if self.canvas_fails:
            self.canvas_fails -= 1
            raise self.error("CUDA out of memory")
        return HostAccumulator(self, array, [np.zeros(array.shape[1:], np.float32) for _ in range(sums)])


@pytest.mark.parametrize(("canvas_fails", "fails_at"), [(0, {3, 4}), (1, set()), (2, set()), (1, {0, 1})])
def test_what_a_gpu_has_summed_is_taken_along(canvas_fails: int, fails_at: set[int]) -> None:
    expected = mask_of(ThresholdEngine())
    engine = FallbackEngine(lambda: CrowdedDevice(fails_at, canvas_fails=canvas_fails), Spare)
    np.testing.assert_array_equal(mask_of(engine), expected)


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
        def compute_logits(self, window: NDArray[np.float32], fold: int) -> NDArray[np.float32]:
            assert not alive
            activations = Tensor()
            raise torch.OutOfMemoryError(f"no room beside {activations}")

    class Watching(ThresholdEngine):
        def compute_logits(self, window: NDArray[np.float32], fold: int) -> NDArray[np.float32]:
            assert not alive
            return window[0]

    FallbackEngine(Greedy, Watching).compute_logits(np.zeros((2, 4, 4, 4), np.float32), 0)


@pytest.fixture
def old_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def is_available() -> bool:
        warnings.warn("CUDA initialization: The NVIDIA driver on your system is too old\n(found 11040)", stacklevel=1)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    monkeypatch.setattr(devices, "_GPU_NODES", ("/",))


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


def test_an_old_driver_is_named_while_dicom_is_read(
    tiny_weights: Weights, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The filters of warnings are those of all threads: what one thread restores must not be another's."""
    with keep_quiet():  # the first import adds filters of its own
        open_engine(tiny_weights, device="cpu")
    looking, read = Event(), Event()

    def is_available() -> bool:
        looking.set()
        assert read.wait(60)
        warnings.warn("The NVIDIA driver on your system is too old", stacklevel=1)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    monkeypatch.setattr(devices, "_GPU_NODES", ("/",))
    before = warnings.filters[:]
    with ThreadPoolExecutor(1) as pool:
        with keep_quiet():
            opening = pool.submit(open_engine, tiny_weights, device="auto")
            looking.wait(1)
        read.set()
        assert "CPU" in opening.result().name
    assert "driver on your system is too old" in caplog.messages[0]
    assert warnings.filters == before


def test_a_gpu_that_cannot_compute_is_one_warning_and_the_cpu(
    tiny_weights: Weights, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU older than torch supports, or full of another program's data, is "available" until something runs on it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(devices, "_GPU_NODES", ("/",))

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


WINDOW = np.random.default_rng(0).random((2, 32, 48, 32), dtype=np.float32) * np.float32([1, 6]).reshape(2, 1, 1, 1)


@pytest.fixture(scope="module")
def reference(tiny_weights: Weights) -> NDArray[np.float32]:
    """Logit differences of every fold: MONAI's network with batch norm as it was trained."""
    engine = open_engine(tiny_weights, device="reference")
    found = np.stack([engine.compute_logits(WINDOW, fold) for fold in range(engine.folds)])
    assert found.std() > 0.1
    return found


def test_openvino_agrees_with_the_reference(tiny_weights: Weights, reference: NDArray[np.float32]) -> None:
    engine = open_engine(tiny_weights, device="cpu")
    assert engine.name.startswith("openvino")
    found = np.stack([engine.compute_logits(WINDOW, fold) for fold in range(engine.folds)])
    assert np.abs(found - reference).max() < 1e-3
    assert np.abs(engine.compute_logits(WINDOW, 0) - reference[0]).max() < 1e-3  # back to the first fold
    smaller = np.ascontiguousarray(WINDOW[:, :, :32])
    assert engine.compute_logits(smaller, 0).shape == smaller.shape[1:]


def test_bfloat16_is_run_if_asked_for_and_named(tiny_weights: Weights, reference: NDArray[np.float32]) -> None:
    from autosegnet.model.openvino_engine import has_bfloat16

    if not has_bfloat16():
        with pytest.raises(UsageError, match="no instructions for bfloat16"):
            open_engine(tiny_weights.use_precision("bfloat16"), device="cpu")
        pytest.skip("this CPU has no bfloat16")
    engine = open_engine(tiny_weights.use_precision("bfloat16"), device="cpu")
    assert engine.name.endswith(", bfloat16")
    apart = np.abs(engine.compute_logits(WINDOW, 0) - reference[0]).max()
    assert 1e-3 < apart < 0.2 * reference.std()


def test_float32_is_the_default_and_auto_what_the_cpu_has(tiny_weights: Weights) -> None:
    from autosegnet.model.openvino_engine import has_bfloat16

    assert open_engine(tiny_weights, device="cpu").name.endswith(", float32")
    assert devices.choose_precision("auto") == ("bfloat16" if has_bfloat16() else "float32")
    with pytest.raises(UsageError, match="int8"):
        devices.choose_precision("int8")


def test_a_precision_that_has_no_effect_is_a_warning(tiny_weights: Weights, caplog: pytest.LogCaptureFixture) -> None:
    chosen = tiny_weights.use_precision("bfloat16")
    devices.log_engine(open_engine(chosen, device="reference"), chosen)
    assert ["bfloat16" in message and "no effect" in message for message in caplog.messages] == [True]


def test_openvino_goes_on_after_a_fold_that_could_not_be_compiled(
    tiny_weights: Weights, reference: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_engine(tiny_weights, device="cpu")
    engine.compute_logits(WINDOW, 0)

    def fails(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(type(engine), "_compile_for", fails)
        with pytest.raises(MemoryError):
            engine.compute_logits(WINDOW, 1)
    assert np.abs(engine.compute_logits(WINDOW, 0) - reference[0]).max() < 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_cuda_engine_agrees_with_the_reference(
    tiny_weights: Weights, reference: NDArray[np.float32], dtype: torch.dtype
) -> None:
    """Its arithmetic, on the CPU: in half precision a CPU without the instructions for it does bfloat16 best."""
    engine = TorchEngine(tiny_weights, device="cpu", dtype=dtype)
    assert engine.channel_multiple == 8  # channels of zeros change nothing
    accumulator = engine.open_accumulator(WINDOW, sums=3, channels=1)
    everything = Window((0, 0, 0), WINDOW.shape[1:])
    accumulator.add([everything], 0, {0: 0.25, 1: 1.0})
    accumulator.add([everything], 1, {0: 0.75, 2: 1.0})
    mean, *own = accumulator.read_sums()
    limit = 1e-3 if dtype is torch.float32 else 0.1 * reference.std()
    assert np.abs(np.stack(own) - reference).max() < limit
    assert np.abs(mean - (0.25 * reference[0] + 0.75 * reference[1])).max() < limit
    assert np.abs(engine.compute_logits(WINDOW, 1) - reference[1]).max() < limit


@pytest.mark.parametrize("last_step", ["softmax", "two_sigmoids"])
def test_where_no_window_of_the_only_layer_lies_there_is_no_lesion(tiny_weights: Weights, last_step: str) -> None:
    weights = replace(tiny_weights, recipe=replace(tiny_weights.recipe, last_step=last_step))
    engine = TorchEngine(weights, device="cpu", dtype=torch.float32)
    x, y, z = WINDOW.shape[1:]
    study = np.concatenate([WINDOW, WINDOW], axis=1)
    accumulator = engine.open_accumulator(study, sums=1, channels=2 if last_step == "two_sigmoids" else 1)
    accumulator.add([Window((0, 0, 0), (x, y, z))], 0, {0: 1.0})
    along_x = np.repeat(np.array([1, 0], np.float32), x)
    (found,) = accumulator.blend([(along_x, np.ones(y, np.float32), np.ones(z, np.float32))])
    assert np.isfinite(found).all()
    assert (found[x:] == 0).all()
    assert (found[:x] > 0).all()


@pytest.mark.parametrize("device", ["cpu", "torch"])
def test_both_logits_are_summed_if_the_last_step_needs_them(tiny_weights: Weights, device: str) -> None:
    both = replace(tiny_weights, recipe=replace(tiny_weights.recipe, last_step="two_sigmoids"))
    reference = open_engine(both, device="reference").compute_logits(WINDOW, 1)
    assert reference.shape == WINDOW.shape
    engine = (
        open_engine(both, device="cpu") if device == "cpu" else TorchEngine(both, device="cpu", dtype=torch.float32)
    )
    np.testing.assert_allclose(engine.compute_logits(WINDOW, 1), reference, atol=1e-3)
    recipe = replace(both.recipe, folds=both.recipe.folds[1:2], patch=(32, 48, 32))
    one = replace(both, recipe=recipe)
    engine = open_engine(one, device="cpu") if device == "cpu" else TorchEngine(one, device="cpu", dtype=torch.float32)
    background, lesion = 1 / (1 + np.exp(-reference.astype(np.float64)))
    found = predict_probability(WINDOW, engine, recipe)
    np.testing.assert_allclose(found, (1 + lesion - background) / 2, atol=1e-3)


@pytest.mark.parametrize("last_step", ["softmax", "two_sigmoids"])
def test_layers_are_the_same_on_a_gpu(tiny_weights: Weights, last_step: LastStep) -> None:
    recipe = replace(tiny_weights.recipe, last_step=last_step, passes="layers", patch=(32, 32, 32))
    weights = replace(tiny_weights, recipe=recipe)
    array = np.random.default_rng(3).random((2, 80, 48, 64), dtype=np.float32)
    outline = np.array([[(0, 80), (0, 48)] if z > 48 else [(20, 40), (10, 30)] for z in range(64)])
    expected = predict_probability(array, open_engine(weights, device="cpu"), recipe, outline=outline)
    on_torch = TorchEngine(weights, device="cpu", dtype=torch.float32)
    found = predict_probability(array, on_torch, recipe, outline=outline)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    np.testing.assert_array_equal(found == 0, expected == 0)
    assert (found == 0).any()


@pytest.mark.parametrize(("most_voxels", "calls"), [(1, 9 * [1]), (4 * 32**3, [1, 4, 4]), (100 * 32**3, [1, 8])])
def test_windows_go_through_a_gpu_together(
    tiny_weights: Weights, monkeypatch: pytest.MonkeyPatch, most_voxels: int, calls: list[int]
) -> None:
    array = np.random.default_rng(3).random((2, 64, 64, 32), dtype=np.float32)
    recipe = replace(tiny_weights.recipe, patch=(32, 32, 32), overlap=0.5)
    expected = predict_probability(array, open_engine(tiny_weights, device="cpu"), recipe)
    engine = TorchEngine(tiny_weights, device="cpu", dtype=torch.float32, most_voxels=most_voxels)
    seen: list[tuple[int, int]] = []
    run = engine.run

    def counted(windows: torch.Tensor, fold: int) -> torch.Tensor:
        seen.append((fold, len(windows)))
        return run(windows, fold)

    monkeypatch.setattr(engine, "run", counted)
    told: list[int] = []
    found = predict_probability(array, engine, recipe, progress=lambda done, of: told.append(done))
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert [count for fold, count in seen if fold == 0] == calls
    assert told == np.cumsum([count for _, count in seen]).tolist()
    assert told[-1] == 9 * engine.folds


@dataclass
class SmallDevice(Crowded):
    """A GPU engine that runs out of memory with more than some windows at once."""

    fits: int = 1
    batches: list[int] = field(default_factory=list)

    def open_accumulator(self, array: NDArray[np.float32], *, sums: int, channels: int) -> LogitAccumulator:
        engine = self

        class Together(HostAccumulator):
            batch = 3

            def add(self, windows: Sequence[Window], fold: int, into: Mapping[int, float]) -> None:
                engine.batches.append(len(windows))
                if len(windows) > engine.fits:
                    raise torch.OutOfMemoryError("CUDA out of memory")
                for window in windows:
                    super().add([window], fold, into)

        return Together(self, array, [np.zeros(array.shape[1:], np.float32) for _ in range(sums)])


@pytest.mark.parametrize(("fits", "engine_at_the_end"), [(3, "GPU"), (1, "GPU"), (0, "CPU")])
def test_windows_that_do_not_fit_together_go_singly(
    caplog: pytest.LogCaptureFixture, fits: int, engine_at_the_end: str
) -> None:
    first = SmallDevice(set(), fits=fits)
    engine = FallbackEngine(lambda: first, Spare)
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(mask_of(engine), mask_of(ThresholdEngine()))
    assert engine.name == engine_at_the_end
    assert max(first.batches) == 3
    assert first.batches.count(3) == 1 or fits == 3  # it is not tried again
    assert sum("one window at a time" in message for message in caplog.messages) == (0 if fits == 3 else 1)


def test_logits_beyond_half_precision_are_computed_in_float32(
    tiny_weights: Weights, reference: NDArray[np.float32], caplog: pytest.LogCaptureFixture
) -> None:
    engine = TorchEngine(tiny_weights, device="cpu", dtype=torch.float16)
    loud = WINDOW * np.float32(1e8)  # beyond float16's 65504, and its factor with it
    found = engine.compute_logits(loud, 0)
    assert np.isfinite(found).all()
    expected = open_engine(tiny_weights, device="reference").compute_logits(loud, 0)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())
    assert any("float32" in message for message in caplog.messages)


@pytest.mark.parametrize(("factor", "messages"), [(None, 0), (1.0, 1)])
def test_activations_beyond_half_precision_stay_in_it(
    tiny_weights: Weights,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    factor: float | None,
    messages: int,
) -> None:
    """As deep inside trained folds, whose residual paths nothing norms: float16 ends at 65504, which a factor moves."""
    if factor is not None:
        monkeypatch.setattr(torch_engine, "_FACTOR", factor)
    engine = TorchEngine(tiny_weights, device="cpu", dtype=torch.float16)
    strong = WINDOW * np.float32(2.0**13)  # itself below 65504
    found = engine.compute_logits(strong, 0)
    assert len(caplog.messages) == messages
    expected = open_engine(tiny_weights, device="reference").compute_logits(strong, 0)
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()


def test_without_openvino_torch_runs_and_one_line_says_why(
    tiny_weights: Weights, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "autosegnet.model.openvino_engine", None)
    assert open_engine(tiny_weights, device="cpu").name.startswith("torch")
    (message,) = caplog.messages
    assert "OpenVINO cannot be loaded" in message
    assert "\n" not in message


def test_one_thread_and_two_give_the_same_bits(tiny_weights: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for threads in ("1", "2", "2"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        engine = open_engine(tiny_weights, device="cpu")
        assert f"{threads} threads" in engine.name
        found.append(engine.compute_logits(WINDOW, 0))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.pop("model.0.residual.bias"), r"1 keys missing \(model.0.residual.bias\)"),
        (lambda s: s.update(extra=np.zeros(1)), r"1 unexpected \(extra\)"),
        (lambda s: s.update({"model.0.residual.bias": np.zeros(33)}), r"has shape \(33,\), expected \(32,\)"),
        (lambda s: s.update({"model.0.residual.bias": np.full(32, np.nan)}), "holds NaN or infinity"),
        (lambda s: s.update({"model.0.conv.unit0.adn.N.running_var": -np.ones(32)}), "negative variance"),
    ],
)
def test_a_state_of_another_network_is_refused(change, says: str) -> None:
    state = {key: tensor.numpy() for key, tensor in build_network().state_dict().items()}
    assert len(fold_batch_norm(dict(state), Recipe(), where="it").down) == 4
    change(state)
    with pytest.raises(WeightsError, match=says):
        fold_batch_norm(state, Recipe(), where="it")


def test_nothing_of_torch_is_imported_to_run_on_the_cpu(tiny_weights: Weights) -> None:
    code = """
import sys, numpy as np
from pathlib import Path
from autosegnet.model.devices import open_engine
from autosegnet.model.weights import open_weights
engine = open_engine(open_weights(Path(sys.argv[1])), device="cpu")
engine.compute_logits(np.zeros((2, 16, 16, 16), np.float32), 0)
print(sorted({"torch", "monai", "pandas", "scipy"} & set(sys.modules)))
"""
    run = subprocess.run(
        [sys.executable, "-c", code, str(tiny_weights.folder)], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"


def test_whatever_openvino_raises_torch_runs(tiny_weights: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its import looks for a home and a user, among other things."""
    name = "autosegnet.model.openvino_engine"
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "meta_path", [_Failing(name), *sys.meta_path])
    assert open_engine(tiny_weights, device="cpu").name.startswith("torch")


class _Failing:
    def __init__(self, module: str) -> None:
        self._module = module

    def find_spec(self, name: str, path: object, target: object = None) -> None:
        if name == self._module:
            raise KeyError("getpwuid(): uid not found")


def test_an_apple_gpu_that_is_not_there_is_wrong_usage(tiny_weights: Weights) -> None:
    import torch

    if torch.backends.mps.is_available():
        pytest.skip("torch finds an Apple GPU here")
    with pytest.raises(UsageError, match="finds no Apple GPU"):
        open_engine(tiny_weights, device="mps")


def test_a_reference_engine_computes_on_the_device_it_is_given(tiny_weights: Weights) -> None:
    """With torch's device for shapes alone: every weight and window goes there."""
    from autosegnet.model.torch_engine import ReferenceEngine

    engine = ReferenceEngine(tiny_weights, device="meta")
    with pytest.raises(NotImplementedError, match="meta"):
        engine.compute_logits(np.zeros((2, 32, 32, 32), np.float32), 0)
