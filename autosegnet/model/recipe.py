"""Everything the weights depend on, as one value that travels with them in `recipe.json`.

If a trained fold needs it to run, it is here; everything else about its making is training configuration.
"""

from __future__ import annotations

import json
import math
import re
import sys
from dataclasses import asdict, dataclass, fields
from operator import index
from typing import Any, Literal, get_args

from autosegnet.errors import WeightsError

Crop = Literal["body", "ct_foreground"]
Passes = Literal["windows", "slabs"]
Anchor = Literal["region", "lattice"]

BLOCK = 16
"""Voxels per axis that the deepest level of the network sees as one: four levels halve the resolution."""

CT_CHANNEL = 0
PET_CHANNEL = 1

_FORMAT = 1
_TRACER = "FDG"


@dataclass(frozen=True, slots=True)
class Fold:
    """One trained network of the ensemble.

    Args:
        file: name of its file, beside `recipe.json`.
        sha256: of the file, 64 hexadecimal digits.
        weight: its share in the weighted mean of logits, relative to the other folds; 1 for all is the plain mean.
        validation_dsc: mean DSC on the fold's validation cases, where it was measured.
    """

    file: str
    sha256: str
    weight: float = 1.0
    validation_dsc: float | None = None


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a study becomes the input of the folds, and how their outputs become one.

    Args:
        folds: the ensemble; empty while the folds are still to be trained.
        spacing_mm: of the network's voxels, (x, y, z). Paper, section 2.2.
        ct_window_hu: the CT is clipped to it and scaled to [0, 1]. Paper, section 2.2.
        suv_limit: what is above it in the PET is set to it, after resampling (g/ml); None: the PET is as it is, as in
            the paper. A bladder may reach SUV 200: with small batches, it decides alone what batch norm sees.
        patch: window of the network in voxels, (x, y, z), multiples of 16. Paper, section 2.2.
        overlap: of neighbouring windows, as a fraction of the patch. Paper, section 2.5.
        crop: "body": the patient and a margin; "ct_foreground": the box of all voxels above the CT window's lower
            end, as the authors' published inference crops.
        anchor: where the network's voxels lie. "lattice": at multiples of the spacing, along the PET's axes, from the
            origin of the patient's coordinates, in whole blocks of 16; outer slices without any uptake are left out
            first. Then padding a study with air, or cutting air away, moves neither a voxel nor a window against the
            patient. "region": from the first voxel of the cropped PET, as in the authors' published inference.
        passes: "windows": of the patch's size, overlapping, as in the paper; "slabs": the fast mode, through the whole
            body at once, or through as few slabs of it as memory allows (`sliding_window`).
        tracer: that the folds were trained on, as `suv.tracer` names it; a PET of another one is a warning.
        description: first sentence of the model card: what the weights were trained on.
        training: how the weights were made, for readers; nothing here changes the output.
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
    tracer: str = _TRACER
    description: str = ""
    training: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        """Raises WeightsError where a value cannot be run with."""
        _require(len(self.spacing_mm) == 3 and all(0.1 <= s <= 20 for s in self.spacing_mm), "spacing_mm", self)
        _require(len(self.ct_window_hu) == 2 and self.ct_window_hu[0] < self.ct_window_hu[1], "ct_window_hu", self)
        _require(self.suv_limit is None or 0 < self.suv_limit <= sys.float_info.max, "suv_limit", self)
        _require(len(self.patch) == 3 and all(n > 0 and n % BLOCK == 0 for n in self.patch), "patch", self)
        _require(0.0 <= self.overlap < 1.0, "overlap", self)
        _require(self.crop in get_args(Crop), "crop", self)
        _require(self.anchor in get_args(Anchor), "anchor", self)
        _require(self.passes in get_args(Passes), "passes", self)
        _require(isinstance(self.tracer, str) and self.tracer.isprintable(), "tracer", self)
        _require(all(0 < fold.weight < math.inf for fold in self.folds), "folds", self)
        # A plain name: nothing that a recipe says leads out of its folder.
        _require(all(re.fullmatch(r"\w[\w.-]*", fold.file) for fold in self.folds), "folds", self)

    @property
    def fold_weights(self) -> tuple[float, ...]:
        """The folds' shares in the mean of logits; their sum is 1."""
        total = sum(fold.weight for fold in self.folds)
        return tuple(fold.weight / total for fold in self.folds)


def _require(holds: object, name: str, recipe: Recipe) -> None:
    if not holds:
        raise WeightsError(f"recipe: {name} is {getattr(recipe, name)!r}, which no network can be run with")


def to_json(recipe: Recipe) -> str:
    """The text of `recipe.json`."""
    values = asdict(recipe)
    if recipe.tracer == _TRACER:  # recipes of before tracers were named keep their digest
        del values["tracer"]
    return json.dumps({"format": _FORMAT, **values}, indent=2) + "\n"


def from_json(text: str, *, where: str) -> Recipe:
    """The recipe in the text of a `recipe.json`.

    Args:
        text: JSON.
        where: name of the file, for messages.

    Raises:
        WeightsError: not JSON, another format, unknown or missing names, values of another type or out of range.
    """
    try:
        values = json.loads(text)
        if not isinstance(values, dict) or values.pop("format", None) != _FORMAT:
            raise WeightsError(f"{where} is not a recipe of format {_FORMAT}")
        _refuse_unknown(values, Recipe, where)
        folds = values.get("folds", [])
        for fold in folds:
            _refuse_unknown(fold, Fold, where)
        values["folds"] = tuple(_fold(fold) for fold in folds)
        for name, kind in (("spacing_mm", float), ("ct_window_hu", float), ("patch", index)):
            if name in values:
                values[name] = tuple(kind(v) for v in values[name])
        return Recipe(**values)
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError, OverflowError) as error:
        raise WeightsError(f"{where} cannot be read as a recipe: {error}") from error


def _fold(values: dict[str, Any]) -> Fold:
    dsc = values.get("validation_dsc")
    return Fold(
        str(values["file"]),
        str(values["sha256"]).lower(),
        float(values.get("weight", 1.0)),
        None if dsc is None else float(dsc),
    )


def _refuse_unknown(values: dict[str, Any], kind: type, where: str) -> None:
    unknown = sorted(set(values) - {f.name for f in fields(kind)})
    if unknown:
        raise WeightsError(f"{where} names {', '.join(unknown)}, which this version does not know")
