"""A folder that holds the whole result of a study and knows where its PET and CT lie, so that it can be compared.

`study.json` names paths, which a report never does: leave it out if you give the folder away.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from autosegnet.errors import InputError, format_path
from autosegnet.io.small_files import read_json, require_object
from autosegnet.lesions import BodySize
from autosegnet.loading import InputOptions
from autosegnet.result_files import STUDY_FILE
from autosegnet.suv import StatedFacts

_FORMAT = 1
_PATHS = ("pet", "ct", "pet_sidecar", "organs")


@dataclass(frozen=True, slots=True)
class StudyFiles:
    """Where a study lies, and how it is read.

    Args:
        pet, ct: files or DICOM folders.
        options: how to read them.
        size: of the patient, if the user stated it.
        organs: file of an organ map; None without one.
        organ_table: names of the map's labels, or where they are, as for `read_organ_labels`.
    """

    pet: Path
    ct: Path
    options: InputOptions
    size: BodySize | None = None
    organs: Path | None = None
    organ_table: str = ""


def format_study_file(folder: Path, files: StudyFiles, *, others: Iterable[str] = ()) -> str:
    """Return the text of a folder's `study.json`; paths are relative to the folder.

    Args:
        folder: of the result.
        files: of the study.
        others: names of the result's files in the folder that the user chose.
    """
    options = asdict(files.options)
    facts = {name: options["facts"][name] for name in files.options.facts.list_given()}
    content = {"format": _FORMAT, "pet": files.pet, "ct": files.ct, **options, "facts": facts}
    size = None if files.size is None else [files.size.weight_kg, files.size.height_cm, files.size.sex]
    content |= {"size": size, "organs": files.organs, "organ_table": files.organ_table, "others": sorted(others)}
    for name in _PATHS:
        if content[name] is not None:
            content[name] = Path(os.path.relpath(content[name], folder)).as_posix()
    return json.dumps(content, indent=1) + "\n"


def list_other_files(folder: Path) -> frozenset[str]:
    """Return the names of the result's files in a folder that the user chose, as its `study.json` lists them."""
    try:
        named = json.loads((folder / STUDY_FILE).read_text(encoding="utf-8"))["others"]
        return frozenset(name for name in named if Path(name).name == name)
    except (OSError, ValueError, KeyError, TypeError):
        return frozenset()


def read_study_file(folder: Path) -> StudyFiles | None:
    """Return what a folder's `study.json` says; None if there is no such file.

    Raises:
        InputError: it is none that this software wrote, or the PET or CT has gone.
    """
    path = folder / STUDY_FILE
    if not path.is_file():
        return None
    content: dict[str, Any] = dict(read_json(path, require_object, what="the study's file", expected="pet and ct"))
    try:
        if content.pop("format") != _FORMAT:
            raise ValueError("another format")
        places = {name: folder / content.pop(name) for name in ("pet", "ct")}
        known = {field.name for field in fields(InputOptions)}
        options = InputOptions(**{name: value for name, value in content.items() if name in known - {"facts"}})
        facts = StatedFacts(**content.get("facts", {}))
        size = None if content.get("size") is None else BodySize(*content["size"])
        organs = None if content.get("organs") is None else folder / content["organs"]
        organ_table = str(content.get("organ_table", ""))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{format_path(path)} is not as predict --result of this version writes it ({error}); run predict again"
        ) from error
    named = {"PET": places["pet"], "CT": places["ct"], **({} if organs is None else {"organ map": organs})}
    for name, place in named.items():
        if not place.exists():
            raise InputError(
                f"{format_path(path)} says that the {name} is at {format_path(place)}, and nothing is there; put it "
                "back, or run predict again"
            )
    sidecar = None if options.pet_sidecar is None else folder / options.pet_sidecar
    options = replace(options, facts=facts, pet_sidecar=sidecar)
    return StudyFiles(places["pet"], places["ct"], options, size, organs, organ_table)
