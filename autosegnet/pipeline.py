"""`segment_study`: the order of the steps and nothing else."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from autosegnet import postprocess, preprocess
from autosegnet.geometry import Grid
from autosegnet.model import sliding_window
from autosegnet.model.accumulator import VoxelData
from autosegnet.model.engine import Engine
from autosegnet.model.lending import borrow_device, read_voxels
from autosegnet.model.recipe import Recipe
from autosegnet.model.sliding_window import Outline
from autosegnet.on_device import fill_on_device, restore_map_on_device, restore_on_device
from autosegnet.preprocess import InputPlace
from autosegnet.study import Study

if TYPE_CHECKING:
    import SimpleITK as sitk

    from autosegnet.corrections import Clicks

log = logging.getLogger(__name__)

Maps = Literal["none", "probability", "probability and uncertainty"]
"""What to keep beside the mask; uncertainty takes one more accumulator per fold."""


@dataclass(frozen=True, slots=True)
class Segmentation:
    """The lesions of a study.

    Args:
        mask: uint8, 1 in lesions, on the PET's grid.
        seconds: wall-clock time of each step.
        probability: float32 probability of lesion on the PET's grid, if asked for; the mask is its part above 0.5.
        uncertainty: float32 standard deviation between the folds' probabilities, if asked for.
    """

    mask: sitk.Image
    seconds: dict[str, float]
    probability: sitk.Image | None = None
    uncertainty: sitk.Image | None = None


def segment_study(
    study: Study,
    engine: Engine,
    recipe: Recipe,
    *,
    clicks: Clicks | None = None,
    maps: Maps = "none",
    progress: sliding_window.PassProgress = lambda done, of: None,
    run_walk: sliding_window.RunWalk = sliding_window.run_walk,
) -> Segmentation:
    """Return the lesions of a study.

    Args:
        study: as `study.check_study` admits it.
        engine: the folds.
        recipe: of the same folds.
        clicks: of a reader, which the folds see if the recipe names click channels; the mask is still to be corrected.
        maps: what to keep beside the mask; the mask does not depend on it.
        progress: called after every pass of the network.
        run_walk: runs the walk over the windows; a time limit can run it in the fast mode or with fewer folds.
    """
    clock = _Clock()
    placement = preprocess.find_placement(study, recipe)
    array: VoxelData = borrow_device(
        engine,
        partial(fill_on_device, study, placement, recipe, clicks=clicks),
        lambda: preprocess.fill(study, placement, recipe, clicks),
    )
    clock.end_lap("preprocess")
    log.info(
        "PET %s, CT %s -> %s voxels of %s mm",
        _format_times(study.pet.GetSize()),
        _format_times(study.ct.GetSize()),
        _format_times(array.shape[1:]),
        _format_times(recipe.spacing_mm),
    )

    walk = partial(_walk, array, placement.outline, maps)
    count = partial(sliding_window.count_voxels, shape=array.shape[1:], outline=placement.outline)
    chance, deviation = run_walk(walk, engine, recipe, count=count, progress=progress)
    clock.end_lap("network")
    del array, walk  # it takes as much memory as the next steps need
    restore = partial(_restore, placement=placement, whole=Grid.from_image(study.pet), engine=engine)
    restore_map = partial(restore, on_device=restore_map_on_device, on_host=postprocess.restore_map)
    mask = restore(chance, on_device=restore_on_device, on_host=postprocess.restore)
    probability = None if maps == "none" else restore_map(chance)
    uncertainty = None if deviation is None else restore_map(deviation)
    clock.end_lap("postprocess")
    log.info(", ".join(f"{step} {seconds:.1f} s" for step, seconds in clock.seconds.items()))
    return Segmentation(mask, clock.seconds, probability, uncertainty)


def _restore(
    values: VoxelData,
    placement: InputPlace,
    whole: Grid,
    engine: Engine,
    *,
    on_device: Callable[[VoxelData, InputPlace, Grid], sitk.Image],
    on_host: Callable[..., sitk.Image],
) -> sitk.Image:
    return borrow_device(
        engine,
        lambda device: on_device(values, placement, whole),
        lambda: on_host(read_voxels(values), grid=placement.grid, region=placement.region, whole=whole),
    )


def _walk(
    array: VoxelData,
    outline: Outline | None,
    maps: Maps,
    engine: Engine,
    recipe: Recipe,
    *,
    progress: sliding_window.PassProgress,
) -> tuple[VoxelData, VoxelData | None]:
    if maps == "probability and uncertainty":
        return sliding_window.predict_probability_and_disagreement(
            array, engine, recipe, outline=outline, progress=progress
        )
    return sliding_window.predict_probability(array, engine, recipe, outline=outline, progress=progress), None


def _format_times(values: tuple[float, ...]) -> str:
    return " x ".join(f"{v:g}" for v in values)


class _Clock:
    """Wall-clock seconds between laps, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def end_lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = now - self._last
        self._last = now
