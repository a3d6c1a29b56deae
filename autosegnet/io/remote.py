"""Files in an object store, such as `s3://bucket/folder`, by fsspec: listed, fetched, put, removed.

Credentials and endpoints come from the settings of the store's own tools (for S3: AWS_* variables and ~/.aws).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from autosegnet.errors import AutosegnetError, InputError, OutputError, UsageError


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file as the store lists it.

    Args:
        size: in bytes.
        changed_ns: when it was written, in nanoseconds since 1970; 0 if the store does not say.
    """

    size: int
    changed_ns: int


def is_url(text: str) -> bool:
    """Return whether the text names a place in a store instead of a path."""
    return "://" in text


@dataclass(frozen=True, slots=True)
class RemoteFolder:
    """A folder in a store. It can be sent to other processes.

    Args:
        url: without a slash at its end.
    """

    url: str

    def list_files(self) -> dict[str, RemoteFile]:
        """Return all files below the folder by their path in it; none if there is no such folder.

        Raises:
            InputError: the store does not answer or does not allow it.
        """
        with _translate_errors(InputError, f"cannot list {self.url}"):
            store, root = self._open()
            found: Mapping[str, Mapping[str, Any]] = store.find(root, detail=True)
            prefix = root.rstrip("/") + "/"
            files = {name.removeprefix(prefix): _describe(details) for name, details in found.items()}
        return {name: file for name, file in sorted(files.items()) if not _is_hidden(name)}

    def list_folder(self) -> dict[str, RemoteFile]:
        """Return the files that lie directly in the folder, by name.

        Raises:
            InputError: the store does not answer or does not allow it.
        """
        with _translate_errors(InputError, f"cannot list {self.url}"):
            store, root = self._open()
            listed: list[Mapping[str, Any]] = store.ls(root, detail=True)
            files = {str(one["name"]).rpartition("/")[2]: _describe(one) for one in listed if one["type"] == "file"}
        return {name: file for name, file in sorted(files.items()) if not _is_hidden(name)}

    def fetch_starts(self, files: Mapping[str, RemoteFile], length: int, folder: Path) -> None:
        """Copy the beginnings of files into a local folder; each copy has the size of its file, and zeros at its end.

        Args:
            files: that lie directly in this folder, by name.
            length: of a beginning, in bytes.
            folder: local.

        Raises:
            InputError: one of them cannot be read.
        """
        lengths = {name: min(length, file.size) for name, file in files.items() if file.size}
        with _translate_errors(InputError, f"cannot read from {self.url}"):
            store, root = self._open()
            paths = [f"{root}/{name}" for name in lengths]
            starts = store.cat_ranges(paths, [0] * len(paths), [*lengths.values()], on_error="raise") if paths else []
        for name, start in zip(lengths, starts, strict=True):
            (folder / name).write_bytes(start)
        for name, file in files.items():
            (folder / name).touch()
            os.truncate(folder / name, file.size)

    def create(self, name: str, data: bytes) -> bool:
        """Make a file that is not there yet, and return whether this call made it.

        Raises:
            OutputError: it cannot be written.
        """
        with _translate_errors(OutputError, f"cannot write {self.url}/{name}"):
            store, root = self._open()
            if store.exists(f"{root}/{name}"):
                return False
            try:
                store.pipe_file(f"{root}/{name}", data, mode="create")
            except FileExistsError:  # another was faster
                return False
            return bool(store.cat_file(f"{root}/{name}") == data)  # some stores know no exclusive writing

    def replace(self, name: str, data: bytes) -> None:
        """Write a small file, whatever was there.

        Raises:
            OutputError: it cannot be written.
        """
        with _translate_errors(OutputError, f"cannot write {self.url}/{name}"):
            store, root = self._open()
            store.pipe_file(f"{root}/{name}", data)

    def look_up(self, name: str) -> tuple[bytes, RemoteFile] | None:
        """Return a small file and what the store says of it; None if it is not there.

        Raises:
            InputError: the store does not answer or does not allow it.
        """
        with _translate_errors(InputError, f"cannot read from {self.url}"):
            store, root = self._open()
            try:
                return store.cat_file(f"{root}/{name}"), _describe(store.info(f"{root}/{name}"))
            except FileNotFoundError:
                return None

    def list_hidden(self) -> list[str]:
        """Return the names of the hidden files that lie directly in the folder.

        Raises:
            InputError: the store does not answer or does not allow it.
        """
        with _translate_errors(InputError, f"cannot list {self.url}"):
            store, root = self._open()
            try:
                names = [str(name).rpartition("/")[2] for name in store.ls(root, detail=False)]
            except FileNotFoundError:
                return []
        return sorted(name for name in names if name.startswith("."))

    def fetch(self, names: Iterable[str], folder: Path) -> None:
        """Copy files of the store to the same places below a local folder.

        Raises:
            InputError: one of them cannot be read.
        """
        wanted = list(names)
        if not wanted:
            return
        with _translate_errors(InputError, f"cannot read from {self.url}"):
            store, root = self._open()
            places = [folder / name for name in wanted]
            for place in places:
                place.parent.mkdir(parents=True, exist_ok=True)
            store.get([f"{root}/{name}" for name in wanted], [str(place) for place in places])

    def open_below(self, place: str) -> RemoteFolder:
        """Return a folder below this one, "" for this one."""
        return RemoteFolder(f"{self.url}/{place}") if place else self

    def put(self, path: Path, name: str) -> None:
        """Copy a local file to a place in the folder, whole or not at all.

        Raises:
            OutputError: it cannot be written.
        """
        with _translate_errors(OutputError, f"cannot write {self.url}/{name}"):
            store, root = self._open()
            store.put_file(str(path), f"{root}/{name}")

    def remove(self, names: Iterable[str]) -> None:
        """Remove files. A missing file is not an error.

        Raises:
            OutputError: one of them cannot be removed.
        """
        with _translate_errors(OutputError, f"cannot remove files from {self.url}"):
            store, root = self._open()
            store.invalidate_cache()
            for name in names:
                if store.exists(f"{root}/{name}"):
                    store.rm_file(f"{root}/{name}")

    def _open(self) -> tuple[Any, str]:
        """Return the store and the folder's name in it."""
        try:
            from fsspec.core import url_to_fs

            store, root = url_to_fs(self.url, use_listings_cache=False)
        except ImportError as error:
            raise UsageError(
                f"{self.url} needs a package that is not installed; run: pip install 'autosegnet[cloud]'"
            ) from error
        except ValueError as error:  # an unknown protocol
            raise UsageError(f"{self.url}: {error}") from error
        return store, str(root).rstrip("/")


def _describe(details: Mapping[str, Any]) -> RemoteFile:
    changed = details.get("LastModified") or details.get("mtime") or details.get("last_modified") or 0
    seconds = changed.timestamp() if isinstance(changed, datetime) else float(changed)
    return RemoteFile(int(details.get("size") or 0), int(seconds * 1e9))


def _is_hidden(name: str) -> bool:
    return not name or any(part.startswith(".") for part in name.split("/"))


@contextmanager
def _translate_errors(kind: type[AutosegnetError], what: str) -> Iterator[None]:
    try:
        yield
    except AutosegnetError:
        raise
    except Exception as error:  # each store has its own
        raise kind(f"{what}: {type(error).__name__} {str(error)[:300]}") from error
