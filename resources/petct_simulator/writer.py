"""Simulated studies → files: the layout of autoPET and tcia2nifti, the platform's layout, and the table of cases.

`autosegnet.io` writes every file whole or not at all; study.json comes last and marks a study as complete.
"""

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from autosegnet.geometry import make_image
from autosegnet.io import write_image, write_text

if TYPE_CHECKING:
    from petct_simulator.whole_study import SimulatedStudy

SIMULATED_COLUMNS = ("case", "patient", "cohort", "suv", "ct", "seg", "seed")
FILES = {"suv": "SUV.nii.gz", "ct": "CTres.nii.gz", "seg": "SEG.nii.gz"}


@dataclass(frozen=True, slots=True)
class SimulatedCase:
    """A row of cases.csv: the study's names and its seed; paths are relative to the table."""

    index: int
    patient: str
    study: str
    seed: int

    @property
    def folder(self) -> Path:
        """Return the folder of the study, relative to the table."""
        return Path(self.patient) / self.study


def write_autopet(study: "SimulatedStudy", folder: Path) -> None:
    """Write SUV.nii.gz, CTres.nii.gz and SEG.nii.gz into a folder."""
    for values, name in ((study.suv, FILES["suv"]), (study.ct, FILES["ct"]), (study.truth, FILES["seg"])):
        write_image(_make_image(values, study), folder / name)


def write_platform(study: "SimulatedStudy", folder: Path) -> tuple[Path, Path]:
    """Write images/pet/<uuid>.mha and images/ct/<uuid>.mha; return their paths. The names follow from the seed."""
    paths = []
    for values, kind, stream in ((study.suv, "pet", 1), (study.ct, "ct", 2)):
        random = np.random.SeedSequence([study.seed, stream]).generate_state(4, np.uint32).tobytes()
        path = folder / "images" / kind / f"{UUID(bytes=random, version=4)}.mha"
        write_image(_make_image(values, study), path)
        paths.append(path)
    return paths[0], paths[1]


def write_truth(study: "SimulatedStudy", path: Path) -> None:
    """Write the truth as one file, uint8 0/1 on the PET's grid."""
    write_image(_make_image(study.truth, study), path)


def write_case_table(rows: Iterable[dict[str, str]], path: Path) -> None:
    """Write cases.csv, atomically."""
    text = io.StringIO()
    table = csv.DictWriter(text, SIMULATED_COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_text(text.getvalue(), path)


def make_case_row(case: SimulatedCase, cohort: str) -> dict[str, str]:
    """Return the row of a study in cases.csv."""
    paths = {key: (case.folder / name).as_posix() for key, name in FILES.items()}
    return {"case": case.study, "patient": case.patient, "cohort": cohort, **paths, "seed": str(case.seed)}


def write_description(study: "SimulatedStudy", path: Path) -> None:
    """Write what is known of a study beside it, as JSON: cohort, seed, weight and lesions."""
    known: dict[str, Any] = {"simulated": True, "cohort": study.cohort, "seed": study.seed}
    known |= {"weight_kg": round(study.weight_kg, 1), "lesions": [asdict(lesion) for lesion in study.lesions]}
    write_text(json.dumps(known, indent=1), path)


def _make_image(values: NDArray[Any], study: "SimulatedStudy") -> Any:
    """Return an array of a study as a `SimpleITK.Image`; HU become float32, as in autoPET."""
    return make_image(values if values.dtype == np.uint8 else values.astype(np.float32), study.grid)
