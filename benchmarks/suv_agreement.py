"""Measures how well `autosegnet suv` agrees with known answers, and how large the usual errors of SUV are.

    python benchmarks/suv_agreement.py ../shared/data

Reference objects: IBSI SUV working group (github.com/oncoray/suv_computation, CC BY 4.0). Studies: Vallieres et al.
2015, TCIA Soft-tissue-Sarcoma (doi:10.7937/K9/TCIA.2015.7GO2GSKS, CC BY 3.0), SUV as published by the IBSI.
"""

import argparse
import csv
import tarfile
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from autosegnet.dicom.choice import choose_pet
from autosegnet.dicom.pet import read_dicom_pet
from autosegnet.dicom.series import gather_series
from autosegnet.geometry import view_voxels
from autosegnet.io import read_image
from autosegnet.suv import PetHeader, PetSlice, convert


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with suv_dro/, sts_dicom/ and sts/")
    data = parser.parse_args().data
    print("| reference object | minimum | median | maximum | expected | rule |\n|---|---|---|---|---|---|")
    with (data / "suv_dro" / "expected.csv").open() as file:
        for row in csv.DictReader(file):
            print(_reference_object(data, row))
    print("\n| study | largest difference from the published SUV | relative |\n|---|---|---|")
    for archive in sorted((data / "sts_dicom").glob("*.tar.xz")):
        print(_study(data, archive))
    print("\n| error | SUV is off by |\n|---|---|")
    for name, factor in _errors().items():
        print(f"| {name} | {factor - 1:+.1%} |")


def _reference_object(data: Path, row: dict[str, str]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        _unpack(data / "suv_dro" / f"{row['ID']}.tar.xz", folder)
        pet = read_dicom_pet(choose_pet(gather_series(Path(folder))))
        (mask,) = Path(folder).rglob("DRO_mask.nii.gz")
        inside = view_voxels(pet.image)[view_voxels(read_image(mask)) > 0]
    found = " | ".join(f"{value:.4f}" for value in (inside.min(), np.median(inside), inside.max()))
    expected = ", ".join(row[f"SUV{which}_expected"] for which in ("min", "med", "max"))
    return f"| {row['ID']} | {found} | {expected} | {pet.conversion.rule.split(':')[0]} |"


def _study(data: Path, archive: Path) -> str:
    name = archive.name.removesuffix(".tar.xz")
    with tempfile.TemporaryDirectory() as folder:
        _unpack(archive, folder)
        found = view_voxels(read_dicom_pet(choose_pet(gather_series(Path(folder)))).image).astype(np.float64)
    published = view_voxels(read_image(data / "sts" / name / "SUV.nii.gz")).astype(np.float64)
    difference = np.abs(found - published)
    return f"| {name} | {difference.max():.2g} | {(difference / np.maximum(published, 1e-6)).max():.2g} |"


def _unpack(archive: Path, folder: str) -> None:
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")


def _errors() -> dict[str, float]:
    """Return by what the SUV is multiplied if F-18 of an hour before is converted with one mistake."""
    bed = PetSlice(acquisition_date="20200301", acquisition_time="110000")
    right = PetHeader(
        units="BQML",
        decay_correction="START",
        weight_kg=70.0,
        dose=3e8,
        half_life_s=6586.2,
        injection_time="100000",
        series_date="20200301",
        series_time="110000",
        slices=(bed,),
    )

    admin = replace(right, decay_correction="ADMIN")

    def compare_with(header: PetHeader, mode: str = "qiba", *, truth: PetHeader = right) -> float:
        return convert(header, mode=mode).factors[0] / convert(truth).factors[0]

    def shift_last_bed(minutes: int) -> float:
        late = replace(right, slices=(replace(bed, acquisition_time=f"11{minutes:02d}00"),))
        return compare_with(late, "tcia-compat")

    return {
        "injection clock 5 min slow": compare_with(replace(right, injection_time="095500")),
        "time of the last bed, 20 min later, instead of the series' (`tcia-compat`)": shift_last_bed(20),
        "time of the last bed, 25 min later (`tcia-compat`)": shift_last_bed(25),
        "corrected to START, converted as ADMIN, 60 min after injection": compare_with(admin),
        "corrected to ADMIN, converted as START, 60 min after injection": compare_with(right, truth=admin),
        "weight 5 % too low": compare_with(replace(right, weight_kg=66.5)),
    }


if __name__ == "__main__":
    main()
