"""Tell from a file's first bytes what it holds, and what to do about it."""

import re
from dataclasses import dataclass

_SAVE_AS = "save the image as .mha or .nii.gz"
_UNPACK = "unpack it and give the image inside"
# Position of a format's first bytes, what they are, its name, and what to do.
_SIGNATURES: tuple[tuple[int, bytes, str, str], ...] = (
    (128, b"DICM", "a DICOM file", "give the folder of the series"),
    (0, b"NRRD", "an NRRD image", _SAVE_AS),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 or MINC file", _SAVE_AS),
    (0, b"CDF", "a NetCDF or MINC file", _SAVE_AS),
    (0, b"# vtk DataFile", "a VTK file", _SAVE_AS),
    (0, b"\x93NUMPY", "a NumPy array, which has no spacing", _SAVE_AS),
    (0, b"MATRIX7", "an ECAT image", _SAVE_AS),
    (0, b"MATLAB 5.0", "a MATLAB file", _SAVE_AS),
    (0, b"\x89PNG", "a PNG picture, which has no spacing", _SAVE_AS),
    (0, b"\xff\xd8\xff", "a JPEG picture, which has no spacing", _SAVE_AS),
    (0, b"GIF8", "a GIF picture, which has no spacing", _SAVE_AS),
    (0, b"II*\0", "a TIFF picture, which has no orientation", _SAVE_AS),
    (0, b"MM\0*", "a TIFF picture, which has no orientation", _SAVE_AS),
    (0, b"%PDF", "a PDF document", "give the image"),
    (0, b"PK\x03\x04", "a zip archive", _UNPACK),
    (257, b"ustar", "a tar archive", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (0, b"\xfd7zXZ", "xz-compressed data", _UNPACK),
    (0, b"BZh", "bzip2-compressed data", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "Zstandard-compressed data", _UNPACK),
)
_WEB_PAGE = (b"<!doctype", b"<html", b"<?xml", b"<head", b"<body")
SIGNATURE_BYTES = 512
# Length of the header, the magic of single-file NIfTI, and its position (nifti1.h, nifti2.h).
_NIFTI = ((348, 344, b"n+1\0"), (540, 4, b"n+2\0"))
# Keys with which programs begin a MetaImage header.
_METAIMAGE = re.compile(rb"[ \t]*(ObjectType|NDims|Comment|Name|ID)[ \t]*[=:]")


@dataclass(frozen=True, slots=True)
class Content:
    """What a file holds.

    Args:
        name: with its article.
        advice: what to do if something else was expected.
        suffixes: the names that fit it, of those that are read.
    """

    name: str
    advice: str
    suffixes: tuple[str, ...] = ()


def name_content(head: bytes) -> Content | None:
    """Return what a file holds by its first bytes; None if they are unknown.

    Args:
        head: the first `SIGNATURE_BYTES` bytes, or fewer if there are no more.
    """
    if _is_nifti(head):
        return Content("a NIfTI image that is not compressed", "name it .nii", (".nii",))
    if head.startswith(b"\x1f\x8b"):
        return Content("gzip-compressed data", "name it .nii.gz if it is a NIfTI image", (".nii.gz",))
    if _METAIMAGE.match(head):
        return Content("a MetaImage", "name it .mha", (".mha",))
    for at, signature, name, advice in _SIGNATURES:
        if head[at:].startswith(signature):
            return Content(name, advice)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.lower().startswith(_WEB_PAGE):
        return Content("a web page or XML", "download the image again")
    if text.startswith((b"{", b"[")):
        return Content("JSON", "give the image itself")
    return None


def _is_nifti(head: bytes) -> bool:
    lengths = {int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")}
    return any(length in lengths and head[at:].startswith(magic) for length, at, magic in _NIFTI)
