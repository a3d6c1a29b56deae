import numpy as np
import pytest

from autosegnet.lesions import label_lesions, lesion_volumes_ml, lesion_voxels, voxel_volume_ml


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
    assert lesion_volumes_ml(labels, n, spacing_mm=(1.0, 1.0, 1.0)).shape == (0,)


def test_values_of_a_mask_other_than_0_are_one_lesion():
    mask = mask_of((1, 1, 1), (1, 1, 2))
    mask[1, 1, 2] = 7
    assert label_lesions(mask)[1] == 1


def test_volumes_are_in_the_order_of_the_labels():
    mask = mask_of((0, 0, 0), (0, 0, 1), (3, 4, 5))
    labels, n = label_lesions(mask)
    voxels = lesion_voxels(labels, n)
    assert voxels[labels[0, 0, 0] - 1] == 2
    assert voxels[labels[3, 4, 5] - 1] == 1
    np.testing.assert_allclose(lesion_volumes_ml(labels, n, spacing_mm=(2.0, 2.0, 3.0)), voxels * 0.012, rtol=1e-15)


def test_the_voxel_volume_does_not_depend_on_the_order_of_the_axes():
    rng = np.random.default_rng(0)
    for x, y, z in rng.uniform(0.5, 6, (200, 3)):
        assert voxel_volume_ml((x, y, z)) == voxel_volume_ml((z, y, x)) == voxel_volume_ml((y, x, z))


def test_a_probability_is_not_taken_for_a_mask():
    with pytest.raises(AssertionError, match="not a probability"):
        label_lesions(np.full((2, 2, 2), 0.4))


@pytest.mark.parametrize("spacing", [(0.0, 1.0, 1.0), (-1.0, -1.0, 1.0), (float("nan"), 1.0, 1.0), (1.0, 1.0)])
def test_a_voxel_without_volume_is_refused(spacing):
    with pytest.raises(AssertionError):
        voxel_volume_ml(spacing)
