"""The volumes of a viewer's page: on one grid that holds the body, as small integers, as NIfTI, compressed.

What is shown is the PET's own grid without the air around the body, with its axes turned to run nearest to Right,
Anterior and Superior, as NiiVue has them. Only a PET with more voxels than a browser can hold is shown on a coarser
grid.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from autosegnet.geometry import (
    Grid,
    cut,
    find_occupied_box,
    is_same_grid,
    make_image,
    resample,
    resample_labels,
    view_voxels,
)
from autosegnet.preprocess import find_body_region
from autosegnet.study import AIR_HU, Study

if TYPE_CHECKING:
    import SimpleITK as sitk

SUV_STEP: Final = 0.01
"""The step of stored SUV, if the highest fits: two decimals are what tables show."""

_MOST_VOXELS: Final = 16_000_000
_HU: Final = (-1024, 3071)  # twelve bits, as scanners store them
_LARGEST: Final = 65535
_RAS_FROM_LPS: Final = np.diag([-1.0, -1.0, 1.0])


@dataclass(frozen=True, slots=True)
class ShownVolume:
    """One volume of the page.

    Args:
        name: pet, ct, labels or probability.
        nifti: the file, not compressed.
        dtype: of its voxels.
        slope, intercept: from stored integers to SUV, HU or probability.
    """

    name: str
    nifti: bytes
    dtype: str
    slope: float
    intercept: float


def choose_shown_grid(study: Study, labels: NDArray[Any]) -> Grid:
    """Return the grid that the page shows: body and lesions, with axes nearest to Right, Anterior and Superior.

    Args:
        study: PET in SUV, CT in HU.
        labels: (z, y, x) of the lesions on the PET's grid.
    """
    import SimpleITK as sitk

    whole = Grid.from_image(study.pet)
    box = whole.find_box(find_body_region(study))
    lesions = tuple((part.start, part.stop) for part in find_occupied_box(labels)[::-1])
    if lesions[0] != (0, 0):
        pairs = zip(box, lesions, strict=True)
        x, y, z = ((min(a[0], b[0]), max(a[1], b[1])) for a, b in pairs)
        box = (x, y, z)
    upright = Grid.from_image(sitk.DICOMOrient(cut(study.pet, whole.crop(box)), "RAS"))
    return _coarsen(upright)


def _coarsen(grid: Grid) -> Grid:
    """Return a grid of the same extent with as many voxels as a browser can hold; the same one if it has no more."""
    factor = (math.prod(grid.size) / _MOST_VOXELS) ** (1 / 3)
    if factor <= 1:
        return grid
    x, y, z = (max(1, math.floor(count / factor)) for count in grid.size)
    spacing = [old * count / new for old, count, new in zip(grid.spacing_mm, grid.size, (x, y, z), strict=True)]
    first = [new / old / 2 - 0.5 for old, new in zip(grid.spacing_mm, spacing, strict=True)]
    return replace(
        grid,
        size=(x, y, z),
        spacing_mm=(spacing[0], spacing[1], spacing[2]),
        origin_mm=grid.find_position_mm((first[0], first[1], first[2])),
    )


def is_coarser(shown: Grid, pet: Grid) -> bool:
    """Tell whether the shown grid has larger voxels than the PET."""
    return math.prod(shown.spacing_mm) > 1.001 * math.prod(pet.spacing_mm)


def encode_volumes(
    study: Study, labels: NDArray[Any], shown: Grid, *, with_ct: bool, probability: sitk.Image | None
) -> Iterator[ShownVolume]:
    """Yield the volumes of the page.

    Args:
        study: PET in SUV, CT in HU on any grid.
        labels: (z, y, x) of the lesions on the PET's grid.
        shown: the grid of the page.
        with_ct: whether the study has a CT.
        probability: of lesion, on the PET's grid.
    """
    own = Grid.from_image(study.pet)
    suv = view_voxels(_show(study.pet, shown, outside=0.0))
    low = min(0.0, math.floor(float(suv.min())))
    step = max(SUV_STEP, (float(suv.max()) - low) / _LARGEST)
    yield _encode("pet", suv, shown, np.uint16, step, low)
    if with_ct:
        hu = np.clip(view_voxels(_show(study.ct, shown, outside=AIR_HU)), *_HU)
        yield _encode("ct", hu, shown, np.int16, 1.0, 0.0)
    numbers = view_voxels(resample_labels(make_image(labels.astype(np.uint16), own), shown))
    yield _encode("labels", numbers, shown, np.uint8 if numbers.max(initial=0) < 256 else np.uint16, 1.0, 0.0)
    if probability is not None:
        yield _encode("probability", view_voxels(_show(probability, shown, outside=0.0)), shown, np.uint8, 1 / 255, 0.0)


def _show(image: sitk.Image, shown: Grid, *, outside: float) -> sitk.Image:
    """Return an image on the shown grid: its own voxels if they lie there, else interpolated."""
    import SimpleITK as sitk

    if math.prod(Grid.from_image(image).size) >= math.prod(shown.size):
        upright = sitk.DICOMOrient(image, "RAS")
        corner = Grid.from_image(upright).find_index(shown.origin_mm)
        x, y, z = (round(value) for value in corner)
        if min(x, y, z) >= 0 and all(
            a + n <= m for a, n, m in zip((x, y, z), shown.size, upright.GetSize(), strict=True)
        ):
            part = Grid.from_image(upright).crop(
                ((x, x + shown.size[0]), (y, y + shown.size[1]), (z, z + shown.size[2]))
            )
            if is_same_grid(part, shown):
                return cut(upright, part)
    return resample(image, shown, outside=outside)


def _encode(
    name: str, values: NDArray[Any], grid: Grid, dtype: type[np.integer[Any]], slope: float, intercept: float
) -> ShownVolume:
    import nibabel

    stored = np.rint((values.astype(np.float64) - intercept) / slope) if (slope, intercept) != (1.0, 0.0) else values
    affine = np.eye(4)
    affine[:3, :3] = _RAS_FROM_LPS @ grid.steps_mm
    affine[:3, 3] = _RAS_FROM_LPS @ grid.origin_mm
    header = nibabel.Nifti1Header(endianness="<")
    header.set_data_dtype(dtype)
    header.set_data_shape(grid.size)
    header.set_sform(affine, code="scanner")
    header["pixdim"][1:4] = grid.spacing_mm
    header.set_slope_inter(slope, intercept)
    header.set_xyzt_units(xyz="mm")
    header["magic"], header["vox_offset"] = b"n+1", 352
    data = np.rint(stored).astype(np.dtype(dtype).newbyteorder("<")).tobytes()
    return ShownVolume(name, bytes(header.binaryblock) + bytes(4) + data, np.dtype(dtype).name, slope, intercept)
