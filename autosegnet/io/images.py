"""Reads and writes one image by its suffix, and finds the one image of a folder.

`.mha`, `.nii` and `.nii.gz`; images are `SimpleITK.Image` in LPS, mm.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from autosegnet.errors import InputError, UsageError, format_list, format_path
from autosegnet.io.atomic import encode_text, probe_output, write_files
from autosegnet.io.decoded import DecodedImage, as_kept_type, check_finite, empty_voxels, to_sitk

if TYPE_CHECKING:
    import SimpleITK

_SUFFIXES = (".mha", ".nii", ".nii.gz")
_ACCEPTED = "expected .mha, .nii or .nii.gz"
# Images that people put there and that are not read, with what to do about them.
_UNSUPPORTED = {
    ".mhd": "MetaImage in two files (.mhd) is not read; save it as .mha",
    ".tif": "TIFF is not read, it has no orientation; save the image as .mha",
    ".tiff": "TIFF is not read, it has no orientation; save the image as .mha",
    ".nrrd": "NRRD is not read; save the image as .mha",
    ".hdr": "NIfTI and Analyze in two files are not read; save the image as .nii.gz",
    ".dcm": "single DICOM files are not read here; give the folder of the series",
}


def read_image(path: Path) -> "SimpleITK.Image":
    """The image in a file, checked from its first byte to its last.

    8- and 16-bit integers and float32 keep their type, every other type becomes float32.

    Raises:
        InputError: not one of the formats, damaged, or with voxels that are NaN, infinite or beyond float32
    """
    decoded = _decoded(path)
    voxels = as_kept_type(decoded.voxels, path)
    return to_sitk(DecodedImage(voxels, decoded.spacing, decoded.origin, decoded.direction))


def read_mask(path: Path) -> "SimpleITK.Image":
    """The mask in a file as uint8, 0 background and 1 lesion.

    Raises:
        InputError: as `read_image`, and where a voxel is neither 0 nor 1
    """
    decoded = _decoded(path)
    others: set[float] = set()
    mask = empty_voxels(decoded.voxels.shape, np.dtype(np.uint8))
    for z, plane in enumerate(decoded.voxels):
        mask[z] = plane == 1
        if not np.array_equal(mask[z], plane):
            others.update(np.unique(plane[(plane != 0) & (plane != 1)])[:5].tolist())
    if others:
        values = ", ".join(f"{value:g}" for value in sorted(others)[:5])
        raise InputError(f"the mask holds the values {values}, expected only 0 and 1, in {format_path(path)}")
    return to_sitk(DecodedImage(mask, decoded.spacing, decoded.origin, decoded.direction))


def write_image(image: "SimpleITK.Image", path: Path) -> None:
    """Write a uint8 or float32 image, zlib-compressed but for .nii, so that `path` appears whole or not at all.

    Raises:
        UsageError: the suffix is none of .mha, .nii, .nii.gz
        OutputError: the file cannot be written
    """
    write_all({path: image})


def probe_image(path: Path) -> None:
    """Make sure, before the work begins, that an image can be written to `path`.

    Raises:
        UsageError: the suffix is none of .mha, .nii, .nii.gz
        OutputError: as `probe_output`
    """
    _check_suffix(path)
    probe_output(path)


def write_all(files: "Mapping[Path, SimpleITK.Image | str | bytes]") -> None:
    """Write several images, texts and other files, so that all of them appear, each whole, or none.

    Args:
        files: image, text or bytes by path, in the order in which they appear

    Raises:
        UsageError: the suffix of an image is none of .mha, .nii, .nii.gz
        OutputError: one of them cannot be written
    """
    write_files({path: _encoded(content, path) for path, content in files.items()})


def _encoded(content: "SimpleITK.Image | str | bytes", path: Path) -> Iterable[bytes]:
    """The bytes of a file; an image is encoded as they are taken."""
    if isinstance(content, bytes):
        return (content,)
    if isinstance(content, str):
        return (encode_text(content),)
    _check_suffix(path)
    if _suffix(path) == ".mha":
        from autosegnet.io.metaimage import encode_metaimage

        return encode_metaimage(content)
    from autosegnet.io.nifti import encode_nifti

    return encode_nifti(content, compressed=_suffix(path) == ".nii.gz")


def only_image(folder: Path) -> Path:
    """The one image in a folder, as the platform provides it; its path inside `folder`.

    Hidden files are left alone (editors and macOS leave them). Files of other kinds, such as a README, are no obstacle
    beside one image, for they cannot be meant instead of it; images that are not read (.mhd, .tif, .dcm) are one, for
    they can.

    Raises:
        InputError: no such folder, no image, several, one of an unsupported kind, or a link out of the folder
    """
    try:
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise InputError(
            f"cannot list {format_path(folder)}: {error.strerror}; expected a folder with exactly one image"
        ) from error
    names = [entry.name + ("/" if entry.is_dir() else "") for entry in entries]
    images = [entry for entry in entries if _suffix(entry) in _SUFFIXES]
    unsupported = [entry for entry in entries if entry.suffix.lower() in _UNSUPPORTED]
    if unsupported:
        reason = _UNSUPPORTED[unsupported[0].suffix.lower()]
        raise InputError(f"{format_path(unsupported[0].name, 80)} in {format_path(folder)} cannot be read: {reason}")
    if len(images) != 1:
        found = f"{len(images)} images" if images else "no image"
        holds = f"which holds {format_list(names)}" if names else "which is empty"
        raise InputError(
            f"found {found}, expected exactly one (.mha, .nii, .nii.gz), in {format_path(folder)}, {holds}"
        )
    if not Path(os.path.realpath(images[0])).is_relative_to(os.path.realpath(folder)):
        raise InputError(
            f"{format_path(images[0].name, 80)} is a link to outside of {format_path(folder)}, "
            "expected the image itself"
        )
    return images[0]


def image_stem(path: Path) -> str:
    """The name of an image without its suffix: 'a' for a.mha, a.nii and a.nii.gz."""
    return path.name[: len(path.name) - len(_suffix(path))]


def _decoded(path: Path) -> DecodedImage:
    suffix = _suffix(path)
    if suffix not in _SUFFIXES:
        if not path.exists():
            raise InputError(f"cannot read {format_path(path)}: No such file or directory")
        reason = _UNSUPPORTED.get(suffix, "not an image format that is read")
        raise InputError(f"cannot read {format_path(path)}: {reason}, {_ACCEPTED}")
    if suffix == ".mha":
        from autosegnet.io.metaimage import read_metaimage

        decoded = read_metaimage(path)
    else:
        from autosegnet.io.nifti import read_nifti

        decoded = read_nifti(path)
    check_finite(decoded.voxels, path)
    return decoded


def _check_suffix(path: Path) -> None:
    if _suffix(path) not in _SUFFIXES:
        raise UsageError(f"cannot write {format_path(path)}: unknown image format, {_ACCEPTED}")


def _suffix(path: Path) -> str:
    """The suffix in lower case, '.nii.gz' in one."""
    return ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()
