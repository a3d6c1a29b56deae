"""A patch of a body before the scanner: labels, random fields, and what is drawn for it."""

from dataclasses import dataclass

import numpy as np
import torch

from petct_simulator.examination import Examination
from petct_simulator.fields import to_device
from petct_simulator.label_volume import LabelVolume
from petct_simulator.placement import Placement


@dataclass(frozen=True, slots=True)
class Scene:
    """A patch of a body before the scanner. heights: (Z,) mm in the reference body; fields as `PATTERN_FWHM_MM`."""

    volume: LabelVolume
    placement: Placement
    examination: Examination
    labels: torch.Tensor
    fields: list[torch.Tensor]
    heights: np.ndarray

    def look_up(self, table: np.ndarray) -> torch.Tensor:
        """Return the value of every voxel's tissue."""
        on_device = to_device(table, self.labels.device)
        return on_device.index_select(0, self.labels.reshape(-1)).reshape(self.labels.shape)

    def spread_along_z(self, values: np.ndarray) -> torch.Tensor:
        """Return one value per slice, ready to be multiplied."""
        return to_device(values, self.labels.device)
