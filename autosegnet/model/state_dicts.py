"""Finds a network's tensors in the files that people save: plain, wrapped, or beside an optimiser.

Nothing in a file is executed. Its first bytes are checked before torch reads it, because torch's message about a web
page or a Git LFS pointer does not help.
"""

from __future__ import annotations

import logging
import re
import zipfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autosegnet.errors import WeightsError
from autosegnet.io.regular_files import open_regular_file

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

_SAVE = "where it was made, run torch.save(model.state_dict(), 'fold.pth') and import that"
_FETCH = "fetch the file itself"
# First bytes of files that are given instead of weights, and what to do.
_NOT_WEIGHTS: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "is a Git LFS pointer, not weights; run 'git lfs pull'"),
    (b"\x1f\x8b", "is compressed by gzip; unpack it and import what is inside"),
    (b"BZh", "is compressed by bzip2; unpack it and import what is inside"),
    (b"\xfd7zXZ", "is compressed by xz; unpack it and import what is inside"),
    (b"\x28\xb5\x2f\xfd", "is compressed by Zstandard; unpack it and import what is inside"),
    (b"7z\xbc\xaf\x27\x1c", "is a 7z archive; unpack it and import what is inside"),
    (b"\x89HDF\r\n\x1a\n", f"is an HDF5 file, not one of torch.save; {_SAVE}"),
    (b"\x93NUMPY", f"is a NumPy array, not a file of torch.save; {_SAVE}"),
)
_WEB_PAGE = (b"<!doctype", b"<html", b"<?xml", b"<head", b"<body")
# torch.save stores without compression, so it did not write an archive that inflates to much more.
_HIGHEST_RATIO, _ALLOWED_BYTES = 3, 1 << 20
_DEEPEST = 3  # mappings in mappings: {"model": {"state_dict": {...}}}
_COUNTER = "num_batches_tracked"  # of batch norm; only training uses it
_PROFILED = ("total_ops", "total_params")  # counters that thop leaves in a network


def read_state_dict(path: Path, expected: Collection[str]) -> dict[str, torch.Tensor]:
    """Return the tensors of a network in a file of `torch.save` or of safetensors.

    They may lie in a mapping (`state_dict`, `model`, `network_weights`, …) and have a common prefix (`module.`,
    `_orig_mod.`, …). What is left out or filled in is logged.

    Args:
        path: of the file.
        expected: the keys of the network.

    Raises:
        WeightsError: the file is missing or damaged, or holds no tensors of this network or several sets of them.
    """
    head = _look_at(path)
    loaded = _load_safetensors(path) if head[8:9] == b"{" and head[:1] != b"\x80" else _load_tensors(path)
    if not isinstance(loaded, dict):
        raise WeightsError(f"{path.name} is not a plain state_dict: it holds a {type(loaded).__name__}; {_SAVE}")
    found = list(_find_sets(loaded, min(key for key in expected if not key.endswith(_COUNTER)), ""))
    if len(found) > 1:
        names = ", ".join(sorted(name or "itself" for name, _, _ in found))
        raise WeightsError(f"{path.name} holds {len(found)} networks ({names}); save the one that is meant alone")
    if found:
        name, mapping, prefix = found[0]
        state = _take(mapping, prefix, expected, where=f"{path.name}{f' ({name})' if name else ''}")
    else:
        state = dict(loaded)
    if not all(isinstance(key, str) and _is_plain(value) for key, value in state.items()):
        raise WeightsError(
            f"{path.name} is not a plain state_dict of this network, a mapping of names to tensors of numbers; {_SAVE}"
        )
    return state


def _look_at(path: Path) -> bytes:
    """Return a file's first bytes, checked to be those of weights."""
    try:
        with open_regular_file(path) as file:
            head = file.read(512)
            if head.startswith(b"PK\x03\x04"):
                file.seek(0)
                _check_archive(file, path)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror})") from error
    for signature, reason in _NOT_WEIGHTS:
        if head.startswith(signature):
            raise WeightsError(f"{path.name} {reason}")
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_WEB_PAGE):
        raise WeightsError(f"{path.name} is a web page, not weights; {_FETCH} (was the download refused?)")
    return head


def _check_archive(file: Any, path: Path) -> None:
    """Refuse a zip archive that torch.save did not write."""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError):
        raise WeightsError(f"{path.name} is not a file of torch.save, or it is damaged; copy it again") from None
    names = [entry.filename for entry in entries]
    if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
        raise WeightsError(
            f"{path.name} is TorchScript, which is code; run torch.save(torch.jit.load(FILE).state_dict(), 'fold.pth') "
            "and import that"
        )
    if not any(name.endswith("data.pkl") for name in names):
        raise WeightsError(f"{path.name} is a zip archive, not a file of torch.save; unpack it and import the folds")
    inflated, stored = sum(e.file_size for e in entries), sum(e.compress_size for e in entries)
    if inflated > _HIGHEST_RATIO * stored + _ALLOWED_BYTES:
        raise WeightsError(f"{path.name} is not a file of torch.save: {stored} bytes would inflate to {inflated}")


def _load_safetensors(path: Path) -> object:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, KeyError, OSError) as error:
        raise WeightsError(f"{path.name} is not a safetensors file, or it is damaged; copy it again") from error


def _load_tensors(path: Path) -> object:
    """Return what a file of torch.save holds, if that is numbers and texts in mappings and lists."""
    import pickle

    import torch

    try:
        with torch.serialization.safe_globals(_list_inert_types()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror})") from error
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([A-Za-z_][\w.]{0,99}) was not", str(error))
        what = f" ({named.group(1)})" if named else ""
        raise WeightsError(
            f"{path.name} holds more than tensors{what}, which could run code, and is refused: {_SAVE}"
        ) from error
    except (RuntimeError, EOFError, ValueError, LookupError, AttributeError, TypeError, AssertionError) as error:
        # What torch's unpickler raises for bytes that torch.save did not write.
        raise WeightsError(f"{path.name} is not a file of torch.save, or it is damaged; copy it again") from error


def _list_inert_types() -> list[Any]:
    """Return the harmless types that programs save beside tensors: NumPy's numbers, arguments, paths."""
    import argparse
    import pathlib
    from _codecs import encode

    import numpy as np

    scalar = np.float64(0).__reduce__()[0]
    dtypes = [kind for name in dir(np.dtypes) if isinstance(kind := getattr(np.dtypes, name), type)]
    return [
        (scalar, "numpy.core.multiarray.scalar"),
        (scalar, "numpy._core.multiarray.scalar"),
        np.dtype,
        *dtypes,
        encode,
        argparse.Namespace,
        pathlib.PosixPath,
        pathlib.PurePosixPath,
    ]


def _find_sets(mapping: Mapping[Any, Any], probe: str, name: str) -> Iterator[tuple[str, Mapping[Any, Any], str]]:
    """Yield every set of a network's tensors: its name, the mapping that holds it, and the prefix of its keys.

    Args:
        mapping: to search, with the mappings in it.
        probe: one key of the network.
        name: of the mapping: the keys that lead to it.
    """
    for key, value in mapping.items():
        if not isinstance(key, str):
            continue
        if key.endswith(probe):
            prefix = key.removesuffix(probe)
            yield " ".join(filter(None, (name, prefix))), mapping, prefix
        elif isinstance(value, Mapping) and name.count("/") < _DEEPEST - 1:
            yield from _find_sets(value, probe, f"{name}/{key}" if name else key)


def _take(mapping: Mapping[str, Any], prefix: str, expected: Collection[str], *, where: str) -> dict[str, Any]:
    """Return the network's tensors in a mapping, and the unknown ones, because of which it is refused."""
    import torch

    own = {key.removeprefix(prefix): v for key, v in mapping.items() if isinstance(key, str) and key.startswith(prefix)}
    state = {
        key: value
        for key, value in own.items()
        if key in expected or (isinstance(value, torch.Tensor) and key.rpartition(".")[2] not in _PROFILED)
    }
    left_out = len(mapping) - len(state)
    filled = [key for key in expected if key.endswith(_COUNTER) and key not in state]
    state.update({key: torch.zeros((), dtype=torch.int64) for key in filled})
    done = [f"took the prefix {prefix} off" if prefix else "", f"left {left_out} entries out" if left_out else ""]
    done.append(f"set {len(filled)} {_COUNTER} to 0" if filled else "")
    if any(done):
        log.info("%s: %s", where, ", ".join(filter(None, done)))
    return state


def _is_plain(value: object) -> bool:
    """Return whether a value is a tensor of real numbers, each of them in the file."""
    import torch

    kinds = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int32, torch.int64)
    return (
        isinstance(value, torch.Tensor)
        and value.dtype in kinds
        and value.layout is torch.strided
        and value.device.type == "cpu"
    )
