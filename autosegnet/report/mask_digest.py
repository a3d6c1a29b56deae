"""Tells the mask that a page shows: the page names it by a digest, so that no page outlives its mask unnoticed."""

from __future__ import annotations

import re
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from autosegnet.geometry import view_voxels

if TYPE_CHECKING:
    import SimpleITK as sitk

_META: Final = re.compile(rb'<meta name="autosegnet-mask" content="([0-9a-f]+)">')
_HEAD_BYTES: Final = 4096


def digest_mask(mask: sitk.Image) -> str:
    """Return a digest of which voxels are inside, the same for every file format."""
    inside = view_voxels(mask) != 0
    digest = blake2b(repr(inside.shape).encode(), digest_size=16)
    digest.update(np.packbits(inside).data)
    return digest.hexdigest()


def read_mask_digest(page: Path) -> str:
    """Return the digest of the mask that a page of a report or of the viewer names; '' for anything else."""
    try:
        with page.open("rb") as file:
            found = _META.search(file.read(_HEAD_BYTES))
    except OSError:
        return ""
    return "" if found is None else found[1].decode()
