"""Two processes train as one does with the same micro-batches."""

import csv
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from training_phantoms import TINY, train_arguments

from autosegnet.errors import UsageError
from autosegnet_training.configuration import TrainingConfiguration
from autosegnet_training.distributed import Processes, join_processes
from autosegnet_training.train import _check_shares

PROGRAM = Path(__file__).parent / "training_phantoms.py"
ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'resources'}"}
# One micro-batch of one patch at a time in both; all four patches behind one step.
SETTINGS = ["--batch", "4", "--micro-batch", "1", "--patches-per-case", "4", "--epochs", "2"]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def run(arguments: list[str], **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), *arguments], env={**ENVIRONMENT, **more},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> str:
    out, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    return out


def finish_two(arguments: list[str]) -> list[str]:
    """Return what two processes print that have what torchrun sets, without its own processes in between."""
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    both = [run(arguments, RANK=str(k), LOCAL_RANK=str(k), **shared) for k in range(2)]
    return [finish(process) for process in both]


def losses(runs: Path) -> list[float]:
    rows = csv.DictReader((runs / "fold_0" / "history.csv").read_text().splitlines())
    return [float(row["loss"]) for row in rows]


@pytest.fixture(scope="module")
def trained(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[str]]:
    """Return the run of one process, that of two, and what each of the two printed."""
    alone, together = tmp_path_factory.mktemp("alone"), tmp_path_factory.mktemp("together")
    finish(run(train_arguments(prepared, alone, *SETTINGS)))
    return alone, together, finish_two(train_arguments(prepared, together, *SETTINGS))


def test_two_processes_have_the_loss_of_one(trained: tuple[Path, Path, list[str]]) -> None:
    alone, together, _ = trained
    assert losses(together) == pytest.approx(losses(alone), rel=1e-5)
    assert losses(alone)[0] != losses(alone)[1]


def test_two_processes_have_the_weights_of_one(trained: tuple[Path, Path, list[str]]) -> None:
    def parameters(runs: Path) -> dict[str, torch.Tensor]:
        newest = sorted((runs / "fold_0" / "checkpoints").iterdir())[-1].read_bytes()
        payload = newest[newest.index(b"\n") + 1 :]
        (runs / "payload.pt").write_bytes(payload)
        state = torch.load(runs / "payload.pt", weights_only=True)
        # Statistics are each process's own on the CPU. A bias before batch norm has no gradient but rounding, of which
        # Adam makes whole steps.
        own = ("running_mean", "running_var", "num_batches_tracked", ".conv.bias")
        return {k: v for k, v in state["network"].items() if not k.endswith(own)}

    alone, together, _ = trained
    a, b = parameters(alone), parameters(together)
    for key, value in a.items():
        torch.testing.assert_close(value, b[key], rtol=1e-3, atol=1e-4)


def test_one_process_writes_and_all_validate(trained: tuple[Path, Path, list[str]]) -> None:
    _, together, printed = trained
    assert "best validation DSC" in printed[0]
    assert printed[1] == ""
    result = json.loads((together / "fold_0" / "result.json").read_text())
    assert result["finished"] is True
    assert len(list((together / "fold_0" / "tensorboard").iterdir())) == 1


@pytest.mark.slow
def test_two_processes_train_and_one_goes_on_to_evaluate(prepared: Path, tmp_path: Path) -> None:
    settings = [*TINY.split(), "--epochs", "1", "--device", "cpu"]
    arguments = ["cross-validate", str(prepared), "--runs", str(tmp_path), "--folds", "2", "--train", *settings]
    first, second = finish_two(arguments)
    assert first == (tmp_path / "cross_validation.md").read_text()
    assert second == ""


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    _check_shares(TrainingConfiguration(batch=4), Processes(0, 2, torch.device("cpu")))
    with pytest.raises(UsageError, match="cannot be shared by 3 processes"):
        _check_shares(TrainingConfiguration(batch=4), Processes(0, 3, torch.device("cpu")))
    with pytest.raises(UsageError, match="micro-batches of 4"):
        _check_shares(TrainingConfiguration(batch=4, micro_batch=4), Processes(0, 2, torch.device("cpu")))


def test_one_process_needs_no_group() -> None:
    with join_processes("cpu") as alone:
        assert (alone.rank, alone.ranks, alone.writes, alone.mean(2.5)) == (0, 1, True, 2.5)
        assert alone.gather({"a": 1}) == {"a": 1}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="no CUDA device"), join_processes("cuda"):
        pass
