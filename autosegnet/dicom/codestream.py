"""The size that a compressed frame states itself, before anything is decoded.

Decoders give pixels of the codestream's own size, and an array of as many pixels in another shape would be scrambled.
"""

from typing import Final

_START_OF_FRAME: Final = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7}
_WITHOUT_LENGTH: Final = {0x01, *range(0xD0, 0xD8)}


def read_frame_size(frame: bytes) -> tuple[int, int] | None:
    """Return (rows, columns) of a JPEG, JPEG-LS or JPEG 2000 codestream, None if it is another or damaged.

    Source: ISO 10918-1 B.2.2, ISO 14495-1 C.2.2, ISO 15444-1 A.5.1.
    """
    if frame[:4] == b"\xff\x4f\xff\x51":
        x, y, x0, y0 = (int.from_bytes(frame[8 + 4 * k : 12 + 4 * k], "big") for k in range(4))
        return y - y0, x - x0
    if frame[4:8] == b"jP  ":  # a JP2 file, which some exporters store
        start = frame.find(b"\xff\x4f\xff\x51")
        return read_frame_size(frame[start:]) if start > 0 else None
    if frame[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 9 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker in _START_OF_FRAME:
            return int.from_bytes(frame[at + 5 : at + 7], "big"), int.from_bytes(frame[at + 7 : at + 9], "big")
        if marker == 0xFF:  # fill
            at += 1
        elif marker in _WITHOUT_LENGTH:
            at += 2
        else:
            at += 2 + int.from_bytes(frame[at + 2 : at + 4], "big")
    return None
