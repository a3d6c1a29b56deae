"""Ask whether a CT lies where the PET's patient lies, or would fit better mirrored, turned or shifted.

The CT is in the right place if its HU predict the SUV of the same voxels best (mutual information). A fixed threshold
would not do, because mutual information depends on the patient, the noise and the part of the body. So the CT's place
is compared with rival places, on a coarse grid along the CT's own axes.

What was measured on real and simulated studies: docs/evidence/image-checks.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from autosegnet.geometry import Grid, find_occupied_box, resample, view_voxels

if TYPE_CHECKING:
    import SimpleITK as sitk

Codes = NDArray[np.uint16]
Axis = int

STEP_MM = 8.0  # averages the noise of the PET, and still tells left from right in a thigh
SHIFTS_MM = (24, 48, 96)  # breathing and small movements stay below
_LEAST_VOXELS = 4000  # two litres; with less, the result is chance
_AROUND = 4  # voxels around the patient that also count: without air there is no outline to compare
_OUTSIDE = -1e6  # marks what no image covers; as HU it counts as air
_SUV_EDGES = 0.05 * 2.0 ** (np.arange(20) / 2)
# Air, lung, fat, soft tissue in steps, bone.
_HU_EDGES = np.array([-900, -700, -500, -300, -150, -80, -30, 0, 30, 60, 100, 200, 400, 800], np.float32)
_HU_CODES = len(_HU_EDGES) + 1
_BODY_SUV, _BODY_HU = 0.2, -500.0


@dataclass(frozen=True, slots=True)
class Rival:
    """The other place that fits best.

    Args:
        place: what would move the CT there, in words.
        gain: mutual information there, relative to that of the CT as it is.
        is_turned: whether it is mirrored or turned, not only shifted.
    """

    place: str
    gain: float
    is_turned: bool


def find_best_rival(pet: sitk.Image, ct: sitk.Image) -> Rival | None:
    """Return the best of all mirrored, turned and shifted places of a CT; None if there is too little to compare.

    Args:
        pet: in SUV, averaged to voxels of about 8 mm.
        ct: in HU, on any grid.
    """
    grid = _lay_grid(pet, ct)
    suv, hu = (view_voxels(resample(image, grid, outside=_OUTSIDE)) for image in (pet, ct))
    seen = suv > _OUTSIDE / 2
    box = _widen(find_occupied_box(seen & ((suv > _BODY_SUV) | (hu > _BODY_HU))), suv.shape)
    counted = seen[box]
    if np.count_nonzero(counted) < _LEAST_VOXELS:
        return None
    pet_codes = (np.digitize(suv[box][counted], _SUV_EDGES) * _HU_CODES).astype(np.uint16)
    ct_codes = np.digitize(hu, _HU_EDGES).astype(np.uint16)
    own = _compute_mutual_information(pet_codes, ct_codes[box][counted])
    if own <= 0:
        return None
    rivals = (
        Rival(place, _compute_mutual_information(pet_codes, codes[box][counted]) / own, is_turned)
        for place, codes, is_turned in _list_rivals(ct_codes, np.reshape(grid.direction, (3, 3)))
    )
    return max(rivals, key=lambda rival: rival.gain)


def _lay_grid(pet: sitk.Image, ct: sitk.Image) -> Grid:
    """Return the coarse grid along the CT's axes that holds both; the CT's centre is the centre of its middle voxel."""
    own, other = Grid.from_image(ct), Grid.from_image(pet)
    axes = np.reshape(own.direction, (3, 3))
    x, y, z = ((n - 1) / 2 for n in own.size)
    middle = np.array(own.find_position_mm((x, y, z)))
    corners = [other.find_position_mm((i, j, k)) for i, j, k in product(*[(0, n - 1) for n in other.size])]
    reach_mm = np.abs((np.array(corners) - middle) @ axes).max(axis=0)
    reach_mm = np.maximum(reach_mm, np.array(own.size) * own.spacing_mm / 2)
    half = np.ceil(reach_mm / STEP_MM).astype(int)
    across, deep, high = (2 * half + 1).tolist()
    left, back, top = (middle - axes @ (half * STEP_MM)).tolist()
    return Grid((across, deep, high), (STEP_MM, STEP_MM, STEP_MM), (left, back, top), own.direction)


def _widen(box: tuple[slice, ...], shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(
        slice(max(0, part.start - _AROUND), min(count, part.stop + _AROUND))
        for part, count in zip(box, shape, strict=True)
    )


def _compute_mutual_information(pet_codes: Codes, ct_codes: Codes) -> float:
    """Return the mutual information of two lists of codes in nats."""
    counts = np.bincount(pet_codes + ct_codes, minlength=(len(_SUV_EDGES) + 1) * _HU_CODES)
    joint = counts.reshape(-1, _HU_CODES) / counts.sum()
    return _compute_entropy(joint.sum(axis=0)) + _compute_entropy(joint.sum(axis=1)) - _compute_entropy(joint)


def _compute_entropy(shares: NDArray[np.float64]) -> float:
    present = shares[shares > 0]
    return float(-np.sum(present * np.log(present)))


def _list_rivals(codes: Codes, axes: NDArray[np.float64]) -> Iterator[tuple[str, Codes, bool]]:
    """Yield every rival: its place in words, the CT's codes there, and whether it is mirrored or turned.

    Args:
        codes: (z, y, x) of the CT's grid.
        axes: directions of the grid as columns (x, y, z), LPS.
    """
    names = [_name_axis(axes[:, 2 - axis]) for axis in range(3)]
    for count in (1, 2, 3):
        for chosen in combinations(range(3), count):
            place = "mirrored " + " and ".join(names[axis] for axis in chosen)
            yield place, np.flip(codes, chosen), True
    for first, second in combinations(range(3), 2):
        for quarter in (1, 3):
            place = f"turned by {90 * quarter} degrees, from {names[first]} to {names[second]}"
            yield place, _fit(np.rot90(codes, quarter, (first, second)), codes.shape), True
    for axis, shift_mm, sign in product(range(3), SHIFTS_MM, (1, -1)):
        yield f"shifted by {shift_mm} mm {names[axis]}", _shift(codes, axis, sign * round(shift_mm / STEP_MM)), False


def _name_axis(direction: NDArray[np.float64]) -> str:
    return ("left to right", "front to back", "head to feet")[int(np.argmax(np.abs(direction)))]


def _fit(codes: Codes, shape: tuple[int, ...]) -> Codes:
    """Return codes cut or padded with air to a shape; the middle stays in the middle."""
    fitted = np.zeros(shape, codes.dtype)
    shared = [min(here, there) for here, there in zip(codes.shape, shape, strict=True)]
    into, out_of = (
        tuple(slice((n - s) // 2, (n - s) // 2 + s) for n, s in zip(size, shared, strict=True))
        for size in (shape, codes.shape)
    )
    fitted[into] = codes[out_of]
    return fitted


def _shift(codes: Codes, axis: Axis, steps: int) -> Codes:
    """Return codes moved along an axis; what becomes free is air."""
    shifted = np.zeros_like(codes)
    count = codes.shape[axis]
    steps = max(-count, min(count, steps))
    into, out_of = [slice(None)] * 3, [slice(None)] * 3
    into[axis] = slice(max(0, steps), min(count, count + steps))
    out_of[axis] = slice(max(0, -steps), min(count, count - steps))
    shifted[tuple(into)] = codes[tuple(out_of)]
    return shifted
