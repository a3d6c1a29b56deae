"""Simulated studies: deterministic, in the right units, on one grid, with truth where the lesions are."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from petct_simulator import Protocol, simulate_study
from petct_simulator.anatomy import Anatomy, Stature, from_stature, procedural
from petct_simulator.lesion_growth import COHORT_STUDIES, Lesion, draw_cohort, place
from petct_simulator.scanner import Scanner
from petct_simulator.tissue import Tissue
from petct_simulator.whole_body import SimulatedStudy

COARSE = (8.0, 8.0, 8.0)
PLAIN = Scanner(5.0, 0.14, 5.5, 3.0, 0.0, (0.0, 0.0, 0.0), 9.0, 780.0, 0.0, "none")


def coarse(seed: int, cohort: str) -> SimulatedStudy:
    return simulate_study(seed, protocol=Protocol(COARSE, 700.0, cohort))


@pytest.fixture(scope="module")
def measured() -> tuple[SimulatedStudy, Anatomy, tuple[slice, ...]]:
    """A healthy man of 73 kg on a 4 mm grid, his tissue labels, and where they lie in the study."""
    kept: list[Anatomy] = []

    def man(rng: np.random.Generator, spacing_mm: tuple[float, float, float]) -> Anatomy:
        kept.append(from_stature(Stature("M", 1760, 1.0, 23.6, "up", lower=900.0), rng, spacing_mm))
        return kept[0]

    study = simulate_study(8, anatomy=man, protocol=Protocol((4.07, 4.07, 4.0), 600.0, "negative"), scanner=PLAIN)
    lattice = kept[0].lattice
    start = [round((lattice.origin_mm[a] - study.origin_mm[a]) / study.spacing_mm[a]) for a in (2, 1, 0)]
    return study, kept[0], tuple(slice(s, s + n) for s, n in zip(start, lattice.shape, strict=True))


def inside(measured: tuple[SimulatedStudy, Anatomy, tuple[slice, ...]], label: Tissue, depth: int) -> np.ndarray:
    mask = measured[1].canvas.tissue == label
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
    assert study.spacing_mm == COARSE
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
    study = coarse(11, cohort)
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
def test_uptake_of_normal_tissue_is_near_the_measured(measured: tuple, label: Tissue, suv: float, depth: int) -> None:
    study, _, box = measured
    assert suv / 1.5 < study.suv[box][inside(measured, label, depth)].mean() < suv * 1.5


def test_brain_and_bladder_are_hot(measured: tuple) -> None:
    study, anatomy, box = measured
    brain = np.isin(anatomy.canvas.tissue, (Tissue.GREY_MATTER, Tissue.WHITE_MATTER, Tissue.CEREBELLUM))
    assert 6.0 < study.suv[box][brain].mean() < 15.0
    assert study.suv[box][inside(measured, Tissue.BLADDER, 1)].mean() > 3.0


def test_liver_noise_is_as_measured(measured: tuple) -> None:
    # 14 % in a voxel at 73 kg; the scanner above asks for 14 % and texture adds a little.
    study, _, box = measured
    liver = study.suv[box][inside(measured, Tissue.LIVER, 3)]
    assert 0.09 < liver.std() / liver.mean() < 0.21


def test_noise_is_correlated_between_neighbours(measured: tuple) -> None:
    study, _, box = measured
    suv, liver = study.suv[box], inside(measured, Tissue.LIVER, 3)
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
def test_hu_of_tissues(measured: tuple, label: Tissue, low: float, high: float, depth: int) -> None:
    study, _, box = measured
    assert low < study.ct[box][inside(measured, label, depth)].mean() < high


def test_heavy_patients_are_noisier() -> None:
    def noise(bmi: float) -> float:
        def patient(rng: np.random.Generator, spacing_mm: tuple[float, float, float]) -> Anatomy:
            return from_stature(Stature("M", 1760, 1.0, bmi, "up", upper=1400, lower=1050), rng, spacing_mm)

        from petct_simulator.scanner import draw_scanner

        weight = patient(np.random.default_rng(0), COARSE).weight_kg
        return float(np.mean([draw_scanner(np.random.default_rng(s), weight).noise_at_liver for s in range(20)]))

    assert noise(40.0) > 1.2 * noise(22.0)


def test_truth_is_the_contour_of_the_lesion() -> None:
    # A sphere of 20 mm radius: 4/3 π r³ = 33.5 ml; the 42 % contour of the blurred shape is a little wider.
    anatomy = procedural(np.random.default_rng(1), (4.0, 4.0, 4.0))
    middle = tuple(n // 2 for n in anatomy.lattice.shape)
    lesion = Lesion("liver", (middle[0], middle[1], middle[2]), 20.0, 8.0, irregular=0.0)
    placed = place(lesion, anatomy.lattice, (2.0, 2.0, 2.0), np.random.default_rng(2))
    assert placed.contour.sum() * anatomy.lattice.voxel_ml == pytest.approx(33.5, rel=0.15)
    assert placed.share.sum() * anatomy.lattice.voxel_ml == pytest.approx(33.5, rel=0.10)


def test_a_cold_core_belongs_to_the_truth() -> None:
    anatomy = procedural(np.random.default_rng(1), (4.0, 4.0, 4.0))
    middle = tuple(n // 2 for n in anatomy.lattice.shape)
    lesion = Lesion("muscle", (middle[0], middle[1], middle[2]), 40.0, 8.0, necrosis=0.7)
    placed = place(lesion, anatomy.lattice, (2.0, 2.0, 2.0), np.random.default_rng(2))
    cold = (placed.uptake < 0.5 * lesion.suv) & (placed.share == 1)
    assert cold.sum() > 100
    assert placed.contour[cold].all()


def test_field_of_view_of_the_ct_may_be_smaller_than_the_arms() -> None:
    narrow = Scanner(5.0, 0.14, 5.5, 3.0, 0.0, (0.0, 0.0, 0.0), 9.0, 300.0, 0.0, "none")
    study = simulate_study(1, protocol=Protocol(COARSE, 700.0, "negative"), scanner=narrow)
    x = study.origin_mm[0] + study.spacing_mm[0] * np.arange(study.ct.shape[2])
    assert (study.ct[:, :, np.abs(x) > 150] == -1024).all()
    assert study.suv[:, :, np.abs(x) > 160].max() > 0.1


def test_arrays_need_neither_simpleitk_nor_nibabel() -> None:
    code = """
import sys
for name in ("SimpleITK", "nibabel", "torch"):
    sys.modules[name] = None
from petct_simulator import Protocol, simulate_study
study = simulate_study(1, protocol=Protocol((12.0, 12.0, 12.0), 700.0, "melanoma"))
assert study.truth.any()
"""
    root = Path(__file__).parents[2]
    path = os.pathsep.join((str(root), str(root / "resources")))
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": path})
