"""Runs the folds in OpenVINO on the CPU: in float32, as torch does, in about half the time; or in bfloat16.

The graph is made from the weights' file at every start, which takes less time than checking a cached copy.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from autosegnet.errors import UsageError
from autosegnet.model.folded import Convolution, FoldedNetwork, evaluate, read_folds
from autosegnet.model.openvino_import import opset, ov
from autosegnet.model.recipe import Precision
from autosegnet.model.weights import Weights
from autosegnet.runtime.cores import count_cores

Node = Any  # OpenVINO's Node and Output, which its operations take alike


_HINTS = {"float32": "f32", "bfloat16": "bf16"}


def has_bfloat16() -> bool:
    """Tell whether the CPU has instructions for bfloat16; without them it would be slower than float32."""
    return "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenvinoEngine:
    """One fold at a time compiled for the CPU.

    The folds are read and verified at the start, and kept as they are stored, which takes half the memory of float32.
    One of them is compiled, for one size of window, until another fold or size is asked for: the buffers of a compiled
    fold take a gigabyte, while compiling takes a fraction of a second.
    """

    def __init__(self, networks: Sequence[Callable[[], FoldedNetwork]], *, precision: Precision = "float32") -> None:
        """Take the folds.

        Args:
            networks: what makes the network of each fold.
            precision: of the arithmetic.

        Raises:
            UsageError: bfloat16, and the CPU has no instructions for it.
        """
        self._networks = networks
        self._core = ov.Core()
        if precision == "bfloat16" and not has_bfloat16():
            raise UsageError("this CPU has no instructions for bfloat16; expected --precision float32, or auto")
        # Without the hint, a CPU with bfloat16 instructions would round to it.
        self._options = {"INFERENCE_PRECISION_HINT": _HINTS[precision], "INFERENCE_NUM_THREADS": _count_threads()}
        self._precision = precision
        self._key: tuple[int, tuple[int, ...]] | None = None
        self._request: ov.InferRequest | None = None

    @classmethod
    def from_weights(cls, weights: Weights) -> Self:
        """Read and verify the folds of an ensemble; raise WeightsError if one is missing or altered."""
        return cls(read_folds(weights), precision=weights.recipe.precision)

    @property
    def name(self) -> str:
        """Return version, arithmetic and threads."""
        return f"openvino {ov.__version__.split('-')[0]}, CPU, {_count_threads()} threads, {self._precision}"

    @property
    def folds(self) -> int:
        """Return the number of folds."""
        return len(self._networks)

    def compute_logits(self, window: NDArray[np.float32], fold: int) -> NDArray[np.float32]:
        """See `Engine.compute_logits`."""
        key = (fold, window.shape)
        if key != self._key:
            self._key = self._request = None  # free its buffers first: both may not fit
            self._request = self._compile_for(fold, window.shape)
            self._key = key
        assert self._request is not None
        self._request.infer([ov.Tensor(np.ascontiguousarray(window)[None], shared_memory=True)])
        logits: NDArray[np.float32] = self._request.get_output_tensor().data[0].copy()
        return logits[0] if len(logits) == 1 else logits

    def _compile_for(self, fold: int, shape: tuple[int, ...]) -> ov.InferRequest:
        model = build_graph(self._networks[fold](), (1, *shape))
        return self._core.compile_model(model, "CPU", self._options).create_infer_request()


def _count_threads() -> int:
    """Return how many threads the process may use. OMP_NUM_THREADS limits them, as in torch."""
    named = os.environ.get("OMP_NUM_THREADS", "")
    return int(named) if named.isdigit() and int(named) > 0 else count_cores()


def build_graph(network: FoldedNetwork, shape: tuple[int, ...]) -> ov.Model:
    """Return the fold as a graph of (1, C, X, Y, Z) -> (1, 1, X, Y, Z), or 2 channels of logits."""
    window = opset.parameter(list(shape), ov.Type.f32, name="window")
    return ov.Model([evaluate(network, window, _Nodes())], [window], "fold")


class _Nodes:
    """The network's operations as nodes of a graph."""

    def convolve(self, x: Node, by: Convolution) -> Node:
        """See `Arithmetic.convolve`."""
        strides, ones = [by.stride] * 3, [1] * 3
        before = [by.weight.shape[-1] // 2] * 3
        if by.transposed:
            y = opset.convolution_backprop_data(
                x, opset.constant(by.weight), strides, pads_begin=before, pads_end=before, dilations=ones,
                output_padding=[by.stride - 1] * 3,
            )  # fmt: skip
        else:
            y = opset.convolution(x, opset.constant(by.weight), strides, before, before, ones)
        y = opset.add(y, opset.constant(by.bias.reshape(1, -1, 1, 1, 1)))
        return y if by.slope is None else opset.prelu(y, opset.constant(np.array([by.slope], dtype=np.float32)))

    def add(self, x: Node, y: Node) -> Node:
        """See `Arithmetic.add`."""
        return opset.add(x, y)

    def join(self, x: Node, y: Node) -> Node:
        """See `Arithmetic.join`."""
        return opset.concat([x, y], axis=1)
