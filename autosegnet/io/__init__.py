"""Reads and writes image files: readers are strict, and writers leave no half-written file.

Importing this imports neither SimpleITK nor nibabel; they are imported when an image is read or written.
"""

from autosegnet.io.atomic import encode_text, probe_output, sweep_folder, write_bytes, write_files, write_text
from autosegnet.io.images import (
    IMAGE_SUFFIXES,
    encode_image,
    find_only_image,
    probe_image,
    read_image,
    read_mask,
    strip_suffix,
    write_all,
    write_image,
)

__all__ = [
    "IMAGE_SUFFIXES",
    "encode_image",
    "encode_text",
    "strip_suffix",
    "find_only_image",
    "probe_image",
    "probe_output",
    "read_image",
    "read_mask",
    "sweep_folder",
    "write_all",
    "write_bytes",
    "write_files",
    "write_image",
    "write_text",
]
