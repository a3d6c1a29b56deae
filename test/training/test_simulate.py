"""Simulated studies: deterministic, in the right units, on one grid, with truth where the lesions are."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from petct_simulator.anatomy import Anatomy, Stature, from_stature
from petct_simulator.cohorts import COHORT_STUDIES, draw_cohort
from petct_simulator.examination import draw_examination
from petct_simulator.protocol import Protocol
from petct_simulator.tissue import Tissue
from petct_simulator.whole_study import SimulatedStudy, simulate_study

COARSE = (8.0, 8.0, 8.0)


def coarse(seed: int, cohort: str) -> SimulatedStudy:
    return simulate_study(seed, protocol=Protocol(COARSE, 700.0, cohort))


@pytest.fixture(scope="module")
def measured() -> SimulatedStudy:
    """Return a healthy man of 73 kg on a 4 mm grid, seen by a scanner whose noise in the liver is 14 %."""

    def man(rng: np.random.Generator, spacing_mm: tuple[float, float, float]) -> Anatomy:
        return from_stature(Stature("M", 1760, 1.0, 23.6, "up", lower=900.0), rng, spacing_mm)

    drawn = draw_examination(np.random.default_rng(10), 73.0, varied=False)  # no contrast medium
    pet = replace(drawn.pet, noise=0.14, noise_fwhm_mm=(9.0, 7.0))
    ct = replace(drawn.ct, shift_mm=(0.0, 0.0, 0.0), breath_mm=0.0, field_mm=780.0, metal=0)
    examination = replace(drawn, pet=pet, ct=ct)
    protocol = Protocol((4.07, 4.07, 4.0), 600.0, "negative")
    return simulate_study(8, anatomy=man, protocol=protocol, examination=examination)


def inside(study: SimulatedStudy, label: Tissue, depth: int) -> np.ndarray:
    mask = study.tissue == label
    return ndimage.binary_erosion(mask, iterations=depth) if depth else mask


def test_same_seed_gives_identical_arrays() -> None:
    first, second = coarse(3, "lymphoma"), coarse(3, "lymphoma")
    for name in ("suv", "ct", "truth"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert first.lesions == second.lesions


def test_another_seed_gives_another_study() -> None:
    assert coarse(3, "lymphoma").lesions != coarse(4, "lymphoma").lesions


def test_arrays_share_one_grid_and_have_the_stated_types() -> None:
    study = coarse(5, "melanoma")
    assert study.suv.shape == study.ct.shape == study.truth.shape
    assert (study.suv.dtype, study.ct.dtype, study.truth.dtype) == (np.float32, np.int16, np.uint8)
    assert study.grid.spacing_mm == COARSE
    assert np.isfinite(study.suv).all()
    assert study.suv.min() >= 0
    assert study.ct.min() >= -1024
    assert study.ct.max() <= 3071
    assert set(np.unique(study.truth)) == {0, 1}


@pytest.mark.parametrize("seed", range(3))
def test_negative_cohort_has_no_truth(seed: int) -> None:
    study = coarse(seed, "negative")
    assert study.cohort == "negative"
    assert study.truth.sum() == 0
    assert study.lesions == ()


@pytest.mark.parametrize("cohort", ["lymphoma", "lung_cancer", "melanoma", "sarcoma"])
def test_truth_lies_in_the_body(cohort: str) -> None:
    study = coarse(13, cohort)
    assert study.truth.sum() > 0
    body = ndimage.binary_dilation(ndimage.binary_fill_holes(study.ct > -500), iterations=2)
    assert not (study.truth.astype(bool) & ~body).any()


def test_lesions_are_hotter_than_their_surroundings() -> None:
    ratios = []
    for seed in range(4):
        study = coarse(seed, "lung_cancer")
        truth = study.truth.astype(bool)
        shell = ndimage.binary_dilation(truth, iterations=3) & ~ndimage.binary_dilation(truth)
        ratios.append(study.suv[truth].mean() / study.suv[shell].mean())
    assert np.median(ratios) > 1.8


def test_cohorts_are_drawn_in_the_proportions_of_the_patient_collection() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_cohort(rng) for _ in range(4000)]
    for cohort, count in COHORT_STUDIES.items():
        expected = count / 1014
        # Four standard errors of a binomial share.
        assert drawn.count(cohort) / 4000 == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / 4000))


# Mean ± SD over the voxels of one real study (docs/explanation/simulation.md); bands allow for the spread of patients
# that the simulation draws: a factor of 1.5 either way.
@pytest.mark.parametrize(
    ("label", "suv", "depth"),
    [
        (Tissue.LIVER, 2.8, 2),
        (Tissue.LUNG, 0.54, 2),
        (Tissue.FAT, 0.32, 1),
        (Tissue.MUSCLE, 0.79, 2),
        (Tissue.CORTEX, 1.0, 0),
    ],
)
def test_uptake_of_normal_tissue_is_near_the_measured(
    measured: SimulatedStudy, label: Tissue, suv: float, depth: int
) -> None:
    assert suv / 1.5 < measured.suv[inside(measured, label, depth)].mean() < suv * 1.5


def test_brain_and_bladder_are_hot(measured: SimulatedStudy) -> None:
    brain = np.isin(measured.tissue, (Tissue.GREY_MATTER, Tissue.WHITE_MATTER, Tissue.CEREBELLUM))
    assert 6.0 < measured.suv[brain].mean() < 15.0
    assert measured.suv[inside(measured, Tissue.BLADDER, 1)].mean() > 3.0


def test_liver_noise_is_as_measured(measured: SimulatedStudy) -> None:
    # 14 % in a voxel at 73 kg; the scanner above asks for 14 % and texture adds a little.
    liver = measured.suv[inside(measured, Tissue.LIVER, 3)]
    assert 0.09 < liver.std() / liver.mean() < 0.21


def test_noise_is_correlated_between_neighbours(measured: SimulatedStudy) -> None:
    suv, liver = measured.suv, inside(measured, Tissue.LIVER, 3)
    here = liver & np.roll(liver, 1, axis=2)
    near = np.corrcoef(suv[here], np.roll(suv, 1, axis=2)[here])[0, 1]
    far = liver & np.roll(liver, 6, axis=2)
    distant = np.corrcoef(suv[far], np.roll(suv, 6, axis=2)[far])[0, 1]
    assert near > 0.3
    assert distant < near / 2


@pytest.mark.parametrize(
    ("label", "low", "high", "depth"),
    [
        (Tissue.LIVER, 25, 70, 2),
        (Tissue.LUNG, -880, -720, 2),
        (Tissue.FAT, -120, -85, 1),
        (Tissue.MUSCLE, 35, 65, 2),
        (Tissue.CORTEX, 350, 900, 0),
    ],
)
def test_hu_of_tissues(measured: SimulatedStudy, label: Tissue, low: float, high: float, depth: int) -> None:
    assert low < measured.ct[inside(measured, label, depth)].mean() < high


def test_heavy_patients_are_noisier() -> None:
    def noise(bmi: float) -> float:
        def patient(rng: np.random.Generator, spacing_mm: tuple[float, float, float]) -> Anatomy:
            return from_stature(Stature("M", 1760, 1.0, bmi, "up", upper=1400, lower=1050), rng, spacing_mm)

        weight = patient(np.random.default_rng(0), COARSE).weight_kg
        drawn = (draw_examination(np.random.default_rng(s), weight, varied=False) for s in range(20))
        return float(np.mean([examination.pet.noise for examination in drawn]))

    assert noise(40.0) > 1.2 * noise(22.0)


def test_field_of_view_of_the_ct_may_be_smaller_than_the_arms() -> None:
    drawn = draw_examination(np.random.default_rng(1), 80.0, varied=False)
    narrow = replace(drawn, ct=replace(drawn.ct, field_mm=300.0, shift_mm=(0.0, 0.0, 0.0)))
    study = simulate_study(1, protocol=Protocol(COARSE, 700.0, "negative"), examination=narrow)
    x = study.grid.spacing_mm[0] * (np.arange(study.ct.shape[2]) - (study.ct.shape[2] - 1) / 2)
    assert (study.ct[:, :, np.abs(x) > 150] == -1024).all()
    assert study.suv[:, :, np.abs(x) > 160].max() > 0.1


def test_lesions_lie_at_the_places_that_are_given() -> None:
    def man(rng: np.random.Generator, spacing_mm: tuple[float, float, float]) -> Anatomy:
        anatomy = from_stature(Stature("M", 1760, 1.0, 23.6, "up", lower=900.0), rng, spacing_mm)
        return replace(anatomy, from_map=np.diag([4.0, 4.0, 4.0]) @ np.eye(3, 4))

    wanted = np.array([[10.0, -3.0, -150.0], [-14.0, 4.0, -120.0]])
    study = simulate_study(5, anatomy=man, protocol=Protocol(COARSE, 600.0, "melanoma"), lesion_voxels=wanted)
    centres = np.array([lesion.centre_mm for lesion in study.lesions])
    for voxel in wanted:
        assert np.abs(centres - 4.0 * voxel).max(axis=1).min() < 0.01


def test_arrays_need_neither_simpleitk_nor_nibabel() -> None:
    code = """
import sys
for name in ("SimpleITK", "nibabel", "monai", "cc3d"):
    sys.modules[name] = None
from petct_simulator.protocol import Protocol
from petct_simulator.whole_study import simulate_study
study = simulate_study(1, protocol=Protocol((12.0, 12.0, 12.0), 700.0, "melanoma"))
assert study.truth.any()
import petct_simulator.generator
"""
    root = Path(__file__).parents[2]
    path = os.pathsep.join((str(root), str(root / "resources")))
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": path})
