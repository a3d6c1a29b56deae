"""A NIfTI header as the grid and the voxel type it means; nibabel decodes it.

NIfTI's world is RAS in mm, SimpleITK's is LPS: x and y change sign.
"""

import itertools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autosegnet.errors import InputError, format_path
from autosegnet.io.decoded import check_geometry, check_size

# NIfTI-1 and NIfTI-2: bytes of the header, and the magic of a single file (nifti1.h, nifti2.h).
_MAGIC = {348: b"n+1\x00", 540: b"n+2\x00\r\n\x1a\n"}
_MAGIC_AT = {348: 344, 540: 4}
LONGEST_HEADER = 540
# Datatype codes of real scalar voxels (nifti1.h, NIFTI_TYPE_*).
_TYPES = {2: "u1", 256: "i1", 4: "i2", 512: "u2", 8: "i4", 768: "u4", 1024: "i8", 1280: "u8", 16: "f4", 64: "f8"}
# Header extensions (comments, DICOM) lie between header and voxels; they take kilobytes.
_MOST_BEFORE_VOXELS = 64 << 20
# sform and qform may place the far corner this far apart, in voxels. A quaternion in float32 with a half-turn loses
# half of its digits: 3e-4 rad, which is 0.3 mm at 1 m. From half a voxel on, the two place a voxel differently.
FORMS_TOLERANCE_VOXELS = 0.25
# pixdim and the length of the sform's columns are one number; nibabel and ITK each take another one of them. 1e-4 is
# a tenth of a voxel after a thousand, and a thousand times what float32 rounds.
_PIXDIM_TOLERANCE = 1e-4
# ITK ignores a smaller slope or intercept (itkNiftiImageIO.cxx, epsilon of double), nibabel applies it.
_SMALLEST_SCALING = float(np.finfo(np.float64).eps)
# nifti1.h, NIFTI_XFORM_*: unknown, scanner, aligned, Talairach, MNI 152, other template.
_XFORM_CODES = range(6)
_MILLIMETRE, _UNKNOWN_UNIT = 2, 0
LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0])


@dataclass(frozen=True, slots=True)
class NiftiHeader:
    """What a header says about its voxels, its grid already in LPS.

    Attributes:
        size: (x, y, z) voxels
        spacing: (x, y, z) mm
        origin: (x, y, z) mm, LPS
        direction: row-major, as `SimpleITK.Image.GetDirection`
        dtype: of the stored voxels, with the file's byte order
        start: position of the first voxel
        slope: value = slope * stored + intercept
        intercept: see slope
    """

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: tuple[float, ...]
    dtype: np.dtype[Any]
    start: int
    slope: float
    intercept: float


def parse_header(head: bytes, path: Path) -> NiftiHeader:
    """The header in the first `LONGEST_HEADER` bytes of an uncompressed file.

    Raises:
        InputError: no NIfTI header of one real scalar three-dimensional image, or one that contradicts itself
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
        size, dtype = _size(fields, path), _dtype(fields, path)
        spacing, origin, direction = _grid(fields, size, path)
        slope, intercept = _scaling(fields, path)
        start = _start(fields, length + 4, path)
    return NiftiHeader(size, spacing, origin, direction, dtype, start, slope, intercept)


def _size(fields: Any, path: Path) -> tuple[int, int, int]:
    dim = [int(value) for value in fields["dim"]]
    if not 3 <= dim[0] <= 7:
        raise InputError(f"the image has {dim[0]} dimensions, expected 3, in {format_path(path)}")
    if any(count != 1 for count in dim[4 : dim[0] + 1]):
        raise InputError(
            f"the image has {dim[0]} dimensions, expected one three-dimensional image, in {format_path(path)}"
        )
    check_size(tuple(dim[1:4]), path)
    return dim[1], dim[2], dim[3]


def _dtype(fields: Any, path: Path) -> np.dtype[Any]:
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


def _scaling(fields: Any, path: Path) -> tuple[float, float]:
    """Slope and intercept; slope 0 or NaN means none (nifti1.h, "DATA SCALING", and what nibabel writes)."""
    slope, intercept = float(fields["scl_slope"]), float(fields["scl_inter"])
    if slope == 0 or math.isnan(slope):
        return 1.0, 0.0
    if not all(value == 0 or _SMALLEST_SCALING <= abs(value) < math.inf for value in (slope, intercept)):
        raise InputError(
            f"scl_slope is {slope:g} and scl_inter {intercept:g}, expected 0 or finite numbers of at least "
            f"{_SMALLEST_SCALING:.1e}, in {format_path(path)}"
        )
    return slope, intercept


def _grid(
    fields: Any, size: tuple[int, int, int], path: Path
) -> tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, ...]]:
    """Spacing, origin and direction in LPS, from the sform where it is set, else from the qform."""
    unit = int(fields["xyzt_units"]) & 7
    if unit not in {_MILLIMETRE, _UNKNOWN_UNIT}:
        raise InputError(
            f"spatial unit code is {unit}, expected 2 (mm) or 0 (unknown, read as mm), in {format_path(path)}"
        )
    pixdim = tuple(float(value) for value in fields["pixdim"][1:4])
    check_geometry(pixdim, (0.0, 0.0, 0.0), tuple(np.eye(3).ravel()), path)
    affine = _affine(fields, size, path)
    columns = np.linalg.norm(affine[:3, :3], axis=0)
    with_sign = LPS_FROM_RAS @ (affine[:3, :3] / np.where(columns > 0, columns, 1.0))
    spacing = tuple(float(value) for value in columns)
    origin = tuple(float(value) for value in LPS_FROM_RAS @ affine[:3, 3])
    direction = tuple(float(value) for value in with_sign.ravel())
    check_geometry(spacing, origin, direction, path)
    if np.abs(columns / pixdim - 1).max() > _PIXDIM_TOLERANCE:
        raise InputError(
            f"pixdim says {', '.join(f'{value:g}' for value in pixdim)} mm but the sform "
            f"{', '.join(f'{value:g}' for value in spacing)} mm, expected one spacing, in {format_path(path)}"
        )
    return (spacing[0], spacing[1], spacing[2]), (origin[0], origin[1], origin[2]), direction


def _affine(fields: Any, size: tuple[int, int, int], path: Path) -> NDArray[np.float64]:
    """Voxel index to RAS mm. Where sform and qform are both set they have to agree."""
    sform_code, qform_code = int(fields["sform_code"]), int(fields["qform_code"])
    if not {sform_code, qform_code} <= set(_XFORM_CODES) or sform_code == qform_code == 0:
        raise InputError(
            f"sform_code is {sform_code} and qform_code {qform_code}, expected one from 1 to 5 (a known orientation), "
            f"in {format_path(path)}"
        )
    sform = np.asarray(fields.get_sform(), np.float64)
    if qform_code == 0:
        return sform
    try:
        fields["pixdim"][0] = _qfac(fields, path)
        qform = np.asarray(fields.get_qform(), np.float64)
    except ValueError as error:
        raise InputError(f"the qform's quaternion is not a rotation, expected one, in {format_path(path)}") from error
    if sform_code == 0:
        return qform
    apart = voxels_apart(sform, qform, size)
    if not apart <= FORMS_TOLERANCE_VOXELS:
        raise InputError(
            f"sform and qform place a corner {apart:.3g} voxels apart, expected at most {FORMS_TOLERANCE_VOXELS:g}, "
            f"in {format_path(path)}; write the image again with the right one in both"
        )
    return sform


def _qfac(fields: Any, path: Path) -> float:
    """1 or -1, the handedness of the qform; 0 means 1 (nifti1.h, "METHOD 2")."""
    qfac = float(fields["pixdim"][0])
    if qfac not in {-1.0, 0.0, 1.0}:
        raise InputError(f"qfac (pixdim[0]) is {qfac:g}, expected 1 or -1, in {format_path(path)}")
    return qfac or 1.0


def voxels_apart(first: NDArray[np.float64], second: NDArray[np.float64], size: tuple[int, ...]) -> float:
    """How far two affines place the corner voxel on which they differ most, in voxels of the smallest spacing."""
    corners = np.array([(*corner, 1) for corner in itertools.product(*((0, count - 1) for count in size))]).T
    away = np.linalg.norm(((first - second) @ corners)[:3], axis=0).max()
    smallest = np.linalg.norm(second[:3, :3], axis=0).min()
    return float(away / smallest) if smallest > 0 else math.inf
