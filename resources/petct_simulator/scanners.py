"""The scanners of one examination, fitted to what was measured, or varied beyond it."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class PetScanner:
    """The PET of one examination.

    Args:
        fwhm_mm: point spread.
        noise: SD of a voxel over its uptake, at SUV 2.8.
        noise_fwhm_mm: kernel that correlates the noise, in plane and along z.
        end_noise: how much noisier the end slices are (0: not), falling off over end_mm.
        end_mm: see end_noise.
        floor_suv: uptake whose noise the air around the patient has.
        breath_mm: SD of the diaphragm's excursion.
        filter_fwhm_mm: of a filter after reconstruction; negative sharpens; 0 none.
    """

    fwhm_mm: float
    noise: float
    noise_fwhm_mm: tuple[float, float]
    end_noise: float
    end_mm: float
    floor_suv: float
    breath_mm: float
    filter_fwhm_mm: float = 0.0


@dataclass(frozen=True, slots=True)
class CtScanner:
    """The CT of one examination.

    Args:
        noise_hu: SD.
        fwhm_mm: width of the tissue borders.
        shift_mm: (x, y, z) against the PET.
        breath_mm: how much higher its diaphragm stands.
        field_mm: diameter of its field of view.
        table: whether it shows the table.
        metal: number of metal pieces.
    """

    noise_hu: float
    fwhm_mm: float
    shift_mm: tuple[float, float, float]
    breath_mm: float
    field_mm: float
    table: bool
    metal: int


def draw_pet_scanner(rng: np.random.Generator, weight_kg: float, *, varied: bool) -> PetScanner:
    """Return a PET: one of two that were measured, or any."""
    heavy = (weight_kg / 73.0) ** 0.5
    ends = rng.random() < 0.7
    if varied:
        sharper = float(rng.choice([0.0, 1.0, -1.0], p=[0.8, 0.13, 0.07]))
        return PetScanner(
            fwhm_mm=float(rng.uniform(4.0, 10.5)),
            noise=float(0.14 * np.exp(rng.normal(0.0, 0.45)) * heavy),
            noise_fwhm_mm=(float(rng.uniform(4.0, 11.5)), float(rng.uniform(3.5, 9.0))),
            end_noise=float(np.exp(rng.uniform(np.log(1.5), np.log(35.0)))) if ends else 0.0,
            end_mm=float(rng.uniform(3.0, 12.0)),
            floor_suv=float(np.exp(rng.uniform(np.log(0.005), np.log(0.3)))),
            breath_mm=float(rng.uniform(1.0, 8.0)),
            filter_fwhm_mm=sharper * float(rng.uniform(3.0, 8.0)),
        )
    siemens = rng.random() < 0.6  # the two reconstructions that were measured
    # Kernels: measured widths of the noise's autocorrelation in the liver, over the square root of 2.
    noise, in_plane, axial = (0.145, 6.0, 4.6) if siemens else (0.22, 6.1, 2.9)
    return PetScanner(
        fwhm_mm=float(rng.uniform(5.0, 7.5) if siemens else rng.uniform(5.5, 9.0)),
        noise=float(np.clip(noise * np.exp(rng.normal(0.0, 0.18)) * heavy, 0.08, 0.32)),
        noise_fwhm_mm=(float(in_plane * np.exp(rng.normal(0, 0.12))), float(axial * np.exp(rng.normal(0, 0.1)))),
        end_noise=float(np.clip(7.0 * np.exp(rng.normal(0.0, 0.5)), 2.0, 20.0)) if ends else 0.4,
        end_mm=float(rng.uniform(3.0, 6.0)),
        floor_suv=float(rng.uniform(0.04, 0.12)),
        breath_mm=float(rng.uniform(2.0, 6.0)),
    )


def draw_ct_scanner(rng: np.random.Generator, *, varied: bool) -> tuple[CtScanner, float]:
    """Return a CT, and how much contrast medium it shows: 0 none … 1 portal venous phase."""
    moved = rng.random() < (0.4 if varied else 0.2)
    shift = rng.normal(0.0, 4.0 if varied else 3.0, 3).tolist() if moved else [0.0, 0.0, 0.0]
    contrast = float(rng.uniform(0.2 if varied else 0.7, 1.3 if varied else 1.15)) if rng.random() < 0.6 else 0.0
    ct = CtScanner(
        noise_hu=float(rng.uniform(4.0, 35.0) if varied else rng.uniform(7.0, 16.0)),
        fwhm_mm=float(rng.uniform(2.0, 7.0) if varied else 3.0),
        shift_mm=(shift[0], shift[1], shift[2]),
        breath_mm=float(np.clip(rng.normal(0.0, 6.0), -14.0, 14.0)),
        field_mm=500.0 if rng.random() < 0.3 else 780.0,
        table=bool(rng.random() < (0.7 if varied else 1.0)),
        metal=int(rng.integers(1, 4)) if rng.random() < (0.2 if varied else 0.3) else 0,
    )
    return ct, contrast
