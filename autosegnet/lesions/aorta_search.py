"""Find the descending aorta in a CT without an organ map: a tube of even tissue beside the spine, towards the left.

In every slice that shows both lungs, a disc is looked for whose inside is even soft tissue and most of whose rim is
something else (lung, fat, bone). It lies to the left of the spine's middle, from 25 mm behind its front to 34 mm
before it. Of all chains of discs that move by one voxel at most from slice to slice, the one with the clearest rims is
the aorta. It is believed if 42 mm of it are clear and straight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from autosegnet.geometry import Grid, resample, view_voxels
from autosegnet.lesions.landmarks import LANDMARK_SPACING_MM, Landmarks
from autosegnet.lesions.position import Position

if TYPE_CHECKING:
    import SimpleITK as sitk

_SPACING_MM: Final = 3.0
_HALF_WIDTH_MM, _MORE_TO_THE_LEFT_MM = 45.0, 25.0  # of the box, around the midline of the lungs
_LEAST_LUNG_MM2 = 2500.0  # of each lung, in a slice of the chest
_LEVELS = (0.10, 0.65)  # from the lowest slice of the chest to the highest: above lies the arch
_BONE_HU = 170.0
_SPINE_HALF_WIDTH_MM = 30.0
_SPINE_FRONT_MM = 15.0  # a vertebra is wider than this; a spur or a rib is not
_POOLED_MM = 15.0  # above and below: discs between vertebrae show no bone
_RADII_MM = (8.0, 10.0, 12.0, 14.0, 16.0)
_INNER = 0.85  # of the radius: what must be even
_RIM_MM = 4.0  # beyond the radius
_DIRECTIONS = 24
_EDGE_HU = 45.0  # from blood to fat, lung or bone it is more; from blood to muscle less
_EVEN_HU = 40.0  # SD inside: noise
_BLOOD_HU = (10.0, 330.0)  # without and with contrast medium
_LEFT_MM, _FRONT_MM = (4.0, 48.0), (-34.0, 25.0)  # where the aorta lies, from the middle and the front of the spine
_STRETCH_MM = 42.0
_LEAST_RIM, _MEAN_RIM = 0.50, 0.75
_MOST_BEND_MM = 5.0


@dataclass(frozen=True, slots=True)
class Tube:
    """A straight stretch of a vessel.

    Args:
        centre_mm: its middle, LPS.
        clearness: mean share of its rim that is something else than its inside.
    """

    centre_mm: Position
    clearness: float


def find_descending_aorta(ct: sitk.Image, landmarks: Landmarks, avoided: NDArray[np.bool_]) -> Tube | str:
    """Return the clearest stretch of the descending aorta, or why it is not believed.

    Args:
        ct: in HU.
        landmarks: of the body.
        avoided: (z, y, x) on the landmarks' grid, where lesions are.
    """
    box = _find_box(landmarks)
    if box is None:
        return "too little of the chest is seen"
    hu = view_voxels(resample(ct, box, outside=-1024.0)).astype(np.float32)
    spine = _find_spine(hu)
    clear = _measure_discs(hu, spine) * _find_allowed(spine, box)
    clear[_place_mask(avoided, landmarks.grid, box)] = 0.0
    path = _follow(clear)
    rims = clear[np.arange(len(clear)), path[:, 0], path[:, 1]]
    return _choose_stretch(path, rims, box)


def _find_box(landmarks: Landmarks) -> Grid | None:
    """Return a grid around the spine, from where both lungs are seen to below the arch; None if that is too short."""
    grid, lungs = landmarks.grid, landmarks.lungs
    x = grid.origin_mm[0] + LANDMARK_SPACING_MM * np.arange(grid.size[0])
    area_mm2 = LANDMARK_SPACING_MM**2
    sides = (lungs[:, :, x > landmarks.midline_mm], lungs[:, :, x < landmarks.midline_mm])
    seen = np.logical_and.reduce([side.sum(axis=(1, 2)) * area_mm2 >= _LEAST_LUNG_MM2 for side in sides])
    slices = np.flatnonzero(seen)
    if len(slices) == 0:
        return None
    first, last = (slices[0] + share * (slices[-1] - slices[0]) for share in _LEVELS)
    if (last - first) * LANDMARK_SPACING_MM < _STRETCH_MM:
        return None
    rows = np.flatnonzero(lungs[slices[0] : slices[-1] + 1].any(axis=(0, 2)))
    behind = rows[0] + 0.45 * (rows[-1] - rows[0])
    low_mm = (
        landmarks.midline_mm - _HALF_WIDTH_MM,
        grid.origin_mm[1] + LANDMARK_SPACING_MM * behind,
        grid.origin_mm[2] + LANDMARK_SPACING_MM * first,
    )
    high_mm = (
        landmarks.midline_mm + _HALF_WIDTH_MM + _MORE_TO_THE_LEFT_MM,
        grid.origin_mm[1] + LANDMARK_SPACING_MM * rows[-1],
        grid.origin_mm[2] + LANDMARK_SPACING_MM * last,
    )
    x_size, y_size, z_size = (int((b - a) / _SPACING_MM) + 1 for a, b in zip(low_mm, high_mm, strict=True))
    spacing_mm = (_SPACING_MM, _SPACING_MM, _SPACING_MM)
    return Grid((x_size, y_size, z_size), spacing_mm, low_mm, grid.direction)


def _find_spine(hu: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return the bone near the midline, with what it encloses in each slice."""
    from scipy import ndimage

    spine = np.zeros(hu.shape, bool)
    columns = np.arange(hu.shape[2]) * _SPACING_MM - _HALF_WIDTH_MM
    for z, plane in enumerate(hu):
        bone = ndimage.binary_closing(np.pad(plane > _BONE_HU, 4), iterations=2)
        spine[z] = ndimage.binary_opening(ndimage.binary_fill_holes(bone), iterations=2)[4:-4, 4:-4]
    spine &= np.abs(columns) <= _SPINE_HALF_WIDTH_MM
    return spine


def _find_allowed(spine: NDArray[np.bool_], box: Grid) -> NDArray[np.bool_]:
    """Return where the aorta may lie: by the middle and the front of the vertebrae near each slice."""
    allowed = np.zeros(spine.shape, bool)
    pooled = round(_POOLED_MM / _SPACING_MM)
    x, y = (_SPACING_MM * np.arange(box.size[k]) for k in (0, 1))
    for z in range(len(spine)):
        near = spine[max(0, z - pooled) : z + pooled + 1].sum(axis=0) >= 3
        wide = np.flatnonzero(near.sum(axis=1) * _SPACING_MM >= _SPINE_FRONT_MM)
        if len(wide) == 0:
            continue
        front = int(wide[0])
        body = near[front : front + 8]  # 24 mm: the vertebra, without its arch
        left = x - np.average(x, weights=body.sum(axis=0))
        back = (y - y[front])[:, None]
        allowed[z] = (left >= _LEFT_MM[0]) & (left <= _LEFT_MM[1]) & (back >= _FRONT_MM[0]) & (back <= _FRONT_MM[1])
    return allowed


def _measure_discs(hu: NDArray[np.float32], spine: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return, for the disc around every voxel, the share of its rim that is no blood; of several radii the largest."""
    from scipy import ndimage

    best = np.zeros(hu.shape, np.float32)
    angles = np.linspace(0.0, 2 * np.pi, _DIRECTIONS, endpoint=False)
    for radius_mm in _RADII_MM:
        disc = _make_disc(_INNER * radius_mm)
        mean = ndimage.convolve(hu, disc, mode="nearest")
        variance = ndimage.convolve(hu * hu, disc, mode="nearest") - mean * mean
        far = (radius_mm + _RIM_MM) / _SPACING_MM
        rim = np.zeros(hu.shape, np.float32)
        for angle in angles.tolist():
            beside = ndimage.shift(hu, (0.0, -far * np.sin(angle), -far * np.cos(angle)), order=1, mode="nearest")
            rim += np.abs(beside - mean) > _EDGE_HU
        is_blood = (variance < _EVEN_HU**2) & (mean > _BLOOD_HU[0]) & (mean < _BLOOD_HU[1])
        is_blood &= ~ndimage.binary_dilation(spine, disc > 0)
        np.maximum(best, np.where(is_blood, rim / _DIRECTIONS, 0.0), out=best)
    return best


def _make_disc(radius_mm: float) -> NDArray[np.float32]:
    """Return the mean over a disc within a slice, as a kernel (1, y, x)."""
    reach = int(radius_mm / _SPACING_MM)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1] * _SPACING_MM
    inside = (np.hypot(x, y) <= radius_mm)[None].astype(np.float32)
    disc: NDArray[np.float32] = inside / inside.sum()
    return disc


def _place_mask(mask: NDArray[np.bool_], grid: Grid, box: Grid) -> NDArray[np.bool_]:
    """Return a mask on the box, by the nearest voxels of its own upright grid."""
    index = [
        np.clip(
            np.rint(
                (box.origin_mm[k] - grid.origin_mm[k] + _SPACING_MM * np.arange(box.size[k])) / LANDMARK_SPACING_MM
            ),
            0,
            grid.size[k] - 1,
        ).astype(int)
        for k in (2, 1, 0)
    ]
    return mask[np.ix_(*index)]


def _follow(clear: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return (y, x) in every slice of the chain with the largest sum, moving by one voxel at most between slices."""
    from scipy import ndimage

    sums = [clear[0]]
    for plane in clear[1:]:
        sums.append(plane + ndimage.maximum_filter(sums[-1], 3))
    y, x = np.unravel_index(int(sums[-1].argmax()), sums[-1].shape)
    path = [(int(y), int(x))]
    for total in sums[-2::-1]:
        y0, x0 = max(0, path[-1][0] - 1), max(0, path[-1][1] - 1)
        near = total[y0 : path[-1][0] + 2, x0 : path[-1][1] + 2]
        y, x = np.unravel_index(int(near.argmax()), near.shape)
        path.append((y0 + int(y), x0 + int(x)))
    return np.array(path[::-1])


def _choose_stretch(path: NDArray[np.intp], rims: NDArray[np.float32], box: Grid) -> Tube | str:
    """Return the clearest straight stretch of a chain, or why there is none."""
    length = round(_STRETCH_MM / _SPACING_MM)
    best: tuple[float, int] | None = None
    for start in range(len(path) - length + 1):
        part = rims[start : start + length]
        places_mm = path[start : start + length] * _SPACING_MM
        bend_mm = float(np.linalg.norm(places_mm - places_mm.mean(axis=0), axis=1).max())
        if part.min() >= _LEAST_RIM and part.mean() >= _MEAN_RIM and bend_mm <= _MOST_BEND_MM:
            best = max(best or (0.0, 0), (float(part.mean()), start))
    if best is None:
        return "no clear tube beside the spine"
    clearness, start = best
    y, x = path[start : start + length].mean(axis=0) * _SPACING_MM
    x_mm, y_mm, z_mm = np.array(box.origin_mm) + (x, y, _SPACING_MM * (start + (length - 1) / 2))
    return Tube((float(x_mm), float(y_mm), float(z_mm)), clearness)
