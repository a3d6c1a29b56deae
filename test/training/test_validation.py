"""Validation while training: inference's own sliding window, and which cases count."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from autosegnet_training.arrays import load, open_prepared
from autosegnet_training.history import Board, HistoryRow, draw_curves, draw_projection, write_history
from autosegnet_training.validation import NetworkEngine, Validation, measure_prepared


class Hot(nn.Module):
    """Calls lesion what is above SUV 3."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([torch.zeros_like(x[:, 1]), x[:, 1] - 3.0], dim=1)


@pytest.fixture(scope="module")
def measured(prepared: Path) -> Validation:
    folder = open_prepared(prepared)
    recipe = folder.recipe.__class__(spacing_mm=(8.0, 8.0, 8.0), patch=(16, 16, 16))
    engine = NetworkEngine(Hot().eval(), torch.device("cpu"))
    cases = [load(prepared, case.name) for case in folder.cases]
    metrics, masks = measure_prepared(cases, engine, recipe)
    assert list(masks) == [case.name for case in cases[:3]]
    assert np.array_equal(masks[cases[0].name], cases[0].array[1] > 3)
    return Validation(metrics)


def test_the_score_is_over_the_cases_with_lesions(measured: Validation) -> None:
    dsc = [m.dsc for m in measured.cases.values()]
    assert math.isnan(dsc[3])
    assert measured.dsc == pytest.approx(np.mean(dsc[:3]))
    assert measured.dsc > 0.95
    assert measured.negative_fpv_ml == 0.0
    assert measured.fnv_ml == 0.0


def test_without_lesions_there_is_no_dsc(measured: Validation) -> None:
    negative = Validation({k: m for k, m in measured.cases.items() if not m.is_positive})
    assert math.isnan(negative.dsc)
    assert math.isnan(negative.fnv_ml)
    assert negative.fpv_ml == 0.0


def test_pictures_show_truth_and_finding(prepared: Path) -> None:
    case = load(prepared, "patient0_study0")
    picture = draw_projection(case, case.read_truth())
    x, _, z = case.shape
    assert picture.shape == (z, x, 3)
    yellow = (picture[..., 0] > picture[..., 2]) & (picture[..., 1] > picture[..., 2])
    assert np.array_equal(yellow, case.read_truth().max(axis=1)[::-1, ::-1].T)
    missed = draw_projection(case, np.zeros(case.shape, dtype=bool))
    assert ((missed[..., 1] > missed[..., 0]) == yellow).all()


def row(epoch: int, dsc: float) -> HistoryRow:
    blank = dict.fromkeys(("fpv_ml", "fnv_ml", "negative_fpv_ml"), dsc)
    return {"epoch": epoch, "loss": 1.0 / epoch, "learning_rate": 1e-3, "seconds": 2.0, "dsc": dsc, **blank}


def test_the_history_leaves_blank_what_was_not_measured(tmp_path: Path) -> None:
    rows = [row(1, math.nan), row(2, 0.5)]
    write_history(rows, tmp_path / "history.csv")
    assert (tmp_path / "history.csv").read_text().splitlines()[1:] == [
        "1,1.0,0.001,2.0,,,,",
        "2,0.5,0.001,2.0,0.5,0.5,0.5,0.5",
    ]
    draw_curves(rows, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 5000


def test_a_package_that_is_missing_is_named_with_what_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    draw_curves([row(1, 0.5)], tmp_path / "curves.png")
    with Board(tmp_path, writes=True, first_epoch=1):
        pass
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    assert len(caplog.messages) == 2
    for message in caplog.messages:
        advice = message[message.index("pip install") :].rstrip(")")
        assert advice in readme


def test_tensorboard_gets_scalars_and_pictures(tmp_path: Path, prepared: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    case = load(prepared, "patient0_study0")
    with Board(tmp_path, writes=True, first_epoch=1) as board:
        board.add_row(row(1, math.nan))
        board.add_row(row(2, 0.5))
        board.add_pictures([case], {case.name: case.read_truth()}, epoch=2)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [e.value for e in events.Scalars("validation/dsc")] == [0.5]
    assert [e.step for e in events.Scalars("training/loss")] == [1, 2]
    assert events.Tags()["images"] == [f"validation/{case.name}"]


def test_a_process_that_does_not_write_writes_nothing(tmp_path: Path) -> None:
    with Board(tmp_path / "tensorboard", writes=False, first_epoch=1) as board:
        board.add_row(row(1, 0.5))
    assert not (tmp_path / "tensorboard").exists()
