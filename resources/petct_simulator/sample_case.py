"""The sample case: one small whole-body study that travels with the code.

A slim child of 26 kg from vertex to thigh, so that the box around the body is below 384 mm in x and y and fits three
windows of 192 voxels of 2 mm along z: 192 + 96 + 96 = 384 voxels at an overlap of one half.
"""

import numpy as np

from petct_simulator.anatomy import Anatomy, Stature, from_stature
from petct_simulator.protocol import Protocol
from petct_simulator.shapes import PointMm
from petct_simulator.whole_study import SimulatedStudy, quantise_suv, simulate_study

SEED = 20286
STEP = 1.0 / 64.0  # of the SUV: far below the noise, and it compresses
CHILD = Stature("M", 1290.0, 1.2, 15.5, "raised", upper=1752.0, lower=800.0)


def sample_study() -> SimulatedStudy:
    """Return the sample case. Other processors may round a voxel differently, by one `STEP` or one HU."""

    def make_child(rng: np.random.Generator, spacing_mm: PointMm) -> Anatomy:
        return from_stature(CHILD, rng, spacing_mm)

    protocol = Protocol((4.0, 4.0, 4.5), 420.0, "lung_cancer")
    return quantise_suv(simulate_study(SEED, anatomy=make_child, protocol=protocol), STEP)
