"""A folder that holds the whole result of a study and knows where its PET and CT lie, so that it can be compared.

`study.json` names paths, which a report never does: leave it out if you give the folder away.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

from autosegnet.errors import InputError, format_path
from autosegnet.io.small_files import read_json, require_object
from autosegnet.loading import InputOptions
from autosegnet.suv import StatedFacts

STUDY_FILE: Final = "study.json"
MASK_FILE: Final = "mask.nii.gz"
PROBABILITY_FILE: Final = "probability.nii.gz"
_FORMAT = 1
_PATHS = ("pet", "ct", "pet_sidecar")


@dataclass(frozen=True, slots=True)
class StudyFiles:
    """Where a study lies, and how it is read.

    Args:
        pet, ct: files or DICOM folders.
        options: how to read them.
    """

    pet: Path
    ct: Path
    options: InputOptions


def format_study_file(folder: Path, files: StudyFiles) -> str:
    """Return the text of a folder's `study.json`; paths are relative to the folder."""
    options = asdict(files.options)
    facts = {name: options["facts"][name] for name in files.options.facts.list_given()}
    content = {"format": _FORMAT, "pet": files.pet, "ct": files.ct, **options, "facts": facts}
    for name in _PATHS:
        if content[name] is not None:
            content[name] = Path(os.path.relpath(content[name], folder)).as_posix()
    return json.dumps(content, indent=1) + "\n"


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
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{format_path(path)} is no {STUDY_FILE} of this version ({error}); run predict again"
        ) from error
    for name, place in places.items():
        if not place.exists():
            raise InputError(f"the {name.upper()} that {format_path(path)} names has gone: {format_path(place)}")
    sidecar = None if options.pet_sidecar is None else folder / options.pet_sidecar
    return StudyFiles(places["pet"], places["ct"], replace(options, facts=facts, pet_sidecar=sidecar))
