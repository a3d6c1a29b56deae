"""A body of ellipses whose organs are known, with PET, CT and an organ map."""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from autosegnet.geometry import Grid, make_image
from autosegnet.lesions import OrganLabels

GRID = Grid((72, 46, 180), (6.0, 6.0, 6.0), (-213.0, -135.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
NAMES = {
    1: "liver", 2: "lung_left", 3: "lung_right", 4: "brain", 5: "urinary_bladder", 6: "aorta", 7: "kidney_left",
}  # fmt: skip
LIVER_SUV, BLOOD_SUV = 2.2, 1.6


@dataclass(frozen=True)
class BodyPhantom:
    """PET in SUV, CT in HU, organ map."""

    pet: sitk.Image
    ct: sitk.Image
    organs: OrganLabels


def positions() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return x, y, z in mm of every voxel, (z, y, x)."""
    z, y, x = np.meshgrid(*(np.arange(n) for n in GRID.size[::-1]), indexing="ij")
    return tuple(  # type: ignore[return-value]
        GRID.origin_mm[k] + GRID.spacing_mm[k] * index for k, index in enumerate((x, y, z))
    )


def ball(centre_mm: tuple[float, float, float], radius_mm: float) -> sitk.Image:
    """Return a mask of a ball on the phantom's grid."""
    away = sum((p - c) ** 2 for p, c in zip(positions(), centre_mm, strict=True))
    return make_image((away <= radius_mm**2).astype(np.uint8), GRID)


def body_phantom(*, liver_suv: float = LIVER_SUV) -> BodyPhantom:
    """Return a body with its feet at 0 and its crown at 1070 mm: legs, pelvis, abdomen, chest, neck, head."""
    x, y, z = positions()
    hu, suv = np.full(x.shape, -1000.0), np.zeros(x.shape)
    labels = np.zeros(x.shape, np.uint8)

    def fill(inside: np.ndarray, number: float, uptake: float, label: int = 0) -> None:
        hu[inside], suv[inside] = number, uptake
        labels[inside] = label

    def ellipse(cx: float, cy: float, rx: float, ry: float, low: float, high: float) -> np.ndarray:
        return (((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1) & (z >= low) & (z < high)

    for side in (-1, 1):
        fill(ellipse(80 * side, 0, 62, 80, 0, 200), 30, 0.6)
    fill(ellipse(0, 0, 170, 110, 200, 840), 30, 0.6)
    fill(ellipse(0, 0, 60, 60, 840, 920), 30, 0.6)
    fill(ellipse(0, 0, 90, 100, 920, 1070), 900, 0.8)  # skull
    fill(ellipse(0, 0, 76, 86, 932, 1056), 35, 8.0, 4)
    for side, label in ((1, 2), (-1, 3)):
        fill(ellipse(85 * side, 0, 52, 75, 600, 830), -800, 0.4, label)
    fill(ellipse(-75, 0, 68, 75, 460, 600), 60, liver_suv, 1)
    fill(ellipse(70, 50, 25, 25, 430, 530), 35, 3.0, 7)
    fill(ellipse(0, -30, 40, 30, 230, 290), 5, 20.0, 5)
    fill(ellipse(20, 45, 14, 14, 400, 800), 45, BLOOD_SUV, 6)
    image = {"pet": make_image(suv.astype(np.float32), GRID), "ct": make_image(hu.astype(np.float32), GRID)}
    return BodyPhantom(**image, organs=OrganLabels(make_image(labels, GRID), NAMES))
