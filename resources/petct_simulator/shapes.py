"""Paints ellipsoids and tubes into a tissue map, in the coordinates of the reference body.

The reference body is an adult of 1750 mm standing height: x to the left (0 in the midline), y to the back (0 at the
centre of the trunk), z upwards from the soles, in mm. A `Canvas` knows for every voxel where it lies in that body,
so that one description of the anatomy serves patients of every size, and organ maps of real patients.
Arrays are (z, y, x).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

PointMm = tuple[float, float, float]
Volume = NDArray[np.float32]
Mask = NDArray[np.bool_]
VoxelBox = tuple[slice, slice, slice]
WARP_MM = 16.0  # the farthest that the smooth warp may move a voxel; boxes are widened by it


@dataclass(frozen=True, slots=True)
class Canvas:
    """Tissue labels (z, y, x), uint8, painted in place, with the reference coordinates of every voxel in mm."""

    tissue: NDArray[np.uint8]
    x: Volume
    y: Volume
    z: Volume
    # The same without the warp, per slice: (z,), (z, x) and (z, y).
    axis_z: Volume
    axis_x: Volume
    axis_y: Volume

    def find_box(self, lower: PointMm, upper: PointMm) -> VoxelBox | None:
        """Return the voxels that can lie between two corners of the reference body; None when there are none."""
        rows = np.flatnonzero((self.axis_z > lower[2] - WARP_MM) & (self.axis_z < upper[2] + WARP_MM))
        if rows.size == 0:
            return None
        z = slice(int(rows[0]), int(rows[-1]) + 1)
        y = _find_span(self.axis_y[z], lower[1], upper[1])
        x = _find_span(self.axis_x[z], lower[0], upper[0])
        return None if y is None or x is None else (z, y, x)

    def measure_ellipsoid(self, centre: PointMm, radii: PointMm) -> tuple[VoxelBox, Volume] | None:
        """Return a box and in it the ellipsoid's radius: 0 at its centre, 1 on its surface."""
        lower = (centre[0] - radii[0], centre[1] - radii[1], centre[2] - radii[2])
        upper = (centre[0] + radii[0], centre[1] + radii[1], centre[2] + radii[2])
        box = self.find_box(lower, upper)
        if box is None:
            return None
        squares = ((self.x[box] - centre[0]) / radii[0]) ** 2
        squares += ((self.y[box] - centre[1]) / radii[1]) ** 2
        squares += ((self.z[box] - centre[2]) / radii[2]) ** 2
        return box, np.sqrt(squares)

    def paint_ellipsoid(self, centre: PointMm, radii: PointMm, label: int, *, over: Mask | None = None) -> None:
        """Label an ellipsoid; only where `over`, indexed by the present label, allows it."""
        found = self.measure_ellipsoid(centre, radii)
        if found is not None:
            box, radius = found
            self.paint(box, radius < 1.0, label, over=over)

    def paint(self, box: VoxelBox, inside: Mask, label: int, *, over: Mask | None = None) -> None:
        """Label the voxels `inside` a box."""
        region = self.tissue[box]
        region[inside if over is None else inside & over[region]] = label

    def paint_tube(
        self,
        points: list[PointMm],
        radii_mm: float | list[float],
        label: int,
        *,
        core: tuple[float, int] | None = None,
        over: Mask | None = None,
    ) -> None:
        """Label a tube along a polyline; core: (wall thickness in mm, label of what is inside the wall)."""
        radii = [radii_mm] * len(points) if isinstance(radii_mm, int | float) else radii_mm
        wall = core[0] if core else 0.0
        for thinner, value in ((0.0, label),) + (((wall, core[1]),) if core else ()):
            for a, b, ra, rb in zip(points[:-1], points[1:], radii[:-1], radii[1:], strict=True):
                found = self.measure_capsule(a, b, ra, rb)
                if found is not None:
                    self.paint(found[0], found[1] > thinner, value, over=None if thinner else over)

    def measure_capsule(
        self, a: PointMm, b: PointMm, radius_a: float, radius_b: float
    ) -> tuple[VoxelBox, Volume] | None:
        """Return a box and in it the depth in mm below the surface of a capsule (positive inside)."""
        widest = max(radius_a, radius_b)
        lower = (min(a[0], b[0]) - widest, min(a[1], b[1]) - widest, min(a[2], b[2]) - widest)
        upper = (max(a[0], b[0]) + widest, max(a[1], b[1]) + widest, max(a[2], b[2]) + widest)
        box = self.find_box(lower, upper)
        if box is None:
            return None
        dx, dy, dz = self.x[box] - a[0], self.y[box] - a[1], self.z[box] - a[2]
        vx, vy, vz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
        along = np.clip((dx * vx + dy * vy + dz * vz) / max(vx * vx + vy * vy + vz * vz, 1e-6), 0.0, 1.0)
        distance = np.sqrt((dx - along * vx) ** 2 + (dy - along * vy) ** 2 + (dz - along * vz) ** 2)
        return box, radius_a + along * (radius_b - radius_a) - distance

    def locate(self, point: PointMm) -> tuple[int, int, int] | None:
        """Return the voxel (z, y, x) nearest to a point of the reference body; None when it is out of the field."""
        found = self.measure_ellipsoid(point, (12.0, 12.0, 12.0))
        if found is None:
            return None
        box, radius = found
        nearest = int(np.argmin(radius))
        if radius.flat[nearest] > 2.0:
            return None
        index = np.unravel_index(nearest, radius.shape)
        return box[0].start + int(index[0]), box[1].start + int(index[1]), box[2].start + int(index[2])


def _find_span(axis: Volume, lower: float, upper: float) -> slice | None:
    columns = np.flatnonzero(((axis > lower - WARP_MM) & (axis < upper + WARP_MM)).any(axis=0))
    return slice(int(columns[0]), int(columns[-1]) + 1) if columns.size else None


def allow(*labels: int) -> Mask:
    """Return the lookup for `over` that allows painting over these labels only."""
    table = np.zeros(256, dtype=bool)
    table[list(labels)] = True
    return table


def make_smooth_field(
    shape: tuple[int, int, int], spacing_mm: PointMm, fwhm_mm: float, rng: np.random.Generator
) -> Volume:
    """Return a random field (z, y, x) of mean 0 and SD 1, correlated over fwhm_mm; spacing_mm is (x, y, z).

    Drawn on a grid of a third of fwhm_mm and interpolated linearly, which costs far less than filtering.
    """
    step = max(fwhm_mm / 3.0, 1e-3)
    zoom = [max(1.0, step / s) for s in (spacing_mm[2], spacing_mm[1], spacing_mm[0])]
    coarse_shape = tuple(int(np.ceil(n / f)) + 2 for n, f in zip(shape, zoom, strict=True))
    coarse = rng.standard_normal(coarse_shape, dtype=np.float32)
    sigmas = [
        fwhm_mm / 2.355 / (s * f) for s, f in zip((spacing_mm[2], spacing_mm[1], spacing_mm[0]), zoom, strict=True)
    ]
    coarse = ndimage.gaussian_filter(coarse, sigmas, mode="wrap")
    coarse /= max(float(coarse.std()), 1e-6)
    field: Volume = coarse
    for axis, (n, factor) in enumerate(zip(shape, zoom, strict=True)):
        field = _stretch(field, axis, n, factor)
    return field


def _stretch(field: Volume, axis: int, size: int, factor: float) -> Volume:
    position = np.arange(size, dtype=np.float32) / np.float32(factor)
    low = position.astype(np.intp)
    weight = (position - low).reshape([-1 if i == axis else 1 for i in range(3)]).astype(np.float32)
    start = np.take(field, low, axis=axis)
    start += weight * (np.take(field, low + 1, axis=axis) - start)
    return start
