"""Prepared arrays: what inference would feed, bit for bit, and the truth on the same grid."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from training_phantoms import case_of, image, study_arrays, write_tree

from autosegnet.errors import InputError
from autosegnet.geometry import Grid, make_image, resample, view_voxels
from autosegnet.io import read_image, write_image
from autosegnet.model.recipe import Fold, Recipe
from autosegnet.model.sliding_window import predict_probability
from autosegnet.preprocess import prepare
from autosegnet.study import check_study
from autosegnet_training.__main__ import main
from autosegnet_training.arrays import load, open_prepared
from autosegnet_training.cases import write_cases
from autosegnet_training.prepare import PrepareJob, prepare_case, resample_truth
from autosegnet_training.sampling import read_patch
from autosegnet_training.studies import read_labelled


class Recorder:
    """An engine that keeps every window it is given."""

    name, folds = "recorder", 1

    def __init__(self) -> None:
        self.windows: list[np.ndarray] = []

    def compute_logits(self, window: np.ndarray, fold: int) -> np.ndarray:
        self.windows.append(window.copy())
        return window[0]


def test_a_patch_is_what_inference_feeds_bit_for_bit(tmp_path: Path) -> None:
    write_tree(tmp_path, 1)
    case = case_of(tmp_path, 0)
    # Windows of 32 are wider than the body in x and y, and narrower along z: padded, and several.
    recipe = Recipe(spacing_mm=(6.0, 6.0, 6.0), patch=(32, 32, 32), folds=(Fold("f", "0" * 64),))
    prepare_case(PrepareJob(case, tmp_path / "arrays", recipe, "float32"))
    fed = Recorder()
    study = check_study(pet=read_image(case.pet), ct=read_image(case.ct))
    predict_probability(prepare(study, recipe).array, fed, recipe)
    stored = load(tmp_path / "arrays", case.name)
    assert isinstance(stored.array, np.memmap)
    x, y, z = stored.shape
    assert x < 32
    assert y < 32
    assert z > 32
    starts = [(-((32 - x) // 2), -((32 - y) // 2), s) for s in range(z - 32 + 1)]
    patches = [read_patch(stored, start, (32, 32, 32))[0] for start in starts]
    assert len(fed.windows) > 1
    for window in fed.windows:
        assert any(np.array_equal(window.view(np.uint32), patch.view(np.uint32)) for patch in patches)


def test_the_truth_lies_where_the_pet_is_hot(prepared: Path) -> None:
    case = load(prepared, "patient0_study0")
    assert case.read_truth().sum() == len(case.lesion) > 10
    assert case.array[1][case.read_truth()].min() > 3.0
    assert case.array[1][~case.read_truth()].max() < 6.0


def test_the_truth_goes_to_the_nearest_voxel(tmp_path: Path) -> None:
    _, _, truth = study_arrays(3)
    mask = image(truth)
    grid = replace(Grid.from_image(mask), size=(41, 33, 52), spacing_mm=(4.0, 4.0, 4.5), origin_mm=(-79.0, -68.9, 16.1))
    found = resample_truth(grid, mask)
    # Written out: the index of the nearest voxel along each axis.
    index = [
        np.rint((grid.origin_mm[a] - mask.GetOrigin()[a] + np.arange(grid.size[a]) * grid.spacing_mm[a]) / 8.0)
        for a in range(3)
    ]
    x, y, z = (i.astype(int) for i in index)
    assert np.array_equal(found, truth[np.ix_(z, y, x)] > 0)


def test_a_box_cuts_study_and_truth_in_physical_space(tmp_path: Path) -> None:
    write_tree(tmp_path, 1)
    whole = case_of(tmp_path, 0)
    fine = sitk.Resample(read_image(whole.ct), [44, 36, 60], sitk.Transform(), sitk.sitkLinear, (-80.0, -70.0, 15.0),
                         [4.0, 4.0, 4.0], np.eye(3).ravel().tolist(), -1000.0, sitk.sitkFloat32)  # fmt: skip
    write_image(fine, tmp_path / "fine.nii.gz")
    box = ((3, 20), (1, 17), (4, 25))
    cut = read_labelled(replace(whole, box=box, ct=tmp_path / "fine.nii.gz"))
    full = read_labelled(replace(whole, ct=tmp_path / "fine.nii.gz"))
    at = (slice(4, 25), slice(1, 17), slice(3, 20))
    assert np.array_equal(view_voxels(cut.study.pet), view_voxels(full.study.pet)[at])
    assert np.array_equal(view_voxels(cut.truth), view_voxels(full.truth)[at])
    assert cut.study.pet.GetOrigin() == full.study.pet.TransformIndexToPhysicalPoint((3, 1, 4))
    grid = Grid.from_image(cut.study.pet)
    on_pet = [view_voxels(resample(c.study.ct, grid, outside=-1024.0)) for c in (cut, full)]
    assert np.array_equal(*on_pet)
    assert cut.study.ct.GetSize() == (33, 31, 41)
    with pytest.raises(InputError, match="reaches beyond"):
        read_labelled(replace(whole, box=((0, 23), (0, 2), (0, 2))))


def test_a_mask_on_another_grid_is_refused(tmp_path: Path) -> None:
    write_tree(tmp_path, 1)
    case = case_of(tmp_path, 0)
    moved = read_image(case.mask)
    moved.SetOrigin((-76.0, -70.0, 15.0))
    write_image(moved, case.mask)
    with pytest.raises(InputError, match="case patient0_study0: mask .* not on the grid"):
        read_labelled(case)


def test_preparing_goes_on_after_a_bad_case_and_later_does_only_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tree(tmp_path / "data", 3)
    cases = [case_of(tmp_path / "data", k) for k in range(3)]
    good = cases[1].pet.read_bytes()
    cases[1].pet.write_bytes(good[:1000])
    write_cases(cases, tmp_path / "cases.csv")
    command = ["prepare", str(tmp_path / "cases.csv"), "--output", str(tmp_path / "out"), "--spacing", "8", "8", "8"]
    assert main(command) == 3
    assert "1 of 3 cases could not be prepared" in capsys.readouterr().err.splitlines()[-1]
    kept = (tmp_path / "out" / cases[0].name / "input.npy").stat().st_mtime_ns
    with pytest.raises(InputError, match="1 cases in .* are not prepared"):
        open_prepared(tmp_path / "out")
    cases[1].pet.write_bytes(good)
    cut_off = tmp_path / "out" / cases[1].name / ".0123456789abcdef.part"
    cut_off.touch()
    assert main(command) == 0
    assert not cut_off.exists()
    assert (tmp_path / "out" / cases[0].name / "input.npy").stat().st_mtime_ns == kept
    assert len(open_prepared(tmp_path / "out").cases) == 3
    assert main([*command[:-3], "4", "4", "4"]) == 2  # another recipe does not mix with this one
    assert main([*command, "--anchor", "lattice"]) == 2
    recipe = tmp_path / "out" / "recipe.json"
    values = json.loads(recipe.read_text())
    recipe.write_text(json.dumps({**values, "anchor": "region"}))  # the same recipe, written in another way
    assert main(command) == 0


@pytest.mark.parametrize("other", [1, 5])
def test_a_patient_in_two_folds_is_refused(
    other: int, tmp_path: Path, prepared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = [replace(case_of(tmp_path, k, fold=fold), patient="a") for k, fold in enumerate((0, other))]
    write_cases(cases, tmp_path / "cases.csv")
    assert main(["prepare", str(tmp_path / "cases.csv"), "--output", str(tmp_path / "out")]) == 3
    assert "patient a is in two folds" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists()
    # A folder whose table was altered, or that was prepared before this was looked at.
    shutil.copytree(prepared, tmp_path / "prepared")
    table = [replace(c, patient="a") for c in open_prepared(tmp_path / "prepared").cases]
    write_cases(table, tmp_path / "prepared" / "cases.csv")
    with pytest.raises(InputError, match="patient a is in two folds"):
        open_prepared(tmp_path / "prepared")


def test_cases_without_patient_and_simulated_ones_of_one_map_are_prepared(tmp_path: Path) -> None:
    write_tree(tmp_path, 4)
    files = "patient{0}/study0/SUV.nii.gz,patient{0}/study0/CTres.nii.gz,patient{0}/study0/SEG.nii.gz"
    rows = [f"case{k},{'sim_map' if k > 1 else ''},{5 if k > 1 else k},{files.format(k)}" for k in range(4)]
    (tmp_path / "cases.csv").write_text("\n".join(["case,patient,fold,pet,ct,mask", *rows]) + "\n")
    command = ["prepare", str(tmp_path / "cases.csv"), "--output", str(tmp_path / "out"), "--spacing", "8", "8", "8"]
    assert main(command) == 0
    assert [c.fold for c in open_prepared(tmp_path / "out").cases] == [0, 1, 5, 5]


def test_processes_prepare_the_same(tmp_path: Path, prepared: Path) -> None:
    command = ["prepare", str(prepared / "cases.csv"), "--output", str(tmp_path), "--spacing", "8", "8", "8"]
    assert main([*command, "--processes", "2"]) == 0
    for case in open_prepared(prepared).cases:
        for file in ("input.npy", "lesion.npy"):
            assert (tmp_path / case.name / file).read_bytes() == (prepared / case.name / file).read_bytes()


def test_half_precision_rounds_to_what_it_says(tmp_path: Path, prepared: Path) -> None:
    command = ["prepare", str(prepared / "cases.csv"), "--output", str(tmp_path), "--spacing", "8", "8", "8"]
    assert main([*command, "--dtype", "float16"]) == 0
    name = open_prepared(tmp_path).cases[0].name
    half, whole = load(tmp_path, name), load(prepared, name)
    assert half.array.nbytes * 2 == whole.array.nbytes
    assert np.abs(half.array[0].astype(np.float32) - whole.array[0]).max() * 2048 <= 0.5  # half a HU
    hot = whole.array[1] > 1.0
    stored, exact = half.array[1].astype(np.float32)[hot], whole.array[1][hot]
    assert (np.abs(stored - exact) / exact).max() <= 2**-11
    assert read_patch(half, (0, 0, 0), (16, 16, 16))[0].dtype == np.float32


def test_what_was_prepared_is_written_down(prepared: Path) -> None:
    note = json.loads((prepared / "patient0_study0" / "prepared.json").read_text())
    assert note["dtype"] == "float32"
    assert note["pet"].endswith("patient0/study0/SUV.nii.gz")


def test_the_grid_keeps_the_truth_in_place(tmp_path: Path) -> None:
    write_tree(tmp_path, 1)
    case = case_of(tmp_path, 0)
    labelled = read_labelled(case)
    done = prepare(labelled.study, Recipe(spacing_mm=(4.0, 4.0, 4.0)))
    back = make_image(resample_truth(done.grid, labelled.truth).astype(np.uint8), done.grid)
    again = sitk.Resample(back, labelled.truth, sitk.Transform(), sitk.sitkNearestNeighbor)
    overlap = view_voxels(again)[view_voxels(labelled.truth) > 0].mean()
    assert overlap > 0.9
