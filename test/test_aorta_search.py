"""The rule that finds the descending aorta in a CT without an organ map, on a chest made in code."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import SimpleITK as sitk

from autosegnet.geometry import Grid, make_image, view_voxels
from autosegnet.lesions.blood_reference import find_blood_by_rule
from autosegnet.lesions.landmarks import find_landmarks

GRID = Grid((80, 60, 80), (4.0, 4.0, 4.0), (-158.0, -118.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
BLOOD_SUV, AORTA_MM = 1.7, (26.0, 30.0)
NONE = np.zeros(GRID.shape, bool)


@dataclass(frozen=True)
class Chest:
    """What lies in the chest; mm.

    Args:
        aorta_mm: (x, y) of its middle; None leaves it out.
        bend_mm: how far its upper end lies to the left of its lower end.
        aorta_hu: of its blood.
        around_hu: of what fills the space between lungs and spine.
        variation: SD over mean of the PET.
    """

    aorta_mm: tuple[float, float] | None = AORTA_MM
    bend_mm: float = 0.0
    aorta_hu: float = 42.0
    around_hu: float = -100.0
    variation: float = 0.0


def make_chest(chest: Chest) -> tuple[sitk.Image, sitk.Image]:
    """Return PET and CT of a chest with two lungs, a spine, fat between them, and the aorta before the spine."""
    z, y, x = np.meshgrid(*(GRID.origin_mm[k] + 4.0 * np.arange(GRID.size[k]) for k in (2, 1, 0)), indexing="ij")
    hu, suv = np.full(x.shape, -1000.0), np.zeros(x.shape)

    def fill(inside: np.ndarray, number: float, uptake: float) -> None:
        hu[inside], suv[inside] = number, uptake

    def ellipse(cx: float, cy: float, rx: float, ry: float) -> np.ndarray:
        return ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1

    fill(ellipse(0, 0, 150, 105), 40, 0.7)
    seen = (z > 40) & (z < 280)
    fill(ellipse(0, 10, 45, 75) & seen, chest.around_hu, 0.4)
    for side in (-1, 1):
        fill(ellipse(78 * side, 5, 50, 68) & seen, -800, 0.4)
    fill(ellipse(0, 50, 20, 16), 400, 1.2)
    fill(ellipse(0, 50, 14, 10), 150, 1.2)
    if chest.aorta_mm is not None:
        left = chest.aorta_mm[0] + chest.bend_mm * z / 320
        fill(np.hypot(x - left, y - chest.aorta_mm[1]) < 12.5, chest.aorta_hu, BLOOD_SUV)
    rng = np.random.default_rng(1)
    hu += rng.normal(0, 12, hu.shape)
    suv *= 1 + chest.variation * rng.standard_normal(suv.shape)
    return make_image(suv.astype(np.float32), GRID), make_image(hu.astype(np.float32), GRID)


def find_blood(pet: sitk.Image, ct: sitk.Image, lesions: np.ndarray = NONE):
    landmarks = find_landmarks(Grid.from_image(pet), ct=ct, organs=None)
    assert landmarks is not None
    return find_blood_by_rule(pet, ct, landmarks, lesions)


@pytest.mark.parametrize("aorta_hu", [42.0, 155.0])
def test_the_aorta_is_found_with_and_without_contrast_medium_and_marked_as_less_sure(aorta_hu) -> None:
    found = find_blood(*make_chest(Chest(aorta_hu=aorta_hu)))
    assert found.suv_mean == pytest.approx(BLOOD_SUV, rel=0.01)
    assert np.hypot(found.centre_mm[0] - AORTA_MM[0], found.centre_mm[1] - AORTA_MM[1]) < 4.0
    assert not found.sure


@pytest.mark.parametrize(
    "chest",
    [
        Chest(aorta_mm=None),
        Chest(aorta_mm=(-26.0, 30.0)),
        Chest(aorta_mm=(0.0, -40.0)),
        Chest(bend_mm=170.0, aorta_mm=(-40.0, 20.0)),
        Chest(around_hu=42.0),
    ],
    ids=["none", "right of the spine", "far before the spine", "aslant", "among tissue as dense"],
)
def test_the_rule_abstains_if_no_straight_clear_tube_lies_left_of_the_spine(chest) -> None:
    assert find_blood(*make_chest(chest)) == "no organ map with an aorta; no clear tube beside the spine"


def test_the_rule_abstains_if_the_tube_is_uneven_in_the_pet() -> None:
    assert "too uneven in the PET" in find_blood(*make_chest(Chest(variation=0.5)))


def test_the_aorta_is_measured_away_from_lesions() -> None:
    pet, ct = make_chest(Chest())
    lesions = NONE.copy()
    lesions[16:22, :, 40:] = True
    found = find_blood(pet, ct, lesions)
    assert found.centre_mm[2] - 21.0 > 4.0 * 22
    lesions[:] = True
    assert find_blood(pet, ct, lesions) == "no organ map with an aorta; no clear tube beside the spine"


def test_the_order_in_which_axes_are_stored_changes_nothing() -> None:
    pet, ct = make_chest(Chest())
    flips = (True, True, False)
    stored = find_blood(sitk.Flip(pet, flips), sitk.Flip(ct, flips))
    assert stored.suv_mean == pytest.approx(find_blood(pet, ct).suv_mean, rel=1e-3)


def test_a_field_that_shows_little_of_the_chest_is_not_judged() -> None:
    pet, ct = make_chest(Chest())
    part = [make_image(view_voxels(image)[55:], replace(GRID, size=(80, 60, 25))) for image in (pet, ct)]
    assert find_blood(*part, NONE[55:]) == "no organ map with an aorta; too little of the chest is seen"
