"""Preparing and cross-validating on a Dask cluster of real processes, and in several processes of one machine."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from clusters import Cluster
from training_phantoms import case_of, write_tree

from autosegnet.model.network import build_network
from autosegnet_training.__main__ import main
from autosegnet_training.arrays import open_prepared
from autosegnet_training.cases import write_cases
from autosegnet_training.configuration import TrainingConfiguration
from autosegnet_training.runs import plan_run, write_best, write_or_check_run, write_result

pytest.importorskip("distributed", reason="needs autosegnet[cluster]")
pytestmark = pytest.mark.slow

SETTINGS = TrainingConfiguration(patch=(16, 16, 16), inference_patch=(48, 48, 48))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    for _ in range(2):
        cluster.start_worker()
    yield cluster
    cluster.close()


def read_all(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_arrays_and_tables_are_those_of_one_process(tmp_path: Path, cluster: Cluster, monkeypatch) -> None:
    write_tree(tmp_path / "data", 4, negative=1)
    write_cases([case_of(tmp_path / "data", k, fold=k % 2) for k in range(4)], tmp_path / "cases.csv")
    monkeypatch.chdir(tmp_path)  # workers have another current folder
    ways = {"one": [], "jobs": ["--jobs", "2"], "cluster": ["--scheduler-file", str(cluster.file)]}
    for name, options in ways.items():
        command = ["prepare", "cases.csv", "--output", f"prepared_{name}", "--spacing", "8", "8", "8", *options]
        assert main(command) == 0
    prepared = {name: read_all(Path(f"prepared_{name}")) for name in ways}
    assert len(prepared["one"]) > 8
    assert prepared["jobs"] == prepared["one"]
    assert prepared["cluster"] == prepared["one"]

    for fold in range(2):
        begun = plan_run(open_prepared(Path("prepared_one")), SETTINGS, runs=Path("runs"), fold=fold)
        write_or_check_run(begun)
        torch.manual_seed(fold)
        write_best(begun, build_network().eval())
        write_result(begun, {"epoch": 1, "dsc": 0.5, "finished": True})
    tables = {}
    for name, options in ways.items():
        shutil.copytree("runs", f"runs_{name}")
        command = ["cross-validate", "prepared_one", "--runs", f"runs_{name}", "--folds", "2", "--device", "cpu"]
        assert main([*command, *options]) == 0
        tables[name] = read_all(Path(f"runs_{name}"))
    assert {"cross_validation.md", "cross_validation.csv", "cross_validation.json"} <= tables["one"].keys()
    assert tables["jobs"] == tables["one"]
    assert tables["cluster"] == tables["one"]
