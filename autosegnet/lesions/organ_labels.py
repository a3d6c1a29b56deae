"""Organ maps: which organ every voxel of the PET lies in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autosegnet.errors import InputError
from autosegnet.geometry import Grid, resample_labels, view_voxels
from autosegnet.lesions.organ_names import describe_label

if TYPE_CHECKING:
    import SimpleITK as sitk


@dataclass(frozen=True, slots=True)
class OrganLabels:
    """An organ map as in its file, on any grid.

    Args:
        labels: integer labels, 0 outside organs.
        names: of the labels.
    """

    labels: sitk.Image
    names: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Organs:
    """Organs on a grid.

    Args:
        labels: (z, y, x), 0 outside organs.
        organs: organ and side ('left', 'right' or '') of each label.
    """

    labels: NDArray[Any]
    organs: Mapping[int, tuple[str, str]]

    def make_mask(self, organ: str) -> NDArray[np.bool_]:
        """Return the mask of an organ, both sides together; empty if the map lacks it."""
        wanted = [label for label, (name, _) in self.organs.items() if name == organ]
        return np.isin(self.labels, wanted)

    def has(self, organ: str) -> bool:
        """Tell whether a voxel of the organ lies on the grid."""
        return bool(self.make_mask(organ).any())


def place_organs(organ_map: OrganLabels, grid: Grid) -> Organs:
    """Return an organ map on a grid: every voxel gets the label of the nearest voxel of the map.

    Raises:
        InputError: the map holds no label that has a name, or nothing of it lies on the grid.
    """
    named = {label for label in organ_map.names if label > 0}
    found = set(np.unique(view_voxels(organ_map.labels)).tolist()) - {0}
    if not found & named:
        raise InputError(
            f"the organ map holds {len(found)} labels, none of which has a name; expected one that its table names "
            "(--organ-table)"
        )
    labels = view_voxels(resample_labels(organ_map.labels, grid))
    if not labels.any():
        raise InputError("no organ of the organ map lies inside the PET; expected the map of the same patient")
    return Organs(labels, {label: describe_label(organ_map.names[label]) for label in sorted(found & named)})
