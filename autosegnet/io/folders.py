"""Walks folders, and names what lies in them: in the same way for every command, whatever it looks for."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from autosegnet.errors import InputError, format_path


def refuse_unlisted(error: OSError) -> None:
    """Refuses a folder that cannot be listed.

    Raises:
        InputError: always.
    """
    raise InputError(
        f"cannot list the folder {format_path(Path(error.filename).name, 80)}: {error.strerror}"
    ) from error


def folders_below(
    root: Path, *, leave_out: Path | None = None, unlisted: Callable[[OSError], None] = refuse_unlisted
) -> Iterator[tuple[Path, list[str]]]:
    """A folder and all below it, each with the names of its files; both are sorted, and hidden ones left out.

    Linked folders are followed, but for those that lead back to where they lie, which would never end.

    Args:
        leave_out: a folder that is not looked into.
        unlisted: what to do about a folder that cannot be listed.
    """
    left_out = None if leave_out is None else leave_out.resolve()
    for place, subfolders, names in os.walk(root, followlinks=True, onerror=unlisted):
        folder = Path(place)
        above = _down_to(folder, root)
        subfolders[:] = sorted(
            name
            for name in subfolders
            if not name.startswith(".")
            and (real := (folder / name).resolve()) != left_out
            and not any(known.is_relative_to(real) for known in above)
        )
        yield folder, sorted(name for name in names if not name.startswith("."))


def case_of(parts: tuple[str, ...], root: Path) -> str:
    """The name of what lies at a place below a folder; the folder's own name for what lies directly in it."""
    return "_".join(parts) if parts else root.resolve().name


def _down_to(folder: Path, root: Path) -> list[Path]:
    """Where the folders from the root to a folder really lie."""
    parts = folder.relative_to(root).parts
    return [root.joinpath(*parts[:k]).resolve() for k in range(len(parts) + 1)]
