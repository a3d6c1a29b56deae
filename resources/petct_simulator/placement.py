"""Where a patch lies in a body: turned, scaled, mirrored, bent, and cut by the scan's field of view.

Patch and label volume are (x, y, z) in RAS. A point p of the patch, in mm from its centre, shows the point
`centre + (matrix p + bend(p)) / spacing` of the label volume.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from petct_simulator.fields import Shape, apply_matrices, compute_spline_weights, place_knots, to_device
from petct_simulator.label_volume import LabelVolume

PlacedPoints = NDArray[np.float64]
PlacementVector = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Placement:
    """How a patch is cut from a body.

    Args:
        shape, spacing_mm: of the patch.
        body_spacing_mm: of the label volume.
        centre: (3,), voxel of the label volume at the patch's centre.
        matrix: (3, 3), mm of the patch to mm of the body.
        bend_mm: (3, knots…), what bends the body, in mm at the knots of a smooth field; None for nothing.
        bend_fwhm_mm: correlation of the bending.
        field: per axis the first and last voxel of the patch that were scanned; beyond there is air.
    """

    shape: Shape
    spacing_mm: PlacementVector
    body_spacing_mm: PlacementVector
    centre: PlacedPoints
    matrix: PlacedPoints
    bend_mm: NDArray[np.float32] | None
    bend_fwhm_mm: float
    field: tuple[tuple[float, float], ...]

    @property
    def middle(self) -> PlacedPoints:
        """Return the patch's centre in its own voxels."""
        return (np.array(self.shape, np.float64) - 1) / 2

    def to_patch(self, voxels: PlacedPoints) -> PlacedPoints:
        """Return where voxels (N, 3) of the label volume lie in the patch, in its voxels."""
        place = (np.atleast_2d(voxels) - self.centre) * self.body_spacing_mm
        inverse = np.linalg.inv(self.matrix)
        found = self.middle + place @ inverse.T / self.spacing_mm
        if self.bend_mm is None:
            return found
        return self.middle + (place - self.compute_bend(found)) @ inverse.T / self.spacing_mm

    def compute_bend(self, at: PlacedPoints) -> PlacedPoints:
        """Return the bending, (N, 3) mm of the body, at voxels of the patch."""
        assert self.bend_mm is not None
        x, y, z = (
            compute_spline_weights(np.clip(at[:, axis], 0, n - 1), n, self.bend_fwhm_mm / s)
            for axis, (n, s) in enumerate(zip(self.shape, self.spacing_mm, strict=True))
        )
        # One axis at a time: all at once is ten times slower.
        along_xy = np.einsum("cijn,nj->cin", self.bend_mm @ z.T, y)
        return np.asarray(np.einsum("cin,ni->nc", along_xy, x))

    def find_slices(self) -> PlacedPoints:
        """Return the slice of the label volume that each slice of the patch shows on its axis: (Z,)."""
        along = (np.arange(self.shape[2]) - self.middle[2]) * self.spacing_mm[2] * self.matrix[2, 2]
        return np.asarray(self.centre[2] + along / self.body_spacing_mm[2])

    def _make_weights(self, device: torch.device) -> list[torch.Tensor]:
        weights = (
            compute_spline_weights(np.arange(n, dtype=np.float64), n, self.bend_fwhm_mm / s)
            for n, s in zip(self.shape, self.spacing_mm, strict=True)
        )
        return [to_device(w, device) for w in weights]

    def sample(self, padded: torch.Tensor) -> torch.Tensor:
        """Return the labels of the patch, (X, Y, Z) int32.

        Args:
            padded: labels of the body with one voxel of air on either side of x and y (`pad_labels`).
        """
        device = padded.device
        weights = None if self.bend_mm is None else self._make_weights(device)
        at = [
            to_device((np.arange(n) - m) * s, device)
            for n, m, s in zip(self.shape, self.middle, self.spacing_mm, strict=True)
        ]
        index = torch.zeros(self.shape, dtype=torch.int32, device=device)
        for axis, (size, step) in enumerate(zip(padded.shape, self.body_spacing_mm, strict=True)):
            a, b, c = (float(v) / step for v in self.matrix[axis])
            offset = float(self.centre[axis]) + (1.0 if axis < 2 else 0.0) + 0.5  # rounded by truncation
            place = (a * at[0] + offset)[:, None, None] + (b * at[1])[:, None] + (c * at[2])
            if weights is not None and self.bend_mm is not None:
                bent = to_device(self.bend_mm[axis] / np.float32(step), device)
                place += apply_matrices(bent, weights)
            index.mul_(size).add_(place.clamp_(0.0, size - 0.5).to(torch.int32))
        return padded.reshape(-1).index_select(0, index.reshape(-1)).reshape(self.shape).to(torch.int32)


def pad_labels(volume: LabelVolume, device: torch.device) -> torch.Tensor:
    """Return the labels of a body on a device with a border of air in x and y, (X + 2, Y + 2, Z) uint8."""
    return torch.from_numpy(np.pad(volume.labels, ((1, 1), (1, 1), (0, 0)))).to(device)


def place_whole(volume: LabelVolume) -> Placement:
    """Return the placement of a whole study: the body as it is, on its own grid."""
    x, y, z = volume.labels.shape
    centre = (np.array((x, y, z), np.float64) - 1) / 2
    field = ((0.0, x - 1.0), (0.0, y - 1.0), (0.0, z - 1.0))
    return Placement((x, y, z), volume.spacing_mm, volume.spacing_mm, centre, np.eye(3), None, 1.0, field)


def place_varied(
    volume: LabelVolume,
    focus: PlacedPoints,
    shape: Shape,
    spacing_mm: float,
    heights: tuple[float, float],
    rng: np.random.Generator,
) -> Placement:
    """Return a random placement of a patch.

    Args:
        volume: the body.
        focus: (3,), voxel of the body that the patch's centre shows.
        shape, spacing_mm: of the patch.
        heights: first and last slice of the body that were scanned.
        rng: source of turn, scale, mirror, bend, and cuts.
    """
    matrix = _draw_matrix(rng)
    bend_fwhm_mm = float(rng.uniform(45.0, 110.0))
    bend: NDArray[np.float32] | None = None
    if rng.random() < 0.7:
        counts = tuple(place_knots(n, bend_fwhm_mm / spacing_mm) for n in shape)
        size = float(rng.uniform(1.0, 0.09 * bend_fwhm_mm))
        bend = (size * rng.standard_normal((3, *counts))).astype(np.float32)
    step = spacing_mm * matrix[2, 2] / volume.spacing_mm[2]
    middle = (shape[2] - 1) / 2
    field = [(0.0, shape[0] - 1.0), (0.0, shape[1] - 1.0)]
    field.append((middle + (heights[0] - focus[2]) / step, middle + (heights[1] - focus[2]) / step))
    if rng.random() < 0.15:  # a study cropped in plane
        for axis in range(2):
            half = rng.uniform(0.15, 0.75, 2) * shape[axis]
            field[axis] = (shape[axis] / 2 - float(half[0]), shape[axis] / 2 + float(half[1]))
    spacing = (spacing_mm, spacing_mm, spacing_mm)
    return Placement(shape, spacing, volume.spacing_mm, focus, matrix, bend, bend_fwhm_mm, tuple(field))


def _draw_matrix(rng: np.random.Generator) -> PlacedPoints:
    """Return a turn by some degrees about each axis, a scale per axis, and a mirror of left and right in a quarter."""
    turn = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(rng.normal(0.0, (5.0, 4.0, 6.0)))):
        i, j = [k for k in range(3) if k != axis]
        one = np.eye(3)
        one[i, i] = one[j, j] = np.cos(angle)
        one[i, j], one[j, i] = -np.sin(angle), np.sin(angle)
        turn = one @ turn
    scale = np.exp(rng.normal(0.0, 0.10) + rng.normal(0.0, 0.05, 3))
    if rng.random() < 0.25:
        scale[0] *= -1
    return np.asarray(turn * np.clip(np.abs(scale), 0.75, 1.35) * np.sign(scale))
