"""Files to images and back: strict readers, writers that leave nothing half done.

Importing this imports neither SimpleITK nor nibabel; they are imported when an image is read or written.
"""

from autosegnet.io.atomic import probe_output, write_bytes, write_text
from autosegnet.io.images import image_stem, only_image, probe_image, read_image, read_mask, write_all, write_image

__all__ = [
    "image_stem",
    "only_image",
    "probe_image",
    "probe_output",
    "read_image",
    "read_mask",
    "write_all",
    "write_bytes",
    "write_image",
    "write_text",
]
