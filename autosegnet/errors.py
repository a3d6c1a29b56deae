"""The few exception types that end a run, each with its exit code, and how names and counts enter a message.

Every message is one line that says what was found, what was expected, and where.
"""

from collections.abc import Iterable
from os import PathLike, fspath
from typing import ClassVar
from unicodedata import category

_LONGEST_NAME = 200


class AutosegnetError(Exception):
    """A run that cannot go on for a reason outside the program."""

    exit_code: ClassVar[int] = 1


class UsageError(AutosegnetError):
    """The command line or the environment asks for something that does not exist."""

    exit_code = 2


class InputError(AutosegnetError):
    """A study, a mask or a table that cannot be trusted."""

    exit_code = 3


class WeightsError(AutosegnetError):
    """Folds or a recipe that are missing, altered or of another network."""

    exit_code = 4


class OutputError(AutosegnetError):
    """A result that cannot be written."""

    exit_code = 5


def escape(text: str) -> str:
    """Return the text as one printable line, whatever a file's name or header holds.

    Characters that would move the cursor, turn the direction of writing, start a line or colour a terminal become
    their escape sequence in Python, and bytes of a name that are not UTF-8 become `\\xNN`.
    """
    return "".join(char if char.isprintable() or category(char) == "Zs" else _escape_character(char) for char in text)


def _escape_character(char: str) -> str:
    byte = ord(char) - 0xDC00  # of a name that is not UTF-8, as Python decodes it (PEP 383)
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else char.encode("unicode_escape").decode("ascii")


def format_path(path: str | PathLike[str], longest: int = _LONGEST_NAME) -> str:
    """Return the path as one printable line; a long one loses its beginning, because its end names the file."""
    text = escape(fspath(path))
    return text if len(text) <= longest else "..." + text[-longest:]


def format_list(names: list[str], most: int = 8) -> str:
    """Return the first few names in order, each shortened, and how many more there are."""
    text = ", ".join(format_path(name, 80) for name in sorted(names)[:most])
    return text + (f" and {len(names) - most} more" if len(names) > most else "")


def format_numbers(numbers: Iterable[int], noun: str) -> str:
    """Return a noun and its numbers: "lesion 3", "lesions 3, 4 and 7"."""
    texts = [str(number) for number in numbers]
    if len(texts) == 1:
        return f"{noun} {texts[0]}"
    return f"{form_plural(noun)} {', '.join(texts[:-1])} and {texts[-1]}"


def format_count(number: int, noun: str) -> str:
    """Return a number and its noun: "1 study", "3 studies"."""
    return f"{number} {noun if number == 1 else form_plural(noun)}"


def form_plural(noun: str) -> str:
    """Return the plural of an English noun that forms it regularly."""
    if noun.endswith("y") and noun[-2] not in "aeiou":  # "studies", but "days"
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith("s") else f"{noun}s"
