"""Prepared cases on disk: arrays from which patches are read without reading the whole. Needs no SimpleITK.

    <folder>/cases.csv, recipe.json        the table of cases; spacing, CT window and crop of the arrays
    <folder>/<case>/input.npy              (2, Z, Y, X) float32, `preprocess.Prepared.array`; or float16, see `prepare`
    <folder>/<case>/lesion.npy             (n, 3) int16: the voxels (x, y, z) of the truth, in ascending order
    <folder>/<case>/prepared.json          written last: what the arrays were made from

Axial slices follow one another, so a patch, which is shorter than a body, is read from the slices that it covers.
Lesions fill a small part of a body, so their voxels are listed; a mask would take a ninth of the disk space.
"""

from __future__ import annotations

import io
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autosegnet.errors import InputError
from autosegnet.io import write_bytes, write_text
from autosegnet.io.small_files import read_json, require_object
from autosegnet.model.recipe import Recipe, parse_recipe
from autosegnet_training.cases import Case, read_cases
from autosegnet_training.splits import refuse_shared_patients

CASES = "cases.csv"
PREPARED_RECIPE = "recipe.json"
NOTE = "prepared.json"
INPUT = "input.npy"
LESION = "lesion.npy"
ARRAYS_FORMAT = 1
_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class PreparedCase:
    """The arrays of a case.

    Args:
        name: of the case.
        array: (2, X, Y, Z) float32 or float16, CT in [0, 1] and SUV (g/ml); mapped from disk.
        lesion: (n, 3) int16, voxels of the truth.
    """

    name: str
    array: NDArray[Any]
    lesion: NDArray[np.int16]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return the number of voxels along (x, y, z)."""
        x, y, z = self.array.shape[1:]
        return (x, y, z)

    def read_truth(self) -> NDArray[np.bool_]:
        """Return the truth: (X, Y, Z) bool, True in lesions."""
        mask = np.zeros(self.shape, dtype=np.bool_)
        mask[tuple(self.lesion.T)] = True
        return mask


def save(folder: Path, *, array: NDArray[Any], truth: NDArray[np.bool_], note: dict[str, Any]) -> None:
    """Write a case; the note goes last and marks it as complete."""
    assert array.shape[1:] == truth.shape, "input and truth share a grid"
    sums = {}
    for name, values in ((INPUT, array.transpose(0, 3, 2, 1)), (LESION, np.argwhere(truth).astype(np.int16))):
        data = _encode_npy(values)
        sums[name] = zlib.crc32(data)
        write_bytes(data, folder / name)
    write_text(json.dumps({"format": ARRAYS_FORMAT, "crc32": sums, **note}, indent=1) + "\n", folder / NOTE)


def _encode_npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array))
    return buffer.getvalue()


def note_of(folder: Path) -> dict[str, Any] | None:
    """Return what a case was prepared from; None if it is not complete, or of another format."""
    try:
        note = _read_note(folder)
    except InputError:
        return None
    note.pop("crc32", None)
    return note if note.pop("format", None) == ARRAYS_FORMAT else None


def _read_note(folder: Path) -> dict[str, Any]:
    return read_json(folder / NOTE, require_object, what="the note of a prepared case", expected="what prepare writes")


def check_sums(folder: Path) -> None:
    """Read the arrays of a case and compare them with the checksums of its note; older notes have none.

    Raises:
        InputError: they cannot be read, or are not what `save` wrote.
    """
    sums = _read_note(folder).get("crc32", {})
    for name, expected in sums.items() if isinstance(sums, dict) else ():
        try:
            with (folder / name).open("rb") as file:
                found = 0
                while chunk := file.read(_READ_BYTES):
                    found = zlib.crc32(chunk, found)
        except OSError as error:
            raise InputError(f"{folder / name} cannot be read ({error.strerror}); remove it and run prepare") from error
        if found != expected:
            raise InputError(f"{folder / name} is damaged: its checksum differs from its note; run prepare again")


def load(folder: Path, name: str) -> PreparedCase:
    """Return the arrays of a case, mapped from disk.

    Raises:
        InputError: they are missing, or not what `save` wrote.
    """
    try:
        array = np.load(folder / name / INPUT, mmap_mode="r").transpose(0, 3, 2, 1)
        lesion = np.load(folder / name / LESION)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"case {name} is not prepared in {folder} ({error}); run prepare again") from error
    if array.ndim != 4 or array.shape[0] != 2 or lesion.ndim != 2 or lesion.shape[1] != 3:
        raise InputError(f"case {name} in {folder} has arrays of shapes {array.shape} and {lesion.shape}")
    if lesion.dtype.kind not in "iu" or (lesion < 0).any() or (lesion >= array.shape[1:]).any():
        raise InputError(f"case {name} in {folder} has lesion voxels outside of its array; run prepare again")
    return PreparedCase(name, array, lesion)


@dataclass(frozen=True, slots=True)
class PreparedFolder:
    """The cases of a folder and the recipe of their arrays."""

    folder: Path
    cases: list[Case]
    recipe: Recipe


def open_prepared(folder: Path) -> PreparedFolder:
    """Return the table and the recipe of a folder that `prepare` has written.

    Raises:
        InputError: no such folder, cases in the table that are not prepared, or a patient in two folds.
    """
    try:
        recipe = parse_recipe(
            (folder / PREPARED_RECIPE).read_text(encoding="utf-8"), where=str(folder / PREPARED_RECIPE)
        )
    except OSError as error:
        raise InputError(
            f"{folder} holds no prepared cases ({PREPARED_RECIPE}: {error.strerror}); run prepare"
        ) from error
    cases = read_cases(folder / CASES)
    refuse_shared_patients(cases, where=str(folder / CASES))
    missing = [case.name for case in cases if note_of(folder / case.name) is None]
    if missing:
        raise InputError(f"{len(missing)} cases in {folder} are not prepared, for example {missing[0]}; run prepare")
    return PreparedFolder(folder, cases, recipe)
