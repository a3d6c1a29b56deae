"""Reads and writes NIfTI in a single file (.nii, .nii.gz), strictly; nibabel interprets the header.

NIfTI's world is RAS in mm, SimpleITK's is LPS: x and y change sign here and nowhere else.
NIfTI stores the first axis fastest, so that a buffer in file order is a (z, y, x) array.
"""

import gzip
import itertools
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from autosegnet.errors import InputError
from autosegnet.io.decoded import DecodedImage, check_geometry, check_size
from autosegnet.io.inflate import check_inflatable, read_into
from autosegnet.io.stored import file_size, opened_image
from autosegnet.io.wording import shown

if TYPE_CHECKING:
    import SimpleITK

# NIfTI-1 and NIfTI-2: bytes of the header, and the magic of a single file (nifti1.h, nifti2.h).
_MAGIC = {348: b"n+1\x00", 540: b"n+2\x00\r\n\x1a\n"}
_MAGIC_AT = {348: 344, 540: 4}
# Datatype codes of real scalar voxels (nifti1.h, NIFTI_TYPE_*).
_TYPES = {2: "u1", 256: "i1", 4: "i2", 512: "u2", 8: "i4", 768: "u4", 1024: "i8", 1280: "u8", 16: "f4", 64: "f8"}
# Header extensions (comments, DICOM) lie between header and voxels; they take kilobytes.
_MOST_BEFORE_VOXELS = 64 << 20
# sform and qform may place the far corner this far apart, in voxels. A quaternion in float32 with a half-turn loses
# half of its digits: 3e-4 rad, which is 0.3 mm at 1 m. Half a voxel is where a lesion starts to move to its neighbour.
_FORMS_TOLERANCE_VOXELS = 0.25
# pixdim and the length of the sform's columns are the same numbers in float32; nibabel and ITK each take another one.
_PIXDIM_TOLERANCE = 1e-3
_MILLIMETRE, _UNKNOWN_UNIT = 2, 0
_LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0])
_SCANNER = 1
_COMPRESSION_LEVEL = 6


@dataclass(frozen=True, slots=True)
class _Header:
    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: tuple[float, ...]
    dtype: np.dtype[Any]
    start: int
    slope: float
    intercept: float


def read_nifti(path: Path) -> DecodedImage:
    """The voxels, scaled as the header says, and the grid of a .nii or .nii.gz file.

    Read to the last byte, so that gzip's checksum counts. Voxels without scaling keep the type of the file, scaled ones
    are float32 (computed in float64).

    Raises:
        InputError: anything damaged, contradictory or beyond the bounds of `decoded`
    """
    with opened_image(path) as file, _inflated(file, path) as stream:
        header = _parse(stream, path)
        needed = math.prod(header.size) * header.dtype.itemsize
        if stream is file and file_size(file) - header.start != needed:
            raise InputError(
                f"the file holds {max(file_size(file) - header.start, 0)} bytes of voxels, expected {needed}, "
                f"in {shown(path)}; copy it again"
            )
        check_inflatable(file_size(file), needed, path)
        voxels = np.empty(header.size[::-1], header.dtype)
        read_into(stream, voxels.reshape(-1).view(np.uint8).data, path=path)
        if stream.read(1):
            raise InputError(f"there are bytes behind the {needed} bytes of voxels, expected none, in {shown(path)}")
    if not voxels.dtype.isnative:
        voxels = voxels.byteswap(inplace=True).view(voxels.dtype.newbyteorder())
    return DecodedImage(_scaled(voxels, header, path), header.spacing, header.origin, header.direction)


def encode_nifti(image: "SimpleITK.Image", *, compressed: bool) -> Iterator[bytes]:
    """The bytes of a NIfTI-1 file with the image in it, unscaled, its sform and qform the image's own grid.

    The qform is left out where the axes are so far from perpendicular that it would contradict the sform.

    Args:
        image: three-dimensional, scalar, uint8 or float32
        compressed: as .nii.gz, without file name and time, so that equal images make equal files
    """
    import SimpleITK

    voxels = SimpleITK.GetArrayViewFromImage(image)  # (z, y, x), no copy
    assert image.GetDimension() == 3
    assert voxels.dtype.name in {"uint8", "float32"}, f"{voxels.dtype} is not written"
    plain = itertools.chain((_encoded_header(image, voxels.dtype),), _planes(voxels))
    if not compressed:
        yield from plain
        return
    packer = zlib.compressobj(_COMPRESSION_LEVEL, wbits=31)
    for chunk in plain:
        yield packer.compress(chunk)
    yield packer.flush()


def _planes(voxels: NDArray[Any]) -> Iterator[bytes]:
    for plane in voxels:
        yield plane.astype(voxels.dtype.newbyteorder("<")).tobytes()


def _encoded_header(image: "SimpleITK.Image", dtype: np.dtype[Any]) -> bytes:
    import nibabel

    affine = np.eye(4)
    affine[:3, :3] = _LPS_FROM_RAS @ np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = _LPS_FROM_RAS @ image.GetOrigin()
    header = nibabel.Nifti1Header(endianness="<")
    header.set_data_dtype(dtype)
    header.set_data_shape(image.GetSize())
    header.set_slope_inter(1.0, 0.0)
    header.set_qform(affine, code=_SCANNER)
    header["pixdim"][1:4] = image.GetSpacing()
    header.set_sform(affine, code=_SCANNER)
    header.set_xyzt_units(xyz="mm")
    header["magic"] = b"n+1"
    header["vox_offset"] = 352
    if _apart(header.get_sform(), header.get_qform(), image.GetSize()) > _FORMS_TOLERANCE_VOXELS:
        header["qform_code"] = 0
    return bytes(header.binaryblock) + bytes(4)


@contextmanager
def _inflated(file: BinaryIO, path: Path) -> Iterator[BinaryIO]:
    """The file itself, or what it inflates to where its name ends in .gz."""
    if path.suffix.lower() != ".gz":
        yield file
        return
    try:
        with gzip.GzipFile(fileobj=file, mode="rb") as stream:
            yield cast(BinaryIO, stream)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise InputError(
            f"the gzip compression is cut or damaged, expected an intact .nii.gz, in {shown(path)}; copy it again"
        ) from error


def _parse(stream: BinaryIO, path: Path) -> _Header:
    import nibabel

    head = _exactly(stream, 348, path)
    length = next((size for size in _MAGIC for order in ("little", "big") if _sizeof(head, order) == size), None)
    if length is None:
        raise InputError(f"found no NIfTI header, expected a NIfTI-1 or NIfTI-2 image, in {shown(path)}")
    head += _exactly(stream, length - len(head), path)
    if head[_MAGIC_AT[length] :][: len(_MAGIC[length])] != _MAGIC[length]:
        raise InputError(f"found no single-file NIfTI image (magic n+1 or n+2), in {shown(path)}")
    kind: Any = nibabel.Nifti1Header if length == 348 else nibabel.Nifti2Header
    with np.errstate(all="ignore"):
        fields = kind(head, check=False)
        size, dtype = _size(fields, path), _dtype(fields, path)
        spacing, origin, direction = _grid(fields, size, path)
        slope, intercept = _scaling(fields, path)
        start = _start(fields, length + 4, path)
    _exactly(stream, start - length, path)
    return _Header(size, spacing, origin, direction, dtype, start, slope, intercept)


def _sizeof(head: bytes, order: Any) -> int:
    return int.from_bytes(head[:4], order)


def _exactly(stream: BinaryIO, count: int, path: Path) -> bytes:
    data = b""
    while len(data) < count:
        chunk = stream.read(count - len(data))
        if not chunk:
            raise InputError(
                f"the file ends within its header, expected a NIfTI image, in {shown(path)}; copy it again"
            )
        data += chunk
    return data


def _size(fields: Any, path: Path) -> tuple[int, int, int]:
    dim = [int(value) for value in fields["dim"]]
    if not 3 <= dim[0] <= 7:
        raise InputError(f"the image has {dim[0]} dimensions, expected 3, in {shown(path)}")
    if any(count != 1 for count in dim[4 : dim[0] + 1]):
        raise InputError(f"the image has {dim[0]} dimensions, expected one three-dimensional image, in {shown(path)}")
    check_size(tuple(dim[1:4]), path)
    return dim[1], dim[2], dim[3]


def _dtype(fields: Any, path: Path) -> np.dtype[Any]:
    code = int(fields["datatype"])
    if code not in _TYPES:
        raise InputError(f"datatype code is {code}, expected a real scalar type such as 16 (float32), in {shown(path)}")
    dtype = np.dtype(_TYPES[code]).newbyteorder(fields.endianness)
    if int(fields["bitpix"]) != 8 * dtype.itemsize:
        raise InputError(f"bitpix is {int(fields['bitpix'])}, expected {8 * dtype.itemsize}, in {shown(path)}")
    return dtype


def _start(fields: Any, earliest: int, path: Path) -> int:
    offset = float(fields["vox_offset"])
    if not earliest <= offset <= _MOST_BEFORE_VOXELS or offset != int(offset):
        raise InputError(
            f"vox_offset is {offset:g}, expected a whole number from {earliest} to {_MOST_BEFORE_VOXELS}, "
            f"in {shown(path)}"
        )
    return int(offset)


def _scaling(fields: Any, path: Path) -> tuple[float, float]:
    """Slope and intercept; slope 0 or NaN means none (nifti1.h, "DATA SCALING", and what nibabel writes)."""
    slope, intercept = float(fields["scl_slope"]), float(fields["scl_inter"])
    if slope == 0 or math.isnan(slope):
        return 1.0, 0.0
    if not math.isfinite(slope) or not math.isfinite(intercept):
        raise InputError(f"scl_slope {slope:g} and scl_inter {intercept:g}, expected finite numbers, in {shown(path)}")
    return slope, intercept


def _scaled(voxels: NDArray[Any], header: _Header, path: Path) -> NDArray[Any]:
    if (header.slope, header.intercept) == (1.0, 0.0):
        return voxels
    scaled = np.empty(voxels.shape, np.float32)
    with np.errstate(all="ignore"):
        for z, plane in enumerate(voxels):
            exact = plane.astype(np.float64) * header.slope + header.intercept
            scaled[z] = exact
            if np.any(np.isfinite(exact) & ~np.isfinite(scaled[z])):
                raise InputError(f"scaled voxels exceed the range of 32-bit floating point (3.4e38) in {shown(path)}")
    return scaled


def _grid(
    fields: Any, size: tuple[int, int, int], path: Path
) -> tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, ...]]:
    """Spacing, origin and direction in LPS, from the sform where it is set, else from the qform."""
    unit = int(fields["xyzt_units"]) & 7
    if unit not in {_MILLIMETRE, _UNKNOWN_UNIT}:
        raise InputError(f"spatial unit code is {unit}, expected 2 (mm) or 0 (unknown, read as mm), in {shown(path)}")
    pixdim = tuple(float(value) for value in fields["pixdim"][1:4])
    check_geometry(pixdim, (0.0, 0.0, 0.0), tuple(np.eye(3).ravel()), path)
    affine = _affine(fields, size, path)
    columns = np.linalg.norm(affine[:3, :3], axis=0)
    with_sign = _LPS_FROM_RAS @ (affine[:3, :3] / np.where(columns > 0, columns, 1.0))
    spacing = tuple(float(value) for value in columns)
    origin = tuple(float(value) for value in _LPS_FROM_RAS @ affine[:3, 3])
    direction = tuple(float(value) for value in with_sign.ravel())
    check_geometry(spacing, origin, direction, path)
    if np.abs(columns / pixdim - 1).max() > _PIXDIM_TOLERANCE:
        raise InputError(
            f"pixdim says {', '.join(f'{value:g}' for value in pixdim)} mm but the sform "
            f"{', '.join(f'{value:g}' for value in spacing)} mm, expected one spacing, in {shown(path)}"
        )
    return (spacing[0], spacing[1], spacing[2]), (origin[0], origin[1], origin[2]), direction


def _affine(fields: Any, size: tuple[int, int, int], path: Path) -> NDArray[np.float64]:
    """Voxel index to RAS mm. Where sform and qform are both set they have to agree."""
    sform_code, qform_code = int(fields["sform_code"]), int(fields["qform_code"])
    if sform_code < 0 or qform_code < 0 or sform_code == qform_code == 0:
        raise InputError(
            f"sform_code is {sform_code} and qform_code {qform_code}, expected one above 0 (a known orientation), "
            f"in {shown(path)}"
        )
    sform = np.asarray(fields.get_sform(), np.float64)
    if qform_code == 0:
        return sform
    try:
        qform = np.asarray(fields.get_qform(), np.float64)
    except ValueError as error:
        raise InputError(f"the qform's quaternion is not a rotation, expected one, in {shown(path)}") from error
    if sform_code == 0:
        return qform
    apart = _apart(sform, qform, size)
    if not apart <= _FORMS_TOLERANCE_VOXELS:
        raise InputError(
            f"sform and qform place a corner {apart:.3g} voxels apart, expected at most {_FORMS_TOLERANCE_VOXELS:g}, "
            f"in {shown(path)}; write the image again with the right one in both"
        )
    return sform


def _apart(first: NDArray[np.float64], second: NDArray[np.float64], size: tuple[int, ...]) -> float:
    """How far two affines place the corner voxel on which they differ most, in voxels of the smallest spacing."""
    corners = np.array([(*corner, 1) for corner in itertools.product(*((0, count - 1) for count in size))]).T
    away = np.linalg.norm(((first - second) @ corners)[:3], axis=0).max()
    smallest = np.linalg.norm(second[:3, :3], axis=0).min()
    return float(away / smallest) if smallest > 0 else math.inf
