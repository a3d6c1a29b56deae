"""Parse one DICOM file: its header once, its pixels when asked for, from where the header ends."""

import io
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, Literal

from autosegnet.dicom.header import Header, keep_quiet, refuse_damage
from autosegnet.errors import InputError, format_path

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.tag import BaseTag

    StopWhen = Callable[[BaseTag, str | None, int], bool]

PREAMBLE: Final = 128
"""Bytes before the letters DICM."""

_DEFLATED: Final = b"1.2.840.10008.1.2.1.99"
_LARGEST_INFLATED: Final = 64 * 2**20  # bytes: a slice of 4096 x 4096 in 16 bits has half of it
_LONGEST_FIRST: Final = 1024  # bytes of the value of an object's first element
_SHORT_VRS: Final = b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split()
_LONG_VRS: Final = b"OB OD OF OL OV OW SQ UC UN UR UT SV UV".split()
_NAMES_OF_DICOM: Final = (".dcm", ".dicom", ".dic", ".ima")


def find_header(path: Path, *, stop_when: "StopWhen | None" = None) -> Header | None:
    """Return the header of a file; None if it is no DICOM, or an object that cannot be a slice and cannot be read.

    Of an object that cannot be a slice, only the first attributes are read: it may be far larger than a header.

    Args:
        stop_when: where to stop reading any object; None for where the pixels of a slice begin.

    Raises:
        InputError: it is called DICOM and is none, or is damaged and may be a slice.
    """
    form = _find_form(path)
    if form is None:
        if path.suffix.lower() in _NAMES_OF_DICOM:
            raise InputError(f"found a file that is not DICOM although its name says so: {format_path(path.name, 80)}")
        return None
    damaged = f"the DICOM header is cut or damaged in {format_path(path.name, 80)}"
    try:
        with refuse_damage(damaged):
            header = _read_header(path, form, stop_when)
            in_meta = str(header.dataset.file_meta.get("MediaStorageSOPClassUID", ""))
            sop_class, uid = header.read_text("SOPClassUID"), header.read_text("SOPInstanceUID")
    except InputError:
        if _cannot_be_slice(_read_class_in_meta(path)):
            return None
        raise
    if _cannot_be_slice(sop_class or in_meta):
        return header if sop_class and uid else None
    if (sop_class and uid) or not (sop_class or in_meta or header.read_text("Modality") in ("PT", "CT")):
        return header
    raise InputError(f"{damaged}; copy the series again")


def _read_class_in_meta(path: Path) -> str:
    from pydicom.filereader import read_file_meta_info

    try:
        with refuse_damage("the file's meta information is damaged"):
            return str(read_file_meta_info(path).get("MediaStorageSOPClassUID", ""))
    except InputError:
        return ""


def _cannot_be_slice(sop_class: str) -> bool:
    """Return whether a class is known and is not one of images."""
    from pydicom.uid import UID

    with keep_quiet():
        name = UID(sop_class).name if sop_class else ""
    return bool(sop_class) and name != sop_class and "Image Storage" not in name


def read_object(path: Path) -> "Dataset":
    """Return a whole object, pixels included.

    Raises:
        InputError: the file is no DICOM, or damaged.
    """
    header = find_header(path, stop_when=lambda tag, vr, length: False)
    if header is None:
        raise InputError(f"found a file that is not DICOM: {format_path(path.name, 80)}")
    return header.dataset


def _is_after_identity(tag: "BaseTag", vr: str | None, length: int) -> bool:
    return int(tag) > 0x00200037  # ImageOrientationPatient


def _is_at_pixels(tag: "BaseTag", vr: str | None, length: int) -> bool:
    return int(tag) >= 0x7FE00008


def _read_header(path: Path, form: str, stop_when: "StopWhen | None") -> Header:
    from pydicom.filereader import read_dataset, read_partial
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    with _open_dataset(path) as file:
        dataset = read_partial(file, stop_when or _is_after_identity, force=form == "bare")
        implicit, little = (bool(said) for said in dataset.original_encoding)
        if stop_when is None and not _cannot_be_slice(_find_class(dataset)):
            encoding = dataset.original_character_set
            rest = read_dataset(file, implicit, little, stop_when=_is_at_pixels, parent_encoding=encoding)
            dataset.update(rest)
        at = file.tell()
    if "TransferSyntaxUID" not in dataset.file_meta:
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return Header(path, dataset, at)


def _find_class(dataset: "Dataset") -> str:
    return str(dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID", ""))


def read_pixels(header: Header) -> "Dataset":
    """Return the pixel data of an object, read from where its header ends, as a dataset with that one element.

    Raises:
        Whatever pydicom raises on a damaged file: `refuse_damage` refuses it.
    """
    from pydicom.filereader import read_dataset

    implicit, little = header.dataset.original_encoding
    with _open_dataset(header.path) as file, keep_quiet():
        file.seek(header.pixels_at)
        return read_dataset(file, bool(implicit), bool(little), stop_when=lambda tag, vr, length: tag > 0x7FE00010)


def _open_dataset(path: Path) -> BinaryIO:
    """Return the file, or if its dataset is deflated, what it would be if it were not."""
    file = path.open("rb")
    start = file.read(1024)
    file.seek(0)
    if start[PREAMBLE : PREAMBLE + 4] != b"DICM" or _DEFLATED not in start:
        return file
    with file:
        return io.BytesIO(_inflate(path, file))


def _inflate(path: Path, file: BinaryIO) -> bytes:
    """Return the bytes of a deflated object, its dataset inflated and its transfer syntax that of the result.

    Raises:
        InputError: it would become larger than any slice.
    """
    from pydicom.filebase import DicomBytesIO
    from pydicom.filereader import read_file_meta_info
    from pydicom.filewriter import write_file_meta_info
    from pydicom.uid import ExplicitVRLittleEndian

    meta = read_file_meta_info(path)
    head = DicomBytesIO()
    file.seek(PREAMBLE + 4 + 12 + int(meta.FileMetaInformationGroupLength))  # the length's own element has 12 bytes
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    dataset = inflater.decompress(file.read(), _LARGEST_INFLATED + 1)
    if len(dataset) > _LARGEST_INFLATED:
        raise InputError(
            f"the deflated dataset holds more than {_LARGEST_INFLATED} bytes, which no slice has, in "
            f"{format_path(path.name, 80)}"
        )
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    write_file_meta_info(head, meta, enforce_standard=False)
    return bytes(PREAMBLE) + b"DICM" + head.getvalue() + dataset


def _find_form(path: Path) -> str | None:
    """Return 'file' for the preamble of PS3.10, 'bare' for elements alone, None for anything else."""
    start = read_start(path)
    if start[PREAMBLE:] == b"DICM":
        return "file"
    return "bare" if _begins_with_element(start, get_size(path)) else None


def _begins_with_element(start: bytes, size: int) -> bool:
    """Return whether bytes begin with an element of group 2 or 8 whose length is plausible, in any encoding."""
    orders: tuple[Literal["little", "big"], ...] = ("little", "big")
    for order in orders:
        if len(start) < 12 or int.from_bytes(start[:2], order) not in (0x0002, 0x0008):
            continue
        if start[4:6] in _SHORT_VRS:
            length = int.from_bytes(start[6:8], order)
        elif start[4:6] in _LONG_VRS:
            length = int.from_bytes(start[8:12], order)
        else:
            length = int.from_bytes(start[4:8], "little") if order == "little" else size
        if length <= min(size, _LONGEST_FIRST):
            return True
    return False


def read_start(path: Path) -> bytes:
    """Return the first bytes of a regular file; nothing of a pipe, which would keep the reader waiting."""
    try:
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            return file.read(PREAMBLE + 4)
    except OSError as error:
        raise InputError(f"cannot read {format_path(path.name, 80)}: {error.strerror}") from error


def get_size(path: Path) -> int:
    """Return the bytes of a file.

    Raises:
        InputError: it cannot be looked at.
    """
    try:
        return path.stat().st_size
    except OSError as error:
        raise InputError(f"cannot read {format_path(path.name, 80)}: {error.strerror}") from error
