"""Outlines of voxels: filling them by voxel centres gives the mask again."""

import itertools

import numpy as np
import pytest
from scipy import ndimage

from autosegnet.dicom.contours import trace_outlines


def filled(polygon, shape):
    """Voxels (rows, columns) whose centres lie inside a polygon of corners: even-odd rule, a ray along the row."""
    inside = np.zeros(shape, int)
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5  # corners are at integers, centres between them
    for (x0, y0), (x1, y1) in itertools.pairwise([*polygon, polygon[0]]):
        crosses = (y0 > y) != (y1 > y)
        inside += crosses & (x < x0 if x0 == x1 else x < x0 + (y - y0) * (x1 - x0) / ((y1 - y0) or 1))
    return inside % 2 == 1


def union(mask):
    whole = np.zeros(mask.shape, int)
    for polygon in trace_outlines(mask):
        whole += filled(polygon, mask.shape)
    return whole


@pytest.mark.parametrize("density", [0.1, 0.4, 0.6, 0.9])
def test_filling_outlines_of_any_mask_gives_each_voxel_once(density):
    rng = np.random.default_rng(int(100 * density))
    for _ in range(40):
        mask = rng.random(rng.integers(1, 14, size=2)) < density
        np.testing.assert_array_equal(union(mask), mask.astype(int))


def test_regions_with_holes_become_polygons_without():
    ring = np.zeros((9, 9), bool)
    ring[1:8, 1:8] = True
    ring[3:6, 3:6] = False
    ring[4, 4] = True
    np.testing.assert_array_equal(union(ring), ring.astype(int))
    for polygon in trace_outlines(ring):
        _, holes = ndimage.label(~np.pad(filled(polygon, ring.shape), 1))
        assert holes == 1


def test_rectangle_has_four_corners_and_axis_aligned_edges():
    mask = np.zeros((6, 7), bool)
    mask[1:4, 2:6] = True
    (polygon,) = trace_outlines(mask)
    assert sorted(polygon) == [(2, 1), (2, 4), (6, 1), (6, 4)]


def test_empty_slice_has_no_outline():
    assert not list(trace_outlines(np.zeros((3, 3), bool)))
