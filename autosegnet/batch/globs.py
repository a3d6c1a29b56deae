"""Studies by two patterns, for folders in no known layout: `--pet-glob '*/PT*.nii.gz' --ct-glob '*/CT*.nii.gz'`.

A PET and a CT belong together if the patterns find only them in their folder. Otherwise they do if `*` stands for the
same text in both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from autosegnet.batch.found_study import CohortStudy
from autosegnet.errors import format_list
from autosegnet.io import IMAGE_SUFFIXES, strip_suffix
from autosegnet.io.folders import name_case, walk_folders


def find_by_globs(root: Path, pet_glob: str, ct_glob: str, *, leave_out: Path) -> list[CohortStudy]:
    """Return the studies that two patterns find below a folder.

    Args:
        root: folder of the cohort.
        pet_glob: of the PET images, relative to the root; `*` stands for any text without a slash, `**` for any.
        ct_glob: of the CT images.
        leave_out: a folder to skip.
    """
    paths = [
        folder / name
        for folder, names in walk_folders(root, leave_out=leave_out)
        for name in names
        if name.lower().endswith(IMAGE_SUFFIXES)
    ]
    pets, cts = (_match_all(paths, root, glob) for glob in (pet_glob, ct_glob))
    in_folder = {kind: _group_by_folder(found) for kind, found in (("pet", pets), ("ct", cts))}
    studies = []
    for pet, starred in pets.items():
        parts = pet.parent.relative_to(root).parts
        neighbours = in_folder["ct"].get(pet.parent, [])
        if len(in_folder["pet"][pet.parent]) == len(neighbours) == 1:
            case, matching = name_case(parts, root), neighbours
        else:
            case = "_".join((*parts, strip_suffix(pet)))
            matching = [ct for ct, text in cts.items() if text == starred]
        studies.append(_pair_one(case, pet, matching))
    return studies


def _pair_one(case: str, pet: Path, cts: list[Path]) -> CohortStudy:
    if len(cts) == 1:
        return CohortStudy(case=case, pet=pet, ct=cts[0])
    found = f"{len(cts)} CT images ({format_list([ct.name for ct in cts])})" if cts else "no CT image"
    return CohortStudy(case=case, fault=f"{found} for {pet.name} by --ct-glob; expected one")


def _match_all(paths: list[Path], root: Path, glob: str) -> dict[Path, tuple[str, ...]]:
    """Return the paths that match a pattern, each with the text that its `*` matched."""
    pattern = re.compile(_translate(glob), re.IGNORECASE)
    matches = {path: pattern.fullmatch(path.relative_to(root).as_posix()) for path in paths}
    return {path: match.groups() for path, match in matches.items() if match}


def _translate(glob: str) -> str:
    stars = {"**/": "((?:.*/)?)", "**": "(.*)", "*": "([^/]*)", "?": "([^/])"}
    return "".join(stars.get(part) or re.escape(part) for part in re.split(r"(\*\*/|\*\*|\*|\?)", glob))


def _group_by_folder(found: Mapping[Path, tuple[str, ...]]) -> dict[Path, list[Path]]:
    folders: dict[Path, list[Path]] = {}
    for path in found:
        folders.setdefault(path.parent, []).append(path)
    return folders
