"""Search a folder of an object store for PET and CT objects, of which only the beginnings are fetched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from autosegnet.batch.dicom_search import FolderFinds, may_be_dicom, search_files
from autosegnet.batch.staging import Mirror
from autosegnet.errors import InputError

if TYPE_CHECKING:
    from autosegnet.dicom.header import Header
    from autosegnet.io.remote import RemoteFile, RemoteFolder

_START_BYTES = 65_536  # longer than most headers; of a longer one, the whole file is fetched


@dataclass(frozen=True, slots=True)
class StoreSearch:
    """Search folders as `dicom_search.search_folder` does, in a store.

    Args:
        mirror: of the cohort.
    """

    mirror: Mirror

    def __call__(self, folder: Path) -> FolderFinds:
        """Return what a folder of the mirror holds in the store, without the folders in it."""
        remote = self.mirror.remote.open_below(self.mirror.name(folder))
        files = {name: file for name, file in remote.list_folder().items() if may_be_dicom(name)}
        with TemporaryDirectory(prefix="autosegnet-") as scratch:
            fetched = Path(scratch)
            remote.fetch_starts(files, _START_BYTES, fetched)
            finds = search_files(fetched, files, partial(_find_header, remote, files))
        return replace(finds, folder=folder)


def _find_header(remote: RemoteFolder, files: Mapping[str, RemoteFile], path: Path) -> Header | None:
    from autosegnet.dicom.parse import find_header

    if files[path.name].size > _START_BYTES:
        try:
            header = find_header(path)
        except InputError:
            pass  # perhaps only because its end is missing
        else:
            if header is None or header.pixels_at < _START_BYTES:
                return header
        remote.fetch([path.name], path.parent)
    return find_header(path)
