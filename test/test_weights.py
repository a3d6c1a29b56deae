import argparse
import hashlib
import json
import os
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from phantoms import TINY
from safetensors.torch import load_file, save_file
from untrained_folds import untrained_fold

from autosegnet.__main__ import main
from autosegnet.errors import WeightsError
from autosegnet.model.folded import verify
from autosegnet.model.network import build_network, read_pth
from autosegnet.model.quantised import dequantise, quantise
from autosegnet.model.weights import Weights, find, import_folds, open_weights


@pytest.fixture
def copy(tiny_weights: Weights, tmp_path: Path) -> Path:
    """Return a folder of weights to spoil."""
    return Path(shutil.copytree(tiny_weights.folder, tmp_path / "weights"))


def resealed(folder: Path, name: str = "fold_1.safetensors") -> None:
    """Give a fold's file the sum that it now has."""
    recipe = json.loads((folder / "recipe.json").read_text())
    for fold in recipe["folds"]:
        if fold["file"] == name:
            fold["sha256"] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "recipe.json").write_text(json.dumps(recipe))


def refusal(folder: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        verify(open_weights(folder))
    return str(caught.value)


def test_good_weights_verify(tiny_weights: Weights) -> None:
    verify(tiny_weights)


def test_a_missing_fold_is_refused(copy: Path) -> None:
    (copy / "fold_1.safetensors").unlink()
    assert "1 of 2 folds missing" in refusal(copy)


def test_a_flipped_bit_is_refused(copy: Path) -> None:
    data = bytearray((copy / "fold_1.safetensors").read_bytes())
    data[-1000] ^= 1
    (copy / "fold_1.safetensors").write_bytes(data)
    assert "SHA-256" in refusal(copy)


def test_an_empty_fold_is_refused(copy: Path) -> None:
    (copy / "fold_1.safetensors").write_bytes(b"")
    assert "SHA-256" in refusal(copy)
    resealed(copy)
    assert "not a safetensors file" in refusal(copy)


def test_a_git_lfs_pointer_is_named(copy: Path) -> None:
    (copy / "fold_0.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    assert "Git LFS pointer" in refusal(copy)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda s: {k: v for k, v in s.items() if not k.endswith("bias")}, "keys missing"),
        (lambda s: s | {"extra": torch.zeros(1)}, "1 unexpected"),
        (
            lambda s: s | {"model.0.conv.unit0.conv.weight": torch.zeros(32, 1, 3, 3, 3)},
            "takes 1 input channel; expected 2",
        ),
        (lambda s: s | {"model.0.conv.unit1.conv.weight": torch.zeros(32, 1, 3, 3, 3)}, "has shape"),
        (lambda s: s | {"model.0.conv.unit0.conv.bias": torch.full((32,), float("nan"))}, "NaN"),
        (lambda s: s | {"model.0.conv.unit0.conv.bias": torch.full((32,), float("inf"))}, "infinity"),
        (lambda s: s | {"model.0.conv.unit0.conv.bias": torch.zeros(32).bfloat16()}, "numbers of type 'BF16'"),
        (lambda s: s | {"model.0.conv.unit0.conv.bias": torch.zeros(32).cfloat()}, "numbers of type complex64"),
    ],
)
def test_a_fold_of_another_network_is_refused(copy: Path, change, reason: str) -> None:
    path = copy / "fold_1.safetensors"
    save_file(change(load_file(path)), path)
    resealed(copy)
    assert reason in refusal(copy)


def test_a_folder_without_a_recipe_is_refused(tmp_path: Path) -> None:
    assert "recipe.json" in refusal(tmp_path)


def test_weights_are_found_in_the_documented_order(
    tiny_weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOSEGNET_WEIGHTS", str(tiny_weights.folder))
    assert find(tmp_path) == tmp_path
    assert find(None) == tiny_weights.folder
    monkeypatch.delenv("AUTOSEGNET_WEIGHTS")
    monkeypatch.setattr("autosegnet.model.weights._PLATFORM_MODEL", tiny_weights.folder)
    assert find(None) == tiny_weights.folder
    (tmp_path / "model" / "packed").mkdir(parents=True)  # a tarball of the folder, not of its files
    monkeypatch.setattr("autosegnet.model.weights._PLATFORM_MODEL", tmp_path / "model")
    with pytest.raises(WeightsError, match="holds packed"):
        find(None)
    monkeypatch.setattr("autosegnet.model.weights._PLATFORM_MODEL", tmp_path / "none")
    monkeypatch.setattr("autosegnet.model.weights.BUNDLED", tiny_weights.folder)
    assert find(None) == tiny_weights.folder
    monkeypatch.setattr("autosegnet.model.weights.BUNDLED", tmp_path / "none")
    with pytest.raises(WeightsError, match="--weights"):
        find(None)


def test_import_makes_weights_that_give_the_same_logits(tmp_path: Path) -> None:
    sources = []
    for k in range(2):
        torch.save(untrained_fold(k).state_dict(), tmp_path / f"{k}.pth")
        sources.append(tmp_path / f"{k}.pth")
    recipe = import_folds(sources, tmp_path / "out", recipe=TINY, weights=[0.6, 0.7], validation_dsc=[0.6, 0.7])
    weights = open_weights(tmp_path / "out")
    verify(weights)
    assert weights.recipe == recipe
    assert [f.weight for f in recipe.folds] == [0.6, 0.7]

    from autosegnet.model.devices import open_engine

    window = np.random.default_rng(0).random((2, 32, 32, 32), dtype=np.float32)
    with torch.inference_mode():
        logits = untrained_fold(1)(torch.from_numpy(window)[None])[0]
    found = open_engine(weights, device="cpu").compute_logits(window, 1)
    # float16 carries 11 bits; the logits are of order 1.
    np.testing.assert_allclose(found, (logits[1] - logits[0]).numpy(), atol=0.05)


class Malicious:
    def __reduce__(self):
        return (Path.touch, (Path("/tmp/autosegnet-was-here"),))


@pytest.mark.parametrize(
    ("save", "reason"),
    [
        (lambda p: torch.save({"model": Malicious()}, p), "more than tensors"),
        (lambda p: torch.save([1, 2], p), "plain state_dict"),
        (lambda p: torch.save({"a": torch.zeros(1), 2: torch.zeros(1)}, p), "plain state_dict"),
        (lambda p: torch.save({"a": torch.zeros(2).to_sparse()}, p), "plain state_dict"),
        (lambda p: torch.save({"a": torch.zeros(2, device="meta")}, p), "plain state_dict"),
        (lambda p: torch.save({"a": torch.zeros(2).cfloat()}, p), "plain state_dict"),
        (lambda p: p.write_bytes(b""), "not a file of torch.save"),
        (lambda p: p.write_bytes(b"PK\x03\x04 cut"), "not a file of torch.save"),
        (lambda p: p.write_bytes(b"\x80\x02."), "not a file of torch.save"),  # torch's unpickler: IndexError
        (lambda p: p.write_bytes(b"\x80\x02ccollections\nOrderedDict\n)R(K\x01tb."), "not a file of torch.save"),
        (lambda p: torch.save({"model.0": torch.zeros(3)}, p), "keys missing"),
        (lambda p: None, "cannot be read"),
    ],
)
def test_import_refuses_what_is_no_state_dict(tmp_path: Path, save, reason: str) -> None:
    save(tmp_path / "fold.pth")
    with pytest.raises(WeightsError, match=reason):
        import_folds([tmp_path / "fold.pth"], tmp_path / "out", recipe=TINY, weights=[], validation_dsc=[])
    assert not (tmp_path / "out").exists()
    assert not Path("/tmp/autosegnet-was-here").exists()


def wrapped(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + key: value for key, value in state.items()}


WRAPPED = {
    "plain": lambda s: s,
    "beside an epoch": lambda s: {"epoch": 3, "best": 0.6, "state_dict": s},
    "beside an optimiser": lambda s: {"model": s, "optimizer": {"state": {0: {"step": torch.zeros(1)}}}},
    "of nnU-Net": lambda s: {"network_weights": s, "optimizer_state": {}, "init_args": {"a": None}},
    "of Lightning": lambda s: {"state_dict": {**wrapped(s, "net."), "loss.weight": torch.zeros(2)}, "callbacks": {}},
    "of DataParallel": lambda s: wrapped(s, "module."),
    "of torch.compile": lambda s: wrapped(s, "_orig_mod."),
    "of both": lambda s: {"model": {"state_dict": wrapped(s, "module._orig_mod.")}},
    "averaged": lambda s: {"n_averaged": torch.tensor(3), **wrapped(s, "module.")},
    "profiled": lambda s: {**s, "total_ops": torch.zeros(1), "model.0.total_params": torch.zeros(1)},
    "with NumPy's numbers": lambda s: {"state_dict": s, "best": np.float64(0.6), "epoch": np.int64(3)},
    "with arguments": lambda s: {"state_dict": s, "args": argparse.Namespace(lr=0.1), "folder": Path("/x")},
    "without counters": lambda s: {k: v for k, v in s.items() if "num_batches" not in k},
    "as parameters": lambda s: {k: torch.nn.Parameter(v) if v.is_floating_point() else v for k, v in s.items()},
}


@pytest.mark.parametrize("name", WRAPPED)
def test_the_networks_tensors_are_found_in_what_people_save(tmp_path: Path, name: str) -> None:
    state = untrained_fold(0).state_dict()
    torch.save(WRAPPED[name](state), tmp_path / "fold.pth")
    found = read_pth(tmp_path / "fold.pth")
    assert found.keys() == state.keys()
    for key, value in state.items():
        assert "num_batches" in key or torch.equal(found[key], value)


def test_a_safetensors_file_is_imported(tmp_path: Path) -> None:
    state = untrained_fold(0).state_dict()
    save_file(wrapped(state, "module."), tmp_path / "fold.safetensors")
    assert torch.equal(read_pth(tmp_path / "fold.safetensors")[min(state)], state[min(state)])


def test_what_was_done_to_the_tensors_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = {k: v for k, v in build_network().state_dict().items() if "num_batches" not in k}
    torch.save({"state_dict": wrapped(state, "module.")}, tmp_path / "fold.pth")
    with caplog.at_level("INFO", "autosegnet"):
        read_pth(tmp_path / "fold.pth")
    assert "took the prefix module. off" in caplog.text
    assert "num_batches_tracked to 0" in caplog.text


def zipped(path: Path, **members: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(f"fold/{name}.pkl", data)


@pytest.mark.parametrize(
    ("save", "advice"),
    [
        (lambda p: p.write_bytes(b"version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
        (lambda p: p.write_bytes(b"\n<!DOCTYPE html><html>quota exceeded</html>"), "web page"),
        (lambda p: p.write_bytes(b"\x1f\x8b\x08 and more"), "gzip; unpack it"),
        (lambda p: zipped(p, readme=b"x"), "zip archive.*unpack it"),
        (lambda p: zipped(p, data=bytes(50_000_000)), "would inflate"),
        (lambda p: zipped(p, data=b"x", constants=b"x"), "TorchScript.*torch.jit.load"),
        (lambda p: torch.save(torch.nn.Linear(1, 1), p), r"more than tensors.*Linear.*model\.state_dict"),
        (lambda p: torch.save({"a": wrapped(build_network().state_dict(), "m.") | {"ema": 1}} | {
            "b": build_network().state_dict()}, p), "2 networks"),
        (lambda p: torch.save(build_network().state_dict() | {"model.9.weight": torch.zeros(1)}, p), "1 unexpected"),
    ],
)  # fmt: skip
def test_each_kind_of_wrong_file_has_its_own_advice(tmp_path: Path, save, advice: str) -> None:
    save(tmp_path / "fold.pth")
    with pytest.raises(WeightsError, match=advice):
        import_folds([tmp_path / "fold.pth"], tmp_path / "out", recipe=TINY, weights=[], validation_dsc=[])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fold.pth")
    with pytest.raises(WeightsError, match="pipe"):
        read_pth(tmp_path / "fold.pth")


def test_one_fold_given_twice_is_refused(tmp_path: Path) -> None:
    state = untrained_fold(0).state_dict()
    torch.save(state, tmp_path / "a.pth")
    torch.save({"state_dict": wrapped(state, "module.")}, tmp_path / "b.pth")
    for twice in (["a.pth", "a.pth"], ["a.pth", "b.pth"]):
        with pytest.raises(WeightsError, match="same weights"):
            import_folds([tmp_path / p for p in twice], tmp_path / "out", recipe=TINY, weights=[], validation_dsc=[])
    assert not (tmp_path / "out").exists()


def test_folds_of_another_recipe_are_imported_with_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(untrained_fold(0).state_dict(), tmp_path / "a.pth")
    words = ["--spacing", "4", "4", "3", "--patch", "96", "96", "64", "--ct-window", "-150", "250", "--suv-limit", "30"]
    command = ["autosegnet", "weights", "import", str(tmp_path / "a.pth"), "--output", str(tmp_path / "out"), *words]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    recipe = open_weights(tmp_path / "out").recipe
    assert (recipe.spacing_mm, recipe.patch) == ((4.0, 4.0, 3.0), (96, 96, 64))
    assert (recipe.ct_window_hu, recipe.suv_limit) == ((-150.0, 250.0), 30.0)


@pytest.mark.parametrize(("crop", "code"), [("ct_foreground", 2), ("body", 0)])
def test_layers_are_imported_with_the_crop_that_finds_a_body(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], crop: str, code: int
) -> None:
    torch.save(untrained_fold(0).state_dict(), tmp_path / "a.pth")
    command = ["autosegnet", "weights", "import", str(tmp_path / "a.pth"), "--output", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", [*command, "--passes", "layers", "--crop", crop])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == code
    if code:
        assert "--passes layers needs --crop body" in capsys.readouterr().err
    else:
        assert open_weights(tmp_path / "out").recipe.passes == "layers"


def test_a_variance_beyond_float16_survives(tmp_path: Path) -> None:
    state = build_network().state_dict()
    key = next(k for k in state if k.endswith("running_var"))
    state[key][0] = 1e6
    torch.save(state, tmp_path / "fold.pth")
    import_folds([tmp_path / "fold.pth"], tmp_path / "out", recipe=TINY, weights=[], validation_dsc=[])
    verify(open_weights(tmp_path / "out"))
    assert load_file(tmp_path / "out" / "fold_0.safetensors")[key][0] == 1e6


def test_import_refuses_values_beyond_float16(tmp_path: Path) -> None:
    state = build_network().state_dict()
    state["model.0.conv.unit0.conv.bias"][0] = 1e6
    torch.save(state, tmp_path / "fold.pth")
    with pytest.raises(WeightsError, match="float16"):
        import_folds([tmp_path / "fold.pth"], tmp_path / "out", recipe=TINY, weights=[], validation_dsc=[])


def folder_of(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(path.iterdir())}


def test_a_failed_import_leaves_the_weights_that_were_there(copy: Path, tmp_path: Path) -> None:
    torch.save(untrained_fold(3).state_dict(), tmp_path / "good.pth")
    before = folder_of(copy)
    for second, shares in ((tmp_path / "none.pth", []), (tmp_path / "good.pth", [0.5, float("inf")])):
        with pytest.raises(WeightsError):
            import_folds([tmp_path / "good.pth", second], copy, recipe=TINY, weights=shares, validation_dsc=[])
        assert folder_of(copy) == before


def test_folds_of_a_larger_set_do_not_stay_silently(
    copy: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.save(untrained_fold(3).state_dict(), tmp_path / "good.pth")
    import_folds([tmp_path / "good.pth"], copy, recipe=TINY, weights=[], validation_dsc=[])
    (message,) = caplog.messages
    assert "also holds fold_1.safetensors" in message
    assert (copy / "fold_1.safetensors").exists()
    verify(open_weights(copy))


def test_bfloat16_is_imported_as_what_every_engine_reads(tmp_path: Path) -> None:
    torch.save({k: v.bfloat16() for k, v in build_network().state_dict().items()}, tmp_path / "fold.pth")
    import_folds([tmp_path / "fold.pth"], tmp_path / "out", recipe=TINY, weights=[], validation_dsc=[])
    verify(open_weights(tmp_path / "out"))


def test_folds_in_8_bits_take_less_space_and_give_nearly_the_same_logits(tmp_path: Path) -> None:
    from autosegnet.model.devices import open_engine

    torch.save(untrained_fold(0).state_dict(), tmp_path / "fold.pth")
    window = np.random.default_rng(0).random((2, 32, 32, 32), dtype=np.float32)
    sizes, logits = [], []
    for storage in ("float16", "int8"):
        output = tmp_path / storage
        import_folds([tmp_path / "fold.pth"], output, recipe=TINY, weights=[], validation_dsc=[], storage=storage)
        weights = open_weights(output)
        verify(weights)
        sizes.append((output / "fold_0.safetensors").stat().st_size)
        logits += [open_engine(weights, device=device).compute_logits(window, 0) for device in ("cpu", "reference")]
    assert sizes[1] < 0.65 * sizes[0]
    spread = float(logits[0].std())
    assert np.abs(logits[2] - logits[0]).max() < 0.1 * spread
    np.testing.assert_allclose(logits[3], logits[2], atol=0.01 * spread)


def test_no_weight_in_8_bits_is_off_by_more_than_a_step() -> None:
    state = untrained_fold(0).state_dict()
    found = dequantise(quantise(state), where="test")
    assert found.keys() == state.keys()
    for key, tensor in state.items():
        off = (found[key].float() - tensor.float()).abs()
        if key + ".scale" in quantise(state):
            step = tensor.abs().amax(dim=(2, 3, 4), keepdim=True) / 127
            # Half a step, and 1/2048 of the largest weight: the scale is float16.
            assert bool((off <= 0.5 * step + 127 * step / 2048 + 1e-7).all())
        else:
            assert float(off.max()) == 0.0


def test_a_scale_without_its_tensor_is_refused() -> None:
    with pytest.raises(WeightsError, match="fits no tensor"):
        dequantise({"a.scale": torch.ones(3, 2)}, where="fold.safetensors")
