"""Studies whose lesions are known, recipes to run them with, and the ways to turn and store them."""

import itertools
from collections.abc import Iterator

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from autosegnet.model.recipe import Fold, Recipe
from autosegnet.study import Study

# Small enough for seconds on two cores; the network is the paper's.
TINY = Recipe(patch=(32, 32, 32), spacing_mm=(6.0, 6.0, 6.0))
# For engines that have no folds.
THRESHOLD_RECIPE = Recipe(folds=(Fold("none", "0" * 64),))


def phantom(
    *,
    size: tuple[int, int, int] = (48, 40, 36),
    spacing: tuple[float, float, float] = (4.0, 4.0, 5.0),
    direction: tuple[float, ...] = (1, 0, 0, 0, 1, 0, 0, 0, 1),
) -> Study:
    """Return an elliptic body with two lesions of different size, PET and CT on one grid centred on the origin."""
    grid = np.array(direction).reshape(3, 3) * np.array(spacing)
    centre = grid @ ((np.array(size) - 1) / 2)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in size], indexing="ij"))
    x, y, z = np.einsum("ij,jabc->iabc", grid, index) - centre[:, None, None, None]
    body = (x / 80) ** 2 + (y / 60) ** 2 + (z / 75) ** 2 < 1
    large = np.exp(-((x - 30) ** 2 + (y + 10) ** 2 + (z - 20) ** 2) / (2 * 12**2))
    small = np.exp(-((x + 35) ** 2 + (y - 15) ** 2 + (z + 30) ** 2) / (2 * 8**2))
    suv = np.where(body, 0.8, 0.0) + 12 * large + 9 * small
    hu = np.where(body, 40.0, -1000.0) + 20 * np.sin(x / 7)
    return Study(*(_image(v.astype(np.float32), spacing, tuple(-centre), direction) for v in (suv, hu)))


def _image(
    values: NDArray[np.float32], spacing: tuple[float, ...], origin: tuple[float, ...], direction: tuple[float, ...]
) -> sitk.Image:
    image = sitk.GetImageFromArray(values.transpose(2, 1, 0))
    image.SetSpacing(spacing)
    image.SetOrigin([float(v) for v in origin])
    image.SetDirection([float(v) for v in direction])
    return image


def stored_as(image: sitk.Image, order: tuple[int, int, int], flips: tuple[bool, bool, bool]) -> sitk.Image:
    """Return the same physical image, its axes stored in another order and direction."""
    return sitk.Flip(sitk.PermuteAxes(image, order), flips)


def pad_with_air(study: Study, *, before: tuple[int, int, int], after: tuple[int, int, int]) -> Study:
    """Return a study with planes of air around it: SUV 0 and -1024 HU."""
    return Study(sitk.ConstantPad(study.pet, before, after, 0.0), sitk.ConstantPad(study.ct, before, after, -1024.0))


def all_orders() -> Iterator[tuple[tuple[int, int, int], tuple[bool, bool, bool]]]:
    """Return the 48 ways to store a volume."""
    yield from itertools.product(itertools.permutations(range(3)), itertools.product([False, True], repeat=3))


def rotation(*, degrees: tuple[float, float, float]) -> tuple[float, ...]:
    """Direction cosines of rotations about x, y and z in turn."""
    a, b, c = np.deg2rad(degrees)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return tuple((about_z @ about_y @ about_x).ravel())
