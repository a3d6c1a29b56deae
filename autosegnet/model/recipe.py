"""Everything that the folds need to run, as one value that travels with the weights in `recipe.json`.

Whatever a trained fold needs to run is here. Everything else about its making is training configuration.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import Any, Literal, TypeVar, get_args

from autosegnet.errors import WeightsError

T = TypeVar("T")

Crop = Literal["body", "ct_foreground"]
Passes = Literal["windows", "layers", "slabs"]
Anchor = Literal["region", "lattice"]
LastStep = Literal["softmax", "two_sigmoids"]
Precision = Literal["float32", "bfloat16"]

BLOCK = 16
"""Voxels per axis that the deepest level of the network sees as one, because four levels halve the resolution."""

CT_CHANNEL = 0
PET_CHANNEL = 1
TUMOR_CLICK_CHANNEL = 2
BACKGROUND_CLICK_CHANNEL = 3
IMAGE_CHANNELS = 2
"""CT and PET, which every network takes; with click channels it takes two more."""

_FORMAT = 1
# Beyond these, every run ends for lack of memory: at 0.5 mm a body has 1e9 voxels, and a 400-voxel window needs 100 GB.
_SPACING_LIMITS_MM = (0.5, 20.0)
_MOST_PATCH_VOXELS = 400**3
_MOST_FOLDS = 64
_MOST_HU = 1e5
_REACH_LIMITS_MM = (1.0, 100.0)
_LONGEST_SHOWN = 80
_TRACER = "FDG"


@dataclass(frozen=True, slots=True)
class Fold:
    """Name one trained network of the ensemble.

    Args:
        file: name of its file, beside `recipe.json`.
        sha256: of the file, 64 hexadecimal digits.
        weight: its share in the weighted mean of logits, relative to the other folds; 1 for all is the plain mean.
        validation_dsc: mean DSC on the fold's validation cases, if it was measured.
    """

    file: str
    sha256: str
    weight: float = 1.0
    validation_dsc: float | None = None


@dataclass(frozen=True, slots=True)
class ClickChannels:
    """Say how the network is shown a reader's clicks: in one channel those on tumour, in another those on background.

    Args:
        reach_mm: each channel falls from 1 at a click to 0 at this distance from it (`click_channels`).
    """

    reach_mm: float = 12.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """Say how a study becomes the input of the folds, and how their outputs become one.

    Args:
        folds: the ensemble; empty while the folds are still to be trained.
        spacing_mm: of the network's voxels, (x, y, z). Paper, section 2.2.
        ct_window_hu: the CT is clipped to it and scaled to [0, 1]. Paper, section 2.2.
        suv_limit: higher SUVs are set to this value after resampling (g/ml); None, as in the paper: no limit. A bladder
            may reach SUV 200, and with small batches it dominates the statistics of batch norm.
        patch: window of the network in voxels, (x, y, z), multiples of 16. Paper, section 2.2.
        overlap: of neighbouring windows, as a fraction of the patch. Paper, section 2.5.
        crop: "body": the patient and a margin; "ct_foreground": the box of all voxels above the CT window's lower
            end, as the authors' published inference crops.
        anchor: where the network's voxels lie. "lattice": at multiples of the spacing, along the PET's axes, from the
            origin of the patient's coordinates, in whole blocks of 16; outer slices without any uptake are left out
            first. Then padding a study with air, or cutting air away, moves neither a voxel nor a window against the
            patient. "region": from the first voxel of the cropped PET, as in the authors' published inference.
        passes: "windows": of the patch's size, overlapping, as in the paper; "layers": the same, but each layer of
            windows along z covers only the body in it, so legs take fewer than shoulders; "slabs": the fast mode,
            through the whole body at once, or through as few slabs of it as memory allows (`sliding_window`).
        precision: of the arithmetic on a CPU; a GPU computes in float16 in any case.
        last_step: from the two logits to the mask. "softmax": the probability of lesion is interpolated onto the PET's
            grid, and the mask is what is above one half. "two_sigmoids": each logit's sigmoid is interpolated and the
            larger wins, as in the authors' published inference.
        tracer: the tracer that the folds were trained on, as `suv.tracer` names it. Another tracer causes a warning.
        click_channels: how the network sees clicks; None, as in the paper: it takes CT and PET alone.
        description: what the weights were trained on: the first sentence of the model card.
        training: how the weights were made, for readers; it has no effect.
    """

    folds: tuple[Fold, ...] = ()
    spacing_mm: tuple[float, float, float] = (2.0, 2.0, 2.0)
    ct_window_hu: tuple[float, float] = (-1024.0, 1024.0)
    suv_limit: float | None = None
    patch: tuple[int, int, int] = (192, 192, 192)
    overlap: float = 0.5
    crop: Crop = "body"
    anchor: Anchor = "region"
    passes: Passes = "windows"
    precision: Precision = "float32"
    last_step: LastStep = "softmax"
    tracer: str = _TRACER
    click_channels: ClickChannels | None = None
    description: str = ""
    training: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        """Raise WeightsError if a value is impossible."""
        low, high = _SPACING_LIMITS_MM
        _require(len(self.spacing_mm) == 3 and all(low <= s <= high for s in self.spacing_mm), "spacing_mm", self)
        _require(len(self.ct_window_hu) == 2 and self.ct_window_hu[0] < self.ct_window_hu[1], "ct_window_hu", self)
        _require(all(abs(hu) <= _MOST_HU for hu in self.ct_window_hu), "ct_window_hu", self)
        _require(self.suv_limit is None or 0 < self.suv_limit <= sys.float_info.max, "suv_limit", self)
        _require(len(self.patch) == 3 and all(n > 0 and n % BLOCK == 0 for n in self.patch), "patch", self)
        _require(math.prod(self.patch) <= _MOST_PATCH_VOXELS, "patch", self)
        _require(0.0 <= self.overlap < 1.0, "overlap", self)
        _require(self.crop in get_args(Crop), "crop", self)
        _require(self.anchor in get_args(Anchor), "anchor", self)
        _require(self.passes in get_args(Passes), "passes", self)
        _require(self.passes != "layers" or self.crop == "body", "passes", self)
        _require(self.precision in get_args(Precision), "precision", self)
        _require(self.last_step in get_args(LastStep), "last_step", self)
        _require(isinstance(self.tracer, str) and self.tracer.isprintable(), "tracer", self)
        nearest, farthest = _REACH_LIMITS_MM
        reach_mm = nearest if self.click_channels is None else self.click_channels.reach_mm
        _require(nearest <= reach_mm <= farthest, "click_channels", self)
        _require(all(0 < fold.weight < math.inf for fold in self.folds), "folds", self)
        _require(len(self.folds) <= _MOST_FOLDS and math.fsum(f.weight for f in self.folds) < math.inf, "folds", self)
        _require(len({fold.file for fold in self.folds}) == len(self.folds), "folds", self)
        _require(_is_text(self.description), "description", self)
        # A plain name, so that no recipe can point outside of its folder.
        _require(all(re.fullmatch(r"\w[\w.-]*", fold.file) for fold in self.folds), "folds", self)

    @property
    def input_channels(self) -> int:
        """Return how many channels the network takes."""
        return IMAGE_CHANNELS if self.click_channels is None else IMAGE_CHANNELS + 2

    @property
    def mode(self) -> str:
        """Return what follows a name of the folds or the engine if the windows are not those of the paper."""
        return {"windows": "", "layers": ", windows by layers", "slabs": ", fast mode"}[self.passes]

    @property
    def channels(self) -> int:
        """Return how many channels of logits the last step needs: their difference, or both."""
        return 1 if self.last_step == "softmax" else 2

    @property
    def fold_weights(self) -> tuple[float, ...]:
        """Return the folds' shares in the mean of logits; their sum is 1."""
        total = sum(fold.weight for fold in self.folds)
        return tuple(fold.weight / total for fold in self.folds)


def _require(holds: object, name: str, recipe: Recipe) -> None:
    if not holds:
        found = repr(getattr(recipe, name))
        shown = found if len(found) <= _LONGEST_SHOWN else f"{found[:_LONGEST_SHOWN]}…"
        raise WeightsError(f"recipe: {name} is {shown}, with which no network can run")


def _is_text(value: object) -> bool:
    """Return whether a value is text that a file can hold."""
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


def format_recipe(recipe: Recipe) -> str:
    """Return the text of `recipe.json`.

    Entries that are newer than version 0.1.0 are left out if they have the meaning of 0.1.0. So its recipes keep their
    text, by which batches recognise their masks.
    """
    values = {"format": _FORMAT, **asdict(recipe)}
    for name in _ADDED:
        if values[name] == getattr(_DEFAULT, name):
            del values[name]
    return json.dumps(values, indent=2) + "\n"


def parse_recipe(text: str, *, where: str) -> Recipe:
    """Return the recipe in the text of a `recipe.json`.

    Args:
        text: JSON.
        where: name of the file, for messages.

    Raises:
        WeightsError: not JSON, another format, unknown or missing names, values of another type or out of range.
    """
    try:
        values = json.loads(text)
        if not isinstance(values, dict) or type(values.get("format")) is not int or values.pop("format") != _FORMAT:
            raise WeightsError(f"{where} is not a recipe of format {_FORMAT}")
        _refuse_unknown(values, Recipe, where)
        recipe = Recipe(**{name: _PARSERS[name](value) for name, value in values.items()})
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError, OverflowError) as error:
        raise WeightsError(f"{where} cannot be read as a recipe: {error}") from error
    missing = [f.name for f in fields(Recipe) if f.name not in values and f.name not in _OPTIONAL]
    if missing:
        # With the paper's value as default, folds of another recipe would run and silently give another mask.
        raise WeightsError(f"{where} names no {', '.join(missing)}, which a recipe of format {_FORMAT} needs")
    return recipe


def _parse_folds(values: object) -> tuple[Fold, ...]:
    return tuple(_parse_fold(value) for value in _as(list, values))


def _parse_fold(value: object) -> Fold:
    values = _as(dict, value)
    _refuse_unknown(values, Fold, "a fold")
    dsc = values.get("validation_dsc")
    return Fold(
        _as(str, values["file"]),
        _as(str, values["sha256"]).lower(),
        _parse_number(values.get("weight", 1.0)),
        None if dsc is None else _parse_number(dsc),
    )


def _parse_click_channels(value: object) -> ClickChannels | None:
    if value is None:
        return None
    values = _as(dict, value)
    _refuse_unknown(values, ClickChannels, '"click_channels"')
    return ClickChannels(_parse_number(values["reach_mm"]))


def _parse_number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{value!r:.40} is not a finite number")
    return float(value)


def _parse_numbers(values: object) -> Any:
    return tuple(_parse_number(value) for value in _as(list, values))


def _parse_counts(values: object) -> Any:
    numbers = _as(list, values)
    if any(type(number) is not int for number in numbers):
        raise ValueError(f"{numbers!r:.40} are not whole numbers")
    return tuple(numbers)


def _as(kind: type[T], value: object) -> T:
    if not isinstance(value, kind):
        raise TypeError(f"{value!r:.40} is not of type {kind.__name__}")
    return value


_PARSERS: dict[str, Callable[[Any], Any]] = {
    "folds": _parse_folds,
    "spacing_mm": _parse_numbers,
    "ct_window_hu": _parse_numbers,
    "suv_limit": lambda value: None if value is None else _parse_number(value),
    "patch": _parse_counts,
    "overlap": _parse_number,
    "crop": partial(_as, str),
    "anchor": partial(_as, str),
    "passes": partial(_as, str),
    "precision": partial(_as, str),
    "last_step": partial(_as, str),
    "tracer": partial(_as, str),
    "click_channels": _parse_click_channels,
    "description": partial(_as, str),
    "training": lambda value: None if value is None else _as(dict, value),
}
_DEFAULT = Recipe()
_ADDED = ("anchor", "precision", "last_step", "tracer", "click_channels")
_OPTIONAL = (*_ADDED, "description", "training")


def _refuse_unknown(values: dict[str, Any], kind: type, where: str) -> None:
    unknown = sorted(set(values) - {f.name for f in fields(kind)})
    if unknown:
        raise WeightsError(f"{where} names {', '.join(unknown)}, which this version does not know")
