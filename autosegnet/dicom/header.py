"""The attributes of one DICOM object, read through pydicom.

What pydicom says about odd headers goes nowhere: its warnings and errors quote values, and values are the patient's.
"""

import logging
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autosegnet.errors import InputError, format_path
from autosegnet.runtime.third_party_warnings import catch_warnings

if TYPE_CHECKING:
    from pydicom import Dataset

# DS and IS of PS3.5 6.2, longer ones too. Python's float() takes more: "1_0", "inf", digits of other scripts.
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\Z")


@dataclass(frozen=True, slots=True)
class Header:
    """A DICOM object without its pixels; its text holds no value, so that none gets into a message.

    Args:
        pixels_at: where in the file (once inflated) the pixels begin; 0 for an item of a sequence.
    """

    path: Path
    dataset: "Dataset"
    pixels_at: int = 0

    def __repr__(self) -> str:
        return f"Header({self.path.name!r})"

    def read_text(self, keyword: str) -> str:
        """Return an attribute's text, '' if it is missing or empty; several values joined by a backslash."""
        value = self._read_value(keyword)
        if value is None:
            return ""
        values = value if isinstance(value, list | tuple) or hasattr(value, "append") else [value]
        return "\\".join(str(v).strip() for v in values)

    def number(self, keyword: str) -> float | None:
        """Return an attribute's number, None if it is missing or empty.

        Raises:
            InputError: it is not one finite number as DICOM writes them.
        """
        text = self.read_text(keyword)
        if not text:
            return None
        value = parse_number(text)
        if value is None:
            raise InputError(f"{name_attribute(keyword)} is not a number, in {self.where}")
        return value

    def read_numbers(self, keyword: str, count: int) -> tuple[float, ...]:
        """Return the numbers of an attribute.

        Raises:
            InputError: it is missing or does not hold so many numbers.
        """
        values = [v for text in self.read_text(keyword).split("\\") if (v := parse_number(text)) is not None]
        if len(values) != count:
            raise InputError(f"{name_attribute(keyword)} is missing or does not hold {count} numbers, in {self.where}")
        return tuple(values)

    def read_items(self, keyword: str) -> "tuple[Header, ...]":
        """Return the items of a sequence, none if it is missing or empty.

        Raises:
            InputError: it is damaged.
        """
        return tuple(Header(self.path, item) for item in self._read_value(keyword) or ())

    def _read_value(self, keyword: str) -> Any:
        with refuse_damage(f"{name_attribute(keyword)} is damaged in {self.where}"):
            return self.dataset.get(keyword)

    @property
    def where(self) -> str:
        """Return the file's name for a message; folders above it may be named after the patient."""
        return format_path(self.path.name, 80)


def parse_number(text: str) -> float | None:
    """Return the number of a DS or IS, None if the text is none or beyond what a float holds."""
    value = float(text) if _NUMBER.match(text.strip()) else math.inf
    return value if math.isfinite(value) else None


def name_attribute(keyword: str) -> str:
    """Return an attribute for a message: 'PatientWeight (0010,1030)'."""
    from pydicom.datadict import tag_for_keyword
    from pydicom.tag import Tag

    tag = Tag(tag_for_keyword(keyword) or 0)
    return f"{keyword} ({tag.group:04X},{tag.element:04X})"


@contextmanager
def keep_quiet() -> Iterator[None]:
    """Keep pydicom and highdicom from warning, because their warnings quote values."""
    from pydicom import config

    logs, settings = [logging.getLogger(name) for name in ("pydicom", "highdicom")], config.settings
    with catch_warnings("ignore"):  # one thread at a time: what follows changes for all threads, too
        levels = [log.level for log in logs]
        reading, writing = settings.reading_validation_mode, settings.writing_validation_mode
        for log in logs:
            log.setLevel(logging.CRITICAL + 1)
        settings.reading_validation_mode = settings.writing_validation_mode = config.IGNORE
        try:
            yield
        finally:
            settings.reading_validation_mode, settings.writing_validation_mode = reading, writing
            for log, level in zip(logs, levels, strict=True):
                log.setLevel(level)


@contextmanager
def refuse_damage(what: str) -> Iterator[None]:
    """Run pydicom quietly, and refuse what it fails on: whatever it raises, the file is at fault.

    Damaged files make pydicom and its decoders raise errors of nearly every kind, among them MemoryError for a length
    that nobody could hold.

    Args:
        what: beginning of the message.

    Raises:
        InputError: pydicom or a decoder failed.
    """
    try:
        with keep_quiet():
            yield
    except InputError:
        raise
    except Exception:
        raise InputError(f"{what}; copy the series again") from None  # the cause quotes the patient's values


def read_private(header: Header, group: int, creator: str, element: int) -> Any:
    """Return the value of a vendor's private attribute, None if it is missing.

    If no creator is named in the group, as anonymisers leave it, the vendor's usual block, 10, is taken.
    """
    with refuse_damage(f"private group ({group:04X}) is damaged in {header.where}"):
        value = _read_private(header, group, creator, element)
    if isinstance(value, bytes):  # implicit VR without a dictionary entry
        value = value.decode("ascii", "replace").strip("\0 ")
    return None if value is None or str(value).strip() == "" else value


def _read_private(header: Header, group: int, creator: str, element: int) -> Any:
    from pydicom.tag import Tag

    of_group = header.dataset.group_dataset(group)
    owners = {e.tag.element: str(e.value).strip() for e in of_group if 0x10 <= e.tag.element <= 0xFF}
    blocks = [block for block, owner in owners.items() if owner.upper() == creator.upper()]
    block = blocks[0] if blocks else None if owners else 0x10
    found = None if block is None else header.dataset.get(Tag(group, block << 8 | element))
    return None if found is None else found.value
