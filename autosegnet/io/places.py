"""Keeps outputs from replacing inputs or one another, and removes older results from their places."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
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
        """Return those that are there."""
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
    """Refuse outputs that would replace an input or one another, by whatever name or link.

    Args:
        outputs: by what the user calls them ("--output"); None is not asked for
        inputs: files, and folders of which no file is to be replaced
        is_read: whether a file of this name in an input's folder is read

    Raises:
        UsageError: two of them are one file
    """
    for (name, output), (other, path) in combinations(outputs.items(), 2):
        if _is_overlap(output, path):
            raise UsageError(f"{name} and {other} name the same file; choose one for each")
    for name, output in outputs.items():
        for of, path in inputs.items():
            if path is not None and _is_replaced(output, path, is_read):
                what = f"a file in the folder of {of}" if os.path.isdir(path) else of
                raise UsageError(f"{name} would replace {what}; choose another place")


def remove_older(outputs: Mapping[str, Output]) -> None:
    """Remove what an earlier run left in the places of the outputs, so that it is not taken for this run's.

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


def _is_overlap(a: Output, b: Output) -> bool:
    if a is None or b is None:
        return False
    if isinstance(a, OutputFolder) and isinstance(b, OutputFolder):
        return _place(a.path) == _place(b.path)
    return _is_covered(a, b) if isinstance(b, Path) else _is_covered(b, a)  # type: ignore[arg-type]


def _is_covered(output: Path | OutputFolder, path: Path) -> bool:
    """Return whether the output, when it is written, replaces the file."""
    if isinstance(output, OutputFolder):
        return _place(output.path) == _place(path.parent) and output.holds(path.name)
    return _place(output) == _place(path)


def _is_replaced(output: Output, path: Path, is_read: Callable[[str], bool]) -> bool:
    if output is None:
        return False
    if not os.path.isdir(path):
        return _is_covered(output, path)
    existing = output.list_files() if isinstance(output, OutputFolder) else [output]
    replaced = {identity for file in existing if (identity := _identify(file)) is not None}
    return bool(replaced) and any(_identify(file) in replaced for file in _list_files_in(path) if is_read(file.name))


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
