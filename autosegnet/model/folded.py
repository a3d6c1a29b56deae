"""One fold reduced to the arithmetic of inference, in numpy alone.

Batch norm in evaluation mode is an affine map of a convolution's output: it goes into the convolution's weights. Unless
a recipe needs both logits, they are only subtracted: the last convolution gives their difference at once. The shortcut
past it is part of its centre. What is left are convolutions, PReLUs, sums and concatenations, which `evaluate` lists
once for every engine.

Reading a fold here needs neither torch nor MONAI, whose import takes longer than making the graph. The results are
those of `network.build_network` (tested to 1e-3 in the logits).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from autosegnet.errors import WeightsError
from autosegnet.model.network import parse_tensors, read_state, read_verified, refuse_inputs, refuse_keys
from autosegnet.model.recipe import Fold, Recipe
from autosegnet.model.weights import Weights

CHANNELS = (32, 64, 128, 256, 512)  # paper, section 2.3; `build_network` names the same ones
_EPSILON = 1e-5  # epsilon of batch norm; torch's default

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)  # as a key, it is compared by identity
class Convolution:
    """A convolution and the PReLU that follows it.

    Args:
        weight: (out, in, k, k, k) float32; (in, out, k, k, k) if transposed.
        bias: (out,) float32.
        slope: of the PReLU that follows; None without one.
        stride: 1 or 2. Padding keeps the size, or halves it (doubles it if transposed).
        transposed: whether it doubles the size.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    slope: float | None = None
    stride: int = 1
    transposed: bool = False


@dataclass(frozen=True, slots=True)
class Residual:
    """Convolutions one after another, and a shortcut past them; None is the identity."""

    units: tuple[Convolution, ...]
    shortcut: Convolution | None


@dataclass(frozen=True, slots=True)
class Up:
    """A level on the way up: doubles the size, then a residual unit."""

    doubling: Convolution
    residual: Residual


@dataclass(frozen=True, slots=True)
class FoldedNetwork:
    """The network of a fold: levels down, the bottom, levels up from the bottom, and the last two convolutions."""

    down: tuple[Residual, ...]
    bottom: Residual
    up: tuple[Up, ...]
    top: tuple[Convolution, Convolution]


class Arithmetic(Protocol[T]):
    """The operations that an engine provides."""

    def convolve(self, x: T, by: Convolution) -> T:
        """Return the convolution of x, with its bias and PReLU."""
        ...

    def add(self, x: T, y: T) -> T:
        """Return x + y."""
        ...

    def join(self, x: T, y: T) -> T:
        """Return the channels of x, then those of y."""
        ...


def evaluate(network: FoldedNetwork, x: T, arithmetic: Arithmetic[T]) -> T:
    """Return the lesion logit minus the background logit, (B, 1, X, Y, Z), or both, of (B, C, X, Y, Z)."""
    skipped = []
    for level in network.down:
        x = _evaluate_residual(level, x, arithmetic)
        skipped.append(x)
    x = _evaluate_residual(network.bottom, x, arithmetic)
    for up in network.up:
        x = arithmetic.convolve(arithmetic.join(skipped.pop(), x), up.doubling)
        x = _evaluate_residual(up.residual, x, arithmetic)
    doubling, last = network.top
    return arithmetic.convolve(arithmetic.convolve(arithmetic.join(skipped.pop(), x), doubling), last)


def _evaluate_residual(block: Residual, x: T, arithmetic: Arithmetic[T]) -> T:
    y = x
    for unit in block.units:
        y = arithmetic.convolve(y, unit)
    return arithmetic.add(y, x if block.shortcut is None else arithmetic.convolve(x, block.shortcut))


def verify(weights: Weights) -> None:
    """Raise WeightsError unless every fold exists, is unaltered, and fits this network in every engine."""
    for fold in weights.recipe.folds:  # one in memory at a time
        load_folded(weights.find_path(fold), fold, weights.recipe)


def load_networks(weights: Weights) -> list[FoldedNetwork]:
    """Return every fold with the channels that the recipe names; raises as `load_folded`."""
    return [load_folded(weights.find_path(fold), fold, weights.recipe) for fold in weights.recipe.folds]


def read_folds(weights: Weights) -> list[Callable[[], FoldedNetwork]]:
    """Read every fold and verify its SHA-256; return what makes the networks, each as large as its file until then.

    Raises:
        WeightsError: a file is missing or altered. What else `load_folded` refuses is raised when a network is made.
    """
    return [
        partial(_make_network, read_verified(weights.find_path(f), f.sha256), weights.find_path(f), weights.recipe)
        for f in weights.recipe.folds
    ]


def _make_network(data: bytes, path: Path, recipe: Recipe) -> FoldedNetwork:
    from safetensors.numpy import load

    return fold_batch_norm(parse_tensors(data, load, path), recipe, where=path.name)


def load_folded(path: Path, fold: Fold, recipe: Recipe) -> FoldedNetwork:
    """Return a fold, after every check of `network.load_fold`.

    Args:
        path: its file.
        fold: as the recipe names it.
        recipe: as for `fold_batch_norm`.

    Raises:
        WeightsError: the file is missing, altered (SHA-256), unreadable, of other keys, shapes or types, or holds NaN
            or infinity.
    """
    from safetensors.numpy import load

    state = read_state(path, fold, load)
    return fold_batch_norm(state, recipe, where=path.name)


def fold_batch_norm(state: dict[str, NDArray[Any]], recipe: Recipe, *, where: str) -> FoldedNetwork:
    """Return the network with a state dict's weights.

    Args:
        state: the tensors by name.
        recipe: says how many channels it takes, and which logits are needed: the lesion's minus the background's, or
            both, background first.
        where: name of the file, for messages.

    Raises:
        WeightsError: keys, shapes or types are not the network's, or a value is NaN or infinite.
    """
    refuse_inputs(state, recipe.input_channels, where=where)
    reader = _Reader(state, where)
    network = _read_network(reader, recipe.input_channels)
    reader.finish()
    return network if recipe.channels == 2 else replace(network, top=(network.top[0], _subtract_logits(network.top[1])))


def _read_network(read: _Reader, inputs: int) -> FoldedNetwork:
    prefix, into, out = "model.", inputs, 2  # of a level: channels that come from above, and that go back up
    down, up, top = [], [], None
    for channels in CHANNELS[:-1]:
        down.append(read.read_residual(f"{prefix}0.", (into, channels, channels), stride=2))
        below = channels + (CHANNELS[-1] if channels == CHANNELS[-2] else channels)  # the skipped ones, and from below
        doubling = read.read_normed(f"{prefix}2.0.", (below, out), stride=2, transposed=True)
        if top is None:
            top = (doubling, _merge_shortcut(read.read_plain(f"{prefix}2.1.conv.unit0.conv.", (out, out), size=3)))
        else:
            up.append(Up(doubling, Residual((read.read_normed(f"{prefix}2.1.conv.unit0.", (out, out)),), None)))
        prefix, into, out = f"{prefix}1.submodule.", channels, channels
    bottom = read.read_residual(prefix, (CHANNELS[-2], CHANNELS[-1], CHANNELS[-1]), stride=1)
    assert top is not None
    return FoldedNetwork(tuple(down), bottom, tuple(reversed(up)), top)


def _merge_shortcut(logits: Convolution) -> Convolution:
    """Return the last convolution; nothing follows it, so the shortcut past it, the identity, is part of its centre."""
    weight = logits.weight.copy()
    weight[:, :, 1, 1, 1] += np.eye(len(weight), dtype=np.float32)
    return replace(logits, weight=weight)


def _subtract_logits(both: Convolution) -> Convolution:
    """Return the convolution whose one output is the second of another's minus its first."""
    return replace(both, weight=both.weight[1:] - both.weight[:1], bias=both.bias[1:] - both.bias[:1])


class _Reader:
    """Takes tensors out of a state dict by name and shape, and keeps track of the rest."""

    def __init__(self, state: dict[str, NDArray[Any]], where: str) -> None:
        self._state, self._where = dict(state), where
        self._missing: list[str] = []

    def read_residual(self, prefix: str, channels: Sequence[int], *, stride: int) -> Residual:
        first, *rest = channels
        units = [self.read_normed(f"{prefix}conv.unit0.", (first, rest[0]), stride=stride)]
        units += [self.read_normed(f"{prefix}conv.unit1.", (rest[0], rest[1]))]
        shortcut = self.read_plain(f"{prefix}residual.", (first, rest[-1]), size=3 if stride > 1 else 1, stride=stride)
        return Residual(tuple(units), shortcut)

    def read_plain(self, prefix: str, channels: tuple[int, int], *, size: int, stride: int = 1) -> Convolution:
        """Return a convolution without PReLU."""
        into, out = channels
        weight = self._take(prefix + "weight", (out, into, size, size, size), np.float32)
        bias = self._take(prefix + "bias", (out,), np.float32)
        return Convolution(weight, bias, None, stride)

    def read_normed(
        self, prefix: str, channels: tuple[int, int], *, stride: int = 1, transposed: bool = False
    ) -> Convolution:
        """Return a convolution with PReLU after it and batch norm folded into it; the factors in float64."""
        into, out = channels
        shape = (into, out) if transposed else (out, into)
        weight = self._take(f"{prefix}conv.weight", (*shape, 3, 3, 3), np.float32)
        bias = self._take(f"{prefix}conv.bias", (out,))
        gain, shift, mean, variance = (
            self._take(f"{prefix}adn.N.{name}", (out,)) for name in ("weight", "bias", "running_mean", "running_var")
        )
        self._take(f"{prefix}adn.N.num_batches_tracked", ())
        slope = self._take(f"{prefix}adn.A.weight", (1,))
        if (variance < 0).any():
            raise WeightsError(f"{self._where}: {prefix}adn.N.running_var holds a negative variance")
        factor = gain / np.sqrt(variance + _EPSILON)
        along = (1, -1, 1, 1, 1) if transposed else (-1, 1, 1, 1, 1)
        weight *= factor.reshape(along).astype(np.float32)
        return Convolution(
            weight,
            ((bias - mean) * factor + shift).astype(np.float32),
            float(slope[0]),
            stride,
            transposed,
        )

    def finish(self) -> None:
        """Raise WeightsError if a tensor was missing, or if tensors are left over."""
        refuse_keys(missing=self._missing, unexpected=self._state, where=self._where)

    def _take(self, key: str, shape: tuple[int, ...], dtype: type[Any] = np.float64) -> NDArray[Any]:
        """Return a copy of a tensor, in another type."""
        if key not in self._state:
            self._missing.append(key)
            return np.zeros(shape, dtype)
        tensor = self._state.pop(key)
        if tensor.shape != shape:
            raise WeightsError(f"{self._where}: {key} has shape {tensor.shape}, expected {shape}")
        if tensor.dtype.kind not in "fi":
            raise WeightsError(f"{self._where}: {key} holds numbers of type {tensor.dtype}, expected float16")
        values = tensor.astype(dtype)
        if not np.isfinite(values).all():
            raise WeightsError(f"{self._where}: {key} holds NaN or infinity")
        return values
