"""Where a patient's voxels lie in the reference body: the frame, and the canvas made from it.

A frame is a table of heights: at each, the patient's centre line and how many patient millimetres make one
millimetre of the reference body across and from front to back. Between the heights everything is linear.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autosegnet.geometry import Grid
from petct_simulator.shapes import WARP_MM, Canvas, PointMm, Volume, make_smooth_field

# Heights of the reference body in mm above the soles.
SOLE, KNEE, CROTCH, BLADDER, DOME, APEX, CHIN, VERTEX = 0.0, 480.0, 830.0, 905.0, 1235.0, 1480.0, 1545.0, 1750.0


@dataclass(frozen=True, slots=True)
class Frame:
    """Knots, in order of height. All lengths in mm, in the patient's LPS world; scales are patient mm per mm."""

    reference_z: tuple[float, ...]
    z: tuple[float, ...]
    centre_x: tuple[float, ...]
    centre_y: tuple[float, ...]
    scale_x: tuple[float, ...]
    scale_y: tuple[float, ...]


def make_lattice(shape: tuple[int, int, int], spacing_mm: PointMm, origin_mm: PointMm) -> Grid:
    """Return the grid of arrays of a shape (z, y, x), without rotation: x to the left, y to the back, z to the head."""
    return Grid(shape[::-1], spacing_mm, origin_mm, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))


def measure_axis_mm(lattice: Grid, dimension: int) -> NDArray[np.float64]:
    """Return the positions of the voxels of a grid without rotation along x (0), y (1) or z (2)."""
    steps = np.arange(lattice.size[dimension], dtype=np.float64)
    return np.asarray(lattice.origin_mm[dimension] + lattice.spacing_mm[dimension] * steps, dtype=np.float64)


def make_stature_frame(height_mm: float, head_share: float, girth: float, belly: float) -> Frame:
    """Return the frame of a standing height, with its vertex at z = 0 and x = y = 0 in the midline.

    head_share: the head's size over that of a grown-up of this height (a child of six: 1.3);
    girth, belly: the trunk's width, and the depth of its abdomen, over that of the reference body.
    """
    size = height_mm / VERTEX
    head = size * head_share
    trunk = (height_mm - head * (VERTEX - CHIN)) / CHIN
    knots = (SOLE - 100.0, KNEE, CROTCH, BLADDER, 1080.0, DOME, APEX, CHIN, VERTEX, VERTEX + 100.0)
    z = tuple((k - CHIN) * (trunk if k <= CHIN else head) - (VERTEX - CHIN) * head for k in knots)
    wide = trunk * girth
    scale_x = (trunk, trunk, wide, wide, wide, wide, wide, head, head, head)
    scale_y = (trunk, trunk, wide, wide, wide * belly, wide * (1 + belly) / 2, wide, head, head, head)
    zeros = (0.0,) * len(knots)
    return Frame(knots, z, zeros, zeros, scale_x, scale_y)


def prepare_canvas(frame: Frame, lattice: Grid, rng: np.random.Generator) -> Canvas:
    """Return an empty canvas: the lattice in reference coordinates, bent by a smooth warp of about 4 mm."""
    z_mm = measure_axis_mm(lattice, 2)
    heights = _extrapolate(z_mm, frame.z, frame.reference_z).astype(np.float32)
    scale_x, scale_y = (np.interp(z_mm, frame.z, s)[:, None] for s in (frame.scale_x, frame.scale_y))
    centre_x, centre_y = (np.interp(z_mm, frame.z, c)[:, None] for c in (frame.centre_x, frame.centre_y))
    axis_x: Volume = ((measure_axis_mm(lattice, 0)[None] - centre_x) / scale_x).astype(np.float32)
    axis_y: Volume = ((measure_axis_mm(lattice, 1)[None] - centre_y) / scale_y).astype(np.float32)
    x = axis_x[:, None, :] + _draw_warp(lattice, rng)
    y = axis_y[:, :, None] + _draw_warp(lattice, rng)
    z = heights[:, None, None] + _draw_warp(lattice, rng)
    return Canvas(np.zeros(lattice.shape, np.uint8), x, y, z, heights, axis_x, axis_y)


def _draw_warp(lattice: Grid, rng: np.random.Generator) -> Volume:
    field = make_smooth_field(lattice.shape, lattice.spacing_mm, 130.0, rng)
    return np.asarray(np.clip(field * np.float32(4.0), -WARP_MM, WARP_MM), dtype=np.float32)


def _extrapolate(at: NDArray[np.float64], knots: tuple[float, ...], values: tuple[float, ...]) -> NDArray[np.float64]:
    first = (values[1] - values[0]) / (knots[1] - knots[0])
    last = (values[-1] - values[-2]) / (knots[-1] - knots[-2])
    inside = np.interp(at, knots, values)
    return inside + np.minimum(at - knots[0], 0.0) * first + np.maximum(at - knots[-1], 0.0) * last
