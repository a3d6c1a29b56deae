"""Registers two CTs of one patient: a shift, a rigid motion, then a smooth deformation on a grid of 3 cm.

The rigid motion maximises mutual information (Mattes et al. 2003, doi:10.1109/TMI.2003.809072), which contrast medium
does not mislead. The deformation follows demons' forces (Thirion 1998, doi:10.1016/S1361-8415(98)80022-4) on images cut
at 300 HU; its field is smoothed after every step, and kept as a cubic B-spline. Bodies only: the tables do not lead.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

import numpy as np

from autosegnet.comparison.body_image import AIR, COARSE_MM, BodyImage, smooth
from autosegnet.comparison.first_shift import find_shift
from autosegnet.comparison.warp import Warp, make_warp
from autosegnet.geometry import Grid, make_image, make_upright_grid, resample, view_voxels

if TYPE_CHECKING:
    import SimpleITK as sitk

log = logging.getLogger(__name__)

SPLINE_MM: Final = 30.0
"""Distance of the B-spline's knots."""

# Chosen on simulated pairs that no reported figure is from (docs/evidence/comparison.md).
_LEVELS: Final = ((16.0, 60), (COARSE_MM, 40))  # spacing in mm, steps
_SMOOTHING_VOXELS: Final = 2.0  # SD of the Gaussian after every step; with 1.5, the field nearly folds
_AROUND_KNOTS = 2
_SEED = 7


def register(followup: BodyImage, baseline: BodyImage) -> Warp:
    """Return where places of the follow-up lie in the baseline."""
    begin = time.monotonic()
    shift, _ = find_shift(followup.hu, baseline.hu)
    rigid = move_rigidly(followup.hu, baseline.hu, shift)
    moved = time.monotonic()
    field = deform(followup.hu, baseline.hu, rigid)
    warp = make_warp(rigid, fit_spline(field), Grid.from_image(followup.hu))
    log.info("registered: rigid in %.1f s, deformable in %.1f s", moved - begin, time.monotonic() - moved)
    return warp


def move_rigidly(fixed: sitk.Image, moving: sitk.Image, shift_mm: np.ndarray) -> sitk.Transform:
    """Return the rigid motion from fixed to moving positions, begun at a shift.

    Args:
        fixed, moving: as `BodyImage.hu`.
        shift_mm: (3,), to be added to fixed positions.
    """
    import SimpleITK as sitk

    inside = view_voxels(fixed) > AIR + 1
    middle = np.argwhere(inside).mean(axis=0)[::-1]
    start = sitk.Euler3DTransform()
    start.SetCenter(Grid.from_image(fixed).find_position_mm((float(middle[0]), float(middle[1]), float(middle[2]))))
    start.SetTranslation(shift_mm.tolist())
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(0.25, _SEED)
    method.SetMetricFixedMask(sitk.BinaryDilate(make_image(inside.astype(np.uint8), Grid.from_image(fixed)), [2, 2, 2]))
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=2.0, minStep=0.02, numberOfIterations=100, relaxationFactor=0.6
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([2, 1])
    method.SetSmoothingSigmasPerLevel([8.0, 0.0])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetInitialTransform(start, inPlace=True)
    method.Execute(fixed, moving)
    return start


def deform(fixed: sitk.Image, moving: sitk.Image, rigid: sitk.Transform) -> sitk.Image:
    """Return the displacement, in mm, that leads from fixed positions to rigidly moved ones.

    What only one of both images covers pulls at nothing: there, the moving image is given the fixed one's values.

    Args:
        fixed, moving: as `BodyImage.hu`.
        rigid: from fixed to moving positions.
    """
    import SimpleITK as sitk

    field: sitk.Image | None = None
    for spacing_mm, steps in _LEVELS:
        grid = make_upright_grid(Grid.from_image(fixed), spacing_mm=spacing_mm)
        target = resample(smooth(fixed, spacing_mm), grid, outside=AIR)
        moved = sitk.Resample(smooth(moving, spacing_mm), target, rigid, sitk.sitkLinear, AIR)
        covered = sitk.Resample(moving * 0.0 + 1.0, target, rigid, sitk.sitkLinear, 0.0)
        moved = sitk.Mask(moved, covered > 0.5) + sitk.Mask(target, covered <= 0.5)
        demons = sitk.FastSymmetricForcesDemonsRegistrationFilter()
        demons.SetNumberOfIterations(steps)
        demons.SetSmoothDisplacementField(True)
        demons.SetStandardDeviations(_SMOOTHING_VOXELS)
        demons.SetSmoothUpdateField(True)
        demons.SetUpdateFieldStandardDeviations(1.0)
        field = demons.Execute(target, moved) if field is None else demons.Execute(
            target, moved, sitk.Resample(field, target)
        )  # fmt: skip
    assert field is not None
    return field


def fit_spline(field: sitk.Image) -> sitk.Transform:
    """Return the cubic B-spline through a displacement field's values at its knots, `SPLINE_MM` apart.

    Args:
        field: upright, (x, y, z) displacement in mm.
    """
    import SimpleITK as sitk
    from scipy import ndimage

    grid = Grid.from_image(field)
    extent_mm = np.array(grid.size) * grid.spacing_mm
    x, y, z = (int(n) for n in np.ceil(extent_mm / SPLINE_MM).astype(int) + 2 * _AROUND_KNOTS)
    origin = np.array(grid.origin_mm) - _AROUND_KNOTS * SPLINE_MM
    first, second, third = (float(value) for value in origin)
    knots = Grid((x, y, z), (SPLINE_MM,) * 3, (first, second, third), grid.direction)
    smoothed = view_voxels(sitk.SmoothingRecursiveGaussian(field, SPLINE_MM / 3))
    axes = [
        np.clip((origin[k] + SPLINE_MM * np.arange(n) - grid.origin_mm[k]) / grid.spacing_mm[k], 0, grid.size[k] - 1)
        for k, n in enumerate((x, y, z))
    ]
    at = np.meshgrid(axes[2], axes[1], axes[0], indexing="ij")
    coefficients = [
        make_image(
            ndimage.spline_filter(ndimage.map_coordinates(smoothed[..., k], at, order=1), 3, mode="mirror"), knots
        )
        for k in range(3)
    ]
    return sitk.BSplineTransform(coefficients, 3)
