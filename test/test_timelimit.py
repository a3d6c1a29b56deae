"""The time limit of a study, with an engine whose passes move a clock of their own."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from autosegnet.grandchallenge.time_limit import TimeLimit, list_steps
from autosegnet.model import sliding_window
from autosegnet.model.engine import Engine
from autosegnet.model.recipe import Fold, Recipe
from autosegnet.model.sliding_window import PassProgress

BEFORE_S, FIRST_PASS_S, PASS_S = 10.0, 7.0, 2.0
# Three folds, the second of the largest weight, then the third.
ARRAY = np.linspace(0, 4, 2 * 64 * 16 * 16, dtype=np.float32).reshape(2, 64, 16, 16)
count_all = partial(sliding_window.count_voxels, shape=ARRAY.shape[1:])
RECIPE = Recipe(
    folds=tuple(Fold(f"fold_{k}", "0" * 64, weight) for k, weight in enumerate((0.5, 1.5, 1.0))),
    patch=(16, 16, 16),
    overlap=0.5,
)
FAST = replace(RECIPE, passes="slabs")
WINDOWS = 7  # of 16 voxels in 64, overlapping by half; the fast mode takes them in one pass, of the cost of four
# After two passes: 10 + 7 + 2 s. The others are left, and the end takes as long as the beginning.
TRIED_S = BEFORE_S + FIRST_PASS_S + PASS_S
ESTIMATE_S = TRIED_S + (3 * WINDOWS - 2) * PASS_S + BEFORE_S
ALL_FAST_S = TRIED_S + 3 * 4 * PASS_S + BEFORE_S
TWO_FAST_S = TRIED_S + 2 * 4 * PASS_S + BEFORE_S
ONE_FAST_S = TRIED_S + 4 * PASS_S + BEFORE_S


@dataclass
class TimedEngine:
    """Folds of different answers; the first pass takes longer, as it does on a GPU."""

    folds: int = 3
    name: str = "timed"
    now: float = 0.0
    passes: list[int] = field(default_factory=list)

    def compute_logits(self, window: NDArray[np.float32], fold: int) -> NDArray[np.float32]:
        self.now += PASS_S * window.shape[1] / 16 if self.passes else FIRST_PASS_S
        self.passes.append(fold)
        return window[1] * np.float32(1 + fold) - np.float32(fold)


def walk(engine: Engine, recipe: Recipe, *, progress: PassProgress) -> NDArray[np.float32]:
    return sliding_window.predict_probability(ARRAY, engine, recipe, progress=progress)


def limited(
    limit_s: float, *, degrade: bool, recipe: Recipe = RECIPE
) -> tuple[NDArray[np.float32], TimeLimit, TimedEngine]:
    engine = TimedEngine(folds=len(recipe.folds))
    limit = TimeLimit(limit_s, degrade=degrade, clock=lambda: engine.now)
    engine.now += BEFORE_S
    return limit.run(walk, engine, recipe, count=count_all, progress=lambda done, of: None), limit, engine


def of_folds(*kept: int, recipe: Recipe = RECIPE) -> NDArray[np.float32]:
    """Return what an ensemble of these folds alone gives."""

    @dataclass
    class Some(TimedEngine):
        def compute_logits(self, window: NDArray[np.float32], fold: int) -> NDArray[np.float32]:
            return super().compute_logits(window, kept[fold])

    recipe = replace(recipe, folds=tuple(recipe.folds[k] for k in kept))
    return sliding_window.predict_probability(ARRAY, Some(folds=len(kept)), recipe)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Return what is logged; another test may have taken the program's logger off the root."""
    logger = logging.getLogger("autosegnet.grandchallenge.time_limit")
    logger.addHandler(caplog.handler)
    level, logger.level = logger.level, logging.INFO
    yield caplog
    logger.removeHandler(caplog.handler)
    logger.level = level


def test_the_estimate_is_made_after_two_passes(log: pytest.LogCaptureFixture) -> None:
    found, limit, engine = limited(ESTIMATE_S, degrade=True)
    np.testing.assert_array_equal(found, of_folds(0, 1, 2))
    assert limit.record == {
        "limit_s": ESTIMATE_S,
        "estimate_s": ESTIMATE_S,
        "ran": "all 3 folds",
        "degraded": False,
    }
    assert engine.passes == [0] * WINDOWS + [1] * WINDOWS + [2] * WINDOWS
    assert not any("exceeds" in m for m in log.messages)


def test_passes_that_are_done_together_count_each() -> None:
    """Five at a time after the first: seven of the first fold take 1 + 5 + 1."""
    now = BEFORE_S
    limit = TimeLimit(1000.0, degrade=False, clock=lambda: now)
    limit._start = 0.0

    def walked(engine: Engine, recipe: Recipe, *, progress: PassProgress) -> None:
        nonlocal now
        for done, seconds in ((1, FIRST_PASS_S), (6, 5 * PASS_S), (7, PASS_S), (21, 14 * PASS_S)):
            now += seconds
            progress(done, 21)

    limit.run(walked, TimedEngine(), RECIPE, count=count_all, progress=lambda done, of: None)
    assert limit.record["estimate_s"] == ESTIMATE_S


def test_without_degrade_there_is_only_a_warning(log: pytest.LogCaptureFixture) -> None:
    found, limit, engine = limited(ESTIMATE_S - 1, degrade=False)
    np.testing.assert_array_equal(found, of_folds(0, 1, 2))
    assert limit.record["degraded"] is False
    assert limit.record["estimate_s"] == ESTIMATE_S
    assert any("67 s exceeds the time limit of 66 s" in m for m in log.messages)


@pytest.mark.parametrize(
    ("limit_s", "kept", "estimate_s"),
    [
        (ESTIMATE_S - 1, (0, 1, 2), ALL_FAST_S),
        (ALL_FAST_S, (0, 1, 2), ALL_FAST_S),
        (ALL_FAST_S - 1, (1, 2), TWO_FAST_S),
        (TWO_FAST_S - 1, (1,), ONE_FAST_S),
    ],
)
def test_the_first_step_that_keeps_within_the_limit_is_taken(
    log: pytest.LogCaptureFixture, limit_s: float, kept: tuple[int, ...], estimate_s: float
) -> None:
    found, limit, engine = limited(limit_s, degrade=True)
    np.testing.assert_array_equal(found, of_folds(*kept, recipe=FAST))  # to the last bit: it begins anew
    assert engine.passes == [0, 0, *kept]
    which = f"{len(kept)} of 3 folds" if len(kept) < 3 else "all 3 folds"
    ran = f"{which}, fast mode" + (f" ({', '.join(f'fold_{k}' for k in kept)})" if len(kept) < 3 else "")
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
    np.testing.assert_array_equal(found, of_folds(1, recipe=FAST))
    assert limit.record["ran"] == "1 of 3 folds, fast mode (fold_1)"
    assert any("even the fastest step takes longer than 1 s" in m for m in log.messages)


def test_what_is_done_already_is_not_begun_again(log: pytest.LogCaptureFixture) -> None:
    """With one window and one fold, the estimate comes when all is done."""
    recipe = replace(RECIPE, patch=(64, 16, 16), folds=RECIPE.folds[:1])
    _, limit, engine = limited(1.0, degrade=True, recipe=recipe)
    assert engine.passes == [0]
    assert limit.record["degraded"] is False
    assert any("there is no faster step" in m for m in log.messages)


def test_the_fast_mode_asked_for_leaves_fewer_folds(log: pytest.LogCaptureFixture) -> None:
    assert [s.name for s in list_steps(TimedEngine(), FAST, count_all)] == [
        "all 3 folds, fast mode",
        "2 of 3 folds, fast mode (fold_1, fold_2)",
        "1 of 3 folds, fast mode (fold_1)",
    ]
    found, limit, _ = limited(1.0, degrade=True, recipe=FAST)
    np.testing.assert_array_equal(found, of_folds(0, 1, 2, recipe=FAST))
    assert limit.record["degraded"] is False  # two of three passes are done: to begin again would take longer


def test_the_steps_are_in_the_documented_order() -> None:
    found = list_steps(TimedEngine(), RECIPE, count_all)
    assert [s.name for s in found] == [
        "all 3 folds",
        "all 3 folds, fast mode",
        "2 of 3 folds, fast mode (fold_1, fold_2)",
        "1 of 3 folds, fast mode (fold_1)",
    ]
    assert [s.cost for s in found] == pytest.approx([1.0, 4 / 7, 8 / 21, 4 / 21])
    assert [s.recipe.fold_weights for s in found[2:]] == [(0.6, 0.4), (1.0,)]
    assert [s.recipe.passes for s in found] == ["windows"] + ["slabs"] * 3


def test_progress_is_still_told() -> None:
    told: list[tuple[int, int]] = []
    engine = TimedEngine()
    TimeLimit(1e9, degrade=True, clock=lambda: engine.now).run(
        walk, engine, RECIPE, count=count_all, progress=lambda done, of: told.append((done, of))
    )
    assert told == [(k, 21) for k in range(1, 22)]
