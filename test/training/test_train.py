"""Training a fold: loss that falls, interruptions that change nothing, failures that say what is wrong."""

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from training_phantoms import small_network, train_arguments

from autosegnet.errors import WeightsError
from autosegnet.model.network import build_network, fold_bytes
from autosegnet_training import train
from autosegnet_training.__main__ import main
from autosegnet_training.arrays import load, open_prepared
from autosegnet_training.checkpoint import read_newest
from autosegnet_training.configuration import TrainingConfiguration
from autosegnet_training.distributed import Processes
from autosegnet_training.train import Trainer, build_optimiser, choose_arithmetic
from petct_simulator.bodies import make_body
from petct_simulator.label_volume import pack

PROGRAM = Path(__file__).parent / "training_phantoms.py"
ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'resources'}"}


def state_of(runs: Path) -> dict[str, torch.Tensor]:
    state = read_newest(runs / "fold_0" / "checkpoints")
    assert state is not None
    tensors: dict[str, torch.Tensor] = dict(state["network"])
    for k, slots in state["optimiser"]["state"].items():
        tensors |= {f"{k}.{name}": value for name, value in slots.items()}
    return tensors


def best_of(runs: Path) -> dict[str, torch.Tensor]:
    best: dict[str, torch.Tensor] = torch.load(runs / "fold_0" / "best.pt", weights_only=True)
    return best


def assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    assert all(torch.equal(a[key], b[key]) for key in a)


def history_of(runs: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((runs / "fold_0" / "history.csv").read_text().splitlines()))


@pytest.fixture(scope="module")
def uninterrupted(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of three epochs, for comparison."""
    runs = tmp_path_factory.mktemp("uninterrupted")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "build_network", small_network)
        assert main(train_arguments(prepared, runs)) == 0
    torch.set_num_threads(threads)
    return runs


def test_a_run_leaves_what_it_promises(uninterrupted: Path) -> None:
    folder = uninterrupted / "fold_0"
    assert [row["epoch"] for row in history_of(uninterrupted)] == ["1", "2", "3"]
    result = json.loads((folder / "result.json").read_text())
    assert result["finished"] is True
    assert 0 <= result["dsc"] <= 1
    assert result["epoch"] in (1, 2, 3)
    assert json.loads((folder / "run.json").read_text())["settings"]["epochs"] == 3
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert list((folder / "tensorboard").iterdir())
    assert best_of(uninterrupted).keys() == small_network().state_dict().keys()


def test_the_learning_rate_is_a_cosine_to_zero(uninterrupted: Path) -> None:
    rates = [float(row["learning_rate"]) for row in history_of(uninterrupted)]
    assert rates == pytest.approx([1e-3 * (1 + np.cos(np.pi * k / 3)) / 2 for k in range(3)])


@pytest.mark.usefixtures("small")
def test_a_run_of_a_version_without_newer_settings_goes_on(uninterrupted: Path, prepared: Path, tmp_path: Path) -> None:
    shutil.copytree(uninterrupted, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "fold_0" / "run.json"
    begun = json.loads(path.read_text())
    begun["recipe"].pop("anchor", None)
    for name in ("minutes", "false_volume", "lesion_first", "labels", "simulated_patches", "blur_probability"):
        del begun["settings"][name]
    path.write_text(json.dumps(begun))
    assert main(train_arguments(prepared, tmp_path)) == 0
    assert_same(best_of(tmp_path), best_of(uninterrupted))


@pytest.mark.usefixtures("small")
def test_training_by_the_clock_ends_in_time_with_a_validated_network(prepared: Path, tmp_path: Path) -> None:
    assert main(train_arguments(prepared, tmp_path, "--minutes", "0.02", "--epochs", "100000")) == 0
    rows = history_of(tmp_path)
    assert sum(float(row["seconds"]) for row in rows) >= 1.2
    assert rows[-1]["dsc"]
    rates = [float(row["learning_rate"]) for row in rows]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 1e-3
    assert json.loads((tmp_path / "fold_0" / "result.json").read_text())["finished"]


@pytest.mark.usefixtures("small")
def test_bodies_made_anew_train_beside_real_cases(prepared: Path, tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "one.npz").write_bytes(pack(make_body("one", 3, (8.0, 8.0, 8.0))))
    options = ["--labels", str(tmp_path / "labels"), "--simulated-patches", "0.5", "--epochs", "1"]
    for runs in ("first", "again"):
        assert main(train_arguments(prepared, tmp_path / runs, *options)) == 0
    assert_same(best_of(tmp_path / "first"), best_of(tmp_path / "again"))


class InterruptionError(Exception):
    """An interruption."""


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("method", "call"),
    [("train_step", 1), ("train_step", 5), ("validate", 1), ("finish_epoch", 2), ("save", 3), ("save", 6)],
)
def test_a_run_interrupted_anywhere_ends_as_if_it_had_not_been(
    uninterrupted: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, call: int
) -> None:
    original, calls = getattr(Trainer, method), iter(range(100))

    def interrupted(self: Trainer, *args: object, **more: object) -> object:
        if next(calls) == call:
            raise InterruptionError
        return original(self, *args, **more)

    arguments = train_arguments(prepared, tmp_path, "--checkpoint-minutes", "0")
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, method, interrupted)
        assert main(arguments) == 1
    assert main(arguments) == 0
    assert_same(state_of(tmp_path), state_of(uninterrupted))
    assert_same(best_of(tmp_path), best_of(uninterrupted))
    without_time = [{k: v for k, v in row.items() if k != "seconds"} for row in history_of(tmp_path)]
    assert without_time == [{k: v for k, v in row.items() if k != "seconds"} for row in history_of(uninterrupted)]


def test_a_run_killed_at_a_random_moment_ends_with_the_same_weights(
    uninterrupted: Path, prepared: Path, tmp_path: Path
) -> None:
    arguments = [sys.executable, str(PROGRAM), *train_arguments(prepared, tmp_path, "--checkpoint-minutes", "0")]
    process = subprocess.Popen(arguments, env=ENVIRONMENT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("fold_0/checkpoints/*.ckpt")) and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(random.Random().uniform(0.0, 0.15))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    result = tmp_path / "fold_0" / "result.json"
    finished = result.is_file() and json.loads(result.read_text())["finished"]
    assert process.returncode == -signal.SIGKILL
    assert not finished
    done = subprocess.run(arguments, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "continuing from epoch" in done.stderr
    assert_same(state_of(tmp_path), state_of(uninterrupted))
    assert_same(best_of(tmp_path), best_of(uninterrupted))


@pytest.mark.usefixtures("small")
def test_a_damaged_newest_checkpoint_costs_only_what_came_after_the_one_before(
    uninterrupted: Path, prepared: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    arguments = train_arguments(prepared, tmp_path)
    assert main(arguments) == 0
    newest = sorted((tmp_path / "fold_0" / "checkpoints").iterdir())[-1]
    newest.write_bytes(newest.read_bytes()[:-100])
    assert main(arguments) == 0
    assert "falling back to the one before" in caplog.text
    assert "continuing from epoch 2, step 0" in caplog.text
    assert_same(state_of(tmp_path), state_of(uninterrupted))


@pytest.mark.usefixtures("small")
def test_a_finished_run_is_left_alone(uninterrupted: Path, prepared: Path) -> None:
    before = (uninterrupted / "fold_0" / "best.pt").stat().st_mtime_ns
    assert main(train_arguments(prepared, uninterrupted)) == 0
    assert (uninterrupted / "fold_0" / "best.pt").stat().st_mtime_ns == before


@pytest.mark.usefixtures("small")
def test_a_folder_holds_one_run(uninterrupted: Path, prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(train_arguments(prepared, uninterrupted, "--learning-rate", "0.1")) == 2
    assert "was begun with other learning_rate" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.usefixtures("small")
def test_a_loss_that_is_not_finite_names_the_cases(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class NoNumber(torch.nn.Module):
        def forward(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
            return (logits * float("nan")).sum()

    monkeypatch.setattr(train, "build_loss", lambda configuration, voxel_ml: NoNumber())
    assert main(train_arguments(prepared, tmp_path)) == 3
    message = capsys.readouterr().err.splitlines()[-1]
    assert "the loss is nan in epoch 0, step 0, for the cases" in message
    assert "patient1_study0" in message  # fold 0 trains on patients 1 and 3
    assert "patient3_study0" in message
    assert not list(tmp_path.glob("fold_0/checkpoints/*.ckpt"))


@pytest.mark.usefixtures("small")
def test_accumulated_micro_batches_give_the_gradient_of_the_batch(prepared: Path, tmp_path: Path) -> None:
    """With batch norm in evaluation mode, whose statistics do not depend on the micro-batch."""
    gradients = []
    for micro in (0, 1):
        settings = TrainingConfiguration(patch=(16, 16, 16), inference_patch=(16, 16, 16), batch=2, micro_batch=micro)
        folder = open_prepared(prepared)
        begun = train.runs.plan_run(folder, settings, runs=tmp_path, fold=0)
        cases = [load(prepared, name) for name in begun.training]
        trainer = Trainer(begun, Processes(0, 1, torch.device("cpu")), training=cases, validation=cases)
        trainer.network.eval()
        trainer.train_step(trainer.patches.iterate_epoch(0))
        gradients.append([p.grad for p in trainer.network.parameters()])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-7)


@pytest.mark.usefixtures("small")
def test_the_loss_falls(prepared: Path, tmp_path: Path) -> None:
    more = ["--epochs", "25", "--validate-every", "25", "--learning-rate", "0.01", "--patches-per-case", "2"]
    assert main(train_arguments(prepared, tmp_path, *more)) == 0
    losses = [float(row["loss"]) for row in history_of(tmp_path)]
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:3])


def test_the_optimiser_is_the_one_asked_for() -> None:
    network = small_network()
    adam = build_optimiser(TrainingConfiguration(), network)
    assert type(adam) is torch.optim.Adam
    assert adam.defaults["lr"] == 1e-3
    adamw = build_optimiser(TrainingConfiguration(optimiser="adamw", weight_decay=1e-5), network)
    assert type(adamw) is torch.optim.AdamW
    assert adamw.defaults["weight_decay"] == 1e-5


def test_the_cpu_trains_in_float32_unless_it_has_instructions_for_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    assert choose_arithmetic(TrainingConfiguration(), cpu) is None
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    assert choose_arithmetic(TrainingConfiguration(), cpu) is None
    assert choose_arithmetic(TrainingConfiguration(precision="bfloat16"), cpu) is torch.bfloat16
    with pytest.raises(train.UsageError, match="needs a CUDA device"):
        choose_arithmetic(TrainingConfiguration(precision="float16"), cpu)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    with pytest.raises(train.UsageError, match="AVX-512 BF16"):
        choose_arithmetic(TrainingConfiguration(precision="bfloat16"), cpu)


def test_training_starts_from_the_network_that_is_named(tmp_path: Path) -> None:
    torch.manual_seed(5)
    trained = build_network()
    torch.save(trained.state_dict(), tmp_path / "trained.pt")
    started = train.open_initial_network(TrainingConfiguration(initial=str(tmp_path / "trained.pt")))
    for key, tensor in started.state_dict().items():
        assert torch.equal(tensor, trained.state_dict()[key]), key
    torch.save({"other": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match="not this network"):
        train.open_initial_network(TrainingConfiguration(initial=str(tmp_path / "other.pt")))


def before_and_after_an_epoch(option: str, prepared: Path, folder: Path) -> tuple[dict, dict]:
    """Return the state of a network that training starts from, and what an epoch with an option makes of it."""
    torch.manual_seed(5)
    state = build_network().state_dict()
    torch.save(state, folder / "trained.pt")
    more = f"--initial {folder / 'trained.pt'} {option} true --epochs 1 --validate-every 1"
    assert main(train_arguments(prepared, folder / "runs", *more.split())) == 0
    return state, best_of(folder / "runs")


def test_a_frozen_norm_keeps_its_statistics_and_learns_the_rest(prepared: Path, tmp_path: Path) -> None:
    state, found = before_and_after_an_epoch("--frozen-norm", prepared, tmp_path)
    for key, before in state.items():
        is_kept = "running" in key or key.endswith("num_batches_tracked")
        # A bias before batch norm in training has no gradient; with frozen statistics everything but these learns.
        assert torch.equal(found[key], before) == is_kept, key


def test_training_starts_from_a_shipped_fold_as_well(tmp_path: Path) -> None:
    torch.manual_seed(5)
    trained = build_network().state_dict()
    (tmp_path / "fold_0.safetensors").write_bytes(fold_bytes(trained, where="test"))
    started = train.open_initial_network(TrainingConfiguration(initial=str(tmp_path / "fold_0.safetensors")))
    for key, tensor in started.state_dict().items():
        assert torch.allclose(tensor, trained[key], atol=1e-3), key
    (tmp_path / "cut.safetensors").write_bytes(b"cut")
    with pytest.raises(WeightsError, match="not a safetensors file"):
        train.open_initial_network(TrainingConfiguration(initial=str(tmp_path / "cut.safetensors")))


def test_a_frozen_bottom_keeps_its_weights_and_the_rest_learns(prepared: Path, tmp_path: Path) -> None:
    state, found = before_and_after_an_epoch("--frozen-bottom", prepared, tmp_path)
    kept = {key for key, before in state.items() if before.ndim == 5 and torch.equal(found[key], before)}
    network = build_network()
    frozen = {id(weight) for weight in train.select_bottom_weights(network)}
    assert kept == {key for key, weight in network.named_parameters() if id(weight) in frozen}
    assert sum(state[key].numel() for key in kept) > 0.5 * sum(weight.numel() for weight in state.values())


def test_training_needs_no_simpleitk(prepared: Path, tmp_path: Path) -> None:
    """On a machine without SimpleITK, nibabel, torchvision, TensorBoard and matplotlib."""
    blocked = "['SimpleITK', 'nibabel', 'torchvision', 'tensorboard', 'matplotlib']"
    program = (
        f"import sys; [sys.modules.__setitem__(name, None) for name in {blocked}]; "
        f"sys.path.insert(0, {str(PROGRAM.parent)!r}); sys.modules.pop('training_phantoms', None)\n"
        "from autosegnet_training import train; from autosegnet_training.__main__ import main\n"
        "from monai.networks.nets import UNet\n"
        "train.build_network = lambda inputs: UNet(3, inputs, 2, (4, 8), (2,), num_res_units=1, norm='batch')\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    arguments = train_arguments(prepared, tmp_path, "--epochs", "1")
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "tensorboard is not installed" in done.stderr
    assert "matplotlib is not installed" in done.stderr
    assert json.loads((tmp_path / "fold_0" / "result.json").read_text())["finished"]


@pytest.mark.slow
@pytest.mark.usefixtures("small")
@pytest.mark.filterwarnings("ignore")  # of the compiler
def test_a_compiled_network_trains_and_validates(prepared: Path, tmp_path: Path) -> None:
    """Windows of another size than the patches: compiled a second time, not for every size at once."""
    assert main(train_arguments(prepared, tmp_path, "--epochs", "1", "--compile", "true")) == 0
    assert best_of(tmp_path).keys() == small_network().state_dict().keys()
