"""Reads and writes NIfTI in a single file (.nii, .nii.gz), strictly.

NIfTI stores the first axis fastest, so that a buffer in file order is a (z, y, x) array.
"""

import itertools
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autosegnet.errors import InputError, format_path
from autosegnet.io.content import SIGNATURE_BYTES, name_content
from autosegnet.io.decoded import DecodedImage, check_bytes, empty_voxels
from autosegnet.io.image_files import get_file_size, open_image
from autosegnet.io.nifti_forms import FORMS_TOLERANCE_VOXELS, Form, measure_voxels_apart
from autosegnet.io.nifti_header import LPS_FROM_RAS, NIFTI_HEADER_BYTES, NiftiHeader, parse_nifti_header
from autosegnet.io.streams import GZIP, GZIP_MAGIC, check_inflatable, inflate_first, inflate_into, read_into

if TYPE_CHECKING:
    import SimpleITK

_SCANNER = 1
_COMPRESSION_LEVEL = 1  # a third of the time of level 6 for a mask, which becomes tiny at either level


def read_nifti(path: Path, *, form: Form = "both") -> DecodedImage:
    """Return the voxels, scaled as the header says, and the grid of a NIfTI file, compressed by gzip or not.

    The file is read to its last byte, so that gzip's checksum is verified. Voxels without scaling keep the file's type.
    Scaled voxels are float32, computed in float64.

    Args:
        path: of the file; its first bytes say whether it is compressed.
        form: which of sform and qform counts if both are set.

    Raises:
        InputError: anything damaged, contradictory or beyond the bounds of `decoded`.
    """
    with open_image(path) as file:
        packed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        file.seek(0)
        head = (
            inflate_first(file, NIFTI_HEADER_BYTES, wbits=GZIP, path=path) if packed else file.read(NIFTI_HEADER_BYTES)
        )
        held = name_content(head[:SIGNATURE_BYTES]) if packed else None
        if held is not None and ".nii" not in held.suffixes:
            raise InputError(
                f"found no NIfTI header but {held.name}, compressed by gzip, at {format_path(path)}; {held.advice}"
            )
        header = parse_nifti_header(head, path, form)
        check_bytes(header.grid.size, header.dtype.itemsize, path)
        total = header.start + math.prod(header.grid.size) * header.dtype.itemsize
        if packed:
            check_inflatable(get_file_size(file), total, path)
        elif get_file_size(file) != total:
            raise InputError(
                f"the file holds {get_file_size(file)} bytes, expected {total}, in {format_path(path)}; "
                "copy or export it again"
            )
        voxels = empty_voxels(header.grid.size[::-1], header.dtype)
        buffer = voxels.reshape(-1).view(np.uint8).data
        if packed:
            file.seek(0)
            inflate_into(file, buffer, wbits=GZIP, several=True, path=path, skip=header.start)
        else:
            file.seek(header.start)
            read_into(file, buffer, path=path)
    if not header.dtype.isnative:
        voxels.byteswap(inplace=True)
    return DecodedImage(_scale_voxels(voxels, header, path), header.grid)


def encode_nifti(image: "SimpleITK.Image", *, compressed: bool) -> Iterator[bytes]:
    """Return the bytes of a NIfTI-1 file with the image in it, unscaled, its sform and qform the image's own grid.

    The qform is left out if the axes are so far from perpendicular that it would contradict the sform.

    Args:
        image: three-dimensional, scalar, uint8, uint16 or float32
        compressed: as .nii.gz, without file name and time, so that equal images make equal files
    """
    import SimpleITK

    voxels = SimpleITK.GetArrayViewFromImage(image)  # (z, y, x), no copy
    assert image.GetDimension() == 3
    assert voxels.dtype.name in {"uint8", "uint16", "float32"}, f"{voxels.dtype} is not written"
    plain = itertools.chain((_encode_header(image, voxels.dtype),), _iterate_planes(voxels))
    if not compressed:
        yield from plain
        return
    packer = zlib.compressobj(_COMPRESSION_LEVEL, wbits=31)
    for chunk in plain:
        yield packer.compress(chunk)
    yield packer.flush()


def _iterate_planes(voxels: NDArray[Any]) -> Iterator[bytes]:
    for plane in voxels:
        yield plane.astype(voxels.dtype.newbyteorder("<")).tobytes()


def _encode_header(image: "SimpleITK.Image", dtype: np.dtype[Any]) -> bytes:
    import nibabel

    affine = np.eye(4)
    affine[:3, :3] = LPS_FROM_RAS @ np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = LPS_FROM_RAS @ image.GetOrigin()
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
    if measure_voxels_apart(header.get_sform(), header.get_qform(), image.GetSize()) > FORMS_TOLERANCE_VOXELS:
        header["qform_code"] = 0
    return bytes(header.binaryblock) + bytes(4)


def _scale_voxels(voxels: NDArray[Any], header: NiftiHeader, path: Path) -> NDArray[Any]:
    if (header.slope, header.intercept) == (1.0, 0.0):
        return voxels
    scaled = empty_voxels(voxels.shape, np.dtype(np.float32))
    with np.errstate(all="ignore"):
        for z, plane in enumerate(voxels):
            exact = plane.astype(np.float64) * header.slope + header.intercept
            scaled[z] = exact
            if np.any(np.isfinite(exact) & ~np.isfinite(scaled[z])):
                raise InputError(
                    f"scaled voxels exceed the range of 32-bit floating point (3.4e38) in {format_path(path)}"
                )
    return scaled
