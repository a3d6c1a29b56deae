"""The folds in torch: the plain reference on the CPU, and CUDA."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # as everywhere
from numpy.typing import NDArray

from autosegnet.model.accumulator import LogitAccumulator, Window
from autosegnet.model.folded import Convolution, FoldedNetwork, evaluate, load_folded
from autosegnet.model.network import load_fold
from autosegnet.model.weights import Weights

log = logging.getLogger(__name__)

_MOST_VOXELS = 4 * 192**3  # at once: below 4 GB of GPU memory, by the estimate below
# Of a window while it is in the network, in float16: at full size the input and two channels of output, at an eighth
# 64 channels that are joined, their halves, and as much again for cuDNN. An estimate, not measured on a GPU.
_BYTES_PER_VOXEL = 100


class ReferenceEngine:
    """The network as it was trained, in float32. On the CPU, the other engines are compared with it."""

    def __init__(self, weights: Weights, *, device: str = "cpu") -> None:
        """Load and verify every fold; raise WeightsError if one cannot be trusted."""
        self._device = torch.device(device)
        self._networks = [load_fold(weights.find_path(f), f).to(self._device) for f in weights.recipe.folds]

    @property
    def name(self) -> str:
        """Return version and device, and threads of the CPU."""
        threads = f", {torch.get_num_threads()} threads" if self._device.type == "cpu" else ""
        return f"torch {torch.__version__}, {self._device.type.upper()}{threads}"

    @property
    def folds(self) -> int:
        """Return the number of folds."""
        return len(self._networks)

    @torch.inference_mode()
    def compute_logit_difference(self, window: NDArray[np.float32], fold: int) -> NDArray[np.float32]:
        """See `Engine.compute_logit_difference`."""
        batch = torch.from_numpy(np.ascontiguousarray(window))[None].to(self._device)  # (1, 2, X, Y, Z)
        logits = self._networks[fold](batch)[0]  # (2, X, Y, Z)
        difference: NDArray[np.float32] = (logits[1] - logits[0]).cpu().numpy()
        return difference


class TorchEngine:
    """All folds resident on one device, batch norm folded, channels last, float16 on CUDA; the study is there too.

    Several windows go through a fold at once, as many as free memory allows. Windows whose logits are not finite in
    float16 are run again in float32.
    """

    def __init__(
        self, weights: Weights, *, device: str, dtype: torch.dtype = torch.float16, most_voxels: int = _MOST_VOXELS
    ) -> None:
        """Load and verify every fold; raise WeightsError if one cannot be trusted.

        Args:
            weights: an ensemble.
            device: as torch names it.
            dtype: of the arithmetic.
            most_voxels: of the windows that go through at once.
        """
        self._device, self._dtype, self._most_voxels = torch.device(device), dtype, most_voxels
        self._networks = [load_folded(weights.find_path(f), f) for f in weights.recipe.folds]
        self._tensors = _Tensors(self._device, dtype)

    @property
    def name(self) -> str:
        """Return version, device and arithmetic."""
        where = torch.cuda.get_device_name(self._device) if self._device.type == "cuda" else self._device.type.upper()
        return f"torch {torch.__version__}, {where}, {str(self._dtype).removeprefix('torch.')}"

    @property
    def folds(self) -> int:
        """Return the number of folds."""
        return len(self._networks)

    def compute_logit_difference(self, window: NDArray[np.float32], fold: int) -> NDArray[np.float32]:
        """See `Engine.compute_logit_difference`."""
        batch = torch.from_numpy(window)[None].to(self._device)
        difference: NDArray[np.float32] = self.run(batch, fold)[0].cpu().numpy()
        return difference

    def choose_batch(self, voxels: int) -> int:
        """Return how many windows of this many voxels go through at once; half of the free memory stays free."""
        most = self._most_voxels
        if self._device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(self._device)
            most = min(most, free // (2 * _BYTES_PER_VOXEL))
        return max(1, most // voxels)

    def open_accumulator(self, array: NDArray[np.float32], *, sums: int) -> LogitAccumulator:
        """See `OnDevice.open_accumulator`."""
        study = torch.from_numpy(np.ascontiguousarray(array)).to(self._device)
        zeros = torch.zeros((sums, *array.shape[1:]), dtype=torch.float32, device=self._device)
        return _DeviceAccumulator(self, study, zeros)

    @torch.inference_mode()
    def run(self, windows: torch.Tensor, fold: int) -> torch.Tensor:
        """Return the logit differences (B, X, Y, Z) of windows (B, 2, X, Y, Z), float32 and on the device."""
        differences = self._tensors.run(self._networks[fold], windows)
        if self._dtype != torch.float32 and not bool(torch.isfinite(differences).all()):
            log.warning("logits beyond float16 in a window: running it in float32")
            differences = _Tensors(self._device, torch.float32).run(self._networks[fold], windows)
        return differences


class _DeviceAccumulator:
    """A study and its sums on the device."""

    def __init__(self, engine: TorchEngine, study: torch.Tensor, sums: torch.Tensor) -> None:
        self._engine, self._study, self._sums = engine, study, sums
        self._batch = 1

    @property
    def batch(self) -> int:
        """Return 1 at first, then as many windows as fit beside what the network itself takes."""
        return self._batch

    def add(self, windows: Sequence[Window], fold: int, into: Mapping[int, float]) -> None:
        """See `LogitAccumulator.add`."""
        parts = [window.clip(self._study.shape[1:]) for window in windows]
        batch = self._study.new_zeros((len(windows), len(self._study), *windows[0].size))  # (B, 2, X, Y, Z)
        for b, (of_study, of_window) in enumerate(parts):
            batch[(b, slice(None), *of_window)] = self._study[(slice(None), *of_study)]
        for logits, (of_study, of_window) in zip(self._engine.run(batch, fold), parts, strict=True):
            for k, weight in into.items():
                self._sums[k][of_study].add_(logits[of_window], alpha=weight)
        if self._sums.device.type == "cuda":
            torch.cuda.synchronize(self._sums.device)  # the clock and the handling of errors rely on it
        self._batch = self._engine.choose_batch(batch[0, 0].numel())

    def read_sums(self) -> list[NDArray[np.float32]]:
        """See `LogitAccumulator.read_sums`."""
        return list(self._sums.cpu().numpy())


class _Tensors:
    """The network's operations on tensors, with the weights on the device once they have been used."""

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self._device, self._dtype = device, dtype
        self._weights: dict[Convolution, tuple[torch.Tensor, torch.Tensor]] = {}

    def run(self, network: FoldedNetwork, windows: torch.Tensor) -> torch.Tensor:
        """Return the logit differences (B, X, Y, Z) float32."""
        batch = windows.to(self._dtype).contiguous(memory_format=torch.channels_last_3d)
        return evaluate(network, batch, self)[:, 0].float()

    def convolve(self, x: torch.Tensor, by: Convolution) -> torch.Tensor:
        """See `Arithmetic.convolve`."""
        if by not in self._weights:
            self._weights[by] = (self._place_tensor(by.weight), self._place_tensor(by.bias))
        weight, bias = self._weights[by]
        padding = weight.shape[-1] // 2
        if by.transposed:
            y = F.conv_transpose3d(x, weight, bias, by.stride, padding, output_padding=by.stride - 1)
        else:
            y = F.conv3d(x, weight, bias, by.stride, padding)
        # One slope for all channels: PReLU is then a leaky ReLU.
        return y if by.slope is None else F.leaky_relu(y, by.slope, inplace=True)

    def add(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """See `Arithmetic.add`."""
        return x + y

    def join(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """See `Arithmetic.join`."""
        return torch.cat([x, y], dim=1)

    def _place_tensor(self, values: NDArray[np.float32]) -> torch.Tensor:
        tensor = torch.from_numpy(values).to(self._device, self._dtype)
        return tensor.contiguous(memory_format=torch.channels_last_3d) if tensor.ndim == 5 else tensor
