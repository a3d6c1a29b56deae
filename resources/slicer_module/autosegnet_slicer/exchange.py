"""The files that go to `autosegnet` and come back, and the commands between them.

Slicer's positions are RAS in mm; autosegnet's files hold LPS.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Position = Sequence[float]

# Slicer points these at its own Python, in which another program's Python does not start.
_OF_SLICER = ("PYTHONHOME", "PYTHONPATH", "PYTHONNOUSERSITE", "LD_LIBRARY_PATH", "LIBRARY_PATH", "QT_PLUGIN_PATH")


@dataclass(frozen=True)
class Job:
    """One study to be segmented.

    Args:
        program: words that start autosegnet, as ("/opt/venv/bin/autosegnet",).
        folder: for everything that the job writes.
        pet: image file in SUV, or a folder with the slices of one DICOM series.
        ct: image file in HU, or likewise.
        clicks: file of clicks, None if there are none.
        fast: run the fast mode.
    """

    program: tuple[str, ...]
    folder: Path
    pet: Path
    ct: Path
    clicks: Path | None = None
    fast: bool = False

    @property
    def is_dicom(self) -> bool:
        """Tell whether the PET's SUV is derived from its DICOM header."""
        return self.pet.is_dir()

    @property
    def suv(self) -> Path:
        """Return the PET in SUV, once the commands have run."""
        return self.folder / "suv.nii.gz" if self.is_dicom else self.pet

    @property
    def mask(self) -> Path:
        """Return the lesion mask, once the commands have run."""
        return self.folder / "mask.nii.gz"

    @property
    def table(self) -> Path:
        """Return the lesion table, once the commands have run."""
        return self.folder / "report" / "lesions.csv"


def make_commands(job: Job) -> list[list[str]]:
    """Return the commands of a job, in their order."""
    predict = [
        *job.program, "predict", "--pet", str(job.pet), "--ct", str(job.ct), "--output", str(job.mask),
        "--report", str(job.table.parent), "--viewer", str(job.folder / "viewer.html"),
    ]  # fmt: skip
    if job.fast:
        predict.append("--fast")
    if job.clicks is not None:
        predict += ["--clicks", str(job.clicks)]
    convert = [*job.program, "suv", str(job.pet), "--output", str(job.suv)]
    return [convert, predict] if job.is_dicom else [predict]


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without what Slicer set for its own Python."""
    return {name: value for name, value in environment.items() if name not in _OF_SLICER}


def gather_slices(files: Iterable[str | os.PathLike[str]], folder: Path) -> Path:
    """Put the slices of a series into a folder of their own, as links if the system has them, and return it."""
    folder.mkdir(parents=True)
    for number, file in enumerate(files):
        target = folder / f"{number:05d}.dcm"
        try:
            target.symlink_to(Path(file).resolve())
        except OSError:  # Windows lets few users make links
            shutil.copyfile(file, target)
    return folder


def write_clicks(path: Path, *, tumor: Iterable[Position], background: Iterable[Position]) -> Path | None:
    """Write clicks as grand-challenge's "Multiple points" in LPS mm; without any, write nothing and return None.

    Args:
        tumor: RAS positions in mm.
        background: likewise.
    """
    points = [
        {"point": [-float(r), -float(a), float(s)], "name": name}
        for name, positions in (("tumor", tumor), ("background", background))
        for r, a, s in positions
    ]
    if not points:
        return None
    value = {"version": {"major": 1, "minor": 0}, "type": "Multiple points", "space": "mm", "points": points}
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")
    return path


@dataclass(frozen=True)
class LesionRow:
    """One row of the table that Slicer shows.

    Args:
        texts: what stands in its columns.
        position_ras: of the hottest voxel, in mm.
    """

    texts: tuple[str, ...]
    position_ras: tuple[float, float, float]


COLUMNS = ("Lesion", "Site", "Volume, ml", "SUVmax", "SUVpeak", "TLG, g")


def read_lesions(path: Path) -> list[LesionRow]:
    """Return the lesions of a `lesions.csv`."""
    with path.open(newline="", encoding="utf-8") as file:
        return [_read_row(row) for row in csv.DictReader(file)]


def _read_row(row: Mapping[str, str]) -> LesionRow:
    names = ("volume_ml", "suv_max_g_per_ml", "suv_peak_g_per_ml", "tlg_g")
    site = ", ".join(part for part in (row["site"], row["side"]) if part)
    figures = (f"{float(row[name]):.2f}" for name in names)
    left, posterior, superior = (float(row[f"suv_max_{axis}_mm"]) for axis in "xyz")
    return LesionRow((row["lesion"], site, *figures), (-left, -posterior, superior))
