"""How names of files enter a message: on one line, without control characters, not longer than a line bears."""

from os import PathLike, fspath

_LONGEST_NAME = 200


def shown(path: str | PathLike[str], longest: int = _LONGEST_NAME) -> str:
    """The path as one printable line; its beginning is cut where it is too long, for the end names the file."""
    text = "".join(char if char.isprintable() else "?" for char in fspath(path))
    return text if len(text) <= longest else "..." + text[-longest:]


def listed(names: list[str], most: int = 8) -> str:
    """The first few names in order, each shortened, and how many more there are."""
    text = ", ".join(shown(name, 80) for name in sorted(names)[:most])
    return text + (f" and {len(names) - most} more" if len(names) > most else "")
