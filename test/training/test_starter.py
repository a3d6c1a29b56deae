"""The starter folds: patches, the clock, and the command from label volumes and real crops to exported folds."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from training_phantoms import prepared_folder, small_network

from autosegnet.model import network
from autosegnet.model.recipe import Recipe, format_recipe
from autosegnet.model.weights import open_weights
from autosegnet_training import clock, starter
from autosegnet_training.__main__ import main
from autosegnet_training.arrays import PreparedCase
from autosegnet_training.augmentation import Draws, apply
from autosegnet_training.clock import PHASES, Phase, Plan
from autosegnet_training.configuration import PRESETS
from autosegnet_training.mixture import Mixture, Share, SimulatedPatches, derive_seed, read_crop
from autosegnet_training.pieces import split_folder
from autosegnet_training.validation import NetworkEngine, segment_prepared
from petct_simulator.bodies import make_body
from petct_simulator.generator import BodyLibrary
from petct_simulator.label_volume import LabelVolume, held_out_maps, pack
from petct_simulator.paste import RealCrop

CPU = torch.device("cpu")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def body() -> LabelVolume:
    return make_body("procedural_0", 3, (8.0, 8.0, 8.0), None)


@pytest.fixture(scope="module")
def labels(body: LabelVolume, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labels")
    (folder / "procedural_0.npz").write_bytes(pack(body))
    return folder


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared_folder(tmp_path_factory.mktemp("real"), cases=5, folds=5)


def sarcoma(suv: float) -> PreparedCase:
    """Return a case of 12³ voxels whose lesion of 4³ has one SUV, and fat of SUV 0.3 around it."""
    array = np.full((2, 12, 12, 12), 0.5, dtype=np.float32)
    array[1] = 0.3
    lesion = np.argwhere(np.ones((4, 4, 4))).astype(np.int16) + 4
    array[(1, *lesion.T)] = suv
    return PreparedCase("sarcoma", array, lesion)


def make_mixture(body: LabelVolume, cases: list[PreparedCase], *, real_share: float) -> Mixture:
    share = Share(real=real_share, size=32, spacing_mm=8.0, suv_limit=20.0)
    crops = [read_crop(case, CPU) for case in cases]
    return mix(body, share, crops, fold=1)


def mix(body: LabelVolume, share: Share, crops: Sequence[RealCrop] = (), *, fold: int = 0) -> Mixture:
    """Return the source of the patches of one fold, which shares its bodies with no other."""
    configuration = PRESETS["starter"]
    simulated = SimulatedPatches(BodyLibrary([body], CPU), share, seed=derive_seed(configuration, fold))
    return Mixture(simulated, crops, share=share, configuration=configuration, fold=fold)


def test_a_step_sees_the_same_patches_again(body: LabelVolume) -> None:
    first, second = (make_mixture(body, [sarcoma(6.0)], real_share=0.5).make(7, 2) for _ in range(2))
    assert torch.equal(first.image, second.image)
    assert torch.equal(first.truth, second.truth)


def test_patches_are_what_the_network_is_fed_with(body: LabelVolume) -> None:
    patches = make_mixture(body, [], real_share=0.5).make(0, 3)
    assert patches.image.shape == (3, 2, 32, 32, 32)
    assert patches.truth.shape == (3, 1, 32, 32, 32)
    assert float(patches.image[:, 1].min()) >= 0.0
    assert float(patches.image[:, 1].max()) <= 20.0
    assert set(patches.truth.unique().tolist()) <= {0, 1}


@pytest.mark.parametrize(("suv", "weights"), [(1.0, {0.15, 1.0}), (6.0, {1.0})])
def test_only_lesions_that_are_cold_weigh_little(body: LabelVolume, suv: float, weights: set[float]) -> None:
    found: set[float] = set()
    mixture = make_mixture(body, [sarcoma(suv)], real_share=1.0)
    for step in range(6):
        patches = mixture.make(step, 2)
        assert patches.weight is not None
        found |= {round(value, 3) for value in patches.weight.unique().tolist()}
    assert found == weights


def test_a_crop_is_read_without_the_air_around_it() -> None:
    case = sarcoma(6.0)
    padded = np.zeros((2, 20, 16, 12), dtype=np.float32)
    padded[:, 5:17, 2:14] = case.array
    crop = read_crop(PreparedCase("padded", padded, case.lesion + np.array([5, 2, 0], dtype=np.int16)), CPU)
    assert crop.image.shape == (2, 12, 12, 12)
    assert torch.equal(crop.truth, read_crop(case, CPU).truth)


def test_a_cut_leaves_air_beyond_the_end_of_the_field_of_view() -> None:
    image, label = torch.ones((1, 2, 8, 8, 8)), torch.ones((1, 1, 8, 8, 8), dtype=torch.uint8)
    cut, truth = apply([Draws(cut_axis=1, cut_share=-0.25)], image, label)
    assert cut[:, :, :, 6:].abs().sum() == 0
    assert truth[:, :, :, 6:].sum() == 0
    assert cut[:, :, :, :6].min() == 1
    assert image.min() == 1  # what was given stays


def test_a_blur_keeps_the_uptake_and_leaves_the_ct() -> None:
    image = torch.zeros((1, 2, 17, 17, 17))
    image[:, :, 8, 8, 8] = 1.0
    blurred, _ = apply([Draws(blur_voxels=2.0)], image, torch.zeros((1, 1, 17, 17, 17), dtype=torch.uint8))
    assert float(blurred[0, 1].sum()) == pytest.approx(1.0, rel=1e-3)
    assert float(blurred[0, 1, 9, 8, 8] / blurred[0, 1, 8, 8, 8]) == pytest.approx(0.5, abs=0.01)
    assert torch.equal(blurred[0, 0], image[0, 0])


def test_a_network_that_marks_too_little_gets_the_best_threshold() -> None:
    """Its lesion's logit is SUV - 6: it misses a lesion of SUV 4.5 by 1.5. A cold one, missed by 4.8, has no say."""
    net = torch.nn.Sequential(torch.nn.Conv3d(2, 2, 1))
    with torch.no_grad():
        net[0].weight.zero_()[1, 1] = 1.0
        net[0].bias.copy_(torch.tensor([0.0, -6.0]))
    recipe = Recipe(spacing_mm=(4.0, 4.0, 4.0), patch=(16, 16, 16), overlap=0.5)
    engine = NetworkEngine(net.eval(), CPU)
    assert starter.settle_threshold(net, [sarcoma(4.5), sarcoma(1.2)], engine, recipe) == 2.0
    assert net[0].bias.tolist() == [0.0, -4.0]
    assert starter.settle_threshold(net, [sarcoma(4.5)], engine, recipe) == 0.0
    assert segment_prepared(sarcoma(4.5), engine, recipe).sum() == 64


def test_the_last_patches_are_as_large_as_windows_of_inference() -> None:
    plan = Plan(folder=Path(), minutes=1.0, learning_rate=1e-3, step_voxels=2 * 96**3)
    assert [plan.find_size(passed) for passed in (0.0, 0.5, 0.99, 1.5)] == [64, 96, 128, 128]
    assert [plan.find_count(size) for size in (64, 96, 128)] == [6, 2, 1]


def test_the_learning_rate_follows_the_clock_to_0() -> None:
    plan = Plan(folder=Path(), minutes=1.0, learning_rate=1e-3, step_voxels=1)
    assert plan.find_learning_rate(0.0, 0) == pytest.approx(5e-5)  # warming up
    assert plan.find_learning_rate(0.475, 100) == pytest.approx(5e-4)
    assert plan.find_learning_rate(1.0, 200) == pytest.approx(0.0, abs=1e-12)


def test_training_goes_on_with_the_minutes_that_are_left(body: LabelVolume, tmp_path: Path) -> None:
    plan = Plan(folder=tmp_path, minutes=0.02, learning_rate=1e-3, step_voxels=1, phases=(Phase(1.0, 16),))
    mixtures: list[int] = []

    def mixture(size: int) -> list[Mixture]:
        mixtures.append(size)
        share = Share(real=0.0, size=size, spacing_mm=8.0, suv_limit=20.0)
        return [mix(body, share)]

    def train() -> int:
        return clock.train_by_the_clock(
            [small_network()], plan, PRESETS["starter"], mixture, device=CPU, voxel_ml=0.512
        )

    steps = train()
    assert steps > 0
    assert train() == steps  # no time is left
    assert set(mixtures) == {16}


def test_statistics_of_batch_norm_are_means_over_batches_that_were_not_trained_on(
    body: LabelVolume, tmp_path: Path
) -> None:
    plan = Plan(folder=tmp_path, minutes=1e-4, learning_rate=1e-3, step_voxels=1, phases=(Phase(1.0, 16),))
    share = Share(real=0.0, size=16, spacing_mm=8.0, suv_limit=20.0)
    mixture = mix(body, share)
    net = small_network()
    clock.train_by_the_clock([net], plan, PRESETS["starter"], lambda size: [mixture], device=CPU, voxel_ml=0.512)
    norm = next(m for m in net.modules() if isinstance(m, torch.nn.BatchNorm3d))
    assert int(norm.num_batches_tracked) == clock._SETTLING_BATCHES[0]
    found = norm.running_mean
    net.eval()
    seen: list[torch.Tensor] = []
    norm.register_forward_hook(lambda module, given, output: seen.append(given[0].mean(dim=(0, 2, 3, 4))))
    with torch.no_grad():
        for number in range(clock._SETTLING_BATCHES[0]):
            net(mixture.make(clock._UNSEEN + number, 1).image)
    torch.testing.assert_close(found, torch.stack(seen).mean(dim=0))


def test_pieces_joined_are_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "fold").write_bytes(bytes(range(256)) * 900)
    pieces = split_folder(folder, tmp_path / "pieces", 0.1)
    assert max(piece.stat().st_size for piece in pieces) <= 0.1 * 2**20
    joined = b"".join(piece.read_bytes() for piece in pieces)
    (tmp_path / "joined.tar").write_bytes(joined)
    subprocess.run(["tar", "xf", "joined.tar"], cwd=tmp_path, check=True)
    assert (folder / "fold").read_bytes() == bytes(range(256)) * 900


ARGUMENTS = ["--minutes", "0.02", "--device", "cpu", "--largest-patch", "16", "--pieces-mib", "0.01"]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(network, "build_network", small_network)
    monkeypatch.setattr(starter, "build_network", small_network)
    monkeypatch.setattr(starter, "STEP_VOXELS", {"cpu": 16**3})
    network._list_network_keys.cache_clear()  # they are remembered for the whole process
    yield
    network._list_network_keys.cache_clear()


@pytest.mark.usefixtures("small")
def test_label_volumes_and_real_crops_become_five_folds(labels: Path, real: Path, tmp_path: Path, capsys) -> None:
    arguments = ["starter", "--labels", str(labels), "--real", str(real), "--output", str(tmp_path), *ARGUMENTS]
    assert main(arguments) == 0
    weights = open_weights(tmp_path / "weights")
    assert len(weights.recipe.folds) == 5
    assert weights.recipe.patch == (16, 16, 16)
    assert len(list((tmp_path / "pieces").iterdir())) > 1
    trained = (tmp_path / "fold_4.pt").read_bytes()
    assert main(arguments) == 0  # nothing is left to do
    assert (tmp_path / "fold_4.pt").read_bytes() == trained
    begun = json.loads((tmp_path / "starter.json").read_text())
    assert begun["cases"] == [f"patient{k}_study0" for k in range(5)]
    assert main([*arguments, "--real-share", "0.1"]) == 2
    assert "is a run with other real_share" in capsys.readouterr().err
    # Processes may train folds side by side; the last one exports.
    apart = [*arguments[:5], "--output", str(tmp_path / "apart"), *ARGUMENTS, "--initial", str(tmp_path / "weights")]
    for folds in (["0", "3"], ["1", "2", "4"]):
        assert not (tmp_path / "apart" / "weights").exists()
        assert main([*apart, "--folds", *folds]) == 0
    assert (tmp_path / "apart" / "weights" / "recipe.json").exists()
    # Folds may go on from folds of the same split, whatever their files are called, without a common network.
    recipe = tmp_path / "weights" / "recipe.json"
    (tmp_path / "weights" / "fold_2.safetensors").rename(tmp_path / "weights" / "third.safetensors")
    recipe.write_text(recipe.read_text().replace("fold_2.safetensors", "third.safetensors"))
    more = [*arguments[:5], "--output", str(tmp_path / "more"), *ARGUMENTS, "--initial", str(tmp_path / "weights")]
    assert main(more) == 0
    assert not (tmp_path / "more" / "common.pt").exists()
    recipe.write_text(format_recipe(replace(weights.recipe, folds=weights.recipe.folds[:2])))
    assert main([*apart[:5], "--output", str(tmp_path / "few"), *apart[7:]]) == 2
    assert "holds 2 folds; expected 5" in capsys.readouterr().err


def test_another_run_in_the_folder_is_refused(labels: Path, real: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "starter.json").write_text('{"minutes": 3}')
    arguments = ["starter", "--labels", str(labels), "--real", str(real), "--output", str(tmp_path), *ARGUMENTS]
    assert main(arguments) == 2
    assert "is a run with other minutes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--real-share", "1.5", "expected 0 to 1"),
        ("--false-volume", "-1", "expected 0 or more"),
        ("--learning-rate", "0", "expected more than 0"),
        ("--minutes", "0", "expected more than 0"),
    ],
)
def test_shares_out_of_range_are_refused(option: str, value: str, says: str, tmp_path: Path, capsys) -> None:
    folders = ["--labels", str(tmp_path), "--real", str(tmp_path), "--output", str(tmp_path)]
    assert main(["starter", *folders, *ARGUMENTS, option, value]) == 2
    assert says in capsys.readouterr().err


def test_bodies_kept_for_judging_are_refused(body: LabelVolume, real: Path, tmp_path: Path, capsys) -> None:
    name = min(held_out_maps())
    (tmp_path / f"{name}.npz").write_bytes(pack(replace(body, name=name)))
    arguments = ["starter", "--labels", str(tmp_path), "--real", str(real), "--output", str(tmp_path / "out")]
    assert main([*arguments, *ARGUMENTS]) == 3
    assert "kept for judging" in capsys.readouterr().err


def test_the_starter_folds_need_no_monai_simpleitk_or_cc3d(labels: Path, real: Path, tmp_path: Path) -> None:
    blocked = "['SimpleITK', 'nibabel', 'monai', 'cc3d', 'pandas', 'tensorboard', 'matplotlib', 'openvino', 'pydicom']"
    program = (
        f"import sys; [sys.modules.__setitem__(name, None) for name in {blocked}]\n"
        "from autosegnet.model import network, unet; from autosegnet_training import starter\n"
        "network.build_network = starter.build_network = lambda inputs=2: unet.ResidualUNet(inputs, 2, (4, 8, 8))\n"
        "starter.STEP_VOXELS = {'cpu': 16 ** 3}\n"
        "from autosegnet_training.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    arguments = ["starter", "--labels", str(labels), "--real", str(real), "--output", str(tmp_path), *ARGUMENTS]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'resources'}"}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "weights" / "recipe.json").is_file()


def test_phases_end_with_the_time() -> None:
    assert PHASES[-1].until == 1.0
    assert all(phase.size % 16 == 0 for phase in PHASES)


def test_a_network_that_goes_on_keeps_its_statistics_of_batch_norm(
    body: LabelVolume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "_SETTLING_BATCHES", (5, 5))
    plan = Plan(
        folder=tmp_path, minutes=2e-2, learning_rate=1e-3, step_voxels=1, phases=(Phase(1.0, 16),), fixed_norm=True
    )
    share = Share(real=0.0, size=16, spacing_mm=8.0, suv_limit=20.0)
    mixture = mix(body, share)
    net = small_network()
    before = net.state_dict()["model.0.conv.unit0.conv.weight"].clone()
    steps = clock.train_by_the_clock(
        [net], plan, PRESETS["starter"], lambda size: [mixture], device=CPU, voxel_ml=0.512
    )
    norm = next(m for m in net.modules() if isinstance(m, torch.nn.BatchNorm3d))
    assert steps > 0
    assert int(norm.num_batches_tracked) == 5  # measured before the first step
    assert not torch.equal(net.state_dict()["model.0.conv.unit0.conv.weight"], before)


def test_networks_side_by_side_share_bodies_and_keep_their_own_crops(body: LabelVolume, tmp_path: Path) -> None:
    share = Share(real=0.5, size=16, spacing_mm=8.0, suv_limit=20.0)
    configuration = PRESETS["starter"]
    simulated = SimulatedPatches(BodyLibrary([body], CPU), share, seed=1)
    made: list[int] = []
    generator = simulated._generator
    generator.make_patches = lambda step, count, make=generator.make_patches: made.append(step) or make(step, count)  # type: ignore[method-assign]
    mixtures = [
        Mixture(simulated, [read_crop(sarcoma(suv), CPU)], share=share, configuration=configuration, fold=fold)
        for fold, suv in enumerate((3.0, 9.0))
    ]
    plan = Plan(folder=tmp_path, minutes=0.02, learning_rate=1e-3, step_voxels=1, phases=(Phase(1.0, 16),))
    networks = [small_network(), small_network()]
    before = [net.state_dict()["model.0.conv.unit0.conv.weight"].clone() for net in networks]
    steps = clock.train_by_the_clock(networks, plan, configuration, lambda size: mixtures, device=CPU, voxel_ml=0.512)
    assert steps > 0
    assert made[:steps] == list(range(steps))  # once per step, not once per network
    for net, old in zip(networks, before, strict=True):
        assert not torch.equal(net.state_dict()["model.0.conv.unit0.conv.weight"], old)
    seen = torch.stack([torch.stack([m.make(step, 4).image for step in range(8)]) for m in mixtures])
    assert not torch.equal(seen[0], seen[1])


def test_a_gpu_trains_its_folds_side_by_side_and_a_cpu_one_by_one() -> None:
    assert starter.list_turns([0, 3], CPU) == [[0], [3]]
    assert starter.list_turns([0, 3], torch.device("cuda")) == [[0, 3]]
    assert starter.list_turns([], torch.device("cuda")) == []
