"""Reads and writes one image by its suffix, and finds the one image of a folder.

MetaImage (`.mha`) and NIfTI (`.nii`, `.nii.gz`); images are `SimpleITK.Image` in LPS, mm.
"""

import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from autosegnet.errors import InputError, UsageError, format_list, format_path
from autosegnet.io.atomic import encode_text, probe_output, write_files
from autosegnet.io.content import SIGNATURE_BYTES, name_content
from autosegnet.io.decoded import (
    DecodedImage,
    check_finite,
    empty_voxels,
    fill_nonfinite,
    keep_type,
    make_decoded_image,
)
from autosegnet.io.image_files import open_image
from autosegnet.io.nifti_forms import Form

if TYPE_CHECKING:
    import SimpleITK

IMAGE_SUFFIXES: Final = (".mha", ".nii", ".nii.gz")
"""Suffixes of the files that are read and written, in lower case."""
_ACCEPTED = "expected .mha, .nii or .nii.gz"
_EXPECTED = {".mha": "MetaImage header", ".nii": "NIfTI header", ".nii.gz": "gzip-compressed NIfTI image"}
# Formats that people use and that are not read, with what to do.
_UNSUPPORTED = {
    ".mhd": "MetaImage in two files (.mhd) is not read; save it as .mha",
    ".tif": "TIFF is not read, it has no orientation; save the image as .mha",
    ".tiff": "TIFF is not read, it has no orientation; save the image as .mha",
    ".nrrd": "NRRD is not read; save the image as .mha",
    ".hdr": "NIfTI and Analyze in two files are not read; save the image as .nii.gz",
    ".dcm": "single DICOM files are not read here; give the folder of the series",
}


def read_image(path: Path, *, form: Form = "both", air: float | None = None) -> "SimpleITK.Image":
    """Return the image in a file, checked from its first byte to its last.

    8- and 16-bit integers and float32 keep their type, every other type becomes float32.

    Args:
        path: of the file; its content must be what its name says.
        form: which of the sform and the qform of a NIfTI file counts if both are set.
        air: value that replaces NaN and infinite voxels; None refuses them.

    Raises:
        InputError: not one of the formats, damaged, or with voxels that are NaN, infinite or beyond float32.
    """
    decoded = _decode(path, form)
    _treat_nonfinite(decoded, path, air)
    return make_decoded_image(DecodedImage(keep_type(decoded.voxels, path), decoded.grid))


def read_mask(path: Path, *, form: Form = "both", air: float | None = None, advice: str = "") -> "SimpleITK.Image":
    """Return the mask in a file as uint8, 0 background and 1 lesion.

    Args:
        path: of the file.
        form, air: as for `read_image`.
        advice: what to do about other values, for the message.

    Raises:
        InputError: as `read_image`, and if a voxel is neither 0 nor 1.
    """
    decoded = _decode(path, form)
    _treat_nonfinite(decoded, path, air)
    others: set[Any] = set()
    mask = empty_voxels(decoded.voxels.shape, np.dtype(np.uint8))
    for z, plane in enumerate(decoded.voxels):
        mask[z] = plane == 1
        if not np.array_equal(mask[z], plane):
            others.update(np.unique(plane[(plane != 0) & (plane != 1)])[:5])
    if others:
        # All digits: 0.99999994 must not read as 1.
        values = ", ".join(str(value).removesuffix(".0") for value in sorted(others)[:5])
        advice = f"; {advice}" if advice else ""
        raise InputError(f"the mask holds the values {values}, expected only 0 and 1, in {format_path(path)}{advice}")
    return make_decoded_image(DecodedImage(mask, decoded.grid))


def write_image(image: "SimpleITK.Image", path: Path) -> None:
    """Write a uint8, uint16 or float32 image, zlib-compressed except for .nii. `path` appears whole or not at all.

    Raises:
        UsageError: the suffix is not .mha, .nii or .nii.gz
        OutputError: the file cannot be written
    """
    write_all({path: image})


def probe_image(path: Path) -> None:
    """Check before the work begins that an image can be written to `path`.

    Raises:
        UsageError: the suffix is not .mha, .nii or .nii.gz
        OutputError: as `probe_output`
    """
    _check_suffix(path)
    probe_output(path)


def encode_image(image: "SimpleITK.Image", path: Path) -> bytes:
    """Return the bytes of the file that `write_image` would write to a path.

    Raises:
        UsageError: the suffix is not .mha, .nii or .nii.gz
    """
    return b"".join(_encode(image, path))


def write_all(files: "Mapping[Path, SimpleITK.Image | str | bytes]", *, swept: Collection[Path] = ()) -> None:
    """Write several images, texts and other files, so that all of them appear, each whole, or none.

    Args:
        files: image, text or bytes by path, in the order in which they appear
        swept: as for `write_files`

    Raises:
        UsageError: the suffix of an image is not .mha, .nii or .nii.gz
        OutputError: one of them cannot be written
    """
    write_files({path: _encode(content, path) for path, content in files.items()}, swept=swept)


def _encode(content: "SimpleITK.Image | str | bytes", path: Path) -> Iterable[bytes]:
    """Return the bytes of a file. An image is encoded only as they are read."""
    if isinstance(content, bytes):
        return (content,)
    if isinstance(content, str):
        return (encode_text(content),)
    _check_suffix(path)
    if _find_suffix(path) == ".mha":
        from autosegnet.io.metaimage import encode_metaimage

        return encode_metaimage(content)
    from autosegnet.io.nifti import encode_nifti

    return encode_nifti(content, compressed=_find_suffix(path) == ".nii.gz")


def find_only_image(folder: Path) -> Path:
    """Return the one image in a folder, as the platform provides it; its path inside `folder`.

    Hidden files (of editors and macOS) are ignored. So are files of other kinds beside one image, such as a README.
    Images of formats that are not read (.mhd, .tif, .dcm) are an error, because the user may have meant them.

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
    images = [entry for entry in entries if _find_suffix(entry) in IMAGE_SUFFIXES]
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


def strip_suffix(path: Path) -> str:
    """Return the name of an image without its suffix: 'a' for a.mha, a.nii and a.nii.gz."""
    return path.name[: len(path.name) - len(_find_suffix(path))]


def _treat_nonfinite(decoded: DecodedImage, path: Path, air: float | None) -> None:
    """Refuse voxels that are NaN or infinite, or make them air."""
    if air is None:
        check_finite(decoded.voxels, path)
    else:
        fill_nonfinite(decoded.voxels, air)


def _decode(path: Path, form: Form) -> DecodedImage:
    suffix = _find_suffix(path)
    with open_image(path) as file:
        held = name_content(file.read(SIGNATURE_BYTES))
    if suffix not in IMAGE_SUFFIXES:
        reason = _UNSUPPORTED.get(suffix, "not an image format that is read")
        holds = "" if held is None else f" (it holds {held.name}; {held.advice})"
        raise InputError(f"cannot read {format_path(path)}: {reason}, {_ACCEPTED}{holds}")
    if held is not None and suffix not in held.suffixes:
        raise InputError(
            f"found no {_EXPECTED[suffix]} but {held.name}, expected what the name says, at {format_path(path)}; "
            f"{held.advice}"
        )
    if suffix == ".mha":
        from autosegnet.io.metaimage import read_metaimage

        return read_metaimage(path)
    from autosegnet.io.nifti import read_nifti

    return read_nifti(path, form=form)


def _check_suffix(path: Path) -> None:
    if _find_suffix(path) not in IMAGE_SUFFIXES:
        raise UsageError(f"cannot write {format_path(path)}: unknown image format, {_ACCEPTED}")


def _find_suffix(path: Path) -> str:
    """Return the suffix in lower case, '.nii.gz' in one."""
    return ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()
