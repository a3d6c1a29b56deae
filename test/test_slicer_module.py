"""The Slicer module without Slicer: its jobs run the real command, and its clicks reach the right voxels.

What needs Slicer is run with a stand-in that knows the names alone, which shows slips and no more.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
from dicom_phantoms import write_image as write_dicom
from phantoms import phantom, rotation

from autosegnet.corrections import read_clicks
from autosegnet.geometry import Grid
from autosegnet.io import read_image, write_image
from autosegnet.model.weights import Weights
from autosegnet.study import Study

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "resources" / "slicer_module"))

from autosegnet_slicer.background_run import BackgroundRun  # noqa: E402
from autosegnet_slicer.exchange import (  # noqa: E402
    Job,
    clean_environment,
    gather_slices,
    make_commands,
    read_lesions,
    write_clicks,
)


@pytest.fixture(scope="module")
def study() -> Study:
    return phantom(direction=rotation(degrees=(0, 0, 20)))


@pytest.fixture
def program(tmp_path: Path, tiny_weights: Weights) -> str:
    """Return an executable that is autosegnet with small folds."""
    path = tmp_path / "autosegnet"
    path.write_text(
        f'#!/bin/sh\nexport PYTHONPATH="{ROOT}" AUTOSEGNET_WEIGHTS="{tiny_weights.folder}"\n'
        f'exec "{sys.executable}" -m autosegnet "$@"\n'
    )
    path.chmod(0o755)
    return str(path)


def finish(run: BackgroundRun) -> list[str]:
    """Return all that a run says, once it is over."""
    said, end = [], time.monotonic() + 120
    while run.code is None:
        assert time.monotonic() < end
        said += run.poll()
        time.sleep(0.02)
    return said


def to_ras(position: Sequence[float]) -> tuple[float, float, float]:
    return -position[0], -position[1], position[2]


def test_a_job_on_images_leaves_mask_table_and_page(study, program, tmp_path) -> None:
    for name, image in (("pet", study.pet), ("ct", study.ct)):
        write_image(image, tmp_path / f"{name}.nii.gz")
    voxel = (10, 20, 18)
    ras = to_ras(study.pet.TransformIndexToPhysicalPoint(voxel))
    clicks = write_clicks(tmp_path / "lesion-clicks.json", tumor=[ras], background=[])
    job = Job((program,), tmp_path, tmp_path / "pet.nii.gz", tmp_path / "ct.nii.gz", clicks)
    run = BackgroundRun(make_commands(job), os.environ)
    said = finish(run)
    assert (run.code, "lesions" in said[-1]) == (0, True)
    assert read_image(job.mask).GetPixel(voxel) == 1
    assert (tmp_path / "viewer.html").is_file()
    rows = read_lesions(job.table)
    assert rows
    for row in rows:
        index = study.pet.TransformPhysicalPointToIndex(to_ras(row.position_ras))
        assert f"{study.pet.GetPixel(index):.2f}" == row.texts[3]


def test_a_job_on_dicom_gives_the_pet_in_suv_first(program, tmp_path) -> None:
    plain = phantom()
    write_dicom(plain.pet, tmp_path / "source" / "pet", kind="PET", slope=0.01)
    write_dicom(plain.ct, tmp_path / "source" / "ct", kind="CT", slope=1.0, intercept=-1024.0)
    places = [gather_slices(sorted((tmp_path / "source" / n).rglob("*.dcm")), tmp_path / n) for n in ("pet", "ct")]
    job = Job((program,), tmp_path, *places)
    assert [command[1] for command in make_commands(job)] == ["suv", "predict"]
    run = BackgroundRun(make_commands(job), os.environ)
    finish(run)
    assert run.code == 0
    assert Grid.from_image(read_image(job.suv)).size == Grid.from_image(read_image(job.mask)).size


def test_a_failed_job_says_why_and_runs_no_further_command(program, tmp_path) -> None:
    never = tmp_path / "never"
    run = BackgroundRun(
        [[program, "suv", str(tmp_path / "nothing"), "--output", str(never)], ["touch", str(never)]], os.environ
    )
    finish(run)
    assert run.code not in (0, None)
    assert run.explain().startswith("autosegnet: error: ")
    assert not never.exists()


def test_a_program_that_is_not_there_is_told(tmp_path) -> None:
    run = BackgroundRun([[str(tmp_path / "nowhere"), "predict"]], os.environ)
    run.poll()
    assert run.code == -1
    assert "does not start" in run.explain()


def test_a_job_can_be_cancelled(tmp_path) -> None:
    run = BackgroundRun([["sleep", "60"], ["touch", str(tmp_path / "never")]], os.environ)
    assert run.poll() == []
    assert run.code is None
    run.cancel()
    finish(run)
    assert run.explain() == "The job was cancelled."
    assert not (tmp_path / "never").exists()


def test_clicks_reach_the_voxels_that_slicer_shows(study, tmp_path) -> None:
    tumor, background = (3, 5, 7), (30, 20, 10)
    ras = [[to_ras(study.pet.TransformIndexToPhysicalPoint(voxel))] for voxel in (tumor, background)]
    path = write_clicks(tmp_path / "clicks.json", tumor=ras[0], background=ras[1])
    assert path is not None
    assert read_clicks(path).find_voxels(Grid.from_image(study.pet)) == ((tumor,), (background,))


def test_no_clicks_make_no_file(tmp_path) -> None:
    assert write_clicks(tmp_path / "clicks.json", tumor=[], background=[]) is None
    assert list(tmp_path.iterdir()) == []


def test_slicers_own_python_does_not_reach_the_program() -> None:
    assert clean_environment({"PYTHONHOME": "/slicer", "LD_LIBRARY_PATH": "/slicer", "HOME": "/home"}) == {
        "HOME": "/home"
    }


# The module itself, with a stand-in for Slicer that knows the names and nothing of what they do.


class _Module:
    def __init__(self, parent: Any = None) -> None:
        self.parent = parent


class _Widget(_Module):
    def setup(self) -> None:
        self.layout = MagicMock()


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """Return Autosegnet.py, imported beside a stand-in for Slicer."""
    loadable = SimpleNamespace(
        ScriptedLoadableModule=_Module, ScriptedLoadableModuleLogic=_Module, ScriptedLoadableModuleWidget=_Widget
    )
    slicer = MagicMock(name="slicer")
    slicer.app.temporaryPath = str(tmp_path)
    slicer.util.startupEnvironment.return_value = dict(os.environ)
    monkeypatch.setitem(sys.modules, "slicer", slicer)
    monkeypatch.setitem(sys.modules, "slicer.ScriptedLoadableModule", loadable)
    monkeypatch.setitem(sys.modules, "qt", MagicMock(name="qt"))
    monkeypatch.delitem(sys.modules, "Autosegnet", raising=False)
    return importlib.import_module("Autosegnet")


def make_node(image: Any = None, *, points: Any = ()) -> MagicMock:
    node = MagicMock()
    node.GetAttribute.return_value = None
    node.image, node.points = image, points
    return node


def test_the_module_runs_a_job_from_nodes_to_rows(module, study, program, tmp_path) -> None:
    voxel = (10, 20, 18)
    slicer = module.slicer
    slicer.util.exportNode = lambda node, path, world: write_image(node.image, Path(path)) or True
    slicer.util.arrayFromMarkupsControlPoints = lambda node, world: np.array(node.points)
    logic = module.AutosegnetLogic()
    clicks = make_node(points=[to_ras(study.pet.TransformIndexToPhysicalPoint(voxel))])
    logic.start(
        program=program, pet=make_node(study.pet), ct=make_node(study.ct), tumor=clicks, background=None, fast=False
    )
    while logic.is_running:
        logic.poll()
        time.sleep(0.02)
    assert logic.failure == ""
    assert logic.load_results()
    (mask, _), _ = slicer.util.loadSegmentation.call_args
    assert read_image(Path(mask)).GetPixel(voxel) == 1
    value = json.loads((logic.folder / "lesion-clicks.json").read_text())
    assert value["space"] == "mm"
    logic.remove_files()
    assert not logic.folder.exists()


def test_the_module_asks_for_a_pet_and_a_ct(module) -> None:
    pet = make_node()
    with pytest.raises(ValueError, match="another volume"):
        module.AutosegnetLogic().start(program="x", pet=pet, ct=pet, tumor=None, background=None, fast=False)


def test_the_panel_is_built_and_shows_what_went_wrong(module) -> None:
    widget = module.AutosegnetWidget(None)
    widget.setup()
    widget.logic = MagicMock(is_running=False, failure="autosegnet: error: no PET")
    widget.logic.poll.return_value = ""
    widget.poll()
    assert widget.status.text == "autosegnet: error: no PET"
    widget.show_lesions([])
    widget.cleanup()
