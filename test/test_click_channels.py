"""Clicks as the network sees them: distance maps, at the place where the reader clicked."""

import logging
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from phantoms import TINY, phantom, rotation, stored_as

from autosegnet.corrections import Clicks
from autosegnet.geometry import Grid
from autosegnet.model.click_channels import draw_clicks
from autosegnet.model.recipe import (
    BACKGROUND_CLICK_CHANNEL,
    IMAGE_CHANNELS,
    PET_CHANNEL,
    TUMOR_CLICK_CHANNEL,
    ClickChannels,
)
from autosegnet.preprocess import prepare
from autosegnet.study import Study

SPACING_MM = (2.0, 3.0, 5.0)
RECIPE = replace(TINY, click_channels=ClickChannels(30.0))
LARGE, SMALL = (31, 17, 21), (15, 23, 11)
"""Voxels in the middle of the phantom's two lesions."""
LARGE_MM, SMALL_MM = (30.0, -10.0, 20.0), (-35.0, 15.0, -30.0)


def draw(*voxels: tuple[int, int, int], reach_mm: float = 12.0) -> NDArray[np.float32]:
    channel = np.zeros((17, 13, 9), np.float32)
    places = np.array(voxels, dtype=np.int64).reshape(-1, 3)
    draw_clicks(channel, places, ClickChannels(reach_mm), spacing_mm=SPACING_MM)
    return channel


def test_a_channel_is_one_at_a_click_and_falls_with_the_distance_in_mm() -> None:
    channel = draw((8, 6, 4))
    assert channel[8, 6, 4] == 1.0
    assert channel[11, 6, 4] == pytest.approx(1 - 6 / 12)
    assert channel[8, 4, 4] == pytest.approx(1 - 6 / 12)
    assert channel[10, 7, 5] == pytest.approx(1 - np.sqrt(4**2 + 3**2 + 5**2) / 12)
    assert channel[14, 6, 4] == 0.0  # 12 mm away
    assert channel.min() == 0.0


def test_a_channel_is_a_map_of_the_distance_to_the_nearest_click() -> None:
    clicks = [(2, 3, 1), (6, 6, 4), (7, 6, 4), (15, 12, 8)]
    x, y, z = np.meshgrid(*(np.arange(n) * mm for n, mm in zip((17, 13, 9), SPACING_MM, strict=True)), indexing="ij")
    distances = [np.sqrt((x - a * 2) ** 2 + (y - b * 3) ** 2 + (z - c * 5) ** 2) for a, b, c in clicks]
    expected = np.maximum(0, 1 - np.min(distances, axis=0) / 12)
    np.testing.assert_allclose(draw(*clicks), expected, atol=1e-6)
    np.testing.assert_array_equal(draw(*clicks), draw(*clicks[::-1], clicks[0]))


def test_without_clicks_a_channel_is_zero() -> None:
    assert not draw().any()


def test_a_click_outside_shows_only_within_its_reach() -> None:
    assert draw((-2, 6, 4))[0, 6, 4] == pytest.approx(1 - 4 / 12)
    assert not draw((-6, 6, 4)).any()
    assert not draw((17 + 50, 6, 4), (8, -90, 4)).any()


@pytest.mark.parametrize("anchor", ["region", "lattice"])
@pytest.mark.parametrize("degrees", [(0, 0, 0), (10, 20, 30)])
@pytest.mark.parametrize("stored", [((0, 1, 2), (False, False, False)), ((2, 0, 1), (True, False, True))])
def test_the_network_sees_a_click_where_it_was_made(anchor, degrees, stored) -> None:
    """Whatever the order, the direction and the tilt of the PET's axes."""
    study = phantom(direction=rotation(degrees=degrees))
    grid = Grid.from_image(study.pet)
    places = {TUMOR_CLICK_CHANNEL: LARGE_MM, BACKGROUND_CLICK_CHANNEL: SMALL_MM}
    voxels = {channel: np.rint(grid.find_index(place)) for channel, place in places.items()}
    places = {channel: grid.find_position_mm(tuple(voxel)) for channel, voxel in voxels.items()}
    study = Study(stored_as(study.pet, *stored), stored_as(study.ct, *stored))
    clicks = Clicks((places[TUMOR_CLICK_CHANNEL],), (places[BACKGROUND_CLICK_CHANNEL],), "mm")
    prepared = prepare(study, replace(RECIPE, anchor=anchor), clicks)
    for channel, place_mm in places.items():
        assert prepared.array[channel].max() == 1.0
        found = np.unravel_index(int(prepared.array[channel].argmax()), prepared.array.shape[1:])
        apart = np.subtract(prepared.grid.find_index(place_mm), found[::-1])
        assert np.abs(apart).max() <= 0.5 + 1e-6
        assert prepared.array[(PET_CHANNEL, *found)] > 5  # in the middle of a hot spot


def test_clicks_leave_ct_and_pet_as_they_are() -> None:
    study = phantom()
    without, given = prepare(study, RECIPE), prepare(study, RECIPE, Clicks((LARGE,), (SMALL,)))
    np.testing.assert_array_equal(given.array[:IMAGE_CHANNELS], without.array[:IMAGE_CHANNELS])
    np.testing.assert_array_equal(without.array[:IMAGE_CHANNELS], prepare(study, TINY).array)
    assert not without.array[IMAGE_CHANNELS:].any()
    assert given.array[IMAGE_CHANNELS:].any(axis=(1, 2, 3)).all()


def test_folds_that_take_no_clicks_see_none() -> None:
    study = phantom()
    np.testing.assert_array_equal(prepare(study, TINY, Clicks((LARGE,))).array, prepare(study, TINY).array)


def test_a_click_outside_of_the_body_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        prepared = prepare(phantom(size=(90, 40, 36)), RECIPE, Clicks((), ((0, 0, 0),)))
    (message,) = caplog.messages
    assert "does not see 1 click outside of the body" in message
    assert not prepared.array[IMAGE_CHANNELS:].any()
