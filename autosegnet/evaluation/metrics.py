"""DSC, FPV and FNV of one case, by equations (3) to (5) of section 2.6 of the paper.

    DSC = 2 |G ∩ P| / (|G| + |P|)        FPV = v Σ |P_l| δ(|P_l ∩ G|)        FNV = v Σ |G_l| δ(|G_l ∩ P|)

G, P: truth and prediction; G_l, P_l: their lesions, 18-connected (`autosegnet.lesions`); v: volume of a voxel in ml;
δ(0) = 1, else 0. Voxels are counted as integers and multiplied by v once at the end, as the equations are written:
the sums are exact, and the only roundings are those of v, of the last product and of the quotient.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from autosegnet.errors import InputError
from autosegnet.geometry import Grid, find_occupied_box, is_same_set, resample_labels, view_voxels
from autosegnet.lesions import compute_voxel_volume_ml, count_lesion_voxels, label_lesions

if TYPE_CHECKING:
    import SimpleITK

Convention = Literal["autopet2", "autopet3", "autopet5", "nnunet", "valscript"]
"""Score of a case without lesions in its truth.

autopet2: DSC 0 whatever the prediction, FNV 0 (leaderboard of autoPET II).
autopet3: DSC and FNV are NaN, so means are over the positives (autoPET III).
autopet5: DSC is 1 if the prediction is empty, too, and else 0; FNV is NaN (autoPET V, interactive_loop.py, metrics.py).
nnunet: DSC is NaN if the prediction is also empty, else 0 (nnunetv2/evaluation/evaluate_predictions.py); FNV 0.
valscript: the same, from 2 x 0 / 0 (github.com/lab-midas/autoPET, val_script.py); FNV 0.
FPV follows equation (4) in all: 0 for an empty prediction, otherwise all that was predicted.
"""
CONVENTIONS: tuple[Convention, ...] = get_args(Convention)

# Largest shift of a voxel centre between two grids taken as the same. A text header with six significant digits
# moves the far end of 400 voxels of 2.03642 mm by 0.002 mm, NIfTI's float32 by less: five times that passes. It is
# 1/200 of a 2 mm voxel, so that no mask that was made on another grid does.
GRID_TOLERANCE_MM = 0.01


@dataclass(frozen=True, slots=True)
class CaseMetrics:
    """Hold the scores and counts of one case; volumes in ml."""

    dsc: float
    fpv_ml: float
    fnv_ml: float
    truth_volume_ml: float
    prediction_volume_ml: float
    n_truth_lesions: int
    n_predicted_lesions: int
    n_missed: int
    """Lesions of the truth that touch no prediction."""
    n_false: int
    """Lesions of the prediction that touch no truth."""

    @property
    def is_positive(self) -> bool:
        """Return whether the truth holds a lesion."""
        return self.n_truth_lesions > 0


def measure_pair(
    prediction: "SimpleITK.Image", truth: "SimpleITK.Image", *, convention: Convention = "autopet2"
) -> CaseMetrics:
    """Return the metrics of one case.

    Args:
        prediction: mask as `autosegnet.io.read_mask` returns it.
        truth: mask on the same grid.
        convention: what a case without lesions scores.

    Raises:
        InputError: the grids differ.
    """
    return measure_masks(
        view_voxels(put_on_grid_of(prediction, truth)),
        view_voxels(truth),
        spacing_mm=truth.GetSpacing()[::-1],
        convention=convention,
    )


def measure_masks(
    prediction: NDArray[Any], truth: NDArray[Any], *, spacing_mm: tuple[float, ...], convention: Convention = "autopet2"
) -> CaseMetrics:
    """Return the metrics of one case, from arrays.

    Args:
        prediction: three axes in any order; bool or integer, lesion if not 0.
        truth: the same, of the same shape.
        spacing_mm: of the voxels, in the arrays' axis order.
        convention: what a case without lesions scores.
    """
    assert prediction.shape == truth.shape, "prediction and truth have one shape"
    assert convention in CONVENTIONS, f"convention is one of {CONVENTIONS}"
    p, g = _as_bool(prediction), _as_bool(truth)
    box = find_occupied_box(p | g)
    p, g = p[box], g[box]
    n_predicted, n_false, voxels_false = _count_untouched(p, g)
    n_truth, n_missed, voxels_missed = _count_untouched(g, p)
    voxels_p, voxels_g = int(np.count_nonzero(p)), int(np.count_nonzero(g))
    v = compute_voxel_volume_ml(spacing_mm)
    healthy_dsc, healthy_fnv = _score_healthy(convention, is_empty=voxels_p == 0)
    return CaseMetrics(
        dsc=2 * int(np.count_nonzero(p & g)) / (voxels_g + voxels_p) if voxels_g else healthy_dsc,
        fpv_ml=v * voxels_false,
        fnv_ml=v * voxels_missed if voxels_g else healthy_fnv,
        truth_volume_ml=v * voxels_g,
        prediction_volume_ml=v * voxels_p,
        n_truth_lesions=n_truth,
        n_predicted_lesions=n_predicted,
        n_missed=n_missed,
        n_false=n_false,
    )


def _score_healthy(convention: Convention, *, is_empty: bool) -> tuple[float, float]:
    """Return DSC and FNV of a case without lesions in its truth."""
    nan = float("nan")
    if convention == "autopet3":
        return nan, nan
    if convention == "autopet5":
        return float(is_empty), nan
    if convention in ("nnunet", "valscript") and is_empty:
        return nan, 0.0
    return 0.0, 0.0


def _as_bool(mask: NDArray[Any]) -> NDArray[np.bool_]:
    assert mask.ndim == 3, "a mask has three axes"
    assert mask.dtype.kind in "biu", "a mask is not a probability"
    return mask.astype(bool, copy=False)


def _count_untouched(mask: NDArray[np.bool_], other: NDArray[np.bool_]) -> tuple[int, int, int]:
    """Count a mask's lesions, those that share no voxel with the other mask, and the voxels of those."""
    labels, n = label_lesions(mask)
    untouched = np.ones(n + 1, bool)
    untouched[labels[other]] = False
    return n, int(untouched[1:].sum()), int(count_lesion_voxels(labels, n)[untouched[1:]].sum())


def put_on_grid_of(prediction: "SimpleITK.Image", truth: "SimpleITK.Image") -> "SimpleITK.Image":
    """Return a prediction in the order of axes in which the truth is stored.

    Raises:
        InputError: the two have other voxel centres
    """
    own, wanted = Grid.from_image(prediction), Grid.from_image(truth)
    same_order = own.size == wanted.size and np.allclose(own.direction, wanted.direction, atol=0.1)
    tolerance = GRID_TOLERANCE_MM / min(wanted.spacing_mm)
    if not same_order and np.isfinite(own.origin_mm).all() and is_same_set(own, wanted, tolerance=tolerance):
        return resample_labels(prediction, wanted)
    _check_same_grid(prediction, truth)
    return prediction


def _check_same_grid(prediction: "SimpleITK.Image", truth: "SimpleITK.Image") -> None:
    """Raise InputError unless the voxel centres of both masks lie at the same places."""
    size = np.array(truth.GetSize())
    if prediction.GetSize() != truth.GetSize():
        raise InputError(
            f"prediction has {_format_size(prediction.GetSize())} voxels, truth {_format_size(truth.GetSize())}; "
            "expected the same grid"
        )
    spacing = _subtract_exactly(prediction.GetSpacing(), truth.GetSpacing())
    origin = _subtract_exactly(prediction.GetOrigin(), truth.GetOrigin())
    direction = _subtract_exactly(prediction.GetDirection(), truth.GetDirection())
    extent_mm = float(((size - 1) * truth.GetSpacing()).max())
    found = {
        "spacing (mm)": (spacing, spacing * (int(size.max()) - 1)),
        "origin (mm)": (origin, origin),
        "direction (cosine)": (direction, direction * extent_mm),
    }
    wrong = [f"{name} by {by:.3g}" for name, (by, shift_mm) in found.items() if not shift_mm <= GRID_TOLERANCE_MM]
    if wrong:
        raise InputError(
            f"prediction and truth differ in {', '.join(wrong)}; expected the same grid, "
            f"voxel centres within {GRID_TOLERANCE_MM} mm"
        )


def _subtract_exactly(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    return float(np.abs(np.subtract(a, b)).max())


def _format_size(size: tuple[int, ...]) -> str:
    return "x".join(map(str, size))
