"""Walks folders and names their content, in the same way for every command."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from autosegnet.errors import InputError, format_path


def refuse_unlisted(error: OSError) -> None:
    """Refuse a folder that cannot be listed.

    Raises:
        InputError: always
    """
    raise InputError(
        f"cannot list the folder {format_path(Path(error.filename).name, 80)}: {error.strerror}"
    ) from error


def walk_folders(
    root: Path, *, leave_out: Path | None = None, unlisted: Callable[[OSError], None] = refuse_unlisted
) -> Iterator[tuple[Path, list[str]]]:
    """Walk a folder and all below it, and yield each with the names of its files, both sorted, hidden ones left out.

    Linked folders are followed. A folder with several paths is listed once, by the first of them. So loops of links
    end, and many links to one folder cost nothing.

    Args:
        leave_out: a folder that is not looked into
        unlisted: what to do about a folder that cannot be listed
    """
    seen: set[tuple[int, int] | None] = set() if leave_out is None else {_identify(leave_out)}
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        identity = _identify(folder)
        if identity is not None and identity in seen:
            continue
        seen.add(identity)
        try:
            subfolders, names = list_folder(folder)
        except OSError as error:
            unlisted(error)
            continue
        yield folder, names
        waiting += [folder / name for name in reversed(subfolders)]


def name_case(parts: tuple[str, ...], root: Path) -> str:
    """Return the name of a case from its path below a folder; the folder's own name if it lies directly in it."""
    return "_".join(parts) if parts else root.resolve().name


def list_folder(folder: Path) -> tuple[list[str], list[str]]:
    """Return the names of a folder's folders, and of its files, both sorted, hidden ones left out.

    Raises:
        OSError: it cannot be listed.
    """
    subfolders: list[str] = []
    names: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith("."):
                (subfolders if _is_folder(entry) else names).append(entry.name)
    return sorted(subfolders), sorted(names)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _identify(folder: Path) -> tuple[int, int] | None:
    """Return what identifies a folder under any path; None if it cannot be read."""
    try:
        status = os.stat(folder)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


_ARCHIVES: Final = (".zip", ".7z", ".rar", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".iso")


def refuse_archive(path: Path) -> None:
    """Refuse an archive where a folder is expected.

    Raises:
        InputError: the path is an archive.
    """
    if advise_to_unzip([path]) and path.is_file():
        raise InputError(f"found an archive, {format_path(path.name, 80)}; unzip it and name the folder instead")


def advise_to_unzip(paths: Iterable[Path]) -> str:
    """Return the end of a message that says which archive to unzip, '' if none of the files is one."""
    names = [path.name for path in paths if path.name.lower().endswith(_ARCHIVES)]
    archives = [name for name in names if not name.lower().endswith(".nii.gz")]
    return f"; unzip {format_path(archives[0], 80)} first" if archives else ""
