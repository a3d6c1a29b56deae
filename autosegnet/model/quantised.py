"""Weights in 8 bits: half of float16's size, one scale per row of a tensor's first axis.

A tensor w of a convolution becomes `w`, int8, and `w.scale`, float32 (rows): w[r] ≈ int8[r] · scale[r], with the
largest magnitude of a row at 127. Other tensors stay as they are. The network computes in float32 in any case.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from autosegnet.errors import WeightsError

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

_SCALE = ".scale"
_LARGEST = 127
_CONVOLUTION_AXES = 5


def quantise(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a state dict with its convolutions in 8 bits and their scales beside them."""
    import torch

    stored: dict[str, torch.Tensor] = {}
    for key, tensor in state.items():
        if tensor.ndim != _CONVOLUTION_AXES:
            stored[key] = tensor
            continue
        rows = tensor.float().flatten(1)
        scale = rows.abs().amax(dim=1).clamp_min(torch.finfo(torch.float32).tiny) / _LARGEST
        stored[key] = (rows / scale[:, None]).round().to(torch.int8).reshape(tensor.shape)
        stored[key + _SCALE] = scale
    return stored


def dequantise(tensors: dict[str, T], *, where: str) -> dict[str, T]:
    """Return tensors, of torch or of numpy, with those in 8 bits multiplied by their scales.

    Raises:
        WeightsError: a scale whose tensor is missing or has other rows.
    """
    scales = {key.removesuffix(_SCALE) for key in tensors if key.endswith(_SCALE)}
    state = {key: value for key, value in tensors.items() if not key.endswith(_SCALE)}
    for key in sorted(scales):
        value, scale = cast(Any, state.get(key)), cast(Any, tensors[key + _SCALE])
        if value is None or scale.shape != value.shape[:1]:
            raise WeightsError(f"{where}: {key}{_SCALE} fits no tensor; expected one number per row of {key}")
        state[key] = value * scale.reshape((-1,) + (1,) * (value.ndim - 1))
    return state
