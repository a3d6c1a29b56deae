"""Studies as image files, in three layouts.

Tree: `<patient>/<study>/{SUV,CTres}` as tcia2nifti writes FDG-PET-CT-Lesions, the original CT where CTres is missing.
nnU-Net: `<case>_0000` (CT) and `<case>_0001` (PET), in `imagesTr`, `imagesTs` or any other folder.
Grand challenge: `images/pet` and `images/ct` with one image each, or with images that pair by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from autosegnet.batch.found_study import CohortStudy
from autosegnet.io import image_stem
from autosegnet.io.folders import case_of

SUFFIXES: Final = (".mha", ".nii", ".nii.gz")
TREE: Final = ("SUV", "CTres", "CT", "PET")
MASK: Final = "SEG"
_CT, _PET = "_0000", "_0001"
_NNUNET_FOLDERS = ("imagesTr", "imagesTs")

Stems = Mapping[str, Sequence[Path]]
"""Images of one folder by their name without suffix; more than one path where names differ in the suffix alone."""


def by_stem(images: Sequence[Path]) -> dict[str, list[Path]]:
    """The images by their name without suffix."""
    stems: dict[str, list[Path]] = {}
    for path in images:
        stems.setdefault(image_stem(path), []).append(path)
    return stems


def tree_study(stems: Stems, parts: tuple[str, ...], root: Path) -> list[CohortStudy]:
    """The study of a folder in the tree layout, or none."""
    if not any(stem in stems for stem in TREE):
        return []
    case, ct = case_of(parts, root), "CTres" if "CTres" in stems else "CT"
    lacking = [name for name, there in (("SUV", "SUV" in stems), ("CTres or CT", ct in stems)) if not there]
    doubled = [stem for stem in ("SUV", ct) if len(stems.get(stem, ())) > 1]
    if lacking or doubled:
        return [CohortStudy(case=case, fault=_fault(lacking, doubled, list(stems)))]
    return [CohortStudy(case=case, pet=stems["SUV"][0], ct=stems[ct][0])]


def nnunet_studies(stems: Stems, parts: tuple[str, ...]) -> list[CohortStudy]:
    """The studies of a folder in the nnU-Net layout."""
    above = parts[:-1] if parts and parts[-1] in _NNUNET_FOLDERS else parts
    names = sorted({stem[: -len(_CT)] for stem in stems if stem.endswith((_CT, _PET)) and len(stem) > len(_CT)})
    studies = []
    for name in names:
        pet, ct = stems.get(name + _PET, ()), stems.get(name + _CT, ())
        studies.append(_paired("_".join((*above, name)), pet, ct, expected=(name + _PET, name + _CT)))
    return studies


def challenge_studies(pet: Stems, ct: Stems, parts: tuple[str, ...]) -> list[CohortStudy]:
    """The studies of an `images` folder in the grand-challenge layout.

    Args:
        pet, ct: images of its two subfolders.
        parts: of the folder above `images`.
    """
    if len(pet) <= 1 and len(ct) <= 1:
        (stem, *_) = [*ct, *pet]
        images = [next(iter(stems.values()), ()) for stems in (pet, ct)]
        return [_paired("_".join(parts) or stem, *images, expected=("an image in images/pet", "one in images/ct"))]
    expected = ("in images/pet", "in images/ct")
    return [
        _paired("_".join((*parts, stem)), pet.get(stem, ()), ct.get(stem, ()), expected=expected)
        for stem in sorted(pet.keys() | ct.keys())
    ]


def _paired(case: str, pet: Sequence[Path], ct: Sequence[Path], *, expected: tuple[str, str]) -> CohortStudy:
    lacking = [
        f"{kind} ({what})" for kind, what, images in zip(("PET", "CT"), expected, (pet, ct), strict=True) if not images
    ]
    doubled = [image_stem(images[0]) for images in (pet, ct) if len(images) > 1]
    if lacking or doubled:
        return CohortStudy(case=case, fault=_fault(lacking, doubled, [p.name for p in (*pet, *ct)]))
    return CohortStudy(case=case, pet=pet[0], ct=ct[0])


def _fault(lacking: list[str], doubled: list[str], found: list[str]) -> str:
    if lacking:
        return f"no {' and no '.join(lacking)}; found {', '.join(sorted(found))}; expected both PET and CT"
    return f"several files called {' and '.join(doubled)} that differ in the suffix alone; expected one of each"
