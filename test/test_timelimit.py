"""The time limit of a study, with an engine whose passes move a clock of their own."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from autosegnet import predict
from autosegnet.engines import Engine
from autosegnet.predict import Progress
from autosegnet.recipe import Fold, Recipe
from autosegnet.timelimit import TimeLimit, steps

BEFORE_S, FIRST_PASS_S, PASS_S = 10.0, 7.0, 2.0
# Four windows of three folds, the second of the largest weight, then the third.
ARRAY = np.linspace(0, 4, 2 * 64 * 16 * 16, dtype=np.float32).reshape(2, 64, 16, 16)
RECIPE = Recipe(
    folds=tuple(Fold(f"fold_{k}", "0" * 64, weight) for k, weight in enumerate((0.5, 1.5, 1.0))),
    patch=(16, 16, 16),
    overlap=0.0,
)
# After the first window: 10 + 7 + 2 + 2 s. Nine passes are left, and the end takes as long as the beginning.
ESTIMATE_S = BEFORE_S + FIRST_PASS_S + 2 * PASS_S + 9 * PASS_S + BEFORE_S
TWO_FOLDS_S = BEFORE_S + FIRST_PASS_S + 2 * PASS_S + 8 * PASS_S + BEFORE_S
ONE_FOLD_S = BEFORE_S + FIRST_PASS_S + 2 * PASS_S + 4 * PASS_S + BEFORE_S


@dataclass
class TimedEngine:
    """Folds of different answers; the first pass takes longer, as it does on a GPU."""

    folds: int = 3
    name: str = "timed"
    now: float = 0.0
    passes: list[int] = field(default_factory=list)

    def logit_difference(self, window: NDArray[np.float32], fold: int) -> NDArray[np.float32]:
        self.now += PASS_S if self.passes else FIRST_PASS_S
        self.passes.append(fold)
        return window[1] * np.float32(1 + fold) - np.float32(fold)


def walk(engine: Engine, recipe: Recipe, *, progress: Progress) -> NDArray[np.float32]:
    return predict.probability(ARRAY, engine, recipe, progress=progress)


def limited(
    limit_s: float, *, degrade: bool, recipe: Recipe = RECIPE
) -> tuple[NDArray[np.float32], TimeLimit, TimedEngine]:
    engine = TimedEngine(folds=len(recipe.folds))
    limit = TimeLimit(limit_s, degrade=degrade, clock=lambda: engine.now)
    engine.now += BEFORE_S
    return limit.run(walk, engine, recipe, progress=lambda done, of: None), limit, engine


def of_folds(*kept: int) -> NDArray[np.float32]:
    """What an ensemble of these folds alone gives."""

    @dataclass
    class Some(TimedEngine):
        def logit_difference(self, window: NDArray[np.float32], fold: int) -> NDArray[np.float32]:
            return super().logit_difference(window, kept[fold])

    recipe = replace(RECIPE, folds=tuple(RECIPE.folds[k] for k in kept))
    return predict.probability(ARRAY, Some(folds=len(kept)), recipe)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """What is logged; another test may have taken the program's logger off the root."""
    logger = logging.getLogger("autosegnet.timelimit")
    logger.addHandler(caplog.handler)
    level, logger.level = logger.level, logging.INFO
    yield caplog
    logger.removeHandler(caplog.handler)
    logger.level = level


def test_the_estimate_is_made_after_the_first_window(log: pytest.LogCaptureFixture) -> None:
    found, limit, engine = limited(ESTIMATE_S, degrade=True)
    np.testing.assert_array_equal(found, of_folds(0, 1, 2))
    assert limit.record == {
        "limit_s": ESTIMATE_S,
        "estimate_s": ESTIMATE_S,
        "ran": "all 3 folds",
        "degraded": False,
    }
    assert engine.passes == [0, 1, 2] * 4
    assert not any("exceeds" in m for m in log.messages)


def test_without_degrade_there_is_only_a_warning(log: pytest.LogCaptureFixture) -> None:
    found, limit, engine = limited(ESTIMATE_S - 1, degrade=False)
    np.testing.assert_array_equal(found, of_folds(0, 1, 2))
    assert limit.record["degraded"] is False
    assert limit.record["estimate_s"] == ESTIMATE_S
    assert any("49 s exceeds the time limit of 48 s" in m for m in log.messages)


@pytest.mark.parametrize(
    ("limit_s", "kept", "estimate_s"),
    [(ESTIMATE_S - 1, (1, 2), TWO_FOLDS_S), (TWO_FOLDS_S, (1, 2), TWO_FOLDS_S), (TWO_FOLDS_S - 1, (1,), ONE_FOLD_S)],
)
def test_the_first_step_that_keeps_within_the_limit_is_taken(
    log: pytest.LogCaptureFixture, limit_s: float, kept: tuple[int, ...], estimate_s: float
) -> None:
    found, limit, engine = limited(limit_s, degrade=True)
    np.testing.assert_array_equal(found, of_folds(*kept))  # to the last bit: the first window is run again
    assert engine.passes == [0, 1, 2] + list(kept) * 4
    ran = f"{len(kept)} of 3 folds ({', '.join(f'fold_{k}' for k in kept)})"
    assert limit.record == {
        "limit_s": limit_s,
        "estimate_s": ESTIMATE_S,
        "ran": ran,
        "degraded": True,
        "degraded_estimate_s": estimate_s,
    }
    assert any(ran in m for m in log.messages)
    assert not any("no way" in m for m in log.messages)


def test_where_nothing_keeps_within_the_limit_the_fastest_runs_and_says_so(log: pytest.LogCaptureFixture) -> None:
    found, limit, _ = limited(1.0, degrade=True)
    np.testing.assert_array_equal(found, of_folds(1))
    assert limit.record["ran"] == "1 of 3 folds (fold_1)"
    assert any("no way to run keeps within 1 s" in m for m in log.messages)


def test_what_is_done_already_is_not_begun_again(log: pytest.LogCaptureFixture) -> None:
    """With one window, the estimate comes when all passes are done."""
    recipe = replace(RECIPE, patch=(64, 16, 16))
    _, limit, engine = limited(1.0, degrade=True, recipe=recipe)
    assert engine.passes == [0, 1, 2]
    assert limit.record["degraded"] is False
    assert any("no faster way" in m for m in log.messages)


def test_a_single_fold_cannot_be_fewer(log: pytest.LogCaptureFixture) -> None:
    recipe = replace(RECIPE, folds=RECIPE.folds[:1])
    _, limit, engine = limited(1.0, degrade=True, recipe=recipe)
    assert engine.passes == [0] * 4
    assert limit.record["degraded"] is False
    assert limit.record["estimate_s"] == BEFORE_S + 4 * FIRST_PASS_S + BEFORE_S


def test_the_steps_are_in_the_documented_order() -> None:
    found = steps(TimedEngine(), RECIPE)
    assert [s.name for s in found] == ["all 3 folds", "2 of 3 folds (fold_1, fold_2)", "1 of 3 folds (fold_1)"]
    assert [s.cost for s in found] == [1.0, 2 / 3, 1 / 3]
    assert [s.recipe.fold_weights for s in found[1:]] == [(0.6, 0.4), (1.0,)]


def test_progress_is_still_told() -> None:
    told: list[tuple[int, int]] = []
    engine = TimedEngine()
    TimeLimit(1e9, degrade=True, clock=lambda: engine.now).run(
        walk, engine, RECIPE, progress=lambda done, of: told.append((done, of))
    )
    assert told == [(k, 12) for k in range(1, 13)]
