"""The few exception types that end a run, each with its exit code, and how names of files enter a message.

Every message is one line that says what was found, what was expected, and where.
"""

from os import PathLike, fspath
from typing import ClassVar

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


def format_path(path: str | PathLike[str], longest: int = _LONGEST_NAME) -> str:
    """Return the path as one printable line; a long one loses its beginning, because its end names the file."""
    text = "".join(char if char.isprintable() else "?" for char in fspath(path))
    return text if len(text) <= longest else "..." + text[-longest:]


def format_list(names: list[str], most: int = 8) -> str:
    """Return the first few names in order, each shortened, and how many more there are."""
    text = ", ".join(format_path(name, 80) for name in sorted(names)[:most])
    return text + (f" and {len(names) - most} more" if len(names) > most else "")
