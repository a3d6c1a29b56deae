"""The platform's folders: where each edition of the challenge puts the study and expects the mask.

Source: grand-challenge.org interfaces (sockets) of autoPET I (2022) to V (2026).
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from autosegnet.errors import InputError, UsageError
from autosegnet.io import find_only_image, strip_suffix
from autosegnet.io.places import remove_file
from autosegnet.io.small_files import read_json

if TYPE_CHECKING:
    import SimpleITK as sitk

log = logging.getLogger(__name__)

CLICKS = "lesion-clicks.json"
_RESULTS = "results.json"
_DATA_CENTRIC = "data-centric-model.json"


@dataclass(frozen=True, slots=True)
class Edition:
    """One edition of the challenge, by what differs between them.

    Args:
        output_socket: folder of the mask below `images/` of the output.
        data_centric: whether `data-centric-model.json` must say that the model is not the organisers' own.
        has_clicks: whether a reader's clicks come with the study.
    """

    output_socket: str
    data_centric: bool = False
    has_clicks: bool = False


_EDITIONS = {
    "autopet1": Edition("automated-petct-lesion-segmentation"),
    "autopet2": Edition("automated-petct-lesion-segmentation"),
    "autopet3": Edition("automated-petct-lesion-segmentation", data_centric=True),
    "autopet4": Edition("tumor-lesion-segmentation", has_clicks=True),
    "autopet5": Edition("tumor-lesion-segmentation", has_clicks=True),
}
DEFAULT_EDITION = "autopet2"


def find_edition(name: str) -> Edition:
    """Return the edition of a name; raise UsageError for one that is not known."""
    if name not in _EDITIONS:
        raise UsageError(f"edition is {name!r}; expected one of {', '.join(_EDITIONS)}")
    return _EDITIONS[name]


@dataclass(frozen=True, slots=True)
class JobFiles:
    """The files of one job.

    Args:
        pet: the one image of the PET's socket.
        ct: the one image of the CT's socket.
        mask: where the mask goes, named after the CT as every published baseline does.
        results: where `results.json` goes.
        data_centric: file for the statement that the edition asks for; None if it asks for none.
        clicks: file of a reader's clicks; None if there is none.
    """

    pet: Path
    ct: Path
    mask: Path
    results: Path
    data_centric: Path | None
    clicks: Path | None = None

    def describe_result(self, remarks: dict[str, Any]) -> dict[str, Any]:
        """Return the content of `results.json` for the case, in evalutils' form, with the remarks."""
        return {
            "outputs": [{"type": "metaio_image", "filename": self.mask.name}],
            "inputs": [{"type": "metaio_image", "filename": path.name} for path in (self.pet, self.ct)],
            "error_messages": [],
            **remarks,
        }

    @property
    def outputs(self) -> list[Path]:
        """Return every file that the job writes."""
        return [path for path in (self.mask, self.results, self.data_centric) if path is not None]

    def collect_contents(self, mask: sitk.Image, results: list[dict[str, Any]]) -> dict[Path, sitk.Image | str]:
        """Return every file of the output, by path."""
        files: dict[Path, sitk.Image | str] = {self.mask: mask, self.results: json.dumps(results)}
        if self.data_centric is not None:
            files[self.data_centric] = json.dumps(False)
        return files


def find_job_files(*, input_folder: Path, output_folder: Path, edition_name: str) -> JobFiles:
    """Return the files of the job in the platform's folders.

    If the platform's list of sockets, `inputs.json`, exists, it says where the images are. Otherwise they are in
    `images/pet` and `images/ct`. Clicks of a reader (autoPET IV and V) are optional.

    Raises:
        InputError: not exactly one PET and one CT, or a list of sockets that cannot be read or does not name them.
        UsageError: an unknown edition.
    """
    year = find_edition(edition_name)
    listed = _read_listed(input_folder)
    pet, ct = (_find_input_image(name, input_folder, listed) for name in ("pet", "ct"))
    has_clicks = os.path.lexists(input_folder / CLICKS)
    if has_clicks and not year.has_clicks:
        log.info("%s is not used: %s has no clicks", CLICKS, edition_name)
    return JobFiles(
        pet,
        ct,
        output_folder / "images" / year.output_socket / f"{strip_suffix(ct)}.mha",
        output_folder / _RESULTS,
        output_folder / _DATA_CENTRIC if year.data_centric else None,
        input_folder / CLICKS if has_clicks and year.has_clicks else None,
    )


def clear_output(output_folder: Path, *, edition_name: str) -> None:
    """Remove what an earlier job left in the platform's output folder: every mask of the socket, and the JSON.

    The platform takes exactly one image from there, and a refused job must not show the mask of an earlier one.

    Raises:
        OutputError: something cannot be removed.
    """
    place = find_edition(edition_name)
    socket = output_folder / "images" / place.output_socket
    masks = [socket / name for name in _list_names(socket) if name.lower().endswith(".mha")]
    for path in (*masks, output_folder / _RESULTS, output_folder / _DATA_CENTRIC):
        if os.path.isfile(path):
            remove_file(path)


def _list_names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:  # no such folder yet, or one that cannot be used: writing to it says so
        return []


@dataclass(frozen=True, slots=True)
class _Listed:
    """One socket of `inputs.json`: `{"socket": {"slug", "relative_path"}, "image": {"name"} or null, …}`."""

    slug: str
    relative_path: str
    image_name: str | None


def _read_listed(input_folder: Path) -> list[_Listed] | None:
    """Return the sockets that `inputs.json` lists; None if there is no such file, as in older test folders."""
    path = input_folder / "inputs.json"
    if not os.path.lexists(path):
        return None
    return read_json(
        path,
        lambda entries: [_parse_socket(entry) for entry in entries],
        what="the platform's list of sockets",
        expected='[{"socket": {"slug": …, "relative_path": …}, …}, …]',
    )


def _parse_socket(entry: Any) -> _Listed:
    name = (entry.get("image") or {}).get("name")
    socket = entry["socket"] if "socket" in entry else entry["interface"]  # its name on the platform until 2025
    return _Listed(str(socket["slug"]), str(socket["relative_path"]), None if name is None else str(name))


def _find_input_image(name: str, input_folder: Path, listed: list[_Listed] | None) -> Path:
    """Return the image of the socket of a name, "pet" or "ct"."""
    usual = f"images/{name}"
    if listed is None:
        return _check_place(find_only_image(input_folder / usual), input_folder)
    found = [s for s in listed if s.relative_path.strip("/") == usual or s.slug in (name, f"{name}-image")]
    if len(found) != 1:
        raise InputError(
            f"{input_folder / 'inputs.json'} lists {len(found)} sockets for the {name.upper()}, expected exactly one "
            f"whose relative_path is {usual} or whose slug is {name} or {name}-image"
        )
    relative = PurePosixPath(found[0].relative_path)
    if relative.is_absolute() or ".." in relative.parts:
        raise InputError(f"{input_folder / 'inputs.json'} names {relative}, expected a path below the input folder")
    named = found[0].image_name
    # The name may be the image's title on the platform rather than a file's.
    if named and PurePosixPath(named).name == named and os.path.isfile(input_folder / relative / named):
        return _check_place(input_folder / relative / named, input_folder)
    return _check_place(find_only_image(input_folder / relative), input_folder)


def _check_place(image: Path, input_folder: Path) -> Path:
    """Return the image; raise InputError if it, or a folder on the way to it, is a link to another folder."""
    folder = Path(os.path.realpath(input_folder)) / image.parent.relative_to(input_folder)
    if not Path(os.path.realpath(image)).is_relative_to(folder):
        raise InputError(
            f"{image} is a link to another folder, or its path contains one; expected the image itself there"
        )
    return image
