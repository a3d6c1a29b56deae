"""Choose the affine of a NIfTI header: its sform, its qform, or either if they say the same.

A header can state the grid twice. The sform is a matrix; the qform is a quaternion of which only three numbers are
stored, in float32. If the rotation is near half a turn, as it is for every image that was LPS before it was NIfTI, the
fourth number loses half of its digits: decoded, the qform of an image may lie 4e-4 rad from the sform that was written
with it. So the stored numbers are compared, not what they decode to.
"""

import itertools
import logging
import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from autosegnet.errors import InputError, format_path

log = logging.getLogger(__name__)

Form = Literal["both", "sform", "qform"]
"""Which form to believe: "both" takes the sform and refuses a qform that differs."""

# sform and qform may place the far corner this far apart, in voxels. From half a voxel on, the two place a voxel
# differently.
FORMS_TOLERANCE_VOXELS = 0.25
# Of a stored quaternion against the sform's: twice the step of float32 at 1. Files of SimpleITK and nibabel, tilted
# by 0.001 to 180 degrees, lie within 6e-8 (test_nifti.py).
_QUATERNION_TOLERANCE = 2.4e-7
# pixdim and the length of the sform's columns state the same number; nibabel takes one and ITK the other. 1e-4 is a
# tenth of a voxel after a thousand voxels, and a thousand times the rounding of float32.
PIXDIM_TOLERANCE = 1e-4
# How far a stored quaternion may be longer than 1: other writers round coarser than float32.
_LENGTH_TOLERANCE = 2e-5
# nifti1.h, NIFTI_XFORM_*: unknown, scanner, aligned, Talairach, MNI 152, other template.
_XFORM_CODES = range(6)


def choose_affine(fields: Any, size: tuple[int, int, int], path: Path, form: Form) -> NDArray[np.float64]:
    """Return the matrix from voxel index to RAS mm, (4, 4).

    Args:
        fields: nibabel's header.
        size: voxels along (x, y, z).
        path: for messages.
        form: which one counts if both are set.

    Raises:
        InputError: none of them is set or can be decoded, or both are, contradict each other, and `form` is "both".
    """
    sform_code, qform_code = int(fields["sform_code"]), int(fields["qform_code"])
    if not {sform_code, qform_code} <= set(_XFORM_CODES) or sform_code == qform_code == 0:
        raise InputError(
            f"sform_code is {sform_code} and qform_code {qform_code}, expected one from 1 to 5 (a known orientation), "
            f"in {format_path(path)}"
        )
    sform = np.asarray(fields.get_sform(), np.float64)
    if qform_code == 0 or (sform_code != 0 and form == "sform"):
        return sform
    qfac = _read_qfac(fields, path)
    quaternion = _read_quaternion(fields)
    if quaternion is None:
        if sform_code == 0 or form == "qform":
            raise InputError(f"the qform's quaternion is not a rotation, expected one, in {format_path(path)}")
        log.warning("the qform of a NIfTI image is not a rotation; its sform is used")
        return sform
    qform = _decode_qform(fields, quaternion, qfac)
    if sform_code == 0 or form == "qform":
        return qform
    apart = measure_voxels_apart(sform, qform, size)
    if not apart <= FORMS_TOLERANCE_VOXELS and not _is_stored_alike(sform, qform, quaternion[1:], qfac):
        raise InputError(
            f"sform and qform place a corner {apart:.3g} voxels apart, expected at most {FORMS_TOLERANCE_VOXELS:g}, "
            f"in {format_path(path)}; write the image again with the right one in both, "
            "or say which one is right: --nifti-form sform or qform"
        )
    return sform


def measure_voxels_apart(first: NDArray[np.float64], second: NDArray[np.float64], size: tuple[int, ...]) -> float:
    """Return how far two affines place the corner on which they differ most, in voxels of the smallest spacing."""
    corners = np.array([(*corner, 1) for corner in itertools.product(*((0, count - 1) for count in size))]).T
    away = np.linalg.norm(((first - second) @ corners)[:3], axis=0).max()
    smallest = np.linalg.norm(second[:3, :3], axis=0).min()
    return float(away / smallest) if smallest > 0 else math.inf


def _read_qfac(fields: Any, path: Path) -> float:
    """Return 1 or -1, the handedness of the qform; 0 means 1 (nifti1.h, "METHOD 2")."""
    qfac = float(fields["pixdim"][0])
    if qfac not in {-1.0, 0.0, 1.0}:
        raise InputError(f"qfac (pixdim[0]) is {qfac:g}, expected 1 or -1, in {format_path(path)}")
    return qfac or 1.0


def _read_quaternion(fields: Any) -> NDArray[np.float64] | None:
    """Return the unit quaternion (a, b, c, d) of the qform; None if the stored numbers cannot be one."""
    stored = np.array([float(fields[f"quatern_{name}"]) for name in "bcd"])
    length = float(np.linalg.norm(stored))
    if not length <= 1 + _LENGTH_TOLERANCE:
        return None
    if length >= 1:
        return np.array([0.0, *(stored / length)])
    return np.array([math.sqrt(1 - length**2), *stored])


def _decode_qform(fields: Any, quaternion: NDArray[np.float64], qfac: float) -> NDArray[np.float64]:
    """Return the qform as a matrix. Source: nifti1.h, "METHOD 2"."""
    from nibabel.quaternions import quat2mat

    steps = np.array([*fields["pixdim"][1:3], qfac * fields["pixdim"][3]], np.float64)
    affine = np.eye(4)
    affine[:3, :3] = quat2mat(quaternion) * steps
    affine[:3, 3] = [float(fields[f"qoffset_{name}"]) for name in "xyz"]
    return affine


def _is_stored_alike(
    sform: NDArray[np.float64], qform: NDArray[np.float64], stored: NDArray[np.float64], qfac: float
) -> bool:
    """Return whether the sform, written as a qform, gives the numbers that the qform stores."""
    from nibabel.quaternions import mat2quat

    spacing_mm = np.linalg.norm(sform[:3, :3], axis=0)
    if not (np.isfinite(sform).all() and np.isfinite(qform).all() and spacing_mm.all()):
        return False
    if np.abs(np.linalg.norm(qform[:3, :3], axis=0) / spacing_mm - 1).max() > PIXDIM_TOLERANCE:
        return False
    if np.linalg.norm(sform[:3, 3] - qform[:3, 3]) > FORMS_TOLERANCE_VOXELS * spacing_mm.min():
        return False
    axes = sform[:3, :3] / spacing_mm
    if np.linalg.det(axes) * qfac <= 0:
        return False
    axes[:, 2] *= qfac
    own = np.asarray(mat2quat(axes))
    # A quaternion and its negative are one rotation; with a = 0, either may be stored.
    signs = (1, -1) if own[0] < math.sqrt(_QUATERNION_TOLERANCE) else (1,)
    return any(bool(np.abs(sign * own[1:] - stored).max() <= _QUATERNION_TOLERANCE) for sign in signs)
