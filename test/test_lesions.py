import csv
import io
import itertools
import json

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation

from autosegnet.errors import InputError
from autosegnet.geometry import Grid, make_image
from autosegnet.io import read_image, read_mask
from autosegnet.lesions import (
    LESION_COLUMNS,
    LesionTable,
    compute_voxel_volume_ml,
    count_lesion_voxels,
    format_lesions_csv,
    format_lesions_json,
    label_lesions,
    measure_lesions,
    measure_volumes_ml,
    number_lesions,
)
from autosegnet.lesions.peak import PEAK_RADIUS_MM


def mask_of(*voxels: tuple[int, int, int]) -> np.ndarray:
    mask = np.zeros((4, 5, 6), np.uint8)
    for voxel in voxels:
        mask[voxel] = 1
    return mask


def test_voxels_that_share_an_edge_are_one_lesion():
    assert label_lesions(mask_of((1, 1, 1), (1, 2, 2)))[1] == 1


def test_voxels_that_share_a_corner_only_are_two_lesions():
    assert label_lesions(mask_of((1, 1, 1), (2, 2, 2)))[1] == 2


def test_labels_are_zero_outside_and_count_up_inside():
    mask = mask_of((0, 0, 0), (3, 4, 5))
    labels, n = label_lesions(mask)
    assert n == 2
    assert sorted(labels[mask > 0]) == [1, 2]
    assert not labels[mask == 0].any()


@pytest.mark.parametrize("shape", [(4, 5, 6), (0, 5, 6)])
def test_an_empty_mask_has_no_lesion(shape):
    labels, n = label_lesions(np.zeros(shape, bool))
    assert (n, labels.shape, labels.dtype.kind) == (0, shape, "u")
    assert measure_volumes_ml(labels, n, spacing_mm=(1.0, 1.0, 1.0)).shape == (0,)


def test_values_of_a_mask_other_than_0_are_one_lesion():
    mask = mask_of((1, 1, 1), (1, 1, 2))
    mask[1, 1, 2] = 7
    assert label_lesions(mask)[1] == 1


def test_volumes_are_in_the_order_of_the_labels():
    mask = mask_of((0, 0, 0), (0, 0, 1), (3, 4, 5))
    labels, n = label_lesions(mask)
    voxels = count_lesion_voxels(labels, n)
    assert voxels[labels[0, 0, 0] - 1] == 2
    assert voxels[labels[3, 4, 5] - 1] == 1
    np.testing.assert_allclose(measure_volumes_ml(labels, n, spacing_mm=(2.0, 2.0, 3.0)), voxels * 0.012, rtol=1e-15)


def test_the_voxel_volume_does_not_depend_on_the_order_of_the_axes():
    rng = np.random.default_rng(0)
    for x, y, z in rng.uniform(0.5, 6, (200, 3)):
        assert (
            compute_voxel_volume_ml((x, y, z))
            == compute_voxel_volume_ml((z, y, x))
            == compute_voxel_volume_ml((y, x, z))
        )


def test_a_probability_is_not_taken_for_a_mask():
    with pytest.raises(AssertionError, match="not a probability"):
        label_lesions(np.full((2, 2, 2), 0.4))


@pytest.mark.parametrize("spacing", [(0.0, 1.0, 1.0), (-1.0, -1.0, 1.0), (float("nan"), 1.0, 1.0), (1.0, 1.0)])
def test_a_voxel_without_volume_is_refused(spacing):
    with pytest.raises(AssertionError):
        compute_voxel_volume_ml(spacing)


# --- figures -------------------------------------------------------------------------------------------------------

OBLIQUE = Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix()


def grid_of(size, spacing_mm, direction=None, origin_mm=(-31.0, 47.0, 11.0)) -> Grid:
    return Grid(size, spacing_mm, origin_mm, tuple(np.ravel(np.eye(3) if direction is None else direction)))


def centres_mm(grid: Grid) -> np.ndarray:
    """(z, y, x, 3) positions of all voxel centres."""
    z, y, x = np.meshgrid(*(np.arange(n) for n in grid.size[::-1]), indexing="ij")
    return np.stack([x, y, z], axis=-1) @ grid.steps_mm.T + grid.origin_mm


def sphere(grid: Grid, centre_mm, radius_mm: float) -> np.ndarray:
    return (np.linalg.norm(centres_mm(grid) - centre_mm, axis=-1) <= radius_mm).astype(np.uint8)


def measure(mask: np.ndarray, suv: np.ndarray, grid: Grid) -> LesionTable:
    return measure_lesions(make_image(mask.astype(np.uint8), grid), make_image(suv.astype(np.float32), grid))


def ibsi_phantom() -> tuple[np.ndarray, np.ndarray]:
    """Return the digital phantom of the IBSI, 5 x 4 x 4 voxels of 2 mm: intensities, and the region of interest.

    Source: IBSI reference manual, section "Digital phantom"; data set github.com/theibsi/data_sets, CC BY 4.0.
    """
    slices = """14411 14611 41641 44641
                14411 11611 11311 44611
                14411 11111 11911 11611
                14411 11111 11111 11611"""
    intensity = np.array([[list(map(int, row)) for row in line.split()] for line in slices.splitlines()])
    roi = np.ones((4, 4, 5), np.uint8)
    for z, y, x in ((1, 2, 0), (2, 2, 2), (2, 0, 3), (2, 0, 4), (3, 0, 3), (3, 0, 4)):
        roi[z, y, x] = 0
    return intensity, roi


def test_the_digital_phantom_of_the_ibsi_has_the_published_values():
    intensity, roi = ibsi_phantom()
    (lesion,) = measure(roi, intensity, grid_of((5, 4, 4), (2.0, 2.0, 2.0))).lesions
    # Reference manual, tables of "Mean intensity", "Maximum intensity", "Energy": that the phantom itself is right.
    assert (lesion.voxels, round(lesion.suv_mean, 2), lesion.suv_max) == (74, 2.15, 6.0)
    assert (intensity[roi == 1] ** 2).sum() == 567
    # Tables of "Local intensity peak" and "Global intensity peak".
    assert round(lesion.suv_peak_at_max, 1) == 2.6
    assert round(lesion.suv_peak, 1) == 3.1


@pytest.mark.parametrize("direction", [None, OBLIQUE, np.diag([-1.0, -1.0, 1.0])])
def test_the_figures_of_an_analytic_sphere(direction):
    grid = grid_of((44, 36, 30), (1.5, 1.9, 2.4), direction)
    centre_mm = np.array(grid.find_position_mm((21.3, 17.6, 14.2)))
    mask = sphere(grid, centre_mm, 20.0)
    (lesion,) = measure(mask, 1.0 + 4.0 * mask, grid).lesions
    volume_ml = 4 / 3 * np.pi * 2.0**3
    assert lesion.volume_ml == pytest.approx(volume_ml, rel=0.01)
    assert (lesion.suv_max, lesion.suv_mean, lesion.suv_peak) == (5.0, 5.0, 5.0)
    assert lesion.tlg_g == pytest.approx(5.0 * lesion.volume_ml, rel=1e-12)
    np.testing.assert_allclose(lesion.centroid_mm, centre_mm, atol=0.1)
    # The box holds the sphere but for a voxel's body, whatever the direction.
    np.testing.assert_allclose(np.array(lesion.box_mm), np.stack([centre_mm - 20, centre_mm + 20], 1), atol=3.0)


def test_the_box_is_half_open_in_voxels_and_whole_in_mm():
    grid = grid_of((6, 5, 4), (2.0, 3.0, 4.0), origin_mm=(10.0, 20.0, 30.0))
    mask = np.zeros((4, 5, 6))
    mask[1:3, 2, 3:5] = 1
    (lesion,) = measure(mask, mask, grid).lesions
    assert lesion.box == ((3, 5), (2, 3), (1, 3))
    assert lesion.box_mm == ((15.0, 19.0), (24.5, 27.5), (32.0, 40.0))
    assert lesion.centroid_mm == (17.0, 26.0, 36.0)


def test_suv_peak_of_a_cone_of_uptake_is_its_mean_over_the_sphere():
    grid = grid_of((31, 31, 31), (0.9, 1.0, 1.1), OBLIQUE)
    top_mm = grid.find_position_mm((15.0, 15.0, 15.0))
    suv = 12.0 - np.linalg.norm(centres_mm(grid) - top_mm, axis=-1)
    (lesion,) = measure(suv > 2, suv, grid).lesions
    assert lesion.suv_max == 12.0
    assert lesion.suv_peak_at_max == pytest.approx(12.0 - 0.75 * PEAK_RADIUS_MM, rel=0.005)  # mean distance: 3/4 r
    assert lesion.suv_peak == lesion.suv_peak_at_max
    np.testing.assert_allclose(lesion.suv_max_mm, top_mm, atol=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_suv_peak_is_what_the_definition_says_voxel_by_voxel(seed):
    rng = np.random.default_rng(seed)
    direction = Rotation.random(rng=rng).as_matrix()
    grid = grid_of((9, 8, 7), tuple(rng.uniform(1.5, 5.6, 3)), direction)
    suv = rng.gamma(2.0, 2.0, (7, 8, 9)).astype(np.float32)
    mask = rng.random((7, 8, 9)) < 0.1
    suv[np.argwhere(mask)[0][0]] = suv.max()  # several hottest voxels, some at the border
    at_mm, values = centres_mm(grid).reshape(-1, 3), suv.reshape(-1).astype(float)
    labels, n = number_lesions(make_image(mask.astype(np.uint8), grid))
    table = measure(mask, suv, grid)
    assert len(table.lesions) == n > 1
    for lesion in table.lesions:
        own = np.flatnonzero(labels.reshape(-1) == lesion.number)
        means = np.array([values[np.linalg.norm(at_mm - at_mm[v], axis=1) <= PEAK_RADIUS_MM].mean() for v in own])
        assert lesion.suv_peak == pytest.approx(means.max(), rel=1e-12)
        assert lesion.suv_peak_at_max == pytest.approx(means[values[own] == values[own].max()].max(), rel=1e-12)


def test_dmax_of_two_spheres_is_the_distance_of_their_centres_and_of_their_far_sides():
    grid = grid_of((60, 30, 26), (2.0, 2.5, 3.0), OBLIQUE)
    a_mm, b_mm = (np.array(grid.find_position_mm(at)) for at in ((12, 10, 8), (45, 18, 16)))
    mask = sphere(grid, a_mm, 9.0) | sphere(grid, b_mm, 12.0)
    body = measure(mask, mask, grid).body
    apart_mm = float(np.linalg.norm(a_mm - b_mm))
    assert body.lesions == 2
    assert body.dmax_centroids_mm == pytest.approx(apart_mm, abs=0.2)
    assert apart_mm + 21.0 - 3.0 < body.dmax_voxels_mm <= apart_mm + 21.0 + 1e-9


@pytest.mark.parametrize("spread", ["point", "line", "diagonal", "plane", "oblique plane", "scattered", "ball"])
def test_dmax_is_the_largest_of_all_distances(spread):
    rng = np.random.default_rng(7)
    z, y, x = np.meshgrid(*(np.arange(n) for n in (10, 11, 12)), indexing="ij")
    mask = {
        "point": (x == 3) & (y == 4) & (z == 5),
        "line": (y == 4) & (z == 5) & (x > 2),
        "diagonal": (x == y) & (y == z),
        "plane": (y == 4) & (x > 3),
        "oblique plane": x + y + z == 12,
        "scattered": rng.random(x.shape) < 0.05,
        "ball": (x - 5) ** 2 + (y - 5) ** 2 + (z - 5) ** 2 < 20,
    }[spread]
    grid = grid_of((12, 11, 10), (1.7, 2.3, 3.1), OBLIQUE)
    at_mm = centres_mm(grid)[mask]
    table = measure(mask, mask, grid)
    assert table.body.dmax_voxels_mm == pytest.approx(cdist(at_mm, at_mm).max(), rel=1e-12, abs=1e-12)
    centroids = np.array([lesion.centroid_mm for lesion in table.lesions])
    assert table.body.dmax_centroids_mm == pytest.approx(cdist(centroids, centroids).max(), rel=1e-9, abs=1e-9)


def test_lesions_are_numbered_by_volume_then_from_head_to_foot():
    grid = grid_of((7, 7, 9), (2.0, 2.0, 2.0))
    mask = np.zeros((9, 7, 7), np.uint8)
    mask[0, 0, :3] = mask[8, 0, :2] = mask[4, 0, :2] = mask[4, 4, 4:6] = 1
    labels, n = number_lesions(make_image(mask, grid))
    assert n == 4
    assert [labels[0, 0, 0], labels[8, 0, 0], labels[4, 4, 4], labels[4, 0, 0]] == [1, 2, 3, 4]
    assert [lesion.voxels for lesion in measure(mask, mask, grid).lesions] == [3, 2, 2, 2]


def test_of_voxels_equally_hot_the_one_nearest_the_head_is_the_hottest_however_stored():
    grid = grid_of((8, 8, 8), (3.0, 3.0, 3.0))
    suv = np.ones((8, 8, 8), np.float32)
    suv[3:5, 3:5, 3:5] = 9
    images = [make_image(values, grid) for values in ((suv > 2).astype(np.uint8), suv)]
    for flips in itertools.product((False, True), repeat=3):
        (lesion,) = measure_lesions(*(sitk.Flip(image, flips) for image in images)).lesions
        np.testing.assert_allclose(lesion.suv_max_mm, grid.find_position_mm((4, 4, 4)), atol=1e-9)


def test_the_figures_do_not_depend_on_how_the_axes_are_stored():
    rng = np.random.default_rng(1)
    grid = grid_of((14, 13, 12), (2.0, 3.0, 4.0), OBLIQUE)
    suv = rng.gamma(2.0, 2.0, (12, 13, 14)).astype(np.float32)
    mask = make_image((rng.random((12, 13, 14)) < 0.04).astype(np.uint8), grid)
    table = measure_lesions(mask, make_image(suv, grid))
    for order, flips in (((2, 0, 1), (True, False, True)), ((1, 0, 2), (False, True, False))):
        stored = [sitk.Flip(sitk.PermuteAxes(image, order), flips) for image in (mask, make_image(suv, grid))]
        other = measure_lesions(*stored)
        assert len(other.lesions) == len(table.lesions) > 10
        for a, b in zip(table.lesions, other.lesions, strict=True):
            for name in ("number", "voxels", "suv_max", "suv_mean", "suv_peak", "suv_peak_at_max", "tlg_g"):
                assert getattr(a, name) == pytest.approx(getattr(b, name), rel=1e-12)
            np.testing.assert_allclose(a.centroid_mm, b.centroid_mm, atol=1e-9)
            np.testing.assert_allclose(a.suv_max_mm, b.suv_max_mm, atol=1e-9)
            np.testing.assert_allclose(a.box_mm, b.box_mm, atol=1e-9)
        for name in ("tmtv_ml", "tlg_g", "dmax_centroids_mm", "dmax_voxels_mm", "suv_4_ml", "percent_41_ml"):
            assert getattr(table.body, name) == pytest.approx(getattr(other.body, name), rel=1e-12)


def test_volumes_at_fixed_thresholds_count_voxels_inside_the_mask_only():
    grid = grid_of((6, 1, 1), (10.0, 10.0, 10.0))
    suv = np.array([9.0, 10.0, 4.25, 4.0, 2.5, 2.4]).reshape(1, 1, 6)
    (lesion,) = measure(np.array([0, 1, 1, 1, 1, 1]).reshape(1, 1, 6), suv, grid).lesions
    assert (lesion.suv_4_ml, lesion.suv_2_5_ml, lesion.percent_41_ml) == (3.0, 4.0, 2.0)


def test_figures_of_the_body_are_those_of_its_lesions():
    grid = grid_of((8, 3, 3), (5.0, 5.0, 8.0))
    mask = np.zeros((3, 3, 8))
    mask[:, :, :2] = mask[1, 1, 5] = 1
    suv = np.arange(72.0).reshape(3, 3, 8)
    table = measure(mask, suv, grid)
    assert table.body.tmtv_ml == pytest.approx(19 * 0.2)
    assert table.body.tlg_g == pytest.approx(suv[mask > 0].sum() * 0.2)
    assert table.body.suv_max == max(lesion.suv_max for lesion in table.lesions) == suv[mask > 0].max()
    assert table.body.suv_peak == max(lesion.suv_peak for lesion in table.lesions)


def test_a_mask_on_another_grid_is_refused():
    suv = make_image(np.ones((4, 4, 4), np.float32), grid_of((4, 4, 4), (2.0, 2.0, 2.0)))
    mask = make_image(np.ones((4, 4, 4), np.uint8), grid_of((4, 4, 4), (2.0, 2.0, 2.1)))
    with pytest.raises(InputError, match="not on the grid of the PET"):
        measure_lesions(mask, suv)


# --- tables --------------------------------------------------------------------------------------------------------


def random_table() -> LesionTable:
    rng = np.random.default_rng(3)
    grid = grid_of((12, 11, 10), (2.1, 3.2, 4.3), OBLIQUE)
    return measure(rng.random((10, 11, 12)) < 0.04, rng.gamma(2.0, 2.0, (10, 11, 12)), grid)


def test_the_csv_gives_every_figure_back_to_the_last_digit():
    table = random_table()
    rows = list(csv.DictReader(io.StringIO(format_lesions_csv(table))))
    assert len(rows) == len(table.lesions) > 3
    for row, lesion in zip(rows, table.lesions, strict=True):
        assert int(row["lesion"]) == lesion.number
        assert float(row["volume_ml"]) == lesion.volume_ml
        assert float(row["suv_mean_g_per_ml"]) == lesion.suv_mean
        assert float(row["suv_peak_g_per_ml"]) == lesion.suv_peak
        assert float(row["suv_peak_at_max_g_per_ml"]) == lesion.suv_peak_at_max
        assert tuple(float(row[f"centroid_{axis}_mm"]) for axis in "xyz") == lesion.centroid_mm
        assert [int(row[f"box_{axis}_{end}_voxel"]) for axis in "xyz" for end in ("first", "end")] == [
            bound for pair in lesion.box for bound in pair
        ]
        assert tuple(float(row[f"suv_max_{axis}_mm"]) for axis in "xyz") == lesion.suv_max_mm
        assert float(row["box_z_max_mm"]) == lesion.box_mm[2][1]
        assert float(row["volume_ge_41_percent_of_suv_max_ml"]) == lesion.percent_41_ml
        assert row["connectivity"] == "18"


def test_the_json_holds_the_rows_of_the_csv_and_the_body():
    table = random_table()
    content = json.loads(format_lesions_json(table))
    rows = list(csv.DictReader(io.StringIO(format_lesions_csv(table))))
    assert [
        {name: "" if value is None else str(value) for name, value in row.items()} for row in content["lesions"]
    ] == rows
    assert tuple(rows[0]) == LESION_COLUMNS
    assert content["body"]["tmtv_ml"] == table.body.tmtv_ml
    assert content["body"]["dmax_voxels_mm"] == table.body.dmax_voxels_mm
    assert content["connectivity"] == 18


def test_an_empty_mask_gives_valid_empty_tables():
    grid = grid_of((4, 4, 4), (2.0, 2.0, 2.0))
    table = measure(np.zeros((4, 4, 4)), np.ones((4, 4, 4)), grid)
    assert format_lesions_csv(table) == ",".join(LESION_COLUMNS) + "\n"
    body = json.loads(format_lesions_json(table))["body"]
    assert (body["lesions"], body["tmtv_ml"], body["tlg_g"]) == (0, 0.0, 0.0)
    assert body["suv_max_g_per_ml"] is body["dmax_voxels_mm"] is body["dmax_centroids_mm"] is None


def test_a_real_study_with_two_lesions(real_data):
    folder = real_data / "sts" / "STS_044"
    mask, suv = read_mask(folder / "SEG.nii.gz"), read_image(folder / "SUV.nii.gz")
    table = measure_lesions(mask, suv)
    inside = sitk.GetArrayFromImage(mask) > 0
    values = sitk.GetArrayFromImage(suv)[inside].astype(float)
    voxel_ml = float(np.prod(suv.GetSpacing())) / 1000
    assert table.body.lesions == 2
    assert table.body.tmtv_ml == pytest.approx(inside.sum() * voxel_ml)
    assert table.body.tlg_g == pytest.approx(values.sum() * voxel_ml)
    for lesion in table.lesions:
        assert lesion.suv_mean < lesion.suv_peak <= lesion.suv_max
        assert lesion.suv_peak_at_max <= lesion.suv_peak
