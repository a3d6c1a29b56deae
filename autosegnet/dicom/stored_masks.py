"""Masks that are stored as DICOM: segments of a Segmentation and regions of a structure set (RTSTRUCT), as labels.

An object is opened first, which gives the names to choose from; only what is chosen is drawn, so that nothing else in
the object covers it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from autosegnet.dicom.header import refuse_damage
from autosegnet.dicom.parse import read_object
from autosegnet.dicom.stored_regions import name_regions, place_regions
from autosegnet.dicom.stored_segments import name_segments, place_segments
from autosegnet.errors import InputError, format_path
from autosegnet.geometry import Grid, make_image

if TYPE_CHECKING:
    import SimpleITK as sitk
    from pydicom import Dataset

log = logging.getLogger(__name__)

SEGMENTATION: Final = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
STRUCTURE_SET: Final = "1.2.840.10008.5.1.4.1.1.481.3"
_HIGHEST_LABEL: Final = int(np.iinfo(np.uint16).max)


@dataclass(frozen=True, slots=True)
class StoredMask:
    """A Segmentation or structure set that is not drawn yet.

    Args:
        dataset: the object.
        names: of its segments or regions, by the numbers that the object gives them.
        where: the file's name, for messages.
    """

    dataset: Dataset
    names: Mapping[int, str]
    where: str


@dataclass(frozen=True, slots=True)
class DrawnMask:
    """Segments or regions on a grid.

    Args:
        labels: uint16; the later segment or region wins where several claim a voxel.
        names: of the labels.
        overlapping: names of the segments or regions that share voxels, in the order of the file.
    """

    labels: sitk.Image
    names: Mapping[int, str]
    overlapping: list[str]


def open_stored_mask(path: Path) -> StoredMask:
    """Return the Segmentation or structure set in a file.

    Raises:
        InputError: the file is neither, or damaged.
    """
    where = format_path(path.name, 80)
    with refuse_damage(_describe_damage(where)):
        dataset = read_object(path)
        kind = str(dataset.get("SOPClassUID", ""))
        if kind in SEGMENTATION:
            return StoredMask(dataset, name_segments(dataset), where)
        if kind == STRUCTURE_SET:
            return StoredMask(dataset, name_regions(dataset), where)
    raise InputError(f"{where} is another DICOM object; expected a Segmentation (SEG) or a structure set (RTSTRUCT)")


def draw_mask(stored: StoredMask, chosen: Collection[int], pet: Grid | None) -> DrawnMask:
    """Return chosen segments on the Segmentation's own grid, or chosen regions of a structure set on the PET's.

    Labels are the object's own numbers. If one of these cannot be a label (0, or above 65535), labels are 1 to n, in
    the order of the file.

    Args:
        stored: the object.
        chosen: numbers in `stored.names`.
        pet: on which the mask is to be laid; None if there is none, as for an organ map.

    Raises:
        InputError: the object is damaged, or cannot be put onto a grid.
    """
    values = _assign_labels(stored)
    place = place_segments if str(stored.dataset.SOPClassUID) in SEGMENTATION else place_regions
    with refuse_damage(_describe_damage(stored.where)):
        grid, parts = place(stored.dataset, chosen, pet)
        labels = np.zeros(grid.shape, np.uint16)
        overlapping: set[int] = set()
        for number, z, inside in parts:
            others = set(np.unique(labels[z][inside]).tolist()) - {0, values[number]}
            overlapping |= {*others, values[number]} if others else set()
            labels[z][inside] = values[number]
    names = {value: stored.names[number] for number, value in values.items()}
    return DrawnMask(make_image(labels, grid), names, _list_names(names, overlapping))


def _assign_labels(stored: StoredMask) -> dict[int, int]:
    """Return the label of each segment or region."""
    if all(0 < number <= _HIGHEST_LABEL for number in stored.names):
        return {number: number for number in stored.names}
    log.info("numbers in %s are no labels (0, or above %d): labels are 1 to %d, in the order of the file",
             stored.where, _HIGHEST_LABEL, len(stored.names))  # fmt: skip
    return {number: label for label, number in enumerate(stored.names, start=1)}


def _list_names(names: Mapping[int, str], labels: Collection[int]) -> list[str]:
    return [name or str(label) for label, name in names.items() if label in labels]


def _describe_damage(where: str) -> str:
    return f"the DICOM object is cut or damaged: {where}"
