"""What the scanner makes of a patient: blur and noise of the PET; noise, table, metal and field of view of the CT.

Arrays are (z, y, x); `Lattice` gives spacing and origin in mm.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from petct_simulator.frame import DOME, Lattice
from petct_simulator.shapes import Canvas, Mask, Volume

FWHM = 2.3548  # full width at half maximum over SD of a Gaussian
AIR_HU = -1024.0  # what stands in a CT where nothing was measured


@dataclass(frozen=True, slots=True)
class Scanner:
    """One examination.

    fwhm_mm: the PET's point spread; noise_at_liver: relative SD of a voxel at the liver's uptake (SUV 2.8);
    noise_fwhm_mm: the kernel that correlates the noise; breath_mm: SD of the diaphragm's excursion;
    ct_breath_mm: how much higher the CT's diaphragm stands; ct_shift_mm: (x, y, z) of the CT against the PET;
    ct_noise_hu: SD; ct_field_mm: diameter; metal: dental, hip or none; table: whether the CT shows one.
    """

    fwhm_mm: float
    noise_at_liver: float
    noise_fwhm_mm: float
    breath_mm: float
    ct_breath_mm: float
    ct_shift_mm: tuple[float, float, float]
    ct_noise_hu: float
    ct_field_mm: float
    contrast: float
    metal: str
    table: bool = True


def draw_scanner(rng: np.random.Generator, weight_kg: float) -> Scanner:
    """Return an examination: noise: 14 % in the liver at 73 kg, more in heavy ones (docs/explanation/simulation.md).

    The relation to weight follows de Groot et al. 2013, EJNMMI Res 3:63: at a dose that is linear in weight, noise
    still grows with it; here with its square root.
    """
    moved = rng.random() < 0.2
    return Scanner(
        fwhm_mm=float(rng.uniform(4.0, 7.0)),
        noise_at_liver=float(0.14 * np.exp(rng.normal(0.0, 0.18)) * (weight_kg / 73.0) ** 0.5),
        noise_fwhm_mm=float(rng.uniform(4.5, 6.5)),
        breath_mm=float(rng.uniform(2.0, 6.0)),
        ct_breath_mm=float(np.clip(rng.normal(0.0, 6.0), -14.0, 14.0)),
        ct_shift_mm=(0.0, 0.0, 0.0) if not moved else tuple(rng.normal(0.0, 3.0, 3).tolist()),
        ct_noise_hu=float(rng.uniform(7.0, 16.0)),
        ct_field_mm=500.0 if rng.random() < 0.3 else 780.0,
        contrast=float(rng.uniform(0.7, 1.15)) if rng.random() < 0.6 else 0.0,
        metal=str(rng.choice(["none", "dental", "hip"], p=[0.68, 0.27, 0.05])),
    )


def blur(activity: Volume, scanner: Scanner, lattice: Lattice) -> Volume:
    """Return activity seen through the point spread of the PET."""
    sigma = [scanner.fwhm_mm / FWHM / s for s in lattice.spacing_mm[::-1]]
    return np.asarray(ndimage.gaussian_filter(activity, sigma, truncate=3.0), dtype=np.float32)


def breathe(activity: Volume, canvas: Canvas, scanner: Scanner, lattice: Lattice) -> Volume:
    """Return activity averaged over the breathing cycle: blurred along z around the diaphragm, most in front."""
    near = (canvas.axis_z > DOME - 170) & (canvas.axis_z < DOME + 110)
    rows = np.flatnonzero(near)
    if rows.size < 3:
        return activity
    part = slice(int(rows[0]), int(rows[-1]) + 1)
    moved = ndimage.gaussian_filter1d(activity[part], scanner.breath_mm / lattice.spacing_mm[2], axis=0, mode="nearest")
    weight = np.exp(-(((canvas.axis_z[part] - (DOME - 30)) / 60.0) ** 2))[:, None, None].astype(np.float32)
    averaged = activity.copy()
    averaged[part] += weight * (moved - activity[part])
    return averaged


def add_pet_noise(mean: Volume, body: Mask, scanner: Scanner, lattice: Lattice, rng: np.random.Generator) -> Volume:
    """Return a noisy PET. SD of a voxel = noise_at_liver · 2.8 · (SUV / 2.8)^0.75, times attenuation and ends.

    The exponent joins the measured SDs of muscle (0.15 at 0.79) and liver (0.4 at 2.8): iterative reconstruction lies
    between the square root of the counts and proportionality (Boellaard et al. 2001, J Nucl Med 42:808).
    Thick slices are noisier for their attenuation, the end slices for their sensitivity.
    """
    sigma = [
        scanner.noise_fwhm_mm * share / FWHM / s for s, share in zip(lattice.spacing_mm[::-1], (0.8, 1, 1), strict=True)
    ]
    noise = ndimage.gaussian_filter(rng.standard_normal(mean.shape, dtype=np.float32), sigma, truncate=2.5)
    noise *= _slice_noise(body, scanner, lattice)[:, None, None] / np.float32(max(float(noise.std()), 1e-6))
    local = np.sqrt(np.maximum(mean, 0.0) + 0.003)
    noise *= local * np.sqrt(local)  # SUV^0.75
    noise += mean
    return np.asarray(np.maximum(noise, 0.0), dtype=np.float32)


def _slice_noise(body: Mask, scanner: Scanner, lattice: Lattice) -> Volume:
    area = body.sum(axis=(1, 2)) * lattice.spacing_mm[0] * lattice.spacing_mm[1]
    width = np.sqrt(ndimage.gaussian_filter1d(area.astype(np.float64), 20.0 / lattice.spacing_mm[2]) / 65000.0)
    z = lattice.axis(2)
    end = np.minimum(z - z[0], z[-1] - z)
    factor = np.clip(width, 0.55, 1.6) * (1.0 + 0.9 * np.exp(-end / 12.0))
    return np.asarray(factor * scanner.noise_at_liver * 2.8**0.25, dtype=np.float32)


def breathe_ct(hu: Volume, canvas: Canvas, scanner: Scanner, lattice: Lattice) -> Volume:
    """Return the CT in its own breathing phase and place: moved along z around the diaphragm, and as a whole."""
    lift = scanner.ct_breath_mm * np.exp(-(((canvas.axis_z - (DOME - 20)) / 80.0) ** 2))
    rows = np.arange(hu.shape[0]) - (lift + scanner.ct_shift_mm[2]) / lattice.spacing_mm[2]
    rows = np.clip(rows, 0, hu.shape[0] - 1)
    low = np.minimum(rows.astype(np.intp), max(hu.shape[0] - 2, 0))
    weight = (rows - low).astype(np.float32)[:, None, None]
    moved = hu[low] * (1 - weight) + hu[np.minimum(low + 1, hu.shape[0] - 1)] * weight
    across = [0.0, scanner.ct_shift_mm[1] / lattice.spacing_mm[1], scanner.ct_shift_mm[0] / lattice.spacing_mm[0]]
    if not any(across):
        return np.asarray(moved, dtype=np.float32)
    return np.asarray(ndimage.shift(moved, across, order=1, mode="nearest"), dtype=np.float32)


def soften(hu: Volume, lattice: Lattice) -> Volume:
    """Return the CT's tissue borders as wide as its own resolution leaves them, about 3 mm."""
    return np.asarray(ndimage.gaussian_filter(hu, [3.0 / FWHM / s for s in lattice.spacing_mm[::-1]], truncate=2.5))


def add_table(hu: Volume, lattice: Lattice, back_mm: float) -> None:
    """Draw the patient table below back_mm (y): a shell of carbon fibre, foam within, a mattress on top."""
    x, y = lattice.axis(0)[None, :], lattice.axis(1)[:, None]
    top = back_mm + 8.0 - 14.0 * (x / 215.0) ** 2
    depth = y - top
    across = np.abs(x) < 215
    mattress = across & (depth > -14) & (depth <= 0)
    shell = across & (depth > 0) & (depth < 38 * (1 - (x / 230.0) ** 2) + 6)
    rim = shell & ((depth < 4.5) | (depth > 38 * (1 - (x / 230.0) ** 2) + 1.5) | (np.abs(x) > 209))
    for region, value in ((mattress, -890.0), (shell, -930.0), (rim, -330.0)):
        where = np.broadcast_to(region, hu.shape[1:])
        for plane in hu:
            plane[where & (plane < -900)] = value


def add_metal(hu: Volume, canvas: Canvas, scanner: Scanner, lattice: Lattice, rng: np.random.Generator) -> None:
    """Draw dental fillings or a hip prosthesis, with streaks in their slices; HU saturate at 3071."""
    spots = {"dental": [(-22, -78, 1575), (20, -80, 1575), (26, -66, 1577)], "hip": [(90, 2, 915), (128, 8, 890)]}
    for point in spots.get(scanner.metal, []):
        voxel = canvas.locate(point)
        if voxel is None:
            continue
        height = 7.0 if scanner.metal == "dental" else 55.0
        reach = max(1, int(height / lattice.spacing_mm[2]))
        dy = (lattice.axis(1) - lattice.axis(1)[voxel[1]])[:, None]
        dx = (lattice.axis(0) - lattice.axis(0)[voxel[2]])[None, :]
        distance, angle = np.hypot(dx, dy), np.arctan2(dy, dx)
        size = 5.0 if scanner.metal == "dental" else 15.0
        for row in range(max(0, voxel[0] - reach), min(hu.shape[0], voxel[0] + reach)):
            streaks = np.sin(rng.integers(4, 9) * angle + rng.uniform(0, 6.28)) * rng.uniform(150, 500)
            hu[row] += (streaks * np.exp(-distance / 45.0) * (hu[row] > -900)).astype(np.float32)
            hu[row][distance < size] = 3071.0


def add_ct_noise(hu: Volume, scanner: Scanner, lattice: Lattice, rng: np.random.Generator) -> Volume:
    """Return a noisy CT, cut to its field of view and to the range of 12 bits, −1024 … 3071 HU.

    The noise is that of a CT of 1–2 mm voxels resampled to the PET's: a weak correlation in plane.
    """
    noise = ndimage.gaussian_filter(rng.standard_normal(hu.shape, dtype=np.float32), (0.0, 0.5, 0.5), truncate=2.0)
    noise[hu < -900] *= 0.25  # few photons are lost in air
    hu = hu + noise * np.float32(scanner.ct_noise_hu / max(float(noise.std()), 1e-6))
    outside = np.hypot(lattice.axis(0)[None, :], lattice.axis(1)[:, None]) > scanner.ct_field_mm / 2
    hu[:, outside] = AIR_HU
    return np.clip(hu, AIR_HU, 3071.0, out=hu)
