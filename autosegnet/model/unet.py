"""The residual U-Net in plain torch, with the modules, names and initial weights of MONAI's `UNet`.

Source: MONAI 1.6 `networks.nets.UNet` with batch norm, PReLU and two residual units per level (Kerfoot et al. 2018,
doi:10.1007/978-3-030-12029-0_40).
"""

from __future__ import annotations

import torch
from torch import nn


class _Convolution(nn.Sequential):
    """A convolution, then batch norm and PReLU: `conv`, `adn.N`, `adn.A`."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, up: bool = False, bare: bool = False) -> None:
        super().__init__()
        if up:
            # The output has `stride` times the voxels.
            conv: nn.Module = nn.ConvTranspose3d(inputs, outputs, 3, stride, padding=1, output_padding=stride - 1)
        else:
            conv = nn.Conv3d(inputs, outputs, 3, stride, padding=1)
        self.add_module("conv", conv)
        if not bare:
            adn = nn.Sequential()
            adn.add_module("N", nn.BatchNorm3d(outputs))
            adn.add_module("A", nn.PReLU())
            self.add_module("adn", adn)


class _ResidualUnit(nn.Module):
    """Convolutions, and beside them a shortcut: a convolution if the shape changes, else nothing."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, units: int = 2, bare: bool = False) -> None:
        super().__init__()
        self.conv = nn.Sequential()
        self.residual: nn.Module = nn.Identity()
        for k in range(units):
            unit = _Convolution(
                inputs if k == 0 else outputs,
                outputs,
                stride=stride if k == 0 else 1,
                bare=bare and k == units - 1,
            )
            self.conv.add_module(f"unit{k}", unit)
        if stride != 1:
            self.residual = nn.Conv3d(inputs, outputs, 3, stride, padding=1)
        elif inputs != outputs:
            self.residual = nn.Conv3d(inputs, outputs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut: torch.Tensor = self.residual(x)
        changed: torch.Tensor = self.conv(x)
        return changed + shortcut


class _Skip(nn.Module):
    """Joins the input and the output of the deeper level as channels."""

    def __init__(self, submodule: nn.Module) -> None:
        super().__init__()
        self.submodule = submodule

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, self.submodule(x)], dim=1)


class ResidualUNet(nn.Module):
    """A residual U-Net. Axes of its input are multiples of 2 to the power of (levels - 1).

    Args:
        inputs, outputs: channels.
        channels: of each level, the finest first.
    """

    def __init__(self, inputs: int, outputs: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.model = _make_level(inputs, outputs, channels, top=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits (B, outputs, X, Y, Z) of (B, inputs, X, Y, Z)."""
        logits: torch.Tensor = self.model(x)
        return logits


def _make_level(inputs: int, outputs: int, channels: tuple[int, ...], *, top: bool) -> nn.Sequential:
    # Modules are made in the order in which MONAI makes them, so that one seed gives the same weights.
    here, below = channels[:2]
    deeper: nn.Module
    if len(channels) > 2:
        deeper, width = _make_level(here, here, channels[1:], top=False), 2 * here
    else:
        deeper, width = _ResidualUnit(here, below), here + below
    down = _ResidualUnit(inputs, here, stride=2)
    up = nn.Sequential(
        _Convolution(width, outputs, stride=2, up=True), _ResidualUnit(outputs, outputs, units=1, bare=top)
    )
    return nn.Sequential(down, _Skip(deeper), up)
