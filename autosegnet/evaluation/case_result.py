"""The result of one case: its metrics, or why there are none; and its row of the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from autosegnet.errors import AutosegnetError, InputError, format_path
from autosegnet.evaluation.agreement import find_auc
from autosegnet.evaluation.detection import IOU_THRESHOLDS, Detection, match_lesions
from autosegnet.evaluation.metrics import CaseMetrics, Convention, measure_masks, put_on_grid_of
from autosegnet.evaluation.surface import NSD_TOLERANCE_MM, SurfaceMetrics, measure_surfaces
from autosegnet.evaluation.uptake import UptakeFigures, measure_uptake
from autosegnet.geometry import Grid, find_occupied_box, is_same_set, resample_labels, view_voxels
from autosegnet.io.decoded import Nonfinite
from autosegnet.io.nifti_forms import Form
from autosegnet.suv_check import check_suv

if TYPE_CHECKING:
    import SimpleITK as sitk

ANY_LABEL: Final = "any"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationOptions:
    """How cases are measured.

    Args:
        convention: of a truth without lesions.
        iou: thresholds of the matching of lesions.
        nsd_tolerance_mm: of the normalised surface distance.
        label: which voxels of a mask are lesion: "" for 1 in a mask of 0 and 1, a number, or "any" for all but 0.
        nifti_form: which of the sform and the qform of a NIfTI file counts if both are set and differ.
        nonfinite: "air" reads voxels that are NaN or infinite as no lesion, and as SUV 0 in a PET.
    """

    convention: Convention = "autopet2"
    iou: tuple[float, ...] = IOU_THRESHOLDS
    nsd_tolerance_mm: float = NSD_TOLERANCE_MM
    label: str = ""
    nifti_form: Form = "both"
    nonfinite: Nonfinite = "refuse"

    @property
    def air(self) -> float | None:
        """Return the value that replaces NaN and infinite voxels; None refuses them."""
        return 0.0 if self.nonfinite == "air" else None


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFiles:
    """The files of a case.

    Args:
        case: its name.
        predictions: masks, one per interaction, the last one being the result.
        truth: mask.
        pet: in SUV; None if uptake is not compared.
        options: how to measure.
    """

    case: str
    predictions: tuple[Path, ...]
    truth: Path
    pet: Path | None
    options: EvaluationOptions


@dataclass(frozen=True, slots=True)
class CaseResult:
    """Hold the result of a case. If it could not be measured, everything but the error is None.

    Args:
        metrics: DSC, FPV, FNV, volumes and counts.
        detection: lesion by lesion.
        surface: how near the surfaces are.
        uptake: TLG and SUVmax of both masks; None without a PET.
        steps: the first two for every interaction, the last one included; one without interactions.
        error: what is wrong with the case, '' if nothing is.
    """

    metrics: CaseMetrics | None = None
    detection: Detection | None = None
    surface: SurfaceMetrics | None = None
    uptake: UptakeFigures | None = None
    steps: tuple[tuple[CaseMetrics, Detection], ...] = field(default=())
    error: str = ""


def evaluate_case(files: CaseFiles) -> CaseResult:
    """Return the metrics of a case, or what is wrong with it."""
    try:
        return _evaluate(files)
    except AutosegnetError as error:
        return CaseResult(error=str(error))


def _evaluate(files: CaseFiles) -> CaseResult:
    options = files.options
    truth = read_as_lesions(files.truth, options)
    spacing_mm = truth.GetSpacing()[::-1]
    g = view_voxels(truth).astype(bool)
    steps, result = [], CaseResult()
    for path in files.predictions:
        p = _read_prediction(path, truth, files).astype(bool)
        box = find_occupied_box(p | g)
        detection = match_lesions(p[box], g[box], thresholds=options.iou)
        metrics = measure_masks(p, g, spacing_mm=spacing_mm, convention=options.convention)
        steps.append((metrics, detection))
        if path is files.predictions[-1]:
            surface = measure_surfaces(
                np.pad(p[box], 1), np.pad(g[box], 1), spacing_mm=spacing_mm, tolerance_mm=options.nsd_tolerance_mm
            )
            uptake = None
            if files.pet is not None:
                pet = _read_pet(files.pet, truth, options)
                uptake = measure_uptake(p, g, pet, spacing_mm=spacing_mm)
            result = CaseResult(metrics, detection, surface, uptake, tuple(steps))
    return result


def _read_prediction(path: Path, truth: sitk.Image, files: CaseFiles) -> Any:
    prediction = read_as_lesions(path, files.options)
    try:
        return view_voxels(put_on_grid_of(prediction, truth))
    except InputError as error:
        raise InputError(f"{error} ({format_path(path)}, {format_path(files.truth)})") from error


def _read_pet(path: Path, truth: sitk.Image, options: EvaluationOptions) -> Any:
    from autosegnet.io import read_image

    pet = read_image(path, form=options.nifti_form, air=options.air)
    check_suv(pet)
    if not is_same_set(Grid.from_image(pet), Grid.from_image(truth)):
        raise InputError(
            f"the PET {format_path(path)} is not on the grid of the truth; expected the same voxel centres"
        )
    return view_voxels(
        resample_labels(pet, Grid.from_image(truth))
    )  # every voxel centre is one of the PET's: nothing is changed


def read_as_lesions(path: Path, options: EvaluationOptions) -> sitk.Image:
    """Return the lesions of a mask as 0 and 1.

    Args:
        path: of the mask.
        options: which label is lesion, and how to read the file.

    Raises:
        InputError: it cannot be read, or holds other values than whole numbers; without a label, other than 0 and 1.
    """
    from autosegnet.geometry import make_image
    from autosegnet.io import read_image, read_mask

    label = options.label
    if not label:
        advice = "choose with --label N, or --label any for all but 0"
        return read_mask(path, form=options.nifti_form, air=options.air, advice=advice)
    image = read_image(path, form=options.nifti_form, air=options.air)
    values = view_voxels(image)
    if values.dtype.kind == "f" and not np.array_equal(values, np.rint(values)):
        raise InputError(f"{format_path(path)} holds values that are not whole numbers; expected labels")
    inside = values != 0 if label == ANY_LABEL else values == int(label)
    return make_image(inside.astype(np.uint8), Grid.from_image(image))


def list_columns(options: EvaluationOptions, *, with_pet: bool, steps: int) -> list[str]:
    """Return the columns of the table after the name of the case."""
    rules = ["overlap", *(f"iou_{threshold:g}" for threshold in options.iou)]
    names = [*CaseMetrics.__slots__]
    names += [f"{figure}_{rule}" for rule in rules for figure in ("sensitivity", "precision", "f1")]
    names += ["dmm", "pq", "sq", "rq", "nsd", "hd95_mm", "volume_error_ml"]
    if with_pet:
        names += [*UptakeFigures.__slots__, "tlg_error_g", "suv_max_error_g_per_ml"]
    if steps > 1:
        names += ["auc_dsc", "auc_fpv_ml", "auc_fnv_ml", "auc_f1_overlap", "auc_dmm"]
    return [*names, "error"]


def make_row(result: CaseResult, columns: Sequence[str]) -> dict[str, Any]:
    """Return a case's row; NaN where nothing was measured."""
    row: dict[str, Any] = dict.fromkeys(columns, float("nan"))
    row["error"] = result.error
    if result.metrics is None or result.detection is None or result.surface is None:
        return row
    row |= asdict(result.metrics) | asdict(result.surface)
    row["volume_error_ml"] = result.metrics.prediction_volume_ml - result.metrics.truth_volume_ml
    matchings = {"overlap": result.detection.overlap}
    matchings |= {f"iou_{threshold:g}": matching for threshold, matching in result.detection.iou.items()}
    for rule, matching in matchings.items():
        row |= {f"{figure}_{rule}": getattr(matching, figure) for figure in ("sensitivity", "precision", "f1")}
    row |= {name: getattr(result.detection, name) for name in ("dmm", "pq", "sq", "rq")}
    if result.uptake is not None:
        row |= asdict(result.uptake)
        row["tlg_error_g"] = result.uptake.prediction_tlg_g - result.uptake.truth_tlg_g
        row["suv_max_error_g_per_ml"] = result.uptake.prediction_suv_max_g_per_ml - result.uptake.truth_suv_max_g_per_ml
    if len(result.steps) > 1:
        row["auc_dsc"] = find_auc(metrics.dsc for metrics, _ in result.steps)
        row["auc_fpv_ml"] = find_auc(metrics.fpv_ml for metrics, _ in result.steps)
        row["auc_fnv_ml"] = find_auc(metrics.fnv_ml for metrics, _ in result.steps)
        row["auc_f1_overlap"] = find_auc(found.overlap.f1 for _, found in result.steps)
        row["auc_dmm"] = find_auc(found.dmm for _, found in result.steps)
    return row
