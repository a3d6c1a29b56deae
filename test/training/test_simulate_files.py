"""Simulated studies as files: layout, resuming, processes, and the sample case."""

import argparse
import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from autosegnet.errors import InputError
from autosegnet_training.__main__ import build_parser, main
from petct_simulator.label_volume import read_label_volumes
from petct_simulator.sample_case import sample_study
from petct_simulator.simulate_command import derive_study_seed, plan_studies_to_make, read_lesion_positions
from petct_simulator.writer import write_platform

TEST = Path(__file__).parents[1]
ARGUMENTS = ["--number", "3", "--seed", "7", "--spacing", "10", "10", "10", "--field", "700"]


def simulate(folder: Path, *more: str) -> int:
    return main(["simulate", "--output", str(folder), *ARGUMENTS, *more])


def table(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "cases.csv").read_text().splitlines()))


def arrays(folder: Path) -> dict[str, np.ndarray]:
    paths = sorted(folder.glob("*/*/*.nii.gz"))
    return {str(p.relative_to(folder)): sitk.GetArrayFromImage(sitk.ReadImage(str(p))) for p in paths}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated")
    assert simulate(folder) == 0
    return folder


def test_layout_is_that_of_autopet(made: Path) -> None:
    rows = table(made)
    assert [r["seed"] for r in rows] == [str(derive_study_seed(7, i)) for i in range(3)]
    for row in rows:
        assert Path(row["suv"]).name == "SUV.nii.gz"
        assert Path(row["suv"]).parts[:2] == (row["patient"], row["case"])
        images = [sitk.ReadImage(str(made / row[key])) for key in ("suv", "ct", "seg")]
        assert len({(i.GetSize(), i.GetSpacing(), i.GetOrigin(), i.GetDirection()) for i in images}) == 1
        assert images[0].GetPixelID() == sitk.sitkFloat32
        assert images[2].GetPixelID() == sitk.sitkUInt8
        assert images[0].GetSpacing() == (10.0, 10.0, 10.0)


def test_the_head_is_up_and_the_liver_on_the_right(made: Path) -> None:
    # In LPS the brain, hottest of all but urine, has the largest z.
    row = table(made)[0]
    suv = sitk.ReadImage(str(made / row["suv"]))
    values = sitk.GetArrayFromImage(suv)
    top = values[-len(values) // 3 :]
    assert (top > 5).sum() > (values[: len(values) // 6] > 5).sum()
    assert suv.GetDirection() == (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def test_number_of_processes_changes_nothing(made: Path, tmp_path: Path) -> None:
    assert simulate(tmp_path, "--processes", "2") == 0
    assert (tmp_path / "cases.csv").read_text() == (made / "cases.csv").read_text()
    one, two = arrays(made), arrays(tmp_path)
    assert list(one) == list(two)
    assert all(np.array_equal(one[name], two[name]) for name in one)


def test_a_resumed_run_makes_only_what_is_missing(made: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in made.glob("*/*/*.nii.gz")}
    victim = sorted(made.glob("*/*/study.json"))[0]
    content = sitk.GetArrayFromImage(sitk.ReadImage(str(victim.with_name("SUV.nii.gz"))))
    victim.unlink()
    assert simulate(made) == 0
    again = {p: p.stat().st_mtime_ns for p in made.glob("*/*/*.nii.gz")}
    assert {p.parent for p in before if before[p] != again[p]} == {victim.parent}
    np.testing.assert_array_equal(content, sitk.GetArrayFromImage(sitk.ReadImage(str(victim.with_name("SUV.nii.gz")))))


def test_other_settings_in_the_same_folder_are_refused(made: Path) -> None:
    assert simulate(made, "--cohort", "melanoma") == 2


def test_a_folder_without_label_maps_is_refused(tmp_path: Path) -> None:
    assert simulate(tmp_path / "out", "--anatomy", str(tmp_path)) == 2


def test_sample_case_has_the_grid_of_the_bundled_one(tmp_path: Path) -> None:
    """The bundled case was made by an earlier simulator: its voxels differ, its grid and layout do not."""
    pet, ct = write_platform(sample_study(), tmp_path)
    for path in (pet, ct):
        committed = TEST / "input" / path.relative_to(tmp_path)
        here, there = (sitk.ReadImage(str(p)) for p in (path, committed))
        assert here.GetPixelID() == there.GetPixelID()
        for geometry in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
            assert getattr(here, geometry)() == getattr(there, geometry)()


def options(*more: str) -> argparse.Namespace:
    return build_parser("simulate").parse_args(["simulate", "--output", "x", "--number", "9", "--seed", "2", *more])


def test_a_balanced_set_is_a_third_negative() -> None:
    cohorts = [job.protocol.cohort for job in plan_studies_to_make(options("--cohort", "balanced"), [], {})]
    assert Counter(cohorts) == {"negative": 3, "lymphoma": 2, "lung_cancer": 2, "melanoma": 2}


def test_lesion_positions_go_to_the_studies_of_their_map() -> None:
    maps = [Path("a.nii.gz"), Path("b.nii.gz")]
    jobs = list(plan_studies_to_make(options(), maps, {"b": ((1.0, 2.0, 3.0),)}))
    assert [job.lesion_voxels for job in jobs[:3]] == [None, ((1.0, 2.0, 3.0),), None]


def test_lesion_positions_are_read_by_case(tmp_path: Path) -> None:
    table = tmp_path / "lesions.csv"
    table.write_text("case,diagnosis,i,j,k\na,melanoma,1,2,3\na,melanoma,4,5,6\nb,negative,7,8,9\n")
    assert read_lesion_positions(table) == {"a": ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0)), "b": ((7.0, 8.0, 9.0),)}


def test_a_table_of_positions_without_voxels_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "lesions.csv"
    table.write_text("case,x,y,z\na,1,2,3\n")
    with pytest.raises(InputError, match="expected a CSV with columns case, i, j, k"):
        read_lesion_positions(table)


@pytest.mark.parametrize("option", ["--held-out", "--vary-organs"])
def test_options_on_maps_need_maps(tmp_path: Path, option: str) -> None:
    assert simulate(tmp_path / "out", option) == 2


def test_label_volumes_are_made_once_and_listed(tmp_path: Path) -> None:
    arguments = ["label-volumes", "--output", str(tmp_path), "--procedural", "2", "--spacing", "12"]
    assert main(arguments) == 0
    made = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.npz")}
    assert main(arguments) == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.npz")} == made
    assert [volume.name for volume in read_label_volumes(tmp_path)] == ["procedural_0_0000", "procedural_0_0001"]
