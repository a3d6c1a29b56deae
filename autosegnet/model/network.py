"""The network of the paper, and one fold of it: reading, checking and converting its weights.

A fold is the `state_dict` of MONAI's `UNet` with its keys unchanged, stored in safetensors: float16 or 8 bits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from autosegnet.errors import WeightsError, format_count
from autosegnet.model.quantised import dequantise, quantise
from autosegnet.model.recipe import IMAGE_CHANNELS, Fold
from autosegnet.model.state_dicts import read_state_dict

if TYPE_CHECKING:
    import torch
    from torch import nn

T = TypeVar("T")

Storage = Literal["float16", "int8"]
"""How a fold's file stores its convolutions."""

TRAINABLE_PARAMETERS = 19_223_525  # paper, section 2.3

_POINTER = b"version https://git-lfs"
_FROM_INPUT = ("model.0.conv.unit0.conv.weight", "model.0.residual.weight")  # (out, input channels, 3, 3, 3)
_CHANNEL_NAMES = {2: " (CT, PET)", 4: " (CT, PET, clicks on tumour, clicks on background)"}


def build_network(inputs: int = IMAGE_CHANNELS) -> nn.Module:
    """Return MONAI's residual U-Net as in the paper: (B, C, X, Y, Z) -> logits of background and lesion, same X, Y, Z.

    X, Y and Z are multiples of 16. Batch norm gives the paper's number of parameters; instance norm would not.

    Args:
        inputs: number of channels that it takes, as `Recipe.input_channels`; 2 in the paper.

    Source: paper, section 2.3.
    """
    from autosegnet.model.unet import ResidualUNet

    return ResidualUNet(inputs, 2, (32, 64, 128, 256, 512))


def load_fold(path: Path, fold: Fold, *, inputs: int = IMAGE_CHANNELS) -> nn.Module:
    """Return the network with the weights of one fold, in float32 and evaluation mode, after every check.

    Args:
        path: its file.
        fold: as the recipe names it.
        inputs: as for `build_network`.

    Raises:
        WeightsError: the file is missing, altered (SHA-256), unreadable, of other keys or shapes, or holds NaN or
            infinity.
    """
    from safetensors.torch import load

    state = read_state(path, fold, load)
    return make_network(state, where=path.name, inputs=inputs)


def read_state(path: Path, fold: Fold, load: Callable[[bytes], dict[str, T]]) -> dict[str, T]:
    """Return the tensors of a fold's file, as safetensors' `load` for torch or for numpy makes them.

    Raises:
        WeightsError: the file is missing, altered (SHA-256) or unreadable, or holds numbers of a type that `load` does
            not know.
    """
    return parse_tensors(read_verified(path, fold.sha256), load, path)


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a safetensors file that no recipe names, such as one to continue training from.

    Raises:
        WeightsError: missing, or damaged.
    """
    from safetensors.torch import load

    return parse_tensors(_read(path), load, path)


def parse_tensors(data: bytes, load: Callable[[bytes], dict[str, T]], path: Path) -> dict[str, T]:
    """Return the tensors in the bytes of a safetensors file; raises as `read_state` if they cannot be read."""
    from safetensors import SafetensorError

    try:
        return dequantise(load(data), where=path.name)
    except SafetensorError as error:
        raise WeightsError(f"{path.name} is not a safetensors file: {error}") from error
    except KeyError as error:  # what safetensors raises for a type that it does not know
        raise WeightsError(
            f"{path.name} holds numbers of type {error}, which are not read; expected float16 or int8"
        ) from error


def make_network(state: dict[str, torch.Tensor], *, where: str, inputs: int = IMAGE_CHANNELS) -> nn.Module:
    """Return the network with a state dict's weights, in float32 and evaluation mode.

    Args:
        state: the tensors by name.
        where: name of the file, for messages.
        inputs: as for `build_network`.

    Raises:
        WeightsError: keys or shapes are not the network's, or a value is NaN or infinite.
    """
    import torch

    network = build_network(inputs)
    expected = network.state_dict()
    refuse_keys(missing=expected.keys() - state.keys(), unexpected=state.keys() - expected.keys(), where=where)
    refuse_inputs(state, inputs, where=where)
    for key, tensor in state.items():
        if tensor.shape != expected[key].shape:
            raise WeightsError(f"{where}: {key} has shape {tuple(tensor.shape)}, expected {tuple(expected[key].shape)}")
        if not bool(torch.isfinite(tensor).all()):
            raise WeightsError(f"{where}: {key} holds NaN or infinity")
    network.load_state_dict(state, strict=True)
    return network.float().eval()


def refuse_keys(*, missing: Collection[str], unexpected: Collection[str], where: str) -> None:
    """Raise WeightsError if a state dict lacks keys of the network, or has others."""
    if missing or unexpected:
        raise WeightsError(
            f"{where} is not this network: {len(missing)} keys missing{_give_example(missing)}, "
            f"{len(unexpected)} unexpected{_give_example(unexpected)}"
        )


def count_inputs(state: Mapping[str, Any]) -> int | None:
    """Return how many channels the network of a state dict takes; None if it is no such network's."""
    shape = tuple(state[_FROM_INPUT[0]].shape) if _FROM_INPUT[0] in state else ()
    return shape[1] if len(shape) == 5 else None


def refuse_inputs(state: Mapping[str, Any], inputs: int, *, where: str) -> None:
    """Raise WeightsError if the network of a state dict takes another number of channels."""
    found = count_inputs(state)
    if found is None or found == inputs:
        return
    raise WeightsError(
        f"{where} takes {format_count(found, 'input channel')}{_CHANNEL_NAMES.get(found, '')}; "
        f"expected {inputs}{_CHANNEL_NAMES.get(inputs, '')}, because the recipe names "
        f"{'no click_channels' if inputs == IMAGE_CHANNELS else 'click_channels'}"
    )


def widen_inputs(state: Mapping[str, torch.Tensor], inputs: int) -> dict[str, torch.Tensor]:
    """Return a state dict whose network takes more channels and does not depend on the new ones: their weights are 0.

    Args:
        state: of a network with fewer input channels.
        inputs: number of channels, as for `build_network`.
    """
    import torch

    wide = dict(state)
    for key in _FROM_INPUT:
        weight = wide[key]
        new = weight.new_zeros(weight.shape[0], inputs - weight.shape[1], *weight.shape[2:])
        wide[key] = torch.cat([weight, new], dim=1)
    return wide


def _give_example(keys: Collection[str]) -> str:
    return f" ({min(keys)})" if keys else ""


def read_verified(path: Path, sha256: str) -> bytes:
    """Return the bytes of a file whose SHA-256 is the expected one.

    Raises:
        WeightsError: the file is missing, or its sum differs.
    """
    data = _read(path)
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise WeightsError(f"{path} has SHA-256 {found[:12]}…, expected {sha256[:12]}…: the file was changed")
    return data


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"fold {path.name} is missing: {path} cannot be read ({error.strerror})") from error
    if data.startswith(_POINTER):
        raise WeightsError(f"{path} is a Git LFS pointer, not weights; fetch the file itself")
    return data


def fold_bytes(
    state: dict[str, torch.Tensor], *, where: str, storage: Storage = "float16", inputs: int = IMAGE_CHANNELS
) -> bytes:
    """Return a fold as the bytes of a safetensors file, in float16, or with large convolutions in 8 bits.

    Integer buffers keep their type. Batch norm's running statistics are float32, because they are few, and a variance
    may exceed float16's 65504 in a sound network.

    Args:
        state: the tensors by name.
        where: name of the file, for messages.
        storage: of the convolutions.
        inputs: as for `build_network`.

    Raises:
        WeightsError: not this network's weights, or a value beyond float16.
    """
    import torch
    from safetensors.torch import save

    make_network(state, where=where, inputs=inputs)
    quantised = quantise(state) if storage == "int8" else state
    stored = {k: _as_stored(k, v).contiguous() for k, v in quantised.items()}
    beyond = [k for k, v in stored.items() if not bool(torch.isfinite(v).all())]
    if beyond:
        raise WeightsError(f"{where}: {beyond[0]} holds values beyond the range of float16 (65504)")
    return save(stored)


def _as_stored(key: str, tensor: torch.Tensor) -> torch.Tensor:
    if not tensor.is_floating_point():
        return tensor
    return tensor.float() if key.endswith(("running_mean", "running_var")) else tensor.half()


def read_pth(path: Path) -> dict[str, torch.Tensor]:
    """Return this network's tensors from a file of `torch.save`, however they are wrapped. Nothing in it is executed.

    Raises:
        WeightsError: as `read_state_dict`.
    """
    return read_state_dict(path, _list_network_keys())


@cache
def _list_network_keys() -> frozenset[str]:
    import torch

    with torch.device("meta"):
        return frozenset(build_network().state_dict())
