"""Reference uptake: the liver and the blood pool, from an organ map, or else by rules that may abstain.

Liver: a sphere of 3 cm in the right lobe, at the place farthest from the liver's border and from lesions (EANM 2.0,
Boellaard et al. 2015, doi:10.1007/s00259-014-2961-x; PERCIST, Wahl et al. 2009, doi:10.2967/jnumed.108.057307).
Blood pool: the descending thoracic aorta, 1 cm wide and 2 cm high (PERCIST), in the middle of its length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from autosegnet.lesions.blood_reference import find_blood_by_map, find_blood_by_rule
from autosegnet.lesions.landmarks import Landmarks
from autosegnet.lesions.liver_reference import find_liver_by_map, find_liver_by_rule
from autosegnet.lesions.organ_labels import Organs
from autosegnet.lesions.reference_regions import Reference

if TYPE_CHECKING:
    import SimpleITK as sitk

LIVER_SUV: Final = (1.3, 3.0)
"""Where the liver's SUVmean is expected (EANM, doi:10.1007/s00259-022-05977-5)."""


@dataclass(frozen=True, slots=True)
class References:
    """Both references; each is None with a reason if it was not measured.

    Args:
        liver, blood: the references.
        without_liver, without_blood: why there is none; '' if there is one.
    """

    liver: Reference | None = None
    blood: Reference | None = None
    without_liver: str = ""
    without_blood: str = ""


def measure_references(
    suv: sitk.Image,
    lesions: NDArray[np.bool_],
    *,
    organs: Organs | None,
    landmarks: Landmarks | None,
    ct: sitk.Image | None,
) -> References:
    """Return the reference uptake of liver and blood pool.

    Args:
        suv: PET in SUV.
        lesions: (z, y, x) on its grid; references avoid them.
        organs: on the PET's grid.
        landmarks: of the body, for the rule without an organ map.
        ct: in HU, also for that rule.
    """
    found_liver: Reference | str = _explain("liver", organs, ct)
    found_blood: Reference | str = _explain("aorta", organs, ct)
    if organs is not None and organs.has("liver"):
        found_liver = find_liver_by_map(suv, organs, lesions)
    elif ct is not None and landmarks is not None:
        found_liver = find_liver_by_rule(suv, ct, landmarks, lesions)
    if organs is not None and organs.has("aorta"):
        found_blood = find_blood_by_map(suv, organs, lesions)
    elif ct is not None and landmarks is not None:
        found_blood = find_blood_by_rule(suv, ct, landmarks, lesions)
    return References(
        liver=None if isinstance(found_liver, str) else found_liver,
        blood=None if isinstance(found_blood, str) else found_blood,
        without_liver=found_liver if isinstance(found_liver, str) else "",
        without_blood=found_blood if isinstance(found_blood, str) else "",
    )


def _explain(organ: str, organs: Organs | None, ct: sitk.Image | None) -> str:
    """Return why an organ cannot even be looked for."""
    without_map = "no organ map" if organs is None else f"no {organ} in the organ map"
    return f"{without_map}, and {'no CT' if ct is None else 'no lungs found in the CT'}"


def warn_of_liver(reference: Reference | None) -> str:
    """Return a warning if the liver's uptake is unusual for FDG; '' if it is usual or unknown."""
    if reference is None or LIVER_SUV[0] <= reference.suv_mean <= LIVER_SUV[1]:
        return ""
    return (
        f"liver SUVmean is {reference.suv_mean:.2f}; expected {LIVER_SUV[0]} to {LIVER_SUV[1]} with FDG. "
        "Check dose, weight, times and unit of the PET, and look at the liver"
    )
