"""INPUT and OUTPUT in an object store: each study is copied to scratch and read there, and its results are put back.

A mirror stands for a folder of the store: a file of the same name, size and time for each of its files, without their
content. Studies are found and planned on it as on any folder. The record is put before the mask, as on a disk: a run
that is killed in between does the study again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from autosegnet.batch.plan import Task
from autosegnet.batch.record import Places, StudyRow
from autosegnet.io import IMAGE_SUFFIXES
from autosegnet.io.remote import RemoteFolder, is_url
from autosegnet.result_files import is_page_file

_READ_IN_PLANNING = (".json", ".csv")


@contextmanager
def open_place(text: str) -> Iterator[tuple[Path, Mirror | None]]:
    """Yield the path of INPUT or OUTPUT and, if it lies in a store, the mirror that the path is in, still empty.

    Args:
        text: a path, or a URL of a folder, or of a CSV whose folder is then mirrored.
    """
    if not is_url(text):
        yield Path(text), None
        return
    with TemporaryDirectory(prefix="autosegnet-") as scratch:
        url, _, name = text.rstrip("/").rpartition("/") if text.lower().endswith(".csv") else (text.rstrip("/"), "", "")
        mirror = Mirror(Path(scratch) / PurePosixPath(url).name, RemoteFolder(url))
        mirror.folder.mkdir()
        yield mirror.folder / name, mirror


@dataclass(frozen=True, slots=True)
class Mirror:
    """A local folder of placeholders for a folder in a store.

    Args:
        folder: local; the same path on every machine of a cluster.
        remote: in the store.
    """

    folder: Path
    remote: RemoteFolder

    def fill(self) -> list[str]:
        """Make a file for each one in the store, and return their names; small texts that planning reads have content.

        Raises:
            InputError: the store does not answer or does not allow it.
        """
        files = self.remote.list_files()
        for name, file in files.items():
            if name.endswith(_READ_IN_PLANNING):
                continue
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            os.truncate(path, file.size)  # without content, so without blocks on the disk
        self.remote.fetch([name for name in files if name.endswith(_READ_IN_PLANNING)], self.folder)
        for name, file in files.items():
            os.utime(self.folder / name, ns=(file.changed_ns, file.changed_ns))
        return list(files)

    def find_inside(self, other: Mirror) -> Path | None:
        """Return where another folder of the store lies in this one; None if it lies elsewhere."""
        inside = PurePosixPath(other.remote.url)
        outside = PurePosixPath(self.remote.url)
        return self.folder / inside.relative_to(outside) if inside.is_relative_to(outside) else None

    def name(self, path: Path) -> str:
        """Return the place of a local path in the folder of the store; "" for the folder itself."""
        place = PurePosixPath(path.relative_to(self.folder)).as_posix()
        return "" if place == "." else place

    @contextmanager
    def stage(self, task: Task) -> Iterator[Task]:
        """Yield the task with its study's files copied to scratch. They are removed at the end."""
        study, sidecar = task.study, task.options.pet_sidecar
        wanted = [*study.files, *([sidecar] if sidecar else [])]
        with TemporaryDirectory(prefix="autosegnet-") as scratch:
            self.remote.fetch(map(self.name, wanted), Path(scratch))

            def move(path: Path) -> Path:
                return Path(scratch) / self.name(path)

            pet, ct = (None if path is None else move(path) for path in (study.pet, study.ct))
            dicom = tuple(replace(part, folder=move(part.folder)) for part in study.dicom)
            moved = replace(study, pet=pet, ct=ct, dicom=dicom)
            options = replace(task.options, pet_sidecar=None if sidecar is None else move(sidecar))
            yield replace(task, study=moved, options=options)

    def put_results(self, places: Places, mask: Path) -> None:
        """Put a study's pictures and report, then its record, then its mask; remove them from scratch."""
        report = sorted(path for path in places.report.glob("*") if path.is_file())
        written = [*report, places.thumbnail, places.record, mask]
        for path in written:
            self.remote.put(path, self.name(path))
        for path in (*report, places.thumbnail, mask):
            path.unlink()

    def remove_results(self, places: Places) -> None:
        """Remove a study's outdated results from the store, before it is done again."""
        masks = [places.output / f"{places.case}{suffix}" for suffix in IMAGE_SUFFIXES]
        folder = self.name(places.report)
        pages = [f"{folder}/{name}" for name in self.remote.open_below(folder).list_files() if is_page_file(name)]
        self.remote.remove([*map(self.name, (*masks, places.thumbnail)), *pages])

    def remove_missing(self, names: Iterable[str]) -> None:
        """Remove files from the store that are no longer in the mirror.

        Args:
            names: of the files that the mirror was filled with.
        """
        self.remote.remove([name for name in names if not (self.folder / name).exists()])

    def fetch_records(self, rows: Iterable[StudyRow]) -> None:
        """Fetch the records that other machines wrote."""
        places = [Places(self.folder, row.case).record for row in rows if row.status == "done"]
        self.remote.fetch([self.name(path) for path in places if not path.exists()], self.folder)

    def put_cohort(self) -> None:
        """Put the summary, the tables and the overview into the store."""
        for pattern in ("summary*.csv", "tables/*", "overview.html"):
            for path in sorted(self.folder.glob(pattern)):
                self.remote.put(path, self.name(path))
