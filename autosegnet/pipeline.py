"""`segment`: the order of the steps, and nothing else."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autosegnet import postprocess, predict, preprocess
from autosegnet.engines import Engine
from autosegnet.geometry import Grid
from autosegnet.recipe import Recipe
from autosegnet.study import Study

if TYPE_CHECKING:
    import SimpleITK as sitk

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Segmentation:
    """What a study was found to hold.

    Args:
        mask: uint8, 1 in lesions, on the PET's grid.
        seconds: wall-clock time of each step.
    """

    mask: sitk.Image
    seconds: dict[str, float]


def segment(
    case: Study, engine: Engine, recipe: Recipe, *, progress: predict.Progress = lambda done, of: None
) -> Segmentation:
    """The lesions of a study.

    Args:
        case: as `study.checked_study` admits it.
        engine: the folds.
        recipe: of the same folds.
        progress: told after every window and fold.
    """
    clock = _Clock()
    prepared = preprocess.prepare(case, recipe)
    clock.lap("preprocess")
    log.info(
        "PET %s, CT %s -> %s voxels of %s mm",
        _times(case.pet.GetSize()),
        _times(case.ct.GetSize()),
        _times(prepared.array.shape[1:]),
        _times(recipe.spacing_mm),
    )
    chance = predict.probability(prepared.array, engine, recipe, progress=progress)
    clock.lap("network")
    mask = postprocess.restore(chance, grid=prepared.grid, region=prepared.region, whole=Grid.of(case.pet))
    clock.lap("postprocess")
    return Segmentation(mask, clock.seconds)


def _times(values: tuple[float, ...]) -> str:
    return " x ".join(f"{v:g}" for v in values)


class _Clock:
    """Wall-clock seconds between laps, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = now - self._last
        self._last = now
