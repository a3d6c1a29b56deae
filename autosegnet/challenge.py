"""The platform's folders: where an edition of the challenge puts the study and expects the mask.

Source: grand-challenge.org interfaces (sockets) of autoPET I (2022) to V (2026).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from autosegnet.errors import UsageError
from autosegnet.io import image_stem, only_image


@dataclass(frozen=True, slots=True)
class Edition:
    """What differs between the challenge's years.

    Args:
        output_socket: folder of the mask below `images/` of the output.
        data_centric: whether `data-centric-model.json` must say that the model is not the organisers' own.
    """

    output_socket: str
    data_centric: bool = False


_EDITIONS = {
    "autopet1": Edition("automated-petct-lesion-segmentation"),
    "autopet2": Edition("automated-petct-lesion-segmentation"),
    "autopet3": Edition("automated-petct-lesion-segmentation", data_centric=True),
    "autopet4": Edition("tumor-lesion-segmentation"),
    "autopet5": Edition("tumor-lesion-segmentation"),
}
DEFAULT_EDITION = "autopet2"


def edition(name: str) -> Edition:
    """The edition of a name; raises UsageError for one that is not known."""
    if name not in _EDITIONS:
        raise UsageError(f"edition is {name!r}; expected one of {', '.join(_EDITIONS)}")
    return _EDITIONS[name]


@dataclass(frozen=True, slots=True)
class Sockets:
    """The files of one job.

    Args:
        pet: the one image of `images/pet`.
        ct: the one image of `images/ct`.
        mask: where the mask goes, named after the CT as every published baseline does.
        results: where `results.json` goes.
        data_centric: where the statement goes that the edition asks for, if it does.
    """

    pet: Path
    ct: Path
    mask: Path
    results: Path
    data_centric: Path | None


def sockets(*, input_folder: Path, output_folder: Path, edition_name: str) -> Sockets:
    """The files of the job in the platform's folders.

    Raises:
        InputError: not exactly one image in `images/pet` and in `images/ct`.
        UsageError: an unknown edition.
    """
    year = edition(edition_name)
    pet, ct = only_image(input_folder / "images" / "pet"), only_image(input_folder / "images" / "ct")
    return Sockets(
        pet,
        ct,
        output_folder / "images" / year.output_socket / f"{image_stem(ct)}.mha",
        output_folder / "results.json",
        output_folder / "data-centric-model.json" if year.data_centric else None,
    )
