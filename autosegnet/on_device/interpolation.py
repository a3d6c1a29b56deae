"""Linear interpolation between grids that share their axes, in torch: along one axis after the other.

Weights and sums are float64, and images between two steps float32, as in SimpleITK. So voxels differ from SimpleITK's
in the last bit at most. Everything is gathered and nothing scattered, so every run gives the same bits. Slabs bound the
memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from autosegnet.on_device.shared_axes import SharedAxes

_SLAB_VOXELS = 2**22  # interpolated at once: about five arrays of so many float64, 0.2 GB
_SENT_AS_STORED = (np.uint8, np.int8, np.int16, np.int32, np.float32)  # 16 bits take half the way of float32

_Change = Callable[[torch.Tensor], torch.Tensor]


def make_zeros(shape: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """Return float32 zeros."""
    return torch.zeros(shape, device=device)


def send(voxels: NDArray[Any], device: torch.device) -> torch.Tensor:
    """Return voxels on a device, of their own type or float32."""
    dtype = voxels.dtype if voxels.dtype in _SENT_AS_STORED else np.float32
    return torch.from_numpy(np.require(voxels, dtype, ["C", "W"])).to(device)


def window_hu(hu: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """Return HU of any type, scaled from a window to [0, 1] and clipped, float32."""
    scale = 1.0 / (high - low)
    return hu.float().double().mul_(scale).sub_(low * scale).clamp_(0.0, 1.0).float()


def clip_suv(suv: torch.Tensor) -> torch.Tensor:
    """Return SUV of any type without negative values, float32."""
    return suv.float().clamp(min=0.0)


def _keep(values: torch.Tensor) -> torch.Tensor:
    return values


def interpolate_into(
    voxels: torch.Tensor,
    axes: SharedAxes,
    *,
    into: torch.Tensor,
    outside: float | None = None,
    change: _Change = _keep,
) -> None:
    """Interpolate voxels of a source at those of a target.

    Args:
        voxels: the source's array.
        axes: of source and target.
        into: the target's array, float32, which is filled.
        outside: value more than half a voxel beyond the source's outer voxel centres; None repeats its border.
        change: is applied to the source's voxels first.
    """
    for part, values in _interpolate(voxels, axes, outside=outside, change=change):
        into[part] = values


def sample_mask(probability: torch.Tensor, axes: SharedAxes) -> NDArray[np.bool_]:
    """Return where the probability, interpolated on the target, is above 0.5."""
    above = torch.empty(_measure_target(axes), dtype=torch.bool, device=probability.device)
    for part, values in _interpolate(probability, axes):
        torch.gt(values, 0.5, out=above[part])
    found: NDArray[np.bool_] = above.cpu().numpy()
    return found


def sample_map(values: torch.Tensor, axes: SharedAxes) -> NDArray[np.float32]:
    """Return values, interpolated on the target: float32."""
    sampled = torch.empty(_measure_target(axes), device=values.device)
    interpolate_into(values, axes, into=sampled)
    found: NDArray[np.float32] = sampled.cpu().numpy()
    return found


def _measure_target(axes: SharedAxes) -> tuple[int, ...]:
    return tuple(len(positions) for positions in axes.positions)


def _interpolate(
    voxels: torch.Tensor, axes: SharedAxes, *, outside: float | None = None, change: _Change = _keep
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yield slabs of the target, float32, each with its place along the first axis."""
    source = voxels.permute(axes.order)
    rows = [_place_row(p, n, voxels.device) for p, n in zip(axes.positions, source.shape, strict=True)]
    count, *across = _measure_target(axes)
    thickness = max(1, _SLAB_VOXELS // (max(source.shape[1], across[0]) * max(source.shape[2], across[1])))
    for start in range(0, count, thickness):
        part = slice(start, min(start + thickness, count))
        here = [rows[0].cut(part), *rows[1:]]
        values = here[0].interpolate(source, 0, change)
        for axis in (1, 2):
            values = here[axis].interpolate(values, axis, _keep)
        slab = values.float()
        if outside is not None:
            for axis in range(3):
                slab.masked_fill_(here[axis].is_outside.view(_lie_along(axis)), outside)
        yield part, slab


@dataclass(frozen=True, slots=True)
class _Row:
    """Positions along one axis: the voxel below and above each, the weight of the one above, whether it is outside."""

    below: torch.Tensor
    above: torch.Tensor
    weight: torch.Tensor
    is_outside: torch.Tensor

    def cut(self, part: slice) -> _Row:
        return _Row(self.below[part], self.above[part], self.weight[part], self.is_outside[part])

    def interpolate(self, values: torch.Tensor, axis: int, change: _Change) -> torch.Tensor:
        """Return the values between the voxels along an axis, float64."""
        below = change(values.index_select(axis, self.below)).double()
        above = change(values.index_select(axis, self.above)).double()
        return (above - below).mul_(self.weight.view(_lie_along(axis))).add_(below)


def _place_row(positions: NDArray[np.float64], length: int, device: torch.device) -> _Row:
    # ITK's `ImageFunction::IsInsideBuffer` takes the lower end in and leaves the upper end out.
    is_outside = (positions < -0.5) | (positions >= length - 0.5)
    clipped = np.clip(positions, 0.0, length - 1.0)
    below = np.floor(clipped).astype(np.int64)
    above = np.minimum(below + 1, length - 1)
    return _Row(*(torch.from_numpy(part).to(device) for part in (below, above, clipped - below, is_outside)))


def _lie_along(axis: int) -> list[int]:
    return [-1 if a == axis else 1 for a in range(3)]
