"""Studies as image files: the layouts of data folders, defined here for every command.

Tree: `<patient>/<study>/{SUV,CTres}` as tcia2nifti writes FDG-PET-CT-Lesions; the original CT if CTres is missing.
Paired names: nnU-Net's `<case>_0000` (CT) and `_0001` (PET), HECKTOR's `<case>__CT` and `__PT`, `_CT` and `_PT` or
`_PET`. Prefixes: LION's and MOOSE's `CT_…` and `PT_…`, a folder per study.
BIDS: `sub-<label>_[ses-<label>_]…_pet` and `…_ct` of one subject and session, in any of its folders.
Grand challenge: `images/pet` and `images/ct` with one image each, or with images that pair by name.
Upper and lower case make no difference (`io.layout_names`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from autosegnet.batch.found_study import CohortStudy
from autosegnet.errors import format_list, format_path
from autosegnet.io import strip_suffix
from autosegnet.io.folders import name_case
from autosegnet.io.layout_names import (
    IMAGE_FOLDERS,
    PAIRED_PREFIXES,
    PAIRED_SUFFIXES,
    TREE_CT,
    TREE_PET,
    TREE_STEMS,
)

Stems = Mapping[str, Sequence[Path]]
"""Images of one folder by their lower-case name without suffix; several paths if names differ in suffix or case."""

_NNUNET = PAIRED_SUFFIXES[0]
_BIDS: Final = re.compile(r"(?P<subject>sub-[a-z0-9]+)(_(?P<session>ses-[a-z0-9]+))?_(.*_)?(?P<kind>pet|ct)")


def group_by_stem(images: Sequence[Path]) -> dict[str, list[Path]]:
    """Return the images by their name without suffix, in lower case."""
    stems: dict[str, list[Path]] = {}
    for path in images:
        stems.setdefault(strip_suffix(path).lower(), []).append(path)
    return stems


def find_in_folder(images: Sequence[Path], parts: tuple[str, ...], root: Path) -> list[CohortStudy]:
    """Return the studies whose images lie in one folder: tree, paired names, prefixes.

    Args:
        images: in the folder.
        parts: of the folder's place below the root.
        root: folder of the cohort.
    """
    stems = group_by_stem(images)
    studies = _find_tree_study(stems, parts, root)
    above = parts[:-1] if parts and parts[-1].lower() in IMAGE_FOLDERS else parts
    taken = {path for study in studies for path in study.files}
    for pet, ct in PAIRED_SUFFIXES:
        free = {stem: paths for stem, paths in stems.items() if not taken & {*paths}}
        found = _find_by_suffix(free, above, pet, ct)
        studies += found
        taken |= {path for study in found for path in study.files}
    free = {stem: paths for stem, paths in stems.items() if not taken & {*paths} and stem not in TREE_STEMS}
    return studies + _find_by_prefix(free, above, root)


def _find_tree_study(stems: Stems, parts: tuple[str, ...], root: Path) -> list[CohortStudy]:
    if not any(stem in stems for stem in TREE_STEMS):
        return []
    case = name_case(parts, root)
    ct = next((stem for stem in TREE_CT if stem in stems), "")
    lacking = [name for name, is_there in (("SUV", TREE_PET in stems), ("CTres or CT", bool(ct))) if not is_there]
    doubled = [strip_suffix(stems[stem][0]) for stem in (TREE_PET, ct) if len(stems.get(stem, ())) > 1]
    if lacking or doubled:
        found = [path for paths in stems.values() for path in paths]
        return [CohortStudy(case=case, fault=_describe_fault(lacking, doubled, [strip_suffix(p) for p in found]))]
    return [CohortStudy(case=case, pet=stems[TREE_PET][0], ct=stems[ct][0])]


def _find_by_suffix(stems: Stems, above: tuple[str, ...], pet: str, ct: str) -> list[CohortStudy]:
    """Return the studies by the ends of names. A CT without a PET is a faulty study only if there are other studies."""
    names = {stem.removesuffix(end) for end in (pet, ct) for stem in stems if stem.endswith(end) and stem != end}
    if (pet, ct) != _NNUNET and not any(name + pet in stems for name in names):
        return []  # a CT of something else
    studies = []
    for name in sorted(names):
        images = [stems.get(name + end, ()) for end in (pet, ct)]
        written = next(strip_suffix(paths[0]) for paths in images if paths)[: len(name)].rstrip("_")
        expected = tuple(f"{written}{end if end in _NNUNET else end.upper()}" for end in (pet, ct))
        studies.append(_pair("_".join((*above, written)), *images, expected=(expected[0], expected[1])))
    return studies


def _find_by_prefix(stems: Stems, above: tuple[str, ...], root: Path) -> list[CohortStudy]:
    for pet, ct in PAIRED_PREFIXES:
        pets = {stem.removeprefix(pet): paths for stem, paths in stems.items() if stem.startswith(pet)}
        cts = {stem.removeprefix(ct): paths for stem, paths in stems.items() if stem.startswith(ct)}
        if not pets:
            continue
        if len(pets) == 1 and len(cts) <= 1:  # one folder per study, as LION and MOOSE expect
            images = [next(iter(found.values()), ()) for found in (pets, cts)]
            return [_pair(name_case(above, root), *images, expected=(f"{pet.upper()}…", f"{ct.upper()}…"))]
        studies = []
        for name in sorted(pets.keys() | cts.keys()):
            images = [pets.get(name, ()), cts.get(name, ())]
            written = next(strip_suffix(paths[0]) for paths in images if paths)[-len(name) :]
            expected = (pet.upper() + written, ct.upper() + written)
            studies.append(_pair("_".join((*above, written)), *images, expected=expected))
        return studies
    return []


class BidsSession:
    """The PET and CT images of one subject and session, in any of its folders (bids-specification, PET)."""

    def __init__(self, above: tuple[str, ...]) -> None:
        """Start without images.

        Args:
            above: folders above the subject's.
        """
        self._above = above
        self._images: dict[str, list[Path]] = {"pet": [], "ct": []}

    def add(self, kind: str, path: Path) -> None:
        """Add an image of a kind, "pet" or "ct"."""
        self._images[kind].append(path)

    @property
    def unpaired(self) -> list[Path]:
        """Return the CT images of a session without a PET, which are no study."""
        return [] if self._images["pet"] else self._images["ct"]

    def find_studies(self) -> list[CohortStudy]:
        """Return a study per PET, each with the one CT of the session."""
        pets, cts = self._images["pet"], self._images["ct"]
        studies = []
        for pet in pets:
            case = "_".join((*self._above, strip_suffix(pet)[: -len("_pet")]))
            if len(cts) > 1:
                fault = f"{len(cts)} CT images for one PET ({format_list([ct.name for ct in cts])}); expected one"
                studies.append(CohortStudy(case=case, fault=fault))
            else:
                studies.append(_pair(case, [pet], cts, expected=("…_pet", "…_ct of the same subject and session")))
        return studies


def name_bids_image(path: Path, parts: tuple[str, ...]) -> tuple[tuple[tuple[str, ...], str, str], str] | None:
    """Return the session that an image of BIDS belongs to, and its kind; None for any other image.

    Args:
        path: of the image.
        parts: of its folder's place below the root.
    """
    match = _BIDS.fullmatch(strip_suffix(path).lower())
    if match is None:
        return None
    subject = next((k for k, part in enumerate(parts) if part.lower() == match["subject"]), None)
    if subject is None:
        return None
    return (parts[:subject], match["subject"], match["session"] or ""), match["kind"]


def find_challenge_studies(pet: Stems, ct: Stems, parts: tuple[str, ...]) -> list[CohortStudy]:
    """Return the studies of an `images` folder in the grand-challenge layout.

    Args:
        pet: images of its subfolder `pet`.
        ct: images of its subfolder `ct`.
        parts: of the folder above `images`.
    """
    if len(pet) <= 1 and len(ct) <= 1:
        images = [next(iter(stems.values()), ()) for stems in (pet, ct)]
        stem = strip_suffix([*images[1], *images[0]][0])
        return [_pair("_".join(parts) or stem, *images, expected=("an image in images/pet", "one in images/ct"))]
    studies = []
    for stem in sorted(pet.keys() | ct.keys()):
        images = [pet.get(stem, ()), ct.get(stem, ())]
        written = strip_suffix([*images[1], *images[0]][0])
        studies.append(_pair("_".join((*parts, written)), *images, expected=("in images/pet", "in images/ct")))
    return studies


def _pair(case: str, pet: Sequence[Path], ct: Sequence[Path], *, expected: tuple[str, str]) -> CohortStudy:
    lacking = [
        f"{kind} ({what})" for kind, what, images in zip(("PET", "CT"), expected, (pet, ct), strict=True) if not images
    ]
    doubled = [strip_suffix(images[0]) for images in (pet, ct) if len(images) > 1]
    if lacking or doubled:
        return CohortStudy(case=case, fault=_describe_fault(lacking, doubled, [p.name for p in (*pet, *ct)]))
    return CohortStudy(case=case, pet=pet[0], ct=ct[0])


def _describe_fault(lacking: list[str], doubled: list[str], found: list[str]) -> str:
    if lacking:
        names = ", ".join(format_path(name, 80) for name in sorted(found))
        return f"no {' and no '.join(lacking)}; found {names}; expected both PET and CT"
    return f"several files called {' and '.join(doubled)} that differ only in suffix or case; expected one of each"
