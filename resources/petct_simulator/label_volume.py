"""Label volumes: one body each, as tissue labels on a coarse grid, small enough to keep hundreds.

Axes are the network's: (x, y, z) in RAS, x to the patient's right, y to the front, z to the head.
Needs numpy alone.
"""

import functools
import io
import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autosegnet.errors import InputError

LABELS_FORMAT = 1


@dataclass(frozen=True, slots=True)
class LabelVolume:
    """One body: its tissues and where each voxel lies in the reference body.

    Args:
        name: of the body, unique in its folder.
        labels: (X, Y, Z) uint8, values of `Tissue`.
        spacing_mm: along (x, y, z).
        reference: (Z, 5) float32; per slice its height in the reference body, and there the first voxel's x and the
            step of x per voxel, the first voxel's y and the step of y per voxel. All mm; x points to the left, y to
            the back, as in the reference body.
        weight_kg: of the patient.
        from_map: (3, 4), voxel of the organ map's file to voxel of this volume; None for a procedural body.
    """

    name: str
    labels: NDArray[np.uint8]
    spacing_mm: tuple[float, float, float]
    reference: NDArray[np.float32]
    weight_kg: float
    from_map: NDArray[np.float64] | None = None

    def crop(self, x: slice, y: slice) -> "LabelVolume":
        """Return what lies between two voxels along x and y, at full height."""
        reference = self.reference.copy()
        reference[:, 1] += reference[:, 2] * x.start
        reference[:, 3] += reference[:, 4] * y.start
        from_map = None if self.from_map is None else self.from_map - [[0, 0, 0, x.start], [0, 0, 0, y.start], [0] * 4]
        labels = np.ascontiguousarray(self.labels[x, y])
        return LabelVolume(self.name, labels, self.spacing_mm, reference, self.weight_kg, from_map)

    def find_reference_mm(self, voxels: NDArray[Any]) -> NDArray[np.float32]:
        """Return the places of voxels (N, 3) in the reference body: (N, 3) mm, without the body's own small warp."""
        rows = self.reference[np.clip(voxels[:, 2].astype(np.intp), 0, len(self.reference) - 1)]
        x = rows[:, 1] + rows[:, 2] * voxels[:, 0]
        y = rows[:, 3] + rows[:, 4] * voxels[:, 1]
        return np.stack([x, y, rows[:, 0]], axis=1).astype(np.float32)

    def locate(self, point_mm: tuple[float, float, float]) -> tuple[float, float, float] | None:
        """Return the voxel at a point of the reference body; None outside the volume's heights."""
        heights = self.reference[:, 0]
        z = int(np.argmin(np.abs(heights - point_mm[2])))
        if abs(float(heights[z]) - point_mm[2]) > 10.0:
            return None
        row = self.reference[z]
        return (point_mm[0] - float(row[1])) / float(row[2]), (point_mm[1] - float(row[3])) / float(row[4]), float(z)


@functools.cache
def held_out_maps() -> frozenset[str]:
    """Return the case names of the organ maps that are kept for judging."""
    return frozenset(Path(__file__).with_name("held_out_maps.txt").read_text(encoding="utf-8").split())


def is_held_out(name: str) -> bool:
    """Return whether an organ map shows a patient (`fdg_<patient>_<date>`) who is kept for judging."""
    return _name_patient(name) in {_name_patient(held_out) for held_out in held_out_maps()}


def _name_patient(name: str) -> str:
    return "_".join(name.split("_")[:2])


def pack(volume: LabelVolume) -> bytes:
    """Return a volume as the bytes of a compressed .npz file."""
    note = {
        "format": LABELS_FORMAT,
        "name": volume.name,
        "spacing_mm": volume.spacing_mm,
        "weight_kg": volume.weight_kg,
    }
    from_map = np.zeros((0, 4)) if volume.from_map is None else volume.from_map
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer, note=np.array(json.dumps(note)), labels=volume.labels, reference=volume.reference, from_map=from_map
    )
    return buffer.getvalue()


def read_label_volume(path: Path) -> LabelVolume:
    """Return the volume of a file.

    Raises:
        InputError: the file is damaged, or of another format.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            note = json.loads(str(file["note"]))
            labels, reference = file["labels"], file["reference"]
            from_map = file["from_map"] if "from_map" in file.files and len(file["from_map"]) else None
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} is not a label volume ({error}); make it again with label-volumes") from error
    if note["format"] != LABELS_FORMAT:
        raise InputError(
            f"{path} has format {note['format']}, expected {LABELS_FORMAT}; make it again with label-volumes"
        )
    x, y, z = (float(s) for s in note["spacing_mm"])
    return LabelVolume(note["name"], labels, (x, y, z), reference, float(note["weight_kg"]), from_map)


def read_label_volumes(folder: Path) -> list[LabelVolume]:
    """Return all volumes of a folder, sorted by name.

    Raises:
        InputError: the folder holds none, or one is damaged.
    """
    paths = sorted(folder.glob("*.npz"))
    if not paths:
        raise InputError(f"found no label volumes (.npz) in {folder}; make them with label-volumes")
    return [read_label_volume(path) for path in paths]
