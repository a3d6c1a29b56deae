"""A body as one study shows it: where its places lie in the PET, and in the CT, which breathing moved."""

from dataclasses import dataclass

import numpy as np

from petct_simulator.examination import Examination
from petct_simulator.frame import DOME
from petct_simulator.label_volume import LabelVolume
from petct_simulator.lesion_plan import Points
from petct_simulator.placement import Placement


@dataclass(frozen=True, slots=True)
class SeenBody:
    """A body as one date shows it."""

    body: LabelVolume
    placement: Placement
    examination: Examination
    centre_mm: Points

    def locate(self, voxels: Points) -> Points:
        """Return the voxel of the patch, (N, 3), of voxels of the body: `to_patch`, repeated until it is exact."""
        placement = self.placement
        inverse = np.linalg.inv(placement.matrix)
        place = (voxels - placement.centre) * placement.body_spacing_mm
        found = placement.middle + place @ inverse.T / placement.spacing_mm
        if placement.bend_mm is None:
            return np.asarray(found)
        for _ in range(8):
            found = placement.middle + (place - placement.compute_bend(found)) @ inverse.T / placement.spacing_mm
        return np.asarray(found)

    def move_to_ct(self, found: Points) -> Points:
        """Return where the CT shows what the PET has at voxels of the patch."""
        placement, ct = self.placement, self.examination.ct
        rows = np.clip(np.rint(placement.find_slices()), 0, len(self.body.reference) - 1).astype(np.intp)
        heights = self.body.reference[rows, 0]
        lift = ct.breath_mm * np.exp(-(((heights - (DOME - 20)) / 80.0) ** 2)) + ct.shift_mm[2]
        moved = found + np.array([*ct.shift_mm[:2], 0.0]) / placement.spacing_mm
        for _ in range(8):
            at = np.interp(moved[:, 2], np.arange(len(lift)), lift)
            moved[:, 2] = found[:, 2] + at / placement.spacing_mm[2]
        return np.asarray(moved)

    def to_mm(self, found: Points) -> Points:
        """Return LPS positions of voxels of the patch."""
        off = (found - self.placement.middle) * self.placement.spacing_mm
        return np.asarray(self.centre_mm + off * (-1.0, -1.0, 1.0))
