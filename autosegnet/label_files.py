"""Reads files of labels: organ maps with the names of their organs, and existing masks of lesions.

NIfTI, .mha, DICOM Segmentation and structure set. Labels are whole numbers, 0 outside.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autosegnet.errors import InputError, UsageError, format_list, format_path
from autosegnet.geometry import Grid, is_part_of, is_same_grid, make_image, resample_labels, view_voxels
from autosegnet.io.decoded import Nonfinite
from autosegnet.io.nifti_forms import Form
from autosegnet.lesions import ORGAN_TABLES, OrganLabels

if TYPE_CHECKING:
    import SimpleITK as sitk

_IMAGES = (".mha", ".nii", ".nii.gz")
_LABEL = re.compile(r'<Label\b[^>]*\bKey="(\d+)"[^>]*>([^<]*)</Label>')


def read_organ_labels(
    path: Path, table: str = "", *, form: Form = "both", nonfinite: Nonfinite = "refuse"
) -> OrganLabels:
    """Return the organ map in a file, with names from a table or from the file.

    Args:
        path: NIfTI, .mha, or DICOM Segmentation.
        table: a name in `ORGAN_TABLES`, or a JSON file with {"1": "spleen"} or nnU-Net's {"labels": {"spleen": 1}}; ''
            takes the names that a NIfTI by TotalSegmentator or a DICOM Segmentation holds.
        form: which of the sform and the qform of a NIfTI file counts if both are set and differ.
        nonfinite: "air" reads voxels that are NaN or infinite as 0.

    Raises:
        InputError: it cannot be read, its labels have no names, or segments overlap.
        UsageError: there is no such table.
    """
    known = _open_table(table) if table else None
    if _is_image(path):
        labels, names = _read_labels(path, form, nonfinite), _read_nifti_names(path) if known is None else known
    else:
        labels, names = _draw_organs(path, known)
    if not names:
        raise InputError(
            f"the organ map {format_path(path)} does not name its labels; say what made it: "
            f"--organ-table {' | '.join(ORGAN_TABLES)} | FILE.json"
        )
    return OrganLabels(labels, names)


def _draw_organs(path: Path, table: Mapping[int, str] | None) -> tuple[sitk.Image, Mapping[int, str]]:
    """Return the segments of a Segmentation, only those in the table if there is one, and their names."""
    from autosegnet.dicom.stored_masks import draw_mask, open_stored_mask

    stored = open_stored_mask(path)
    names = stored.names if table is None else table
    drawn = draw_mask(stored, stored.names.keys() & names.keys(), None)
    if drawn.overlapping:
        raise InputError(
            f"organs in {stored.where} overlap ({format_list(drawn.overlapping)}), and a voxel can lie in one only; "
            'name those to take by their numbers: --organ-table FILE.json, such as {"1": "liver"}'
        )
    return drawn.labels, drawn.names if table is None else table


def read_lesion_mask(  # noqa: PLR0913
    path: Path,
    pet: Grid,
    *,
    labels: Sequence[str] = (),
    labelled: bool = False,
    resample: bool = False,
    form: Form = "both",
    nonfinite: Nonfinite = "refuse",
) -> sitk.Image:
    """Return a mask of lesions on the PET's grid, with its labels.

    Args:
        path: NIfTI, .mha, DICOM Segmentation or structure set.
        pet: the PET's grid.
        labels: numbers, or names in a DICOM object, of those to take; empty for all.
        labelled: whether each label is one lesion. Else chosen segments or regions may overlap, and get label 1 then.
        resample: take a mask on another grid, each voxel from the nearest one.
        form, nonfinite: as for `read_organ_labels`.

    Raises:
        InputError: it cannot be read, is on another grid, lacks a label, or its segments or regions overlap.
    """
    if _is_image(path):
        mask = _read_labels(path, form, nonfinite)
        numbers = {int(number): "" for number in np.unique(view_voxels(mask)) if number}
        mask = _keep_labels(mask, _choose(labels, numbers, path)) if labels else mask
    else:
        mask = _draw_lesions(path, pet, labels, labelled=labelled)
    return _put_on(mask, pet, path, resample=resample)


def _draw_lesions(path: Path, pet: Grid, labels: Sequence[str], *, labelled: bool) -> sitk.Image:
    from autosegnet.dicom.stored_masks import draw_mask, open_stored_mask

    stored = open_stored_mask(path)
    drawn = draw_mask(stored, _choose(labels, stored.names, path) if labels else stored.names.keys(), pet)
    if not drawn.overlapping:
        return drawn.labels
    found = f"segments of {stored.where} overlap ({format_list(drawn.overlapping)})"
    if not labels:
        raise InputError(f"{found}; choose with `autosegnet measure --label` which are lesions")
    if labelled:
        raise InputError(f"{found}, and a voxel can lie in one lesion only; choose others, or leave out --labelled")
    return make_image((view_voxels(drawn.labels) != 0).astype(np.uint16), Grid.from_image(drawn.labels))


def _put_on(mask: sitk.Image, pet: Grid, path: Path, *, resample: bool) -> sitk.Image:
    own = Grid.from_image(mask)
    if is_same_grid(own, pet):
        return mask
    if not is_part_of(own, pet) and not resample:
        raise InputError(
            f"the mask {format_path(path.name, 80)} of {own.size} voxels of {_list_mm(own.spacing_mm)} mm is not on "
            f"the grid of the PET, {pet.size} voxels of {_list_mm(pet.spacing_mm)} mm; draw it on the PET, or take the "
            "nearest voxels with --resample-mask"
        )
    placed = resample_labels(mask, pet)
    if view_voxels(mask).any() and not view_voxels(placed).any():
        raise InputError(f"no voxel of the mask {format_path(path.name, 80)} lies inside the PET; expected one patient")
    return placed


def _choose(labels: Sequence[str], names: Mapping[int, str], path: Path) -> set[int]:
    """Return the numbers that numbers or names mean.

    Raises:
        InputError: there is no such label, or it is the number of one and the name of another.
    """
    chosen: set[int] = set()
    for label in labels:
        by_number = {number for number in names if str(number) == label}
        by_name = {number for number, name in names.items() if name == label}
        if not by_number | by_name:
            known = sorted({str(number) for number in names} | {*names.values()} - {""})
            raise InputError(f"no label {label} in {format_path(path.name, 80)}, which holds {format_list(known)}")
        if by_number and by_name and by_number != by_name:
            raise InputError(
                f"label {label} of {format_path(path.name, 80)} is the number of one and the name of another "
                f"({format_list([f'{n}: {names[n]}' for n in sorted(by_number | by_name)])}); say it otherwise"
            )
        chosen |= by_number | by_name
    return chosen


def _keep_labels(mask: sitk.Image, numbers: set[int]) -> sitk.Image:
    values = view_voxels(mask)
    return make_image(np.where(np.isin(values, list(numbers)), values, 0).astype(values.dtype), Grid.from_image(mask))


def _is_image(path: Path) -> bool:
    return path.name.lower().endswith(_IMAGES)


def _read_labels(path: Path, form: Form, nonfinite: Nonfinite) -> sitk.Image:
    """Return the labels of an image as unsigned 16-bit numbers.

    Raises:
        InputError: it cannot be read, or a voxel is no whole number from 0 to 65535.
    """
    from autosegnet.io import read_image

    image = read_image(path, form=form, air=0.0 if nonfinite == "air" else None)
    values = view_voxels(image)
    if values.min(initial=0) < 0 or values.max(initial=0) > np.iinfo(np.uint16).max:
        raise InputError(f"{format_path(path)} holds values outside 0 to 65535; expected labels")
    whole = values.astype(np.uint16)
    if values.dtype.kind == "f" and not np.array_equal(whole, values):
        raise InputError(f"{format_path(path)} holds values that are not whole numbers; expected labels")
    return make_image(whole, Grid.from_image(image))


def _read_nifti_names(path: Path) -> dict[int, str]:
    """Return the names in a NIfTI's extension, as TotalSegmentator writes them (Caret's label table)."""
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        return {}
    import nibabel

    header: Any = nibabel.load(path).header
    texts = [bytes(extension.get_content()).decode("utf-8", "replace") for extension in header.extensions
             if isinstance(extension.get_content(), bytes)]  # fmt: skip
    return {int(key): unescape(name).strip() for text in texts for key, name in _LABEL.findall(text) if name.strip()}


def _open_table(table: str) -> Mapping[int, str]:
    if table in ORGAN_TABLES:
        return ORGAN_TABLES[table]
    path = Path(table)
    if not path.is_file():
        raise UsageError(f"--organ-table {table} is neither {', '.join(ORGAN_TABLES)} nor a file")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        pairs = content.get("labels", content).items()
        return dict(_number_first(pairs))
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(
            f'{format_path(path)} is not a table of labels; expected JSON such as {{"1": "spleen"}} or {{"spleen": 1}}'
        ) from error


def _number_first(pairs: Any) -> list[tuple[int, str]]:
    """Return (number, name) of pairs that come in either order."""
    return [(int(a), str(b)) if str(a).isdecimal() else (int(b), str(a)) for a, b in pairs]


def _list_mm(spacing_mm: tuple[float, ...]) -> str:
    return " x ".join(f"{edge:.4g}" for edge in spacing_mm)
