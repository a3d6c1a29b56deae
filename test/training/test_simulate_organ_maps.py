"""Anatomies around label maps: the organs stay where they are, the body is around them."""

import os
from pathlib import Path

import nibabel
import numpy as np
import pytest
from scipy import ndimage

from autosegnet.errors import InputError
from petct_simulator.organ_maps import (
    BLADDER,
    BRAIN,
    HEART,
    KIDNEYS,
    LIVER,
    LUNGS,
    SPLEEN,
    AnatomyMap,
    fit_frame,
    from_file,
    from_organ_map,
    read_organ_map,
)
from petct_simulator.protocol import Protocol
from petct_simulator.tissue import Tissue
from petct_simulator.whole_study import simulate_study

DATA = Path(os.environ.get("AUTOSEGNET_DATA", Path(__file__).parents[3] / "shared" / "data")) / "organ_maps"
SPACING = (6.0, 6.0, 6.0)


def made_up_map() -> AnatomyMap:
    """Ellipsoids at the usual places; (z, y, x) in LPS at 6 mm: centre and radii in mm from the lower right front."""
    labels = np.zeros((160, 80, 90), dtype=np.uint8)
    z, y, x = (np.arange(n).reshape([-1 if i == a else 1 for a in range(3)]) * 6.0 for i, n in enumerate(labels.shape))
    organs = [
        (LUNGS, (620, 240, 200), (125, 85, 55)),
        (LUNGS, (620, 240, 340), (125, 85, 55)),
        (HEART, (560, 215, 285), (50, 45, 50)),
        (LIVER, (450, 230, 200), (70, 75, 80)),
        (SPLEEN, (470, 290, 360), (45, 35, 25)),
        (BRAIN, (880, 230, 270), (70, 85, 65)),
        (KIDNEYS, (400, 285, 215), (50, 25, 25)),
        (KIDNEYS, (400, 285, 325), (50, 25, 25)),
        (BLADDER, (150, 230, 270), (30, 30, 35)),
    ]
    for label, centre, radii in organs:
        inside = sum(((g - c) / r) ** 2 for g, c, r in zip((z, y, x), centre, radii, strict=True)) < 1
        labels[inside & (labels == 0)] = label
    return AnatomyMap(labels, SPACING)


@pytest.fixture(scope="module")
def map_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    organ_map = made_up_map()
    path = tmp_path_factory.mktemp("maps") / "patient.nii.gz"
    # As the maps of autoPET are stored: x to the left, y to the front, z to the head.
    stored = organ_map.labels.transpose(2, 1, 0)[:, ::-1]
    nibabel.save(nibabel.Nifti1Image(stored, np.diag([-6.0, 6.0, 6.0, 1.0])), path)
    return path


def test_reading_brings_any_orientation_to_lps(map_file: Path) -> None:
    read = read_organ_map(map_file)
    np.testing.assert_array_equal(read.labels, made_up_map().labels)
    assert read.spacing_mm == pytest.approx(SPACING)


def test_frame_puts_the_lungs_where_the_map_has_them() -> None:
    frame = fit_frame(made_up_map())
    assert list(frame.z) == sorted(frame.z)
    apex = np.interp(1482.0, frame.reference_z, frame.z)
    # The frame leaves out half a percent of the volume at either end: 13 mm of an ellipsoid of 250 mm, and a voxel.
    assert apex == pytest.approx(620 + 125 - 13, abs=7)


def test_organs_keep_their_volume_and_lie_inside_the_body() -> None:
    organ_map = made_up_map()
    anatomy = from_organ_map(organ_map, np.random.default_rng(0), SPACING)
    tissue = anatomy.canvas.tissue
    for label, name in ((LIVER, Tissue.LIVER), (SPLEEN, Tissue.SPLEEN), (LUNGS, Tissue.LUNG)):
        assert (tissue == name).sum() == pytest.approx((organ_map.labels == label).sum(), rel=0.05)
    solid = np.isin(tissue, (Tissue.LIVER, Tissue.SPLEEN, Tissue.KIDNEY))
    assert not (ndimage.binary_dilation(solid) & (tissue == Tissue.OUTSIDE)).any()


def test_ribs_lie_outside_the_lungs_and_near_them() -> None:
    anatomy = from_organ_map(made_up_map(), np.random.default_rng(0), SPACING)
    tissue = anatomy.canvas.tissue
    near = ndimage.binary_dilation(tissue == Tissue.LUNG, iterations=3)
    assert (near & (tissue == Tissue.CORTEX)).sum() > 300


def test_a_study_from_a_map_is_deterministic_and_hot_where_the_brain_is(map_file: Path) -> None:
    protocol = Protocol(SPACING, 700.0, "lymphoma")
    first, second = (simulate_study(2, anatomy=from_file(map_file), protocol=protocol) for _ in range(2))
    np.testing.assert_array_equal(first.suv, second.suv)
    np.testing.assert_array_equal(first.truth, second.truth)
    assert first.suv[-30:].max() > 6
    assert first.suv.shape[0] == 160


def test_varied_organs_differ_from_draw_to_draw_and_stay_organs() -> None:
    organ_map = made_up_map()
    volumes, places = [], []
    for seed in (0, 0, 1, 2):
        anatomy = from_organ_map(organ_map, np.random.default_rng(seed), SPACING, vary=True)
        liver = anatomy.canvas.tissue == Tissue.LIVER
        _, pieces = ndimage.label(liver)
        assert pieces == 1
        assert not (ndimage.binary_dilation(liver) & (anatomy.canvas.tissue == Tissue.OUTSIDE)).any()
        volumes.append(int(liver.sum()))
        places.append(liver)
    np.testing.assert_array_equal(places[0], places[1])
    assert len(set(volumes)) == 3
    # Each axis is stretched by at most 12 %; bending moves the surface, and hardly changes what it holds.
    whole = int((organ_map.labels == LIVER).sum())
    assert all(0.88**3 * 0.9 < volume / whole < 1.12**3 * 1.1 for volume in volumes)


def test_a_map_without_lungs_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "map.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.ones((5, 5, 5), np.uint8), np.eye(4)), path)
    with pytest.raises(InputError, match="lungs"):
        read_organ_map(path)


@pytest.mark.skipif(not DATA.is_dir(), reason="no organ maps here; set AUTOSEGNET_DATA to the folder of the data")
def test_a_real_map_gives_a_study() -> None:
    path = sorted(DATA.glob("*.nii.gz"))[0]
    study = simulate_study(1, anatomy=from_file(path), protocol=Protocol((8.0, 8.0, 6.0), 700.0, "melanoma"))
    assert study.truth.sum() > 0
    assert 40.0 < study.weight_kg < 160.0
