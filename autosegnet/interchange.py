"""Images of other libraries, as SimpleITK images and back: nibabel images, and arrays with an affine.

Convention: arrays of nibabel and of `(array, affine)` are (x, y, z), and their affine maps voxel indices to RAS in mm.
SimpleITK's world is LPS: x and y change sign.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autosegnet.errors import InputError, UsageError
from autosegnet.geometry import Grid, make_image, view_voxels

if TYPE_CHECKING:
    import SimpleITK as sitk

_LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0])
# Axes are at right angles to within this cosine: NIfTI stores affines in float32, and a real shear is larger.
_LARGEST_COSINE = 1e-3

FromSitk = Callable[["sitk.Image"], Any]
"""Turns an image on the input's grid into the kind of the input."""


def to_sitk(image: Any, name: str) -> tuple[sitk.Image, FromSitk]:
    """Return an image as SimpleITK's, and the function that turns another image on its grid into the same kind.

    Args:
        image: SimpleITK image, nibabel image, or (array, affine).
        name: "PET" or "CT", for messages.

    Raises:
        InputError: not three-dimensional, not real numbers, not finite, or an affine that is singular or sheared.
        UsageError: another kind of object.
    """
    import SimpleITK as sitk

    if isinstance(image, sitk.Image):
        _check_voxels(view_voxels(image), name, image.GetDimension())
        return image, lambda other: other
    if isinstance(image, tuple) and len(image) == 2:
        array, affine = np.asarray(image[0]), np.asarray(image[1], dtype=float)
        return _from_array(array, affine, name), lambda other: (_to_array(other), affine)
    if hasattr(image, "affine") and hasattr(image, "dataobj"):
        affine = np.asarray(image.affine, dtype=float)
        return _from_array(np.asanyarray(image.dataobj), affine, name), lambda other: _to_nibabel(other, affine)
    raise UsageError(
        f"the {name} is a {type(image).__name__}; "
        "expected a path, a SimpleITK image, a nibabel image or a tuple (array, affine)"
    )


def _from_array(array: NDArray[Any], affine: NDArray[np.float64], name: str) -> sitk.Image:
    _check_voxels(array, name, array.ndim)
    grid = _make_grid(array.shape, affine, name)
    dtype = np.float32 if np.issubdtype(array.dtype, np.floating) else array.dtype.newbyteorder("=")
    return make_image(np.ascontiguousarray(array.T, dtype=dtype), grid)


def _check_voxels(array: NDArray[Any], name: str, dimensions: int) -> None:
    if dimensions != 3 or array.ndim != 3 or 0 in array.shape:
        raise InputError(f"the {name} has the shape {array.shape}; expected three dimensions of one value per voxel")
    if not np.issubdtype(array.dtype, np.number) or np.issubdtype(array.dtype, np.complexfloating):
        raise InputError(f"the {name} has values of type {array.dtype}; expected real numbers")
    if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
        raise InputError(f"the {name} has voxels that are NaN or infinite; expected SUV in a PET, HU in a CT")


def _make_grid(shape: tuple[int, ...], affine: NDArray[np.float64], name: str) -> Grid:
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        raise InputError(f"the affine of the {name} has the shape {affine.shape}; expected 4 x 4 finite numbers")
    spacing_mm = np.linalg.norm(affine[:3, :3], axis=0)
    if not (spacing_mm > 0).all():
        raise InputError(f"the affine of the {name} is singular; expected three axes with a spacing above 0 mm")
    # In the same order as the NIfTI reader, so that results are equal bit for bit.
    direction = _LPS_FROM_RAS @ (affine[:3, :3] / spacing_mm)
    cosines = np.abs(direction.T @ direction - np.eye(3))
    if cosines.max() > _LARGEST_COSINE:
        raise InputError(
            f"the affine of the {name} is sheared: the cosine between two axes is {cosines.max():.3g}; "
            "expected axes at right angles; resample the image first"
        )
    x, y, z = shape
    origin = _LPS_FROM_RAS @ affine[:3, 3]
    return Grid((x, y, z), _take_triple(spacing_mm), _take_triple(origin), tuple(direction.ravel().tolist()))


def _take_triple(values: NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = values.tolist()
    return x, y, z


def _to_array(image: sitk.Image) -> NDArray[Any]:
    return np.array(view_voxels(image).T)


def _to_nibabel(image: sitk.Image, affine: NDArray[np.float64]) -> Any:
    import nibabel

    return nibabel.Nifti1Image(_to_array(image), affine)
