"""Keeps a study within a time limit: estimates the time after the first passes, and runs less if it is too long.

`list_steps` gives the steps in the order in which they are tried: all folds, then all folds in the fast mode, then
fewer and fewer folds in the fast mode. Folds with the largest weights stay. A step down starts again with the first
window, so its mask is exactly the mask of the named ensemble.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from autosegnet.model.accumulator import Coverage, LogitAccumulator, VoxelData, Window, open_accumulator
from autosegnet.model.engine import Engine
from autosegnet.model.recipe import Recipe
from autosegnet.model.sliding_window import CountVoxels, PassProgress, Walk

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Step:
    """A way to run an ensemble.

    Args:
        name: for the log and `results.json`: "3 of 5 folds, fast mode (fold_0.safetensors, …)".
        cost: its time in the network, relative to what was asked for.
        engine: the folds of this step.
        recipe: of the same folds.
    """

    name: str
    cost: float
    engine: Engine
    recipe: Recipe


def list_steps(engine: Engine, recipe: Recipe, count: CountVoxels) -> tuple[Step, ...]:
    """Return the ways to run an ensemble on a study, the best first; `count` counts its voxels."""
    folds, fast = engine.folds, replace(recipe, passes="slabs")
    of_asked = count(fast) / count(recipe)
    ways = [Step(f"all {folds} folds{recipe.mode}", 1.0, engine, recipe)]
    if recipe.passes != "slabs":
        ways.append(Step(f"all {folds} folds{fast.mode}", of_asked, engine, fast))
    best_first = sorted(range(folds), key=lambda fold: -recipe.folds[fold].weight)
    for kept in range(folds - 1, 0, -1):
        ways.append(_make_step(tuple(sorted(best_first[:kept])), of_asked * kept / folds, engine, fast))
    return tuple(ways)


def _make_step(kept: tuple[int, ...], of_all: float, engine: Engine, recipe: Recipe) -> Step:
    folds = tuple(recipe.folds[fold] for fold in kept)
    name = f"{len(kept)} of {engine.folds} folds{recipe.mode} ({', '.join(fold.file for fold in folds)})"
    return Step(name, of_all, _SomeFolds(engine, kept), replace(recipe, folds=folds))


class _SomeFolds:
    """An engine that runs some folds of another engine."""

    def __init__(self, engine: Engine, kept: tuple[int, ...]) -> None:
        self._engine, self._kept = engine, kept

    @property
    def name(self) -> str:
        return self._engine.name

    @property
    def folds(self) -> int:
        return len(self._kept)

    def compute_logits(self, window: NDArray[np.float32], fold: int) -> NDArray[np.float32]:
        return self._engine.compute_logits(window, self._kept[fold])

    def open_accumulator(self, array: VoxelData, *, sums: int, channels: int) -> LogitAccumulator:
        return _SomeFoldsAccumulator(open_accumulator(self._engine, array, sums=sums, channels=channels), self._kept)


class _SomeFoldsAccumulator:
    """An accumulator that runs some folds of another accumulator."""

    def __init__(self, accumulator: LogitAccumulator, kept: tuple[int, ...]) -> None:
        self._canvas, self._kept = accumulator, kept

    @property
    def batch(self) -> int:
        return self._canvas.batch

    def add(self, windows: Sequence[Window], fold: int, into: Mapping[int, float]) -> None:
        self._canvas.add(windows, self._kept[fold], into)

    def read_sums(self) -> list[NDArray[np.float32]]:
        return self._canvas.read_sums()

    def blend(self, coverages: Sequence[Coverage]) -> list[VoxelData]:
        return self._canvas.blend(coverages)


class _TooSlowError(Exception):
    """Ends a walk that must start again in a faster step."""

    def __init__(self, step: Step, estimate_s: float) -> None:
        super().__init__(step.name)
        self.step, self.estimate_s = step, estimate_s


class TimeLimit:
    """The time limit of one study, counted from when this object is made.

    The work after the network (resampling, writing) is assumed to take as long as the work before it (reading, loading,
    preprocessing).

    Args:
        limit_s: seconds that a study may take.
        degrade: whether to step down if the estimate exceeds the limit; else there is only a warning.
        clock: seconds, from any start.
    """

    def __init__(self, limit_s: float, *, degrade: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit_s, self._degrade, self._clock = limit_s, degrade, clock
        self._start = clock()
        self._record: dict[str, Any] = {"limit_s": limit_s}

    @property
    def record(self) -> dict[str, Any]:
        """Return the entry of `results.json`: limit, first estimate, what ran, whether that is less than asked for."""
        return dict(self._record)

    def run(self, walk: Walk[T], engine: Engine, recipe: Recipe, *, count: CountVoxels, progress: PassProgress) -> T:
        """Return what the walk computes, in the first step whose estimate is within the limit.

        Args:
            walk: over a study.
            engine, recipe: what was asked for.
            count: counts the voxels that pass through each fold.
            progress: called after every pass.
        """
        ways = list_steps(engine, recipe, count)
        self._record |= {"ran": ways[0].name, "degraded": False}
        try:
            return walk(engine, recipe, progress=self._watch(ways, progress))
        except _TooSlowError as slow:
            log.warning("--degrade: starting again with %s, estimated at %.0f s", slow.step.name, slow.estimate_s)
            if slow.estimate_s > self._limit_s:
                log.warning("even the fastest step takes longer than %g s; running it", self._limit_s)
            self._record |= {"ran": slow.step.name, "degraded": True, "degraded_estimate_s": round(slow.estimate_s, 3)}
            return walk(slow.step.engine, slow.step.recipe, progress=progress)

    def _watch(self, ways: tuple[Step, ...], progress: PassProgress) -> PassProgress:
        """Return a progress callback that estimates the time at its second call, and ends a walk that is too slow.

        The first pass, or the first few at once, also set up the device, so they are left out of the estimate unless
        they are the only ones.
        """
        begun = self._clock()
        told: list[tuple[int, float]] = [(0, begun)]  # passes done, and when

        def watch(done: int, of: int) -> None:
            progress(done, of)
            if len(told) > 2 or (len(told) == 2 and told[1][0] == of):
                return
            told.append((done, self._clock()))
            if len(told) == 3 or done == of:
                (before, earlier), (after, later) = told[-2:]
                self._judge(ways, (later - earlier) / (after - before), begun - self._start, done, of)

        return watch

    def _judge(self, ways: tuple[Step, ...], pass_s: float, before_s: float, done: int, of: int) -> None:
        elapsed_s = self._clock() - self._start
        estimate_s = elapsed_s + pass_s * (of - done) + before_s
        self._record["estimate_s"] = round(estimate_s, 3)
        log.info("the study is estimated to take %.0f s; the limit is %g s", estimate_s, self._limit_s)
        if estimate_s <= self._limit_s:
            return
        log.warning("the estimate of %.0f s exceeds the time limit of %g s", estimate_s, self._limit_s)
        if not self._degrade:
            return
        estimates = [(step, elapsed_s + pass_s * of * step.cost + before_s) for step in ways[1:]]
        faster = [(step, seconds) for step, seconds in estimates if seconds < estimate_s]
        if not faster:
            log.warning("there is no faster step")
            return
        raise _TooSlowError(*next((way for way in faster if way[1] <= self._limit_s), faster[-1]))
