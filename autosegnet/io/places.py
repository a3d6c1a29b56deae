"""Stops outputs from replacing inputs or each other, and removes older results."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from autosegnet.errors import OutputError, UsageError, format_path
from autosegnet.io.folders import walk_folders

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OutputFolder:
    """A folder in which an output is written as files of certain names.

    Args:
        holds: whether a file of this name is one of them
    """

    path: Path
    holds: Callable[[str], bool]

    def list_files(self) -> list[Path]:
        """Return the files of the output that exist."""
        try:
            return [self.path / name for name in sorted(os.listdir(self.path)) if self.holds(name)]
        except (OSError, ValueError):
            return []


Output = Path | OutputFolder | None


def check_outputs(
    outputs: Mapping[str, Output],
    *,
    inputs: Mapping[str, Path | None],
    is_read: Callable[[str], bool] = lambda name: True,
) -> None:
    """Refuse outputs that would replace an input or each other, under any name or link.

    Args:
        outputs: by the name of the option ("--output"); None if not asked for
        inputs: files, and folders whose files must not be replaced
        is_read: whether a file of this name in an input's folder is read

    Raises:
        UsageError: two of them are one file
    """
    files = {name: output for name, output in outputs.items() if isinstance(output, Path)}
    folders = {name: output for name, output in outputs.items() if isinstance(output, OutputFolder)}
    taken = _check_each_other(files, folders)
    existing: dict[tuple[int, int], str] | None = None
    for of, read in inputs.items():
        if read is None:
            continue
        what = f"a file in the folder of {of}" if os.path.isdir(read) else of
        if os.path.isdir(read):
            existing = _identify_all(outputs) if existing is None else existing
            name = _find_replacing(existing, read, is_read)
        else:
            name = taken.get(_place(read)) or next((name for name, f in folders.items() if _is_covered(f, read)), "")
        if name:
            raise UsageError(f"{name} would replace {what}; choose another place")


def _check_each_other(files: Mapping[str, Path], folders: Mapping[str, OutputFolder]) -> dict[str, str]:
    """Return the names of the files by their places."""
    taken: dict[str, str] = {}
    for name, path in files.items():
        if (other := taken.setdefault(_place(path), name)) != name:
            raise UsageError(f"{other} and {name} name the same file; choose one for each")
    all_outputs: dict[str, Path | OutputFolder] = {**folders, **files}
    for name, folder in folders.items():
        for other, output in all_outputs.items():
            if other != name and _is_overlap(folder, output):
                raise UsageError(f"{name} and {other} name the same file; choose one for each")
    return taken


def remove_older(outputs: Mapping[str, Output]) -> None:
    """Remove outputs of an earlier run, so that nobody takes them for this run's.

    Raises:
        OutputError: it cannot be removed
    """
    for output in outputs.values():
        for path in output.list_files() if isinstance(output, OutputFolder) else [output]:
            if path is not None and os.path.isfile(path):
                remove_file(path)


def remove_file(path: Path) -> None:
    """Remove a file of an earlier run, or the one that a link of this name leads to.

    Raises:
        OutputError: it cannot be removed
    """
    try:
        os.unlink(os.path.realpath(path))
    except OSError as error:
        raise OutputError(f"cannot remove {format_path(path)}, of an earlier run: {error.strerror}") from error
    log.info("removed %s, of an earlier run", format_path(path))


def _is_overlap(folder: OutputFolder, other: OutputFolder | Path) -> bool:
    if isinstance(other, OutputFolder):
        return _place(folder.path) == _place(other.path)
    return _is_covered(folder, other)


def _is_covered(folder: OutputFolder, path: Path) -> bool:
    """Return whether the output, when it is written, replaces the file."""
    return _place(folder.path) == _place(path.parent) and folder.holds(path.name)


def _identify_all(outputs: Mapping[str, Output]) -> dict[tuple[int, int], str]:
    """Return the names of the outputs by what identifies each file of theirs that is there."""
    existing: dict[tuple[int, int], str] = {}
    for name, output in outputs.items():
        for path in output.list_files() if isinstance(output, OutputFolder) else [output]:
            if path is not None and (identity := _identify(path)) is not None:
                existing[identity] = name
    return existing


def _find_replacing(existing: Mapping[tuple[int, int], str], folder: Path, is_read: Callable[[str], bool]) -> str:
    """Return the name of an output that is one of the files of a folder, or ''."""
    for file in _list_files_in(folder) if existing else ():
        identity = _identify(file) if is_read(file.name) else None
        if identity is not None and identity in existing:
            return existing[identity]
    return ""


def _list_files_in(folder: Path) -> Iterator[Path]:
    for place, names in walk_folders(folder, unlisted=lambda error: None):
        yield from (place / name for name in names)


def _place(path: Path) -> str:
    try:
        return os.path.normcase(os.path.realpath(path))
    except (OSError, ValueError):
        return str(path)


def _identify(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino
