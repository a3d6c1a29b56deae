"""A NIfTI header as the grid and the voxel type it means; nibabel decodes it.

NIfTI's world is RAS in mm, SimpleITK's is LPS: x and y change sign.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autosegnet.errors import InputError, format_path
from autosegnet.geometry import Grid
from autosegnet.io.decoded import check_geometry, check_size, check_spacing
from autosegnet.io.nifti_forms import PIXDIM_TOLERANCE, Form, choose_affine

# NIfTI-1 and NIfTI-2: bytes of the header, and the magic of a single file (nifti1.h, nifti2.h).
_MAGIC = {348: b"n+1\x00", 540: b"n+2\x00\r\n\x1a\n"}
_MAGIC_AT = {348: 344, 540: 4}
NIFTI_HEADER_BYTES = 540
# Datatype codes of real scalar voxels (nifti1.h, NIFTI_TYPE_*).
_TYPES = {2: "u1", 256: "i1", 4: "i2", 512: "u2", 8: "i4", 768: "u4", 1024: "i8", 1280: "u8", 16: "f4", 64: "f8"}
# Header extensions (comments, DICOM) lie between header and voxels; they take kilobytes.
_MOST_BEFORE_VOXELS = 64 << 20
# ITK ignores a smaller slope or intercept (itkNiftiImageIO.cxx, epsilon of double), nibabel applies it.
_SMALLEST_SCALING = float(np.finfo(np.float64).eps)
_MILLIMETRE, _UNKNOWN_UNIT = 2, 0
LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0])


@dataclass(frozen=True, slots=True)
class NiftiHeader:
    """Describe the voxels that a header announces.

    Args:
        grid: where they lie, in LPS.
        dtype: of the stored voxels, with the file's byte order.
        start: position of the first voxel.
        slope: value = slope * stored + intercept.
        intercept: see slope.
    """

    grid: Grid
    dtype: np.dtype[Any]
    start: int
    slope: float
    intercept: float


def parse_nifti_header(head: bytes, path: Path, form: Form) -> NiftiHeader:
    """Return the header in the first `NIFTI_HEADER_BYTES` bytes of an uncompressed file.

    Args:
        head: the bytes.
        path: for messages.
        form: which of sform and qform counts if both are set.

    Raises:
        InputError: no NIfTI header of one real scalar three-dimensional image, or one that contradicts itself.
    """
    import nibabel

    # nibabel would guess the byte order from dim[0], which may be damaged.
    orders = {int.from_bytes(head[:4], "little"): "<", int.from_bytes(head[:4], "big"): ">"}
    length = next((size for size in _MAGIC if size in orders), 0)
    if not length or len(head) < length:
        raise InputError(f"found no NIfTI header, expected a NIfTI-1 or NIfTI-2 image, in {format_path(path)}")
    head, magic = head[:length], _MAGIC[length]
    if head[_MAGIC_AT[length] :][: len(magic)] != magic:
        raise InputError(f"found no single-file NIfTI image (magic n+1 or n+2), in {format_path(path)}")
    kind: Any = nibabel.Nifti1Header if length == 348 else nibabel.Nifti2Header
    with np.errstate(all="ignore"):
        fields = kind(head, endianness=orders[length], check=False)
        size, dtype = _read_size(fields, path), _read_dtype(fields, path)
        grid = _read_grid(fields, size, path, form)
        slope, intercept = _read_scaling(fields, path)
        start = _start(fields, length + 4, path)
    return NiftiHeader(grid, dtype, start, slope, intercept)


def _read_size(fields: Any, path: Path) -> tuple[int, int, int]:
    dim = [int(value) for value in fields["dim"]]
    if not 3 <= dim[0] <= 7:
        raise InputError(f"the image has {dim[0]} dimensions, expected 3, in {format_path(path)}")
    if any(count != 1 for count in dim[4 : dim[0] + 1]):
        raise InputError(
            f"the image has {dim[0]} dimensions, expected one three-dimensional image, in {format_path(path)}"
        )
    check_size((dim[1], dim[2], dim[3]), path)
    return dim[1], dim[2], dim[3]


def _read_dtype(fields: Any, path: Path) -> np.dtype[Any]:
    code = int(fields["datatype"])
    if code not in _TYPES:
        raise InputError(
            f"datatype code is {code}, expected a real scalar type such as 16 (float32), in {format_path(path)}"
        )
    dtype = np.dtype(_TYPES[code]).newbyteorder(fields.endianness)
    if int(fields["bitpix"]) != 8 * dtype.itemsize:
        raise InputError(f"bitpix is {int(fields['bitpix'])}, expected {8 * dtype.itemsize}, in {format_path(path)}")
    return dtype


def _start(fields: Any, earliest: int, path: Path) -> int:
    offset = float(fields["vox_offset"])
    if not earliest <= offset <= _MOST_BEFORE_VOXELS or offset != int(offset):
        raise InputError(
            f"vox_offset is {offset:g}, expected a whole number from {earliest} to {_MOST_BEFORE_VOXELS}, "
            f"in {format_path(path)}"
        )
    return int(offset)


def _read_scaling(fields: Any, path: Path) -> tuple[float, float]:
    """Return slope and intercept; slope 0 or NaN means none (nifti1.h, "DATA SCALING", and what nibabel writes)."""
    slope, intercept = float(fields["scl_slope"]), float(fields["scl_inter"])
    if slope == 0 or math.isnan(slope):
        return 1.0, 0.0
    if not all(value == 0 or _SMALLEST_SCALING <= abs(value) < math.inf for value in (slope, intercept)):
        raise InputError(
            f"scl_slope is {slope:g} and scl_inter {intercept:g}, expected 0 or finite numbers of at least "
            f"{_SMALLEST_SCALING:.1e}, in {format_path(path)}"
        )
    return slope, intercept


def _read_grid(fields: Any, size: tuple[int, int, int], path: Path, form: Form) -> Grid:
    """Return the grid in LPS, from the sform if it is set, else from the qform."""
    unit = int(fields["xyzt_units"]) & 7
    if unit not in {_MILLIMETRE, _UNKNOWN_UNIT}:
        raise InputError(
            f"spatial unit code is {unit}, expected 2 (mm) or 0 (unknown, read as mm), in {format_path(path)}"
        )
    pixdim = tuple(float(value) for value in fields["pixdim"][1:4])
    if form != "sform":
        check_spacing(pixdim, path)
    affine = choose_affine(fields, size, path, form)
    columns = np.linalg.norm(affine[:3, :3], axis=0)
    x, y, z = columns.tolist()
    direction = LPS_FROM_RAS @ (affine[:3, :3] / np.where(columns > 0, columns, 1.0))
    left, posterior, superior = (LPS_FROM_RAS @ affine[:3, 3]).tolist()
    grid = Grid(size, (x, y, z), (left, posterior, superior), tuple(direction.ravel().tolist()))
    check_geometry(grid, path)
    if form != "sform" and np.abs(columns / pixdim - 1).max() > PIXDIM_TOLERANCE:
        raise InputError(
            f"pixdim says {', '.join(f'{value:g}' for value in pixdim)} mm but the sform "
            f"{', '.join(f'{value:g}' for value in grid.spacing_mm)} mm, expected one spacing, in {format_path(path)}"
        )
    return grid
