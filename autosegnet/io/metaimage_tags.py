"""The text of a MetaImage header as tags: one value per key, of the count and kind that the key needs.

How lines become keys and values follows MetaIO (Kitware/MetaIO, metaUtils.cxx, MET_Read): '=' or ':' separates, keys
are case-sensitive, the header ends with the line ElementDataFile. What MetaIO would misread is refused.
No message repeats a value, because a header may hold a patient's name.
"""

import math
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from autosegnet.errors import InputError, format_path

# Headers with DICOM tags in them take a few kilobytes.
LONGEST_METAIMAGE_HEADER = 65_536
# MetaIO reads a key into 500 characters and a value into 4096 (metaUtils.cxx).
_LONGEST_KEY = 255
_LONGEST_VALUE = 4_000
_LINE = re.compile(r"([^=:]*?)[ \t]*[=:][=: \t]*(.*)", re.DOTALL)
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]|\r(?!\n)")
# Not str.split, which also takes bytes such as 0xA0 for blanks.
_WORD = re.compile(r"[^ \t]+")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
# MetaIO reads smaller ones as 0.
_SMALLEST_NORMAL = sys.float_info.min
_BOOLEANS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}


@dataclass(frozen=True, slots=True)
class Tags:
    """The header of one file.

    Attributes:
        values: by key, in the order of the file
        end: position of the first byte after the header
        path: the file, for messages
    """

    values: dict[str, str]
    end: int
    path: Path

    def read_text(self, key: str, default: str) -> str:
        """Return the value of a key, unchanged."""
        return self.values.get(key, default)

    def read_floats(self, key: str, count: int) -> list[float]:
        """Return the `count` finite numbers of a required key."""
        words = _WORD.findall(self.values.get(key, ""))
        if len(words) != count or not all(_NUMBER.fullmatch(word) for word in words):
            raise self.make_error(f"the header has no valid {key}, expected {count} finite numbers")
        values = [float(word) for word in words]
        if not all(value == 0 or _SMALLEST_NORMAL <= abs(value) < math.inf for value in values):
            raise self.make_error(
                f"{key} holds a number too large or too small, expected numbers that a double can hold"
            )
        return values

    def read_integers(self, key: str, count: int) -> list[int]:
        """Return the `count` whole numbers of a required key."""
        words = _WORD.findall(self.values.get(key, ""))
        if len(words) != count or not all(_INTEGER.fullmatch(word) for word in words):
            raise self.make_error(f"the header has no valid {key}, expected {count} whole numbers")
        return [int(word) for word in words]

    def read_integer(self, key: str, default: int) -> int:
        """Return the whole number of a key, or the default if the key is missing."""
        return self.read_integers(key, 1)[0] if key in self.values else default

    def read_boolean(self, *keys: str, default: bool) -> bool:
        """Return True or False under keys of one meaning, or the default if all of them are missing."""
        found = {_BOOLEANS.get(self.values[key].lower()) for key in keys if key in self.values}
        if None in found or len(found) > 1:
            raise self.make_error(f"{' and '.join(keys)} have no clear value, expected True or False")
        return bool(found.pop()) if found else default

    def read_agreed(self, keys: tuple[str, ...], count: int) -> list[float]:
        """Return the numbers under keys of one meaning. At least one must exist, and all must be equal."""
        found = {key: self.read_floats(key, count) for key in keys if key in self.values}
        if not found:
            raise self.make_error(f"the header has no {keys[0]}, expected {count} numbers")
        values = next(iter(found.values()))
        if any(other != values for other in found.values()):
            raise self.make_error(f"{' and '.join(found)} differ in the header, expected the same numbers")
        return values

    def make_error(self, reason: str) -> InputError:
        """Return an InputError with the reason and this file."""
        return InputError(f"{reason}, in {format_path(self.path)}")


def parse_tags(head: bytes, known: frozenset[str], path: Path) -> Tags:
    """Return the tags in the first bytes of a file.

    Args:
        head: the first `LONGEST_NIFTI_HEADER` bytes, or the whole file if that is shorter
        known: keys that have a meaning; only they are refused when they come twice with different values

    Raises:
        InputError: not a MetaImage header, or one that is cut or contradictory
    """
    values: dict[str, str] = {}
    position = 0
    while (line_end := head.find(b"\n", position)) >= 0:
        line = head[position : line_end + 1]
        position = line_end + 1
        if _CONTROL.search(line):
            break
        text = line.decode("latin-1").strip(" \t\r\n")
        if not text:
            continue
        key, value = _split(text, path)
        if key in known and values.get(key, value) != value:
            raise InputError(
                f"the header gives {key} twice with different values, expected one, in {format_path(path)}"
            )
        values[key] = value
        if key == "ElementDataFile":
            return Tags(values, position, path)
    if "NDims" not in values:
        raise InputError(f"found no MetaImage header, expected an .mha image, in {format_path(path)}")
    raise InputError(
        f"the header ends before ElementDataFile, expected a whole MetaImage header, in {format_path(path)}"
    )


def _split(text: str, path: Path) -> tuple[str, str]:
    match = _LINE.fullmatch(text)
    if match is None or len(match[1]) > _LONGEST_KEY or len(match[2]) > _LONGEST_VALUE:
        raise InputError(f"found a line that is not 'key = value', expected a MetaImage header, in {format_path(path)}")
    return match[1], match[2]
