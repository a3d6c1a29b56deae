"""The folds in torch: the plain reference on the CPU, and CUDA."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # as everywhere
from numpy.typing import NDArray

from autosegnet.model.accumulator import (
    OUTSIDE,
    Coverage,
    LogitAccumulator,
    VoxelData,
    Window,
    compare_sigmoids,
    is_covered_once,
    refuse_unless_finite,
)
from autosegnet.model.folded import CHANNELS, Convolution, evaluate, load_networks
from autosegnet.model.network import load_fold
from autosegnet.model.weights import Weights

T = TypeVar("T")

log = logging.getLogger(__name__)

_MOST_VOXELS = 2 * 192**3  # at once: four are 3 % faster, and take 1.2 GB more
# Of a window while it is in the network, in float16: 86 bytes were taken on an H100 (docs/evidence/performance.md).
_BYTES_PER_VOXEL = 100
# Trained folds have activations beyond float16's 65504 (1.8e5 was seen: nothing norms the residual paths). Convolution,
# sum and PReLU carry a positive factor through: input and biases are multiplied by it, and the logits divided. As a
# power of two it changes no digit, and what it moves below float16's smallest normal number is below 4e-3.
_FACTOR = 2.0**-6
_TENSOR_CORE_CHANNELS = 8  # cuDNN's fast kernels for 16 bits take channels in eights


class ReferenceEngine:
    """The network as it was trained, in float32. On the CPU it is the reference for the other engines."""

    def __init__(self, weights: Weights, *, device: str = "cpu") -> None:
        """Load and verify every fold; raise WeightsError if one cannot be trusted."""
        self._device = torch.device(device)
        self._channels = weights.recipe.channels
        inputs = weights.recipe.input_channels
        self._networks = [
            load_fold(weights.find_path(fold), fold, inputs=inputs).to(self._device) for fold in weights.recipe.folds
        ]

    @property
    def name(self) -> str:
        """Return version and device, and threads of the CPU."""
        threads = f", {torch.get_num_threads()} threads" if self._device.type == "cpu" else ""
        return f"torch {torch.__version__}, {self._device.type.upper()}{threads}, float32"

    @property
    def folds(self) -> int:
        """Return the number of folds."""
        return len(self._networks)

    @torch.inference_mode()
    def compute_logits(self, window: NDArray[np.float32], fold: int) -> NDArray[np.float32]:
        """See `Engine.compute_logits`."""
        batch = torch.from_numpy(np.ascontiguousarray(window))[None].to(self._device)  # (1, C, X, Y, Z)
        logits = self._networks[fold](batch)[0]  # (2, X, Y, Z)
        needed: NDArray[np.float32] = (logits if self._channels == 2 else logits[1] - logits[0]).cpu().numpy()
        return needed


class TorchEngine:
    """All folds and the study on one device; batch norm folded, channels last, float16 on CUDA.

    Several windows go through a fold at once, as many as free memory allows. Windows whose logits are not finite in
    float16 are run again in float32.
    """

    def __init__(
        self,
        weights: Weights,
        *,
        device: str,
        dtype: torch.dtype = torch.float16,
        most_voxels: int = _MOST_VOXELS,
        channel_multiple: int = _TENSOR_CORE_CHANNELS,
    ) -> None:
        """Load and verify every fold; raise WeightsError if one cannot be trusted.

        Args:
            weights: an ensemble.
            device: as torch names it.
            dtype: of the arithmetic.
            most_voxels: of all windows that go through at once.
            channel_multiple: channels are filled to a multiple of it.
        """
        assert CHANNELS[0] % channel_multiple == 0  # only input and logits are filled, so none of `add` or `join`
        self.device, self.dtype, self.channel_multiple = torch.device(device), dtype, channel_multiple
        self._most_voxels = most_voxels
        self._inputs, self._channels = weights.recipe.input_channels, weights.recipe.channels
        self._networks = load_networks(weights)
        self._tensors = _Tensors(self.device, dtype, channel_multiple)

    @property
    def name(self) -> str:
        """Return version, device and arithmetic."""
        where = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type.upper()
        return f"torch {torch.__version__}, {where}, {str(self.dtype).removeprefix('torch.')}"

    @property
    def folds(self) -> int:
        """Return the number of folds."""
        return len(self._networks)

    def compute_logits(self, window: NDArray[np.float32], fold: int) -> NDArray[np.float32]:
        """See `Engine.compute_logits`."""
        accumulator = self.open_accumulator(window, sums=1, channels=self._channels)
        x, y, z = window.shape[1:]
        accumulator.add([Window((0, 0, 0), (x, y, z))], fold, {0: 1.0})
        return accumulator.read_sums()[0]

    def choose_batch(self, voxels: int) -> int:
        """Return how many windows of this many voxels go through at once; half of the free memory stays free."""
        most = self._most_voxels
        if self.device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(self.device)
            free += torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)  # torch's own
            most = min(most, free // (2 * _BYTES_PER_VOXEL))
        return max(1, most // voxels)

    def open_accumulator(self, array: VoxelData, *, sums: int, channels: int) -> LogitAccumulator:
        """See `OnDevice.open_accumulator`."""
        return _DeviceAccumulator(self, array, sums, channels)

    def lend_device(self, use: Callable[[torch.device], T], instead: Callable[[], T]) -> T:
        """See `LendsDevice.lend_device`."""
        return use(self.device)

    @torch.inference_mode()
    def run(self, windows: torch.Tensor, fold: int) -> torch.Tensor:
        """Return the logits times `_FACTOR`, (B, channels, X, Y, Z), of windows as `make_batch` makes them.

        Args:
            windows: (B, C, X, Y, Z) of the engine's type, or float32; the logits have the same type.
            fold: from 0.
        """
        tensors = self._tensors
        if windows.dtype != self.dtype:
            tensors = _Tensors(self.device, windows.dtype, self.channel_multiple)
        return evaluate(self._networks[fold], windows, tensors)[:, : self._channels]

    def make_batch(self, count: int, size: tuple[int, int, int], dtype: torch.dtype) -> torch.Tensor:
        """Return windows of air, channels last. The study goes into the first channels, times `_FACTOR`.

        The channels that fill up are 0; the first of them is 1, from which convolutions take their bias.
        """
        shape = (count, _round_up(self._inputs, self.channel_multiple), *size)
        batch = torch.zeros(shape, dtype=dtype, device=self.device).contiguous(memory_format=torch.channels_last_3d)
        batch[:, self._inputs : self._inputs + 1] = 1
        return batch


class _DeviceAccumulator:
    """A study and its sums on the device."""

    def __init__(self, engine: TorchEngine, array: VoxelData, sums: int, channels: int) -> None:
        self._engine, self._is_numpy = engine, isinstance(array, np.ndarray)
        tensor = torch.from_numpy(np.ascontiguousarray(array)) if self._is_numpy else array
        self._study = tensor.to(engine.device, torch.float32)
        self._sums = torch.zeros((sums, channels, *array.shape[1:]), dtype=torch.float32, device=engine.device)
        self._batch = 1
        self._has_begun = False
        self._windows: torch.Tensor | None = None

    @property
    def batch(self) -> int:
        """Return 1 at first, then as many windows as fit beside the network's own memory."""
        return self._batch

    @torch.inference_mode()
    def add(self, windows: Sequence[Window], fold: int, into: Mapping[int, float]) -> None:
        """See `LogitAccumulator.add`."""
        parts = [window.clip(self._study.shape[1:]) for window in windows]
        dtype = self._engine.dtype
        logits = self._engine.run(self._fill(windows, dtype), fold)
        # Asking waits until the network is done: the clock and the handling of errors rely on it.
        if not _are_finite(logits) and dtype != torch.float32:
            log.warning("logits beyond float16 in a window: running it in float32")
            del logits
            logits = self._engine.run(self._fill(windows, torch.float32), fold)
        for of_one, (of_study, of_window) in zip(logits, parts, strict=True):
            for k, weight in into.items():
                self._sums[k][..., *of_study].add_(of_one[..., *of_window], alpha=weight / _FACTOR)
        if not self._has_begun:
            self._has_begun = True
            self._batch = self._engine.choose_batch(math.prod(windows[0].size))

    def _fill(self, windows: Sequence[Window], dtype: torch.dtype) -> torch.Tensor:
        """Return windows of the study, times `_FACTOR`, air beyond it, in memory that the next ones reuse."""
        size, count = windows[0].size, len(windows)
        batch = self._windows
        if batch is None or batch.dtype != dtype or batch.shape[0] != count or batch.shape[2:] != size:
            self._windows = None  # its memory is free before the next one is taken
            del batch
            batch = self._windows = self._engine.make_batch(count, size, dtype)
        for one, window in zip(batch[:, : len(self._study)], windows, strict=True):
            of_study, of_window = window.clip(self._study.shape[1:])
            part = self._study[(slice(None), *of_study)]
            if part.shape[1:] != size:
                one.zero_()
            torch.mul(part, _FACTOR, out=one[(slice(None), *of_window)])
        return batch

    def read_sums(self) -> list[NDArray[np.float32]]:
        """See `LogitAccumulator.read_sums`."""
        sums = self._sums[:, 0] if self._sums.shape[1] == 1 else self._sums
        return list(sums.cpu().numpy())

    def blend(self, coverages: Sequence[Coverage]) -> list[VoxelData]:
        """See `LogitAccumulator.blend`."""
        self._windows = None
        refuse_unless_finite(_are_finite(self._sums))
        if is_covered_once(coverages):
            for axis, count in enumerate(coverages[0]):
                shape = [-1 if a == axis else 1 for a in range(3)]
                self._sums /= torch.from_numpy(count).to(self._sums.device).reshape(shape)
        else:
            counts = torch.zeros(self._sums.shape[-3:], device=self._sums.device)
            for coverage in coverages:
                along = (torch.from_numpy(count).to(counts.device) for count in coverage)
                counts += torch.einsum("x,y,z->xyz", *along)
            self._sums /= counts
            for channel, outside in zip(self._sums.unbind(1), OUTSIDE[self._sums.shape[1]], strict=True):
                channel.masked_fill_(counts == 0, outside)
        sigmoids = self._sums.sigmoid_().unbind()
        chances = [s[0] if len(s) == 1 else compare_sigmoids(s) for s in sigmoids]
        return [chance.cpu().numpy() for chance in chances] if self._is_numpy else chances


def _are_finite(values: torch.Tensor) -> bool:
    """Return whether all values are finite: then their sum is, which takes no memory, and float64 cannot overflow."""
    return math.isfinite(values.sum(dtype=torch.float64).item())


class _Tensors:
    """The network's operations on tensors. Weights move to the device at their first use.

    A convolution's bias takes a pass over its whole output. If the input has channels that fill up, the first of them
    is 1 everywhere; its weight in the kernel's centre is then the bias, which costs nothing.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype, channel_multiple: int) -> None:
        self._device, self._dtype, self._multiple = device, dtype, channel_multiple
        self._weights: dict[Convolution, tuple[torch.Tensor, torch.Tensor | None]] = {}

    def convolve(self, x: torch.Tensor, by: Convolution) -> torch.Tensor:
        """See `Arithmetic.convolve`."""
        if by not in self._weights:
            self._weights[by] = self._place(by)
        weight, bias = self._weights[by]
        padding = weight.shape[-1] // 2
        if by.transposed:
            y = F.conv_transpose3d(x, weight, bias, by.stride, padding, output_padding=by.stride - 1)
        else:
            y = F.conv3d(x, weight, bias, by.stride, padding)
        # One slope for all channels: PReLU is then a leaky ReLU.
        return y if by.slope is None else F.leaky_relu(y, by.slope, inplace=True)

    def add(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """See `Arithmetic.add`. The sum takes the memory of x, a convolution's result."""
        return x.add_(y)

    def join(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """See `Arithmetic.join`."""
        return torch.cat([x, y], dim=1)

    def _place(self, by: Convolution) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return weight and bias on the device, filled up to the multiple of channels; no bias if the weight has it."""
        first, second, *kernel = by.weight.shape
        filled = torch.zeros(_round_up(first, self._multiple), _round_up(second, self._multiple), *kernel)
        filled[:first, :second] = torch.from_numpy(by.weight)
        bias = torch.zeros(filled.shape[1 if by.transposed else 0])
        bias[: len(by.bias)] = torch.from_numpy(by.bias) * _FACTOR
        bias[len(by.bias) : len(by.bias) + 1] = 1  # of which the next convolution takes its bias
        in_weight = not by.transposed and second < filled.shape[1]
        if in_weight:
            filled[:, second, *(n // 2 for n in kernel)] = bias
        weight = filled.to(self._device, self._dtype).contiguous(memory_format=torch.channels_last_3d)
        return weight, None if in_weight else bias.to(self._device, self._dtype)


def _round_up(channels: int, multiple: int) -> int:
    return -(-channels // multiple) * multiple
