"""Search one folder for PET and CT objects: the only time that a process parses their headers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from autosegnet.batch.found_study import pack_names
from autosegnet.errors import InputError
from autosegnet.io import IMAGE_SUFFIXES
from autosegnet.io.folders import list_folder

if TYPE_CHECKING:
    from autosegnet.dicom.header import Header

_NO_DICOM = (*IMAGE_SUFFIXES, "dicomdir", ".json", ".tsv", ".csv", ".bvec", ".bval")
_MOST_HEADERS = 2000  # in memory, before they are packed; 30 kB each


def may_be_dicom(name: str) -> bool:
    """Return whether a file of this name is to be looked at."""
    return not name.lower().endswith(_NO_DICOM)


@dataclass(frozen=True, slots=True)
class FoundPart:
    """Objects of one study in one folder.

    Args:
        study_uid: StudyInstanceUID; the folder if it is missing.
        kinds: of the objects, "PET" and "CT".
        names: of the files, packed.
        headers: what was parsed of them, packed.
    """

    study_uid: str
    kinds: frozenset[str]
    names: bytes
    headers: bytes


@dataclass(frozen=True, slots=True)
class FolderFinds:
    """What a folder holds.

    Args:
        damage: what is wrong with the first file that may be a slice and cannot be read, or ''.
    """

    folder: Path
    parts: tuple[FoundPart, ...] = ()
    damage: str = ""


def search_folder(folder: Path) -> FolderFinds:
    """Return what a folder holds itself, without the folders in it."""
    try:
        _, names = list_folder(folder)
    except OSError as error:
        return FolderFinds(folder, damage=f"its folder cannot be listed: {error.strerror}")
    return search_files(folder, filter(may_be_dicom, names))


def search_files(
    folder: Path, names: Iterable[str], find: Callable[[Path], Header | None] | None = None
) -> FolderFinds:
    """Return what some files of a folder hold.

    Args:
        folder: that holds them.
        names: of the files, sorted.
        find: finds the header of a file, as `dicom.parse.find_header`, which is the default.
    """
    from autosegnet.dicom.kinds import find_kind
    from autosegnet.dicom.objects import describe_lost, find_lost
    from autosegnet.dicom.parse import find_header

    gathered, objects, others, damage = _Gathered(), list[Path](), list[Path](), ""
    for path in (folder / name for name in names):
        try:
            header = (find or find_header)(path)
            kind = None if header is None else find_kind(header)
            if header is None:
                others.append(path)
            elif kind is not None:
                gathered.add(header.read_text("StudyInstanceUID") or str(folder), kind, header)
                objects.append(path)
        except InputError as error:
            damage = damage or str(error)
    for path in find_lost(objects, others):
        damage = damage or describe_lost(path)
    return FolderFinds(folder, gathered.finish(), damage)


@dataclass(slots=True)
class _Gathered:
    """Headers by study; packed whenever there are many, because a folder may hold studies without end."""

    _waiting: dict[str, list[tuple[str, Header]]] = field(default_factory=dict)
    _parts: list[FoundPart] = field(default_factory=list)
    _count: int = 0

    def add(self, study_uid: str, kind: str, header: Header) -> None:
        self._waiting.setdefault(study_uid, []).append((kind, header))
        self._count += 1
        if self._count == _MOST_HEADERS:
            self._pack()

    def finish(self) -> tuple[FoundPart, ...]:
        self._pack()
        return tuple(self._parts)

    def _pack(self) -> None:
        from autosegnet.dicom.packing import pack_headers

        for uid, found in self._waiting.items():
            names = pack_names([header.path.name for _, header in found])
            headers = pack_headers(header for _, header in found)
            self._parts.append(FoundPart(uid, frozenset(kind for kind, _ in found), names, headers))
        self._waiting, self._count = {}, 0
