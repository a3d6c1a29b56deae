"""Whether a CT was reconstructed with a sharp kernel, for lung or bone, by the names that vendors give kernels."""

import re
from typing import Final

from autosegnet.dicom.header import Header

# Siemens: a letter or two and a number, sharp from 50 on (B60f, Br64, Bl57). Toshiba and Canon: FC, sharp from 30 to
# 39 (bone) and from 50 on (lung). GE, Philips and others: names.
_SIEMENS: Final = re.compile(r"^[BHITQUD][A-Z]?(\d{2,3})[A-Z]?")
_TOSHIBA: Final = re.compile(r"^FC(\d{2})")
_SHARP_NAMES: Final = re.compile(r"LUNG|BONE|EDGE|SHARP|DETAIL|ULTRA|^Y[A-D]$|^[DEL]$|^(EB|EC)$")


def is_sharp(header: Header) -> bool:
    """Return whether ConvolutionKernel (0018,1210) is known to be sharp; an unknown one is taken for soft."""
    kernel = header.read_text("ConvolutionKernel").split("\\")[0].strip().upper()
    if found := _TOSHIBA.match(kernel):
        return 30 <= int(found[1]) < 40 or int(found[1]) >= 50
    if found := _SIEMENS.match(kernel):
        return int(found[1]) >= 50
    return _SHARP_NAMES.search(kernel) is not None
