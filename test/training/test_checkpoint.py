"""Checkpoints: whole or not at all, the last two, and the one before where the newest is damaged."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from autosegnet.errors import InputError
from autosegnet_training.checkpoint import collect_random_states, read_newest, restore_random_states, write_checkpoint


def test_the_newest_comes_back(tmp_path: Path) -> None:
    for step in range(4):
        state = {"network": {"w": torch.full((3,), float(step))}, "losses": [0.5, step], "best": {"dsc": float("nan")}}
        write_checkpoint(tmp_path, state, epoch=step // 2, step=step)
    found = read_newest(tmp_path)
    assert found is not None
    assert torch.equal(found["network"]["w"], torch.full((3,), 3.0))
    assert found["losses"] == [0.5, 3]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["00001_000002.ckpt", "00001_000003.ckpt"]


def test_there_may_be_none(tmp_path: Path) -> None:
    assert read_newest(tmp_path / "nothing") is None


@pytest.mark.parametrize("damage", ["truncated", "flipped", "emptied"])
def test_a_damaged_one_falls_back_to_the_one_before_and_says_so(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    for step in range(2):
        write_checkpoint(tmp_path, {"step": step, "w": torch.zeros(100)}, epoch=0, step=step)
    newest = tmp_path / "00000_000001.ckpt"
    data = bytearray(newest.read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 1
    newest.write_bytes(data[: {"truncated": len(data) // 2, "flipped": len(data), "emptied": 0}[damage]])
    found = read_newest(tmp_path)
    assert found is not None
    assert found["step"] == 0
    assert "00000_000001.ckpt is damaged; falling back" in caplog.text
    (tmp_path / "00000_000000.ckpt").write_bytes(b"")
    with pytest.raises(InputError, match="all 2 checkpoints"):
        read_newest(tmp_path)


def test_nothing_in_a_checkpoint_is_executed(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, {"path": Path("pickled")}, epoch=0, step=0)
    with pytest.raises(InputError, match="damaged"):
        read_newest(tmp_path)


def test_random_states_come_back(tmp_path: Path) -> None:
    random.gauss(0, 1)
    write_checkpoint(tmp_path, collect_random_states(), epoch=0, step=0)
    expected = (random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn(), torch.rand(2).tolist())
    state = read_newest(tmp_path)
    assert state is not None
    restore_random_states(state)
    assert (
        random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn(), torch.rand(2).tolist(),
    ) == expected  # fmt: skip
