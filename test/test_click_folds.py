"""Folds that take clicks: in every engine, from Python, on the command line and on the platform."""

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from phantoms import THRESHOLD_RECIPE, phantom
from threshold import ThresholdEngine

from autosegnet import __main__ as command
from autosegnet.corrections import Clicks, correct_mask
from autosegnet.errors import WeightsError
from autosegnet.geometry import Grid, make_image, view_voxels
from autosegnet.io import read_image, write_image
from autosegnet.model.devices import open_engine
from autosegnet.model.engine import Engine
from autosegnet.model.network import build_network, make_network, widen_inputs
from autosegnet.model.recipe import ClickChannels, format_recipe
from autosegnet.model.torch_engine import TorchEngine
from autosegnet.model.weights import Weights, open_weights
from autosegnet.pipeline import segment_study
from autosegnet.segmenter import Segmenter

ROOT = Path(__file__).resolve().parents[1]
CLICKS = Clicks(((31, 17, 21), (20, 20, 20)), ((15, 23, 11),))
WINDOW = np.random.default_rng(0).random((4, 32, 48, 32), dtype=np.float32) * np.float32([1, 6, 1, 1]).reshape(
    4, 1, 1, 1
)


def at(mask: object, point: tuple[int, int, int]) -> int:
    return int(view_voxels(mask)[point[::-1]])


def open_as(weights: Weights, device: str) -> Engine:
    return (
        TorchEngine(weights, device="cpu", dtype=torch.float32)
        if device == "cuda"
        else open_engine(weights, device=device)
    )


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_engines_agree_with_the_reference_on_four_channels(click_weights: Weights, device: str) -> None:
    """The arithmetic of CUDA's engine, on the CPU."""
    expected = open_engine(click_weights, device="reference").compute_logits(WINDOW, 0)
    assert expected.shape == WINDOW.shape[1:]
    found = open_as(click_weights, device).compute_logits(WINDOW, 0)
    assert np.abs(found - expected).max() < 1e-3
    without = open_as(click_weights, device).compute_logits(WINDOW * np.float32([1, 1, 0, 0]).reshape(4, 1, 1, 1), 0)
    assert np.abs(found - without).max() > 1e-2


@pytest.mark.parametrize("device", ["cpu", "cuda", "reference"])
@pytest.mark.parametrize("has_clicks", [False, True])
def test_a_recipe_of_other_channels_is_refused(
    tiny_weights: Weights, click_weights: Weights, device: str, has_clicks: bool
) -> None:
    weights = click_weights if has_clicks else tiny_weights
    other = None if has_clicks else ClickChannels()
    says = r"takes 4 input channels .*expected 2 \(CT, PET\)" if has_clicks else r"takes 2 input channels .*expected 4 "
    with pytest.raises(WeightsError, match=says):
        open_as(replace(weights, recipe=replace(weights.recipe, click_channels=other)), device).compute_logits(
            WINDOW, 0
        )


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Run `autosegnet`; return its exit code and the last line on stderr."""

    def call(*words: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["autosegnet", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            command.main()
        lines = capsys.readouterr().err.splitlines()
        return int(str(stop.value.code)), lines[-1] if lines else ""

    return call


def test_verify_ends_with_the_code_of_weights_if_a_recipe_has_other_channels(
    click_weights: Weights, tmp_path: Path, run: Callable[..., tuple[int, str]]
) -> None:
    assert run("weights", "verify", "--weights", click_weights.folder)[0] == 0
    shutil.copytree(click_weights.folder, tmp_path / "weights")
    (tmp_path / "weights" / "recipe.json").write_text(format_recipe(replace(click_weights.recipe, click_channels=None)))
    code, line = run("weights", "verify", "--weights", tmp_path / "weights")
    assert code == 4
    assert "fold_0.safetensors takes 4 input channels (CT, PET, clicks on tumour, clicks on background)" in line
    assert "expected 2 (CT, PET), because the recipe names no click_channels" in line


def test_folds_that_take_clicks_are_imported_if_their_reach_is_given(
    tmp_path: Path, run: Callable[..., tuple[int, str]]
) -> None:
    torch.save(build_network(4).state_dict(), tmp_path / "fold.pth")
    words = ["weights", "import", tmp_path / "fold.pth", "--output", tmp_path / "out"]
    code, line = run(*words)
    assert (code, "fold.pth takes 4 input channels" in line) == (4, True)
    assert not (tmp_path / "out").exists()
    assert run(*words, "--click-reach", "-1")[0] == 2
    assert run(*words, "--click-reach", "9")[0] == 0
    assert open_weights(tmp_path / "out").recipe.click_channels == ClickChannels(9.0)


def test_a_widened_network_computes_the_same_bits_without_clicks() -> None:
    torch.manual_seed(3)
    state = build_network().state_dict()
    narrow, wide = make_network(state, where="it"), make_network(widen_inputs(state, 4), where="it", inputs=4)
    image = torch.rand(1, 2, 32, 32, 16)
    with torch.inference_mode():
        assert torch.equal(wide(torch.cat([image, torch.zeros_like(image)], dim=1)), narrow(image))


def test_clicks_reach_the_network_and_the_mask_holds_them(click_weights: Weights) -> None:
    study = phantom()
    segmenter = Segmenter(click_weights.folder, device="cpu")
    first = segmenter(study.pet, study.ct)
    found = segmenter(study.pet, study.ct, clicks=CLICKS)
    assert np.abs(view_voxels(found.probability) - view_voxels(first.probability)).max() > 1e-3
    assert [at(found.mask, point) for point in (*CLICKS.tumor, *CLICKS.background)] == [1, 1, 0]
    expected = segment_study(study, segmenter.open_engine(), click_weights.recipe, clicks=CLICKS, maps="probability")
    np.testing.assert_array_equal(view_voxels(found.probability), view_voxels(expected.probability))
    np.testing.assert_array_equal(view_voxels(found.mask), view_voxels(correct_mask(found.probability, study, CLICKS)))
    again = first.correct(CLICKS)  # the network runs again
    np.testing.assert_array_equal(view_voxels(again.probability), view_voxels(found.probability))
    np.testing.assert_array_equal(view_voxels(again.mask), view_voxels(found.mask))
    assert again.provenance.clicks == found.provenance.clicks
    back = again.correct({"points": []})
    np.testing.assert_array_equal(view_voxels(back.probability), view_voxels(first.probability))


def test_predict_shows_clicks_to_the_network(
    click_weights: Weights, tmp_path: Path, run: Callable[..., tuple[int, str]]
) -> None:
    study = phantom()
    write_image(study.pet, tmp_path / "pet.mha")
    write_image(study.ct, tmp_path / "ct.mha")
    points = {"tumor": [list(map(int, p)) for p in CLICKS.tumor], "background": [[15, 23, 11]]}
    (tmp_path / "clicks.json").write_text(json.dumps(points))
    words = ["predict", "--pet", tmp_path / "pet.mha", "--ct", tmp_path / "ct.mha", "--device", "cpu"]
    words += ["--weights", click_weights.folder, "--output", tmp_path / "mask.mha"]
    assert run(*words, "--probability", tmp_path / "chance.mha", "--clicks", tmp_path / "clicks.json")[0] == 0
    expected = Segmenter(click_weights.folder, device="cpu")(study.pet, study.ct, clicks=CLICKS)
    np.testing.assert_array_equal(view_voxels(read_image(tmp_path / "chance.mha")), view_voxels(expected.probability))
    np.testing.assert_array_equal(view_voxels(read_image(tmp_path / "mask.mha")), view_voxels(expected.mask))


class _Seeing(ThresholdEngine):
    """An engine that notes how many voxels of clicks on tumour it sees in each pass."""

    def __init__(self, seen: list[int]) -> None:
        object.__setattr__(self, "seen", seen)

    def compute_logits(self, window: NDArray[np.float32], fold: int) -> NDArray[np.float32]:
        self.seen.append(int((window[2] == 1).sum()))
        return super().compute_logits(window, fold)


def test_a_server_runs_the_network_again_for_other_clicks_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(str(ROOT))
    import process
    from autosegnet.grandchallenge.job import parse_job
    from autosegnet.grandchallenge.rounds import LastStudy

    study = phantom()
    write_image(study.pet, tmp_path / "in/images/pet/pet.mha")
    write_image(study.ct, tmp_path / "in/images/ct/ct.mha")
    words = ["--input", str(tmp_path / "in"), "--output", str(tmp_path / "out"), "--edition", "autopet5"]
    args = parse_job(prog="process.py", about=None, words=words)
    seen: list[int] = []
    weights = Weights(tmp_path, replace(THRESHOLD_RECIPE, click_channels=ClickChannels()))
    segmenter = Segmenter.from_engine(lambda weights: _Seeing(seen), weights)
    rounds: process.Rounds = LastStudy()

    def play(*points: tuple[int, int, int]) -> list[int]:
        """Return what the network saw in a round: the clicks of each pass."""
        seen.clear()
        clicks = [{"point": list(point), "name": "tumor"} for point in points]
        (tmp_path / "in/lesion-clicks.json").write_text(json.dumps({"type": "Multiple points", "points": clicks}))
        process.run_job(args, lambda: segmenter, rounds)
        return seen.copy()

    assert play() == [0]
    assert play() == []
    assert play((31, 17, 21)) == [1]
    assert play((31, 17, 21)) == []
    assert play((31, 17, 21), (15, 23, 11)) == [2]
    assert play() == [0]


def test_the_benchmark_of_clicks_runs_such_folds_in_every_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from autosegnet_training.cases import Case
    from benchmarks import clicks as benchmark

    study = phantom()
    truth = make_image((view_voxels(study.pet) > 5).astype(np.uint8), Grid.from_image(study.pet))
    files = [tmp_path / name for name in ("pet.mha", "ct.mha", "truth.mha")]
    for image, path in zip((study.pet, study.ct, truth), files, strict=True):
        write_image(image, path)
    seen: list[int] = []
    monkeypatch.setattr(benchmark, "open_engine", lambda weights, device: _Seeing(seen))
    weights = Weights(tmp_path, replace(THRESHOLD_RECIPE, click_channels=ClickChannels()))
    rows = list(benchmark.run_case(Case("phantom", "phantom", "phantom", *files), weights, by="generator"))
    assert [row["tumor"] for row in rows] == list(range(11))
    assert seen[0] == 0
    assert seen[1:3] == [1, 2]
    assert len(seen) == 11
