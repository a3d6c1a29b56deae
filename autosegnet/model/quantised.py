"""Weights in 8 bits: three fifths of float16's size, one scale per kernel of the large convolutions.

A tensor w (A, B, 3, 3, 3) becomes `w`, int8, and `w.scale`, (A, B): w[a, b] ≈ int8[a, b] · scale[a, b], with the
largest magnitude of a kernel at 127. Other tensors are kept, because the five largest hold 83 % of the weights, and
rounding costs most in the smaller ones (docs/evidence/results.md). The network computes in float32 in any case.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from autosegnet.errors import WeightsError

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

_SCALE = ".scale"
_LARGEST = 127
_LEAST = 2.0**-24  # float16's smallest number above 0
_KERNEL = (3, 3, 3)
_LARGE = 500_000  # weights


def quantise(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a state dict with its convolutions in 8 bits and their scales beside them."""
    import torch

    stored: dict[str, torch.Tensor] = {}
    for key, tensor in state.items():
        if tuple(tensor.shape[2:]) != _KERNEL or tensor.numel() < _LARGE:
            stored[key] = tensor
            continue
        kernels = tensor.float().flatten(2)  # (A, B, 27)
        # Rounded as it is stored, so that the rounding costs nothing; large enough not to clip the largest weight.
        scale = (kernels.abs().amax(dim=2) / _LARGEST + _LEAST).half()
        whole = (kernels / scale.float()[..., None]).round().clamp(-_LARGEST, _LARGEST)
        stored[key] = whole.to(torch.int8).reshape(tensor.shape)
        stored[key + _SCALE] = scale
    return stored


def dequantise(tensors: dict[str, T], *, where: str) -> dict[str, T]:
    """Return tensors, of torch or of numpy, with those in 8 bits multiplied by their scales.

    Raises:
        WeightsError: the tensor of a scale is missing or has another shape.
    """
    scales = {key.removesuffix(_SCALE) for key in tensors if key.endswith(_SCALE)}
    state = {key: value for key, value in tensors.items() if not key.endswith(_SCALE)}
    for key in sorted(scales):
        value, scale = cast(Any, state.get(key)), cast(Any, tensors[key + _SCALE])
        if value is None or scale.shape != value.shape[:2]:
            raise WeightsError(f"{where}: {key}{_SCALE} fits no tensor; expected one number per kernel of {key}")
        # Numbers of 8 times 11 bits are exact in float32, in numpy as in torch.
        single = scale.float() if hasattr(scale, "float") else scale.astype("float32")
        state[key] = value * single[..., None, None, None]
    return state
