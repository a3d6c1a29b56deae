"""The voxels and grid that every reader returns, and the bounds that an image must keep to be trusted.

World coordinates are LPS in mm, as SimpleITK has them; voxel arrays are (z, y, x).
"""

import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from autosegnet.errors import InputError, format_path
from autosegnet.geometry import Grid, place_on

if TYPE_CHECKING:
    import SimpleITK

log = logging.getLogger(__name__)

Nonfinite = Literal["refuse", "air"]
"""What to do with voxels that are NaN or infinite."""

# Whole-body PET, CT and resampled grids have spacings of 0.5 to 6 mm; 0.3 and 20 mm leave room on both sides.
SPACING_LIMITS_MM = (0.3, 20.0)
# Twice the largest study that has to work (700 x 700 x 1100 = 5.4e8 voxels): 4.4 GB as float32.
MAX_VOXELS = 1_100_000_000
# Compressed, so many zeros take a thousandth. float64 may be as many voxels as the largest study.
MAX_BYTES = 4 * MAX_VOXELS
# A scan of 2 m at the smallest spacing has 6667 slices.
MAX_AXIS = 7_000
_FARTHEST_ORIGIN_MM = 1e9  # far beyond any scanner; a larger value is damage, and overflows in float32 arithmetic
# How far any entry of direction @ direction.T may be from the identity.
ORTHONORMAL_TOLERANCE = 1e-3
# Types that are kept; every other numeric type becomes float32.
_KEPT_TYPES = frozenset({"int8", "uint8", "int16", "uint16", "float32"})


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """Voxels and grid as a file states them.

    Args:
        voxels: (z, y, x), native byte order, C-contiguous, of the file's own type or of its scaled values.
        grid: where they lie.
    """

    voxels: NDArray[Any]
    grid: Grid


def empty_voxels(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return a writable array of zeros (z, y, x) for an image's voxels; `make_decoded_image` hands its memory on.

    A study is read into the memory that it stays in, because a copy would need as much again.
    """
    import SimpleITK

    pixels = SimpleITK.Image(*shape[::-1], _find_pixel_type(dtype))
    return np.asarray(_ImageMemory(pixels))


class _ImageMemory:
    """Lends the voxels of a new image to numpy for writing; numpy keeps this object alive."""

    def __init__(self, image: "SimpleITK.Image") -> None:
        import SimpleITK

        view = SimpleITK.GetArrayViewFromImage(image)
        self.image = image
        self.__array_interface__ = {**view.__array_interface__, "data": (view.ctypes.data, False)}


def _find_pixel_type(dtype: np.dtype[Any]) -> int:
    """Return SimpleITK's number of a numeric type."""
    import SimpleITK

    kind = {"i": "Int", "u": "UInt", "f": "Float"}[dtype.kind]
    number: int = getattr(SimpleITK, f"sitk{kind}{8 * dtype.itemsize}")
    return number


def check_size(size: tuple[int, ...], path: Path) -> None:
    """Refuse sizes (x, y, z) that no study has, before anything is allocated.

    Raises:
        InputError: an axis without voxels or too long, or too many voxels in all
    """
    text = " x ".join(str(count) for count in size)
    if min(size) < 1:
        raise InputError(f"image size is {text} voxels, expected at least 1 along every axis, in {format_path(path)}")
    if max(size) > MAX_AXIS or math.prod(size) > MAX_VOXELS:
        raise InputError(
            f"image size is {text} voxels, expected at most {MAX_AXIS} along an axis and {MAX_VOXELS} in all, "
            f"in {format_path(path)}"
        )


def check_bytes(size: tuple[int, int, int], voxel_bytes: int, path: Path) -> None:
    """Refuse an image whose voxels, as the file stores them, take more memory than any study.

    Raises:
        InputError: more than `MAX_BYTES`.
    """
    needed = math.prod(size) * voxel_bytes
    if needed > MAX_BYTES:
        raise InputError(
            f"the voxels take {needed} bytes, expected at most {MAX_BYTES}, in {format_path(path)}; "
            "save the image as int16 or float32"
        )


def check_geometry(grid: Grid, path: Path) -> None:
    """Refuse a grid that is not a possible PET or CT grid.

    Raises:
        InputError: spacing outside 0.3-20 mm, origin not finite or absurdly far, direction not orthonormal to 1e-3.
    """
    check_spacing(grid.spacing_mm, path)
    if not all(abs(value) <= _FARTHEST_ORIGIN_MM for value in grid.origin_mm):
        raise InputError(
            f"origin is {_format_numbers(grid.origin_mm)} mm, "
            f"expected finite numbers of at most {_FARTHEST_ORIGIN_MM:g} mm, "
            f"in {format_path(path)}"
        )
    matrix = np.array(grid.direction, np.float64).reshape(3, 3)
    if not np.isfinite(matrix).all() or np.abs(matrix).max() > 2:
        raise InputError(
            f"direction holds {_format_numbers(grid.direction)}, expected direction cosines, in {format_path(path)}"
        )
    error = float(np.abs(matrix @ matrix.T - np.eye(3)).max())
    if error > ORTHONORMAL_TOLERANCE:
        raise InputError(
            f"image axes are not perpendicular unit vectors (off by {error:.2g}, expected at most "
            f"{ORTHONORMAL_TOLERANCE:g}), in {format_path(path)}; resample a sheared image first"
        )


def check_spacing(spacing_mm: tuple[float, ...], path: Path) -> None:
    """Refuse distances of voxel centres that no PET or CT has.

    Raises:
        InputError: outside 0.3-20 mm.
    """
    low, high = SPACING_LIMITS_MM
    if not all(low <= value <= high for value in spacing_mm):
        raise InputError(
            f"voxel spacing is {_format_numbers(spacing_mm)} mm, expected {low:g} to {high:g} mm along every axis, "
            f"in {format_path(path)}; export the image again from its source"
        )


def check_finite(voxels: NDArray[Any], path: Path) -> None:
    """Refuse NaN and infinite voxels, slice by slice, so that no second volume is needed.

    Raises:
        InputError: with their count and the index (x, y, z) of the first
    """
    if voxels.dtype.kind != "f":
        return
    count, first = 0, None
    for z, plane in enumerate(voxels):
        bad = ~np.isfinite(plane)
        found = int(np.count_nonzero(bad))
        if found and first is None:
            y, x = np.argwhere(bad)[0]
            first = (int(x), int(y), z)
        count += found
    if count:
        raise InputError(
            f"{count} voxels are NaN or infinite, the first at index (x, y, z) = {first}, expected finite numbers, "
            f"in {format_path(path)}; if they lie outside the field of view, --nonfinite air reads them as air"
        )


def fill_nonfinite(voxels: NDArray[Any], air: float) -> None:
    """Set NaN and infinite voxels to a value, in place, and warn how many they are."""
    if voxels.dtype.kind != "f":
        return
    count = 0
    for plane in voxels:
        bad = ~np.isfinite(plane)
        count += int(np.count_nonzero(bad))
        plane[bad] = air
    if count:
        log.warning(
            "%d voxels (%.1f %%) of an image are NaN or infinite; read as air (%g)",
            count,
            100 * count / voxels.size,
            air,
        )


def keep_type(voxels: NDArray[Any], path: Path) -> NDArray[Any]:
    """Return the voxels as 8- or 16-bit integers or float32: the same array if it is one of them, else float32.

    Raises:
        InputError: float64 values beyond the range of float32 (3.4e38)
    """
    if voxels.dtype.name in _KEPT_TYPES:
        return voxels
    narrow = empty_voxels(voxels.shape, np.dtype(np.float32))
    with np.errstate(over="ignore"):
        for z, plane in enumerate(voxels):
            narrow[z] = plane
    if voxels.dtype.kind == "f" and not np.isfinite(narrow).all():
        raise InputError(f"voxel values exceed the range of 32-bit floating point (3.4e38) in {format_path(path)}")
    return narrow


def make_decoded_image(decoded: DecodedImage) -> "SimpleITK.Image":
    """Return the image in SimpleITK, on the very grid of `decoded`.

    Voxels of `empty_voxels` become the image's without a copy, any others by one.
    """
    import SimpleITK

    memory: object = decoded.voxels.base
    if isinstance(memory, _ImageMemory) and memory.image.GetSize() == decoded.voxels.shape[::-1]:
        image = memory.image
    else:
        image = SimpleITK.GetImageFromArray(decoded.voxels)
    place_on(image, decoded.grid)
    return image


def _format_numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)
