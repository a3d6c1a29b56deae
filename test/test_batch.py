"""`autosegnet batch`, on phantoms and engines whose answer is known."""

import csv
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import weakref
from dataclasses import replace
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_phantoms import write_image as write_dicom
from phantoms import THRESHOLD_RECIPE, phantom, stored_as
from threshold import (
    ThresholdEngine,
    open_deadly,
    open_deadly_on_gpu,
    open_nothing,
    open_on_gpu,
    open_threshold,
    open_with_a_bug,
    open_without_memory,
)

from autosegnet.__main__ import _run_command_line
from autosegnet.batch import run
from autosegnet.errors import OutputError
from autosegnet.geometry import view_voxels
from autosegnet.model.recipe import Recipe, format_recipe
from autosegnet.runtime.core_shares import bind_to_cores, share_cores
from autosegnet.runtime.exit import run_program
from autosegnet.runtime.log import keep_study_warnings, log_about, log_to
from autosegnet.runtime.progress import show_progress
from autosegnet.study import Study

ROOT = Path(__file__).resolve().parents[1]
RECIPE = replace(THRESHOLD_RECIPE, patch=(32, 32, 32), spacing_mm=(8.0, 8.0, 8.0))
SMALL = phantom(size=(24, 20, 18), spacing=(8.0, 8.0, 10.0))
SIDECAR = {
    "Units": "Bq/mL",
    "InjectedRadioactivity": 300.0,
    "InjectedRadioactivityUnits": "MBq",
    "PatientWeight": 60.0,
    "TracerRadionuclide": "F18",
    "ImageDecayCorrected": True,
    "ImageDecayCorrectionTime": 0,
    "InjectionStart": 0,
    "TimeZero": "10:00:00",
    "ScanStart": 0,
}


def write(study: Study, pet: Path, ct: Path) -> None:
    for image, path in ((study.pet, pet), (study.ct, ct)):
        path.parent.mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(image, str(path))


def scaled(suv: float) -> Study:
    """Return the phantom with its uptake scaled, so that every study has a mask of its own."""
    return Study(sitk.Cast(SMALL.pet * suv, sitk.sitkFloat32), SMALL.ct)


def tree(root: Path, **studies: float) -> Path:
    """Return a cohort in the autoPET layout: uptake by case, with the truth of the threshold."""
    for case, suv in studies.items():
        folder = root.joinpath(*case.split("_"))
        study = scaled(suv)
        write(study, folder / "SUV.nii.gz", folder / "CTres.nii.gz")
        sitk.WriteImage(sitk.Cast(study.pet > 4, sitk.sitkUInt8), str(folder / "SEG.nii.gz"))
    return root


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Return a recipe and a file in the place of its fold: the engine is another."""
    return write_weights(tmp_path / "weights", RECIPE)


def write_weights(folder: Path, recipe: Recipe) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "recipe.json").write_text(format_recipe(recipe))
    (folder / recipe.folds[0].file).write_bytes(b"")
    return folder


@pytest.fixture
def batch(tmp_path, weights, monkeypatch, capfd):
    """Run the command in this process with a fake engine; return its exit code and what it logged."""

    def run(*arguments, engine=open_threshold, source=None, output=None):
        monkeypatch.setattr("autosegnet.model.devices.open_engine", engine)
        folders = (source or tmp_path / "in", output or tmp_path / "out", "--weights", weights)
        monkeypatch.setattr(sys, "argv", ["autosegnet", "batch", *map(str, (*folders, *arguments))])
        code = run_program(_run_command_line)
        return SimpleNamespace(code=code, log=capfd.readouterr().err)

    return run


def never(weights, *, device):
    raise AssertionError("nothing was to be done")


def rows(tmp_path: Path) -> dict[str, dict[str, str]]:
    text = (tmp_path / "out" / "summary.csv").read_text()
    return {row["case"]: row for row in csv.DictReader(StringIO(text))}


def masks(tmp_path: Path) -> dict[str, int]:
    """Return the voxels of each mask."""
    paths = [p for p in (tmp_path / "out").iterdir() if p.name.endswith((".mha", ".nii.gz"))]
    return {p.name: int(sitk.GetArrayFromImage(sitk.ReadImage(str(p))).sum()) for p in sorted(paths)}


def stamps(tmp_path: Path) -> dict[str, int]:
    return {
        p.name: p.stat().st_mtime_ns
        for p in (tmp_path / "out").iterdir()
        if p.is_file() and p.suffix in (".gz", ".mha")
    }


def test_a_mixed_cohort_becomes_masks_that_evaluate_finds(tmp_path, batch, monkeypatch, capfd) -> None:
    source = tree(tmp_path / "in", p_s=1.0, p_t=1.4)
    write(scaled(1.2), source / "nn/imagesTr/a_0001.nii.gz", source / "nn/imagesTr/a_0000.nii.gz")
    write(scaled(1.3), source / "gc/images/pet/x.mha", source / "gc/images/ct/y.mha")
    write_dicom(scaled(0.8).pet, source / "dicom" / "PT", kind="PET", slope=0.001)
    write_dicom(SMALL.ct, source / "dicom" / "CT", kind="CT", slope=1.0, intercept=-1024.0)
    done = batch("--report")
    assert done.code == 0, done.log
    names = ["dicom.nii.gz", "gc.mha", "nn_a.nii.gz", "p_s.nii.gz", "p_t.nii.gz"]
    assert list(masks(tmp_path)) == names
    assert [row["mask"] for row in rows(tmp_path).values()] == names
    assert {row["status"] for row in rows(tmp_path).values()} == {"done"}
    assert all((tmp_path / "out/reports" / case / "report.html").is_file() for case in rows(tmp_path))

    truth = tmp_path / "truth"
    for name in names:
        case = name.split(".")[0]
        pet = {"dicom": scaled(0.8), "gc": scaled(1.3), "nn_a": scaled(1.2), "p_s": scaled(1.0), "p_t": scaled(1.4)}
        truth.mkdir(exist_ok=True)
        sitk.WriteImage(sitk.Cast(pet[case].pet > 4, sitk.sitkUInt8), str(truth / f"{case}.nii.gz"))
    metrics = tmp_path / "metrics.csv"
    command = ["evaluate", "--prediction", tmp_path / "out", "--truth", truth, "--output", metrics]
    monkeypatch.setattr(sys, "argv", ["autosegnet", *map(str, command)])
    assert run_program(_run_command_line) == 0, capfd.readouterr().err
    assert all(float(row["dsc"]) > 0.9 for row in csv.DictReader(StringIO(metrics.read_text())))


def test_the_output_of_the_autopet_tree_is_evaluated_against_it(tmp_path, batch, monkeypatch, capfd) -> None:
    source = tree(tmp_path / "in", p_s=1.0, q_t=1.4)
    assert batch("--format", "mha").code == 0
    command = ["evaluate", "--prediction", tmp_path / "out", "--truth", source, "--output", tmp_path / "m.csv"]
    monkeypatch.setattr(sys, "argv", ["autosegnet", *map(str, command)])
    assert run_program(_run_command_line) == 0
    assert "2 cases: 2 positive" in capfd.readouterr().out


def test_the_summary_holds_the_figures_of_the_mask(tmp_path, batch) -> None:
    from autosegnet.lesions import measure_lesions

    tree(tmp_path / "in", p=1.0)
    assert batch().code == 0
    mask = sitk.ReadImage(str(tmp_path / "out" / "p.nii.gz"))
    body, row = measure_lesions(mask, SMALL.pet).body, rows(tmp_path)["p"]
    assert int(row["lesions"]) == body.lesions == 2
    for column, value in (("tmtv_ml", body.tmtv_ml), ("tlg_g", body.tlg_g), ("suv_max_g_per_ml", body.suv_max)):
        assert float(row[column]) == pytest.approx(value, rel=1e-6)
    assert float(row["dmax_centroids_mm"]) == pytest.approx(body.dmax_centroids_mm, rel=1e-5)
    assert float(row["seconds"]) > 0


def test_a_folder_of_an_earlier_version_is_taken_over(tmp_path, batch) -> None:
    """Its records hold neither digests nor lesions."""
    tree(tmp_path / "in", p=1.0, q=1.2)
    assert batch().code == 0
    for path in (tmp_path / "out" / "records").iterdir():
        record = json.loads(path.read_text())
        path.write_text(json.dumps({name: record[name] for name in ("format", "depends_on", "made_by", "row")}))
    shutil.rmtree(tmp_path / "out" / "thumbnails")
    assert batch(engine=never).code == 0
    (tmp_path / "out" / "p.nii.gz").write_bytes(b"")
    assert "p is segmented again" in batch().log


def test_finished_studies_are_not_done_again(tmp_path, batch) -> None:
    tree(tmp_path / "in", p=1.0, q=1.2)
    assert batch().code == 0
    before, summary = stamps(tmp_path), (tmp_path / "out" / "summary.csv").read_bytes()
    done = batch(engine=never)
    assert done.code == 0
    assert "2 done, 0 pending, 0 failed" in done.log
    assert stamps(tmp_path) == before
    assert (tmp_path / "out" / "summary.csv").read_bytes() == summary


def change_weights(tmp_path: Path) -> None:
    write_weights(tmp_path / "weights", replace(RECIPE, crop="ct_foreground"))


def change_input(tmp_path: Path) -> None:
    write(scaled(1.5), tmp_path / "in/p/SUV.nii.gz", tmp_path / "in/p/CTres.nii.gz")


def remove_mask(tmp_path: Path) -> None:
    (tmp_path / "out" / "p.nii.gz").unlink()


def empty_mask(tmp_path: Path) -> None:
    (tmp_path / "out" / "p.nii.gz").write_bytes(b"")


def exchange_mask(tmp_path: Path) -> None:
    shutil.copy(tmp_path / "out" / "q.nii.gz", tmp_path / "out" / "p.nii.gz")


@pytest.mark.parametrize(
    ("change", "reason", "again"),
    [
        (change_weights, "p is segmented again: changed since: weights", {"p.nii.gz", "q.nii.gz"}),
        (change_input, "p is segmented again: changed since: input", {"p.nii.gz"}),
        (remove_mask, "p is segmented again: its mask is missing", {"p.nii.gz"}),
        (empty_mask, "p is segmented again: its mask was changed", {"p.nii.gz"}),
        (exchange_mask, "p is segmented again: its mask was changed", {"p.nii.gz"}),
    ],
)
def test_what_changed_is_noticed_and_done_again(tmp_path, batch, change, reason: str, again: set[str]) -> None:
    tree(tmp_path / "in", p=1.0, q=1.2)
    assert batch().code == 0
    before = stamps(tmp_path)
    change(tmp_path)
    done = batch()
    assert done.code == 0
    assert reason in done.log
    after = stamps(tmp_path)
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} == again


def test_another_format_leaves_one_mask_of_each_case(tmp_path, batch) -> None:
    tree(tmp_path / "in", p=1.0)
    batch()
    done = batch("--format", "mha")
    assert "changed since: format" in done.log
    assert list(masks(tmp_path)) == ["p.mha"]


def test_reports_that_are_asked_for_later_are_made(tmp_path, batch) -> None:
    tree(tmp_path / "in", p=1.0)
    batch()
    assert batch("--report").code == 0
    assert (tmp_path / "out/reports/p/report.html").is_file()
    assert batch("--report", engine=never).code == 0


def test_a_report_does_not_outlive_its_mask(tmp_path, batch) -> None:
    source = tree(tmp_path / "in", p=1.0)
    batch("--report")
    report = tmp_path / "out/reports/p"
    before = (report / "lesions.csv").read_bytes()
    (report / "notes.txt").write_text("somebody's")
    write(scaled(1.5), source / "p/SUV.nii.gz", source / "p/CTres.nii.gz")
    assert batch().code == 0
    assert [path.name for path in report.iterdir()] == ["notes.txt"]
    assert batch("--report").code == 0
    assert (report / "lesions.csv").read_bytes() != before
    (source / "p/SUV.nii.gz").write_bytes(b"broken")
    assert batch("--report").code == 3
    assert [path.name for path in report.iterdir()] == ["notes.txt"]


def test_viewers_pages_are_made_when_asked_for_and_do_not_outlive_the_mask(tmp_path, batch) -> None:
    source = tree(tmp_path / "in", p=1.0)
    batch()
    assert batch("--viewer").code == 0
    page = tmp_path / "out/reports/p/viewer.html"
    assert 'id="volume-pet"' in page.read_text()
    assert batch("--viewer", engine=never).code == 0
    (source / "p/SUV.nii.gz").write_bytes(b"broken")
    assert batch().code == 3
    assert not page.exists()


def test_overwrite_does_everything_again(tmp_path, batch) -> None:
    tree(tmp_path / "in", p=1.0, q=1.2)
    batch()
    before = stamps(tmp_path)
    assert batch("--overwrite").code == 0
    assert all(stamps(tmp_path)[name] != before[name] for name in before)


@pytest.mark.parametrize("name", ["p.nii.gz", "p.mha"])
def test_a_mask_that_no_batch_made_is_left_alone(tmp_path, batch, name: str) -> None:
    tree(tmp_path / "in", p=1.0, q=1.2)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_bytes(b"somebody's truth")
    done = batch()
    assert done.code == 3
    assert f"found {name} in the output folder, which no batch made" in rows(tmp_path)["p"]["reason"]
    assert (tmp_path / "out" / name).read_bytes() == b"somebody's truth"
    assert rows(tmp_path)["q"]["status"] == "done"
    assert batch("--overwrite").code == 0
    assert list(masks(tmp_path)) == ["p.nii.gz", "q.nii.gz"]
    (tmp_path / "out" / "p.mha").write_bytes(b"converted by somebody")
    assert batch().code == 3
    assert (tmp_path / "out" / "p.mha").read_bytes() == b"converted by somebody"


def test_bad_studies_are_reported_at_the_end_and_stop_nobody(tmp_path, batch) -> None:
    source = tree(tmp_path / "in", a=1.0, b=1.0, c=1.0, d=1.0)
    (source / "b" / "CTres.nii.gz").unlink()
    damaged = source / "c" / "SUV.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    done = batch()
    assert done.code == 3
    *_, first, second, last = done.log.splitlines()
    assert last.startswith("autosegnet: error: 2 of 4 studies failed: b, c;")
    assert "failed: b: no CTres or CT" in first
    assert "failed: c: " in second
    assert [rows(tmp_path)[case]["status"] for case in "abcd"] == ["done", "failed", "failed", "done"]
    assert "c/SUV.nii.gz" in rows(tmp_path)["c"]["reason"]
    assert list(masks(tmp_path)) == ["a.nii.gz", "d.nii.gz"]
    assert "Traceback" not in done.log

    tree(source, b=1.0, c=1.0)  # once they are mended, only they are done
    before = stamps(tmp_path)
    assert batch().code == 0
    assert before.items() <= stamps(tmp_path).items()
    assert len(masks(tmp_path)) == 4


def raising(error: Exception, *, above_suv: float):
    class Raising(ThresholdEngine):
        def compute_logits(self, window, fold):
            if window[1].max() > above_suv:
                raise error
            return super().compute_logits(window, fold)

    return lambda weights, *, device: Raising()


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("std::bad_alloc")], ids=["Python", "C++"])
def test_want_of_memory_is_the_studys_failure(tmp_path, batch, error: Exception) -> None:
    tree(tmp_path / "in", a=1.0, b=5.0, c=1.0)
    done = batch(engine=raising(error, above_suv=20))
    assert done.code == 3
    assert rows(tmp_path)["b"]["reason"].startswith("out of memory")
    assert list(masks(tmp_path)) == ["a.nii.gz", "c.nii.gz"]


def test_a_study_too_large_for_the_gpu_leaves_the_next_ones_there(tmp_path, batch) -> None:
    opened = []

    class Crowded(ThresholdEngine):
        def compute_logits(self, window, fold):
            if window[1].max() > 20:
                object.__setattr__(self, "name", "CPU")  # as `FallbackEngine` does
            return super().compute_logits(window, fold)

    def open_crowded(weights, *, device):
        opened.append(weakref.ref(engine := Crowded(name="GPU")))
        assert sum(ref() is not None for ref in opened) == 1
        return engine

    tree(tmp_path / "in", a=1.0, b=5.0, c=1.0, d=1.0)
    assert batch(engine=open_crowded).code == 0
    assert len(opened) == 2
    records = [json.loads((tmp_path / f"out/records/{case}.json").read_text()) for case in "abcd"]
    assert [record["made_by"]["engine"] for record in records] == ["GPU", "CPU", "GPU", "GPU"]


def test_a_bug_in_one_study_is_logged_and_gives_exit_code_1_at_the_end(tmp_path, batch) -> None:
    tree(tmp_path / "in", a=1.0, b=5.0, c=1.0)
    done = batch(engine=raising(KeyError("x"), above_suv=20))
    assert done.code == 1
    assert "Traceback" in done.log
    assert done.log.splitlines()[-1].startswith("autosegnet: error: 1 of 3 studies failed")
    assert rows(tmp_path)["b"]["reason"].startswith("unexpected KeyError")
    assert list(masks(tmp_path)) == ["a.nii.gz", "c.nii.gz"]


def test_a_study_that_fails_now_leaves_no_mask_of_before(tmp_path, batch) -> None:
    source = tree(tmp_path / "in", p=1.0)
    assert batch().code == 0
    (source / "p" / "SUV.nii.gz").write_bytes(b"broken")
    assert batch().code == 3
    assert masks(tmp_path) == {}


def test_a_study_without_its_ct_leaves_no_mask_of_before(tmp_path, batch) -> None:
    source = tree(tmp_path / "in", p=1.0, q=1.2)
    assert batch("--report").code == 0
    (tmp_path / "out" / "p.mha").write_bytes(b"somebody's")
    (source / "p" / "CTres.nii.gz").unlink()
    assert batch(engine=never).code == 3
    assert rows(tmp_path)["p"]["status"] == "failed"
    assert {path.name for path in (tmp_path / "out").glob("[!.]*.*")} == {
        "p.mha",
        "q.nii.gz",
        "summary.csv",
        "overview.html",
    }
    assert [*(tmp_path / "out/reports/p").iterdir()] == []


def test_a_study_without_its_sidecar_leaves_no_mask_of_before(tmp_path, batch) -> None:
    becquerels = Study(sitk.Cast(SMALL.pet * 5000.0, sitk.sitkFloat32), SMALL.ct)
    write(becquerels, tmp_path / "in/a_0001.nii.gz", tmp_path / "in/a_0000.nii.gz")
    (tmp_path / "in/a_0001.json").write_text(json.dumps(SIDECAR))
    assert batch("--pet-unit", "bqml").code == 0
    (tmp_path / "in/a_0001.json").unlink()
    assert batch("--pet-unit", "bqml", engine=never).code == 3
    assert masks(tmp_path) == {}


def test_an_output_that_cannot_be_written_ends_the_run(tmp_path, batch) -> None:
    tree(tmp_path / "in", a=1.0, b=1.2)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "records").write_text("a file where a folder should be")
    done = batch()
    assert done.code == 5
    assert masks(tmp_path) == {}


@pytest.mark.parametrize("jobs", [1, 2])
def test_weights_that_cannot_be_used_end_the_run(tmp_path, batch, jobs: int) -> None:
    tree(tmp_path / "in", a=1.0, b=1.2)
    done = batch("--jobs", jobs, engine=open_nothing)
    assert done.code == 4
    assert done.log.splitlines()[-1] == "autosegnet: error: fold_0 is altered"


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_bug_in_the_engines_opening_ends_the_run_with_exit_code_1(tmp_path, batch, jobs: int) -> None:
    tree(tmp_path / "in", a=1.0, b=1.2)
    done = batch("--jobs", jobs, engine=open_with_a_bug)
    assert done.code == 1
    assert "KeyError: 'engine'" in done.log
    assert "fewer --jobs" not in done.log


def test_processes_whose_weights_do_not_fit_are_too_many(tmp_path, batch) -> None:
    tree(tmp_path / "in", a=1.0, b=1.2)
    done = batch("--jobs", 2, engine=open_without_memory)
    assert done.code == 2
    assert done.log.splitlines()[-1] == ("autosegnet: error: a process ran out of memory; try fewer --jobs")


def test_parts_together_make_the_whole_cohort(tmp_path, batch) -> None:
    tree(tmp_path / "in", a=1.0, b=1.2, c=0.9, d=1.4)
    assert batch("--part", "1/2").code == 0
    first = stamps(tmp_path)
    assert batch("--part", "2/2").code == 0
    assert first.items() < stamps(tmp_path).items()
    assert {p.name for p in (tmp_path / "out").glob("*.csv")} == {"summary_part_1_of_2.csv", "summary_part_2_of_2.csv"}
    assert batch(engine=never).code == 0
    assert [row["status"] for row in rows(tmp_path).values()] == ["done"] * 4


@pytest.mark.parametrize("part", ["0/2", "3/2", "x", "1", "-1/2", "1/2/3"])
def test_a_part_that_does_not_exist_is_refused(tmp_path, batch, part: str) -> None:
    tree(tmp_path / "in", a=1.0)
    assert batch("--part", part).code == 2


def test_usage_that_makes_no_sense_is_refused(tmp_path, batch) -> None:
    source = tree(tmp_path / "in", p=1.0)
    assert batch("--jobs", 0).code == 2
    assert "OUTPUT" in batch(source=tmp_path / "out").log
    shutil.copytree(source, tmp_path / "out" / "in")
    assert batch(source=tmp_path / "out" / "in").code == 2


def test_a_pet_in_becquerels_is_converted_by_the_sidecar_beside_it(tmp_path, batch) -> None:
    becquerels = Study(sitk.Cast(SMALL.pet * 5000.0, sitk.sitkFloat32), SMALL.ct)
    write(becquerels, tmp_path / "in/a_0001.nii.gz", tmp_path / "in/a_0000.nii.gz")
    (tmp_path / "in/a_0001.json").write_text(json.dumps(SIDECAR))
    tree(tmp_path / "in", p=1.0)  # called SUV: not converted
    assert batch("--pet-unit", "bqml").code == 0
    assert float(rows(tmp_path)["a"]["suv_max_g_per_ml"]) == pytest.approx(
        float(rows(tmp_path)["p"]["suv_max_g_per_ml"]), rel=1e-5
    )
    (tmp_path / "in/a_0001.json").unlink()
    assert batch("--pet-unit", "bqml").code == 3


def test_nothing_of_the_patient_gets_into_log_or_output(tmp_path, batch) -> None:
    folder = tmp_path / "in" / "study1"
    write_dicom(SMALL.pet, folder / "PT", kind="PET", slope=0.001)
    write_dicom(SMALL.ct, folder / "CT", kind="CT", slope=1.0, intercept=-1024.0)
    done = batch("--report")
    assert done.code == 0
    texts = [p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.suffix in (".json", ".csv", ".html", ".mha")]
    for canary in (b"Doe", b"19500101", b"20200301"):
        assert not any(canary in text for text in (*texts, done.log.encode()))


def test_several_processes_give_what_one_gives(tmp_path, batch) -> None:
    tree(tmp_path / "in", a=1.0, b=1.2, c=0.9, d=1.4)
    one = batch()
    assert one.code == 0
    expected = masks(tmp_path)
    shutil.rmtree(tmp_path / "out")
    two = batch("--jobs", 2)
    assert two.code == 0, two.log
    assert masks(tmp_path) == expected
    assert two.log.count("threshold") == 2  # each process logs its engine once
    assert "[b] PET 24 x 20 x 18" in two.log


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_is_written_behind_on_a_gpu_is_what_is_written_at_once(tmp_path, batch, jobs: int) -> None:
    source = tree(tmp_path / "in", a=1.0, b=1.2, c=0.9, d=1.4)
    (source / "b" / "CTres.nii.gz").write_bytes(b"broken")
    assert batch().code == 3
    expected, figures = masks(tmp_path), rows(tmp_path)
    shutil.rmtree(tmp_path / "out")
    done = batch("--jobs", jobs, engine=open_on_gpu)
    assert done.code == 3, done.log
    assert masks(tmp_path) == expected
    for case, row in rows(tmp_path).items():
        assert {**row, "seconds": ""} == {**figures[case], "seconds": ""}


def test_on_a_gpu_one_study_is_written_and_another_read_beside_the_network(tmp_path, batch, monkeypatch) -> None:
    """While the second study is in the network, the first one's files and the third one's images are under way."""
    in_network, is_writing, is_read = threading.Event(), threading.Event(), threading.Event()
    met, calls = [], []

    class Waiting(ThresholdEngine):
        def compute_logits(self, window, fold):
            calls.append(None)
            if len(calls) == 2:
                in_network.set()
                met.append(is_writing.wait(60) and is_read.wait(60))
            return super().compute_logits(window, fold)

    load, write = run._load, run.write_results

    def load_noting(task):
        loaded = load(task)
        if task.study.case == "c":
            met.append(in_network.wait(60))
            is_read.set()
        return loaded

    def write_noting(*arguments, **options):
        is_writing.set()
        met.append(in_network.wait(60))
        write(*arguments, **options)

    monkeypatch.setattr(run, "_load", load_noting)
    monkeypatch.setattr(run, "write_results", write_noting)
    tree(tmp_path / "in", a=1.0, b=1.2, c=0.9)
    done = batch(engine=lambda weights, *, device: Waiting(name="threshold, GPU"))
    assert done.code == 0, done.log
    assert met == 5 * [True]


def test_an_output_that_cannot_be_written_behind_ends_the_run(tmp_path, batch, monkeypatch) -> None:
    def fail(*arguments, **options):
        raise OutputError("the disk is full")

    tree(tmp_path / "in", a=1.0, b=1.2, c=0.9)
    monkeypatch.setattr("autosegnet.batch.run.write_results", fail)
    done = batch(engine=open_on_gpu)
    assert done.code == 5
    assert done.log.splitlines()[-1] == "autosegnet: error: the disk is full"


@pytest.mark.parametrize("engine", [open_deadly, open_deadly_on_gpu])
def test_a_process_that_is_killed_costs_its_study_alone(tmp_path, batch, engine) -> None:
    tree(tmp_path / "in", a=1.0, b=50.0, c=0.9, d=1.4)
    done = batch("--jobs", 2, engine=engine)
    assert done.code == 3, done.log
    assert rows(tmp_path)["b"]["reason"].startswith("its process was ended by signal 9")
    assert list(masks(tmp_path)) == ["a.nii.gz", "c.nii.gz", "d.nii.gz"]


_MAIN = """
import sys, autosegnet.model.devices, autosegnet.__main__, threshold
autosegnet.model.devices.open_engine = getattr(threshold, sys.argv.pop(1))
autosegnet.__main__.main()
"""


def run_apart(*arguments, engine: str) -> subprocess.Popen[str]:
    """Return the command line in a process of its own, with a fake engine."""
    command = [sys.executable, "-c", _MAIN, engine, "batch", *map(str, arguments)]
    paths = {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "test")))}
    return subprocess.Popen(command, env={**os.environ, **paths}, stderr=subprocess.PIPE, text=True)


def test_a_run_that_is_killed_goes_on_where_it_was(tmp_path, batch, weights) -> None:
    source = tree(tmp_path / "in", a=1.0, b=1.2, c=50.0, d=1.4)
    assert batch().code == 0
    expected, figures = masks(tmp_path), rows(tmp_path)
    shutil.rmtree(tmp_path / "out")

    process = run_apart(source, tmp_path / "out", "--weights", weights, engine="open_deadly")
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    assert list(masks(tmp_path)) == ["a.nii.gz", "b.nii.gz"]
    assert {case: row["status"] for case, row in rows(tmp_path).items()} == {"a": "done", "b": "done"}
    before = stamps(tmp_path)

    assert batch().code == 0
    assert masks(tmp_path) == expected
    assert before.items() <= stamps(tmp_path).items()
    for case, row in rows(tmp_path).items():
        assert {**row, "seconds": ""} == {**figures[case], "seconds": ""}


def test_a_kill_between_record_and_mask_leaves_the_study_to_be_done(tmp_path, batch, monkeypatch) -> None:
    """The record is written before the mask: a mask in place is always one that its record describes."""
    tree(tmp_path / "in", p=1.0)
    written = []

    def recorded(files, *, swept):
        written.extend(path.name for path in files)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("autosegnet.io.write_all", recorded)
        with pytest.raises(KeyboardInterrupt):
            batch()
    assert written == ["p.png", "p.json", "p.nii.gz"]
    assert batch().code == 0


@pytest.mark.slow
def test_kills_at_random_moments_leave_nothing_partial(tmp_path, batch, weights) -> None:
    source = tree(tmp_path / "in", **{f"p{k}": 1.0 + k / 20 for k in range(12)})
    assert batch().code == 0
    expected = masks(tmp_path)
    shutil.rmtree(tmp_path / "out")
    rng, done = np.random.default_rng(0), {}
    for _ in range(40):
        process = run_apart(source, tmp_path / "out", "--weights", weights, engine="open_threshold")
        time.sleep(float(rng.uniform(0.5, 4)))
        process.kill()
        process.communicate()
        if (tmp_path / "out").exists():
            now = {name: stamp for name, stamp in stamps(tmp_path).items() if not name.startswith(".")}
            assert done.items() <= now.items()
            assert masks(tmp_path).items() <= expected.items()
            done = now
    assert batch().code == 0
    assert masks(tmp_path) == expected


def test_warnings_of_the_next_study_stay_out_of_this_ones_record() -> None:
    log = logging.getLogger("autosegnet.study")
    with keep_study_warnings() as ours:
        other = threading.Thread(target=log.warning, args=("of the next",))
        other.start()
        other.join()
        log.warning("of this")
    assert ours == ["of this"]


def test_each_line_of_the_log_names_its_case() -> None:
    lines = StringIO()
    log_to(lines)
    with log_about("p_s"):
        logging.getLogger("autosegnet.x").info("%d lesions", 3)
    logging.getLogger("autosegnet.x").info("end")
    assert [line.split(" ", 1)[1] for line in lines.getvalue().splitlines()] == ["[p_s] 3 lesions", "end"]


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_one_bar_with_the_time_left() -> None:
    stream = Terminal()
    with show_progress(4, unit="study", stream=stream) as progress:
        progress.tell(0, 0.5)
        progress.finish(0)
        progress.tell(1, 1.0)
        progress.finish(1)
    assert "2.0 of 4 studies" in stream.getvalue()
    assert "left" in stream.getvalue()


def test_elsewhere_lines_tell_the_time_left(monkeypatch) -> None:
    lines, clock = StringIO(), iter([0.0, 5.0, 30.0, 40.0])
    monkeypatch.setattr("autosegnet.runtime.progress.time.monotonic", lambda: next(clock))
    log_to(lines)
    with show_progress(4, unit="study", stream=StringIO()) as progress:
        progress.tell(0, 0.25)  # too early for a line
        progress.tell(0, 0.75)
        progress.finish(0)
    assert [line.split(" ", 1)[1] for line in lines.getvalue().splitlines()] == [
        "0.8 of 4 studies, 40 s per study, 2 min left",
        "1 of 4 studies, 40 s per study, 2 min left",
    ]


@pytest.mark.parametrize("jobs", [1, 2, 3, 7, 64])
def test_cores_are_divided_among_processes(monkeypatch, jobs: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))
    shares = share_cores(jobs)
    assert len(shares) == jobs
    assert {core for share in shares for core in share} == set(range(16))
    if jobs <= 16:
        assert sum(map(len, shares)) == 16
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(("inherited", "threads"), [("64", "32"), ("8", "8"), ("", "32"), ("4,2", "32"), ("0", "32")])
def test_a_process_takes_no_more_threads_than_its_share(monkeypatch, inherited: str, threads: str) -> None:
    monkeypatch.setattr(os, "sched_setaffinity", lambda pid, cores: None)
    names = ("OMP_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
    for name in names:
        monkeypatch.setenv(name, inherited)
    bind_to_cores(range(32))
    assert [os.environ[name] for name in names] == [threads] * 2


@pytest.mark.slow
def test_real_studies_in_a_batch(real_data, tmp_path, batch, weights) -> None:
    for case in ("STS_002", "STS_025"):
        (tmp_path / "in" / case).mkdir(parents=True)
        for name in ("SUV.nii.gz", "CTres.nii.gz"):
            shutil.copy(real_data / "sts" / case / name, tmp_path / "in" / case / name)
    assert batch().code == 0
    for case in ("STS_002", "STS_025"):
        pet = sitk.ReadImage(str(real_data / "sts" / case / "SUV.nii.gz"))
        mask = sitk.ReadImage(str(tmp_path / "out" / f"{case}.nii.gz"))
        assert mask.GetSize() == pet.GetSize()
        assert float(rows(tmp_path)[case]["tmtv_ml"]) > 0


def test_storage_order_of_a_study_is_kept(tmp_path, batch) -> None:
    pet = stored_as(SMALL.pet, (2, 0, 1), (True, False, True))
    write(Study(pet, SMALL.ct), tmp_path / "in/p/SUV.mha", tmp_path / "in/p/CT.mha")
    assert batch().code == 0
    mask = sitk.ReadImage(str(tmp_path / "out/p.mha"))
    assert mask.GetDirection() == pet.GetDirection()
    assert view_voxels(mask).shape == view_voxels(pet).shape
