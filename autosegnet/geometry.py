"""Grids in physical space, resampling onto them, and the way back.

World coordinates are LPS in mm, as in DICOM and SimpleITK. A grid's tuples are in (x, y, z) order of its own axes;
`SimpleITK.GetArrayFromImage` lists the same axes in reverse.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import permutations, product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import SimpleITK as sitk

Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
"""Half-open voxel ranges ((x0, x1), (y0, y1), (z0, z1)) of one grid."""

# The patient's Superior, Anterior and Right in LPS, in this order: an image on a grid with these axes has an array,
# listed in reverse, in MONAI's RAS order, with no copy.
_SUPERIOR_ANTERIOR_RIGHT = np.array([[0.0, 0.0, 1.0], [0.0, -1.0, 0.0], [-1.0, 0.0, 0.0]])


@dataclass(frozen=True, slots=True)
class Grid:
    """A regular voxel grid in physical space, without the voxels.

    Args:
        size: voxels along (x, y, z).
        spacing_mm: distance of neighbouring voxel centres along (x, y, z).
        origin_mm: LPS position of the centre of voxel (0, 0, 0).
        direction: 3x3 cosines, row by row; column k is the unit vector of axis k.
    """

    size: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]
    direction: tuple[float, ...]

    @classmethod
    def from_image(cls, image: sitk.Image) -> Grid:
        """Return the grid of an image."""
        return cls(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return the shape of an array of the voxels: (z, y, x)."""
        return self.size[::-1]

    @property
    def voxel_ml(self) -> float:
        """Return the volume of a voxel."""
        return math.prod(self.spacing_mm) / 1000.0

    @property
    def steps_mm(self) -> NDArray[np.float64]:
        """Return the (3, 3) matrix whose column k leads from one voxel to the next along axis k."""
        steps: NDArray[np.float64] = np.reshape(self.direction, (3, 3)) * np.asarray(self.spacing_mm)
        return steps

    def find_position_mm(self, index: tuple[float, float, float]) -> tuple[float, float, float]:
        """Return the LPS position of a continuous voxel index (x, y, z)."""
        x, y, z = np.asarray(self.origin_mm) + self.steps_mm @ np.asarray(index, dtype=float)
        return (float(x), float(y), float(z))

    def find_index(self, position_mm: tuple[float, float, float]) -> tuple[float, float, float]:
        """Return the continuous voxel index (x, y, z) of an LPS position: the inverse of `find_position_mm`."""
        offset_mm = np.asarray(position_mm, dtype=float) - np.asarray(self.origin_mm)
        x, y, z = np.linalg.solve(self.steps_mm, offset_mm).tolist()
        return (x, y, z)

    def crop(self, box: Box) -> Grid:
        """Return the part of this grid inside a box of its voxels."""
        start = (box[0][0], box[1][0], box[2][0])
        size = (box[0][1] - box[0][0], box[1][1] - box[1][0], box[2][1] - box[2][0])
        return replace(self, size=size, origin_mm=self.find_position_mm(start))

    def find_box(self, part: Grid) -> Box:
        """Return where `part`, made by `crop`, lies in this grid: the inverse of `crop`."""
        offset_mm = np.asarray(part.origin_mm) - np.asarray(self.origin_mm)
        start = np.rint(np.linalg.solve(self.steps_mm, offset_mm)).astype(int).tolist()
        x, y, z = ((first, first + count) for first, count in zip(start, part.size, strict=True))
        return (x, y, z)


def make_working_grid(region: Grid, *, spacing_mm: tuple[float, float, float]) -> Grid:
    """Return the grid on which the network sees a region, with axes along (Superior, Anterior, Right).

    An image on it has an array in the network's order: x towards the patient's Right, y Anterior, z Superior. The axes
    are the region's own, permuted and flipped to the nearest anatomical ones: an oblique region stays oblique. The
    first voxel centres coincide, and the size is `round((n - 1) * spacing / new spacing + 1)`.

    Args:
        region: the cropped PET grid.
        spacing_mm: along the network's (x, y, z).

    Source: MONAI 1.6 `Orientationd(axcodes="RAS")` followed by `Spacingd` with its defaults, as in the published
        inference pipeline. The nearest axes are chosen together, not one by one as nibabel does, so that the choice
        does not depend on the order in which the axes are stored; it differs beyond about 35 degrees of tilt only.
    """
    order, direction, first = _find_anatomical_axes(region)
    spacing = (spacing_mm[2], spacing_mm[1], spacing_mm[0])
    extents_mm = [(region.size[order[k]] - 1) * region.spacing_mm[order[k]] for k in range(3)]
    x, y, z = (round(extent / step + 1) for extent, step in zip(extents_mm, spacing, strict=True))
    return Grid((x, y, z), spacing, region.find_position_mm(first), tuple(direction.ravel()))


def make_lattice_grid(region: Grid, *, spacing_mm: tuple[float, float, float]) -> Grid:
    """Make a region's working grid with its voxels on a lattice that does not depend on where the region ends.

    Along the region's axes, voxel centres lie at multiples of the spacing from the origin of the world. The first and
    the last are those nearest to the region's own, at most half a spacing beyond them.

    Args:
        region: the cropped PET grid.
        spacing_mm: along the network's (x, y, z).
    """
    order, direction, first = _find_anatomical_axes(region)
    spacing = np.array(spacing_mm[::-1])
    start_mm = np.linalg.solve(direction, region.find_position_mm(first))
    extents_mm = [(region.size[order[k]] - 1) * region.spacing_mm[order[k]] for k in range(3)]
    # Rounds as `floor(x + 0.5)`, less a millionth, so that the last bit of a header does not decide about a half.
    begin, end = (np.floor(place / spacing + 0.5 - 1e-6) for place in (start_mm, start_mm + extents_mm))
    x, y, z = (end - begin + 1).astype(int).tolist()
    origin = direction @ (begin * spacing)
    return Grid(
        (x, y, z), (spacing_mm[2], spacing_mm[1], spacing_mm[0]), tuple(origin.tolist()), tuple(direction.ravel())
    )


def extend_to_blocks(grid: Grid, *, block: int) -> Grid:
    """Return a `make_lattice_grid` that is extended so that it begins and ends with whole blocks of its lattice.

    Args:
        grid: as `make_lattice_grid` makes it.
        block: voxels along each axis.
    """
    direction = np.reshape(grid.direction, (3, 3))
    begin = np.rint(np.linalg.solve(direction, grid.origin_mm) / np.asarray(grid.spacing_mm)).astype(int)
    end = begin + np.asarray(grid.size)
    begin, end = begin // block * block, -(-end // block) * block
    x, y, z = (end - begin).tolist()
    origin = direction @ (begin * np.asarray(grid.spacing_mm))
    return replace(grid, size=(x, y, z), origin_mm=tuple(origin.tolist()))


def _find_anatomical_axes(region: Grid) -> tuple[tuple[int, ...], NDArray[np.float64], tuple[int, int, int]]:
    """Return the order of the axes nearest to (Superior, Anterior, Right), their directions as columns, first voxel."""
    axes = np.reshape(region.direction, (3, 3))
    cosines = _SUPERIOR_ANTERIOR_RIGHT @ axes
    order = max(permutations(range(3)), key=lambda p: float(sum(abs(cosines[k, p[k]]) for k in range(3))))
    backwards = [cosines[k, order[k]] < 0 for k in range(3)]
    first = [0, 0, 0]
    for k in range(3):
        first[order[k]] = region.size[order[k]] - 1 if backwards[k] else 0
    direction = np.stack([-axes[:, order[k]] if backwards[k] else axes[:, order[k]] for k in range(3)], axis=1)
    return order, direction, (first[0], first[1], first[2])


def resample(image: sitk.Image, grid: Grid, *, outside: float | None) -> sitk.Image:
    """Return the image, interpolated linearly in physical space, as float32 on a grid.

    Args:
        image: any scalar image.
        grid: where to interpolate.
        outside: value of the voxels beyond the image; None repeats its border, as MONAI's `padding_mode="border"` does.
    """
    import SimpleITK as sitk

    resampler = sitk.ResampleImageFilter()
    resampler.SetSize(grid.size)
    resampler.SetOutputSpacing(grid.spacing_mm)
    resampler.SetOutputOrigin(grid.origin_mm)
    resampler.SetOutputDirection(grid.direction)
    resampler.SetInterpolator(sitk.sitkLinear)
    resampler.SetOutputPixelType(sitk.sitkFloat32)
    resampler.SetUseNearestNeighborExtrapolator(outside is None)
    resampler.SetDefaultPixelValue(0.0 if outside is None else outside)
    resampled: sitk.Image = resampler.Execute(_extend_border(image, grid) if outside is None else image)
    return resampled


def resample_labels(image: sitk.Image, grid: Grid) -> sitk.Image:
    """Return the labels of an image on a grid: of the nearest voxel, 0 beyond the image; never interpolated.

    Args:
        image: integer labels.
        grid: where to look them up.
    """
    import SimpleITK as sitk

    resampler = sitk.ResampleImageFilter()
    resampler.SetSize(grid.size)
    resampler.SetOutputSpacing(grid.spacing_mm)
    resampler.SetOutputOrigin(grid.origin_mm)
    resampler.SetOutputDirection(grid.direction)
    resampler.SetInterpolator(sitk.sitkNearestNeighbor)
    resampled: sitk.Image = resampler.Execute(image)
    return resampled


def make_upright_grid(grid: Grid, *, spacing_mm: float) -> Grid:
    """Return a grid along the patient's own axes (LPS) that covers another one, voxel bodies included."""
    ends = np.array([grid.find_position_mm((x, y, z)) for x, y, z in product(*((-0.5, n - 0.5) for n in grid.size))])
    low_mm, high_mm = ends.min(axis=0), ends.max(axis=0)
    x, y, z = (max(1, round(extent / spacing_mm)) for extent in (high_mm - low_mm).tolist())
    left, front, foot = (low_mm + spacing_mm / 2).tolist()
    return Grid((x, y, z), (spacing_mm,) * 3, (left, front, foot), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))


def _extend_border(image: sitk.Image, grid: Grid) -> sitk.Image:
    """Return the image with its border repeated as far as a grid reaches beyond it.

    ITK interpolates up to half a voxel beyond the last centre. Farther out the nearest voxel is repeated, also along
    the border.
    """
    import SimpleITK as sitk

    own = Grid.from_image(image)
    corners = np.array([grid.find_position_mm((x, y, z)) for x, y, z in product(*[(0, n - 1) for n in grid.size])])
    index = np.linalg.solve(own.steps_mm, (corners - np.array(own.origin_mm)).T)
    # Half a voxel is as far as ITK interpolates; a millionth less, because of the last bit of a position.
    before = np.maximum(np.ceil(-index.min(axis=1) - 0.5 + 1e-6), 0).astype(int).tolist()
    after = np.maximum(np.ceil(index.max(axis=1) - own.size + 0.5 + 1e-6), 0).astype(int).tolist()
    if not any(before + after):
        return image
    extended: sitk.Image = sitk.ZeroFluxNeumannPad(image, before, after)
    return extended


def cut(image: sitk.Image, region: Grid) -> sitk.Image:
    """Return the part of an image in a region that `Grid.crop` made; the image itself if the region is all of it."""
    import SimpleITK as sitk

    if region == Grid.from_image(image):
        return image
    box = Grid.from_image(image).find_box(region)
    part: sitk.Image = sitk.RegionOfInterest(image, region.size, [start for start, _ in box])
    return part


def view_voxels(image: sitk.Image) -> NDArray[Any]:
    """Return a read-only view (z, y, x) of an image's voxels, without a copy, that keeps the image alive.

    `SimpleITK.GetArrayViewFromImage` alone does not: once its image is gone, its view silently shows whatever memory
    comes next.
    """
    return np.asarray(_Buffer(image))


class _Buffer:
    """Lends an image's voxels to numpy, which keeps this object and so the image alive."""

    def __init__(self, image: sitk.Image) -> None:
        import SimpleITK as sitk

        view = sitk.GetArrayViewFromImage(image)
        self.image = image
        self.__array_interface__ = {**view.__array_interface__, "data": (view.ctypes.data, True)}


def make_image(array: NDArray[Any], grid: Grid) -> sitk.Image:
    """Return an image from an array in SimpleITK's order, axes reversed: (grid z, grid y, grid x)."""
    import SimpleITK as sitk

    assert array.shape == grid.size[::-1]
    image = sitk.GetImageFromArray(array)
    place_on(image, grid)
    return image


def place_on(image: sitk.Image, grid: Grid) -> None:
    """Give a new image a grid of its size."""
    assert image.GetSize() == grid.size
    image.SetSpacing(grid.spacing_mm)
    image.SetOrigin(grid.origin_mm)
    image.SetDirection(grid.direction)


def find_occupied_box(mask: NDArray[Any]) -> tuple[slice, slice, slice]:
    """Return the smallest box that holds every non-zero value of an array (three axes, any order); empty if none."""
    across = np.any(mask, axis=0)
    found = [np.flatnonzero(hits) for hits in (np.any(mask, axis=(1, 2)), across.any(axis=1), across.any(axis=0))]
    first, second, third = (slice(int(f[0]), int(f[-1]) + 1) if f.size else slice(0, 0) for f in found)
    return first, second, third


def is_part_of(part: Grid, whole: Grid, *, tolerance: float = 0.02) -> bool:
    """Tell whether every voxel centre of a grid is one of another grid, whatever the order and direction of the axes.

    Args:
        part, whole: grids.
        tolerance: distance of two places that count as one, in voxels of `whole`.
    """
    ends = np.array([part.find_position_mm((x, y, z)) for x, y, z in product(*[(0, n - 1) for n in part.size])])
    index = np.linalg.solve(whole.steps_mm, (ends - np.asarray(whole.origin_mm)).T).T
    steps = np.linalg.solve(whole.steps_mm, part.steps_mm)
    turns = np.abs(np.rint(steps))
    is_permutation = bool((turns.sum(axis=0) == 1).all() and (turns.sum(axis=1) == 1).all())
    is_inside = bool((np.rint(index) >= 0).all() and (np.rint(index) <= np.array(whole.size) - 1).all())
    return is_permutation and is_inside and bool((np.abs(index - np.rint(index)) <= tolerance).all())


def is_same_set(a: Grid, b: Grid, *, tolerance: float = 0.02) -> bool:
    """Tell whether two grids have the same voxel centres, whatever the order and direction of their axes."""
    return sorted(a.size) == sorted(b.size) and is_part_of(a, b, tolerance=tolerance)


def is_same_grid(a: Grid, b: Grid, *, tolerance: float = 1e-3) -> bool:
    """Return whether two grids share every voxel centre, to a fraction of the smallest voxel side.

    The tolerance is relative to the voxel: rounding of headers (float32 in NIfTI, decimal strings in DICOM) moves
    centres by less than a thousandth of a voxel, while any deliberate difference of grids moves some by much more.
    """
    if a.size != b.size:
        return False
    limit_mm = tolerance * min(*a.spacing_mm, *b.spacing_mm)
    corners = [(x, y, z) for x in (0, a.size[0] - 1) for y in (0, a.size[1] - 1) for z in (0, a.size[2] - 1)]
    apart = np.array([a.find_position_mm(c) for c in corners]) - np.array([b.find_position_mm(c) for c in corners])
    return bool(np.all(np.linalg.norm(apart, axis=1) <= limit_mm))
