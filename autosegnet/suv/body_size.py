"""Body measures other than weight to which SUVs are normalised."""

from collections.abc import Callable
from typing import Final


def _compute_james128_kg(weight_kg: float, height_cm: float, male: bool) -> float:
    quotient = (weight_kg / height_cm) ** 2
    return 1.10 * weight_kg - 128.0 * quotient if male else 1.07 * weight_kg - 148.0 * quotient


def _compute_janmahasatian_kg(weight_kg: float, height_cm: float, male: bool) -> float:
    bmi = weight_kg / (height_cm / 100.0) ** 2
    return 9270.0 * weight_kg / (6680.0 + 216.0 * bmi) if male else 9270.0 * weight_kg / (8780.0 + 244.0 * bmi)


def _compute_ideal_kg(weight_kg: float, height_cm: float, male: bool) -> float:
    return 48.0 + 1.06 * (height_cm - 152.0) if male else 45.5 + 0.91 * (height_cm - 152.0)


_NORMS_KG: Final[dict[str, Callable[[float, float, bool], float]]] = {
    "LBM": _compute_james128_kg,
    "LBMJAMES128": _compute_james128_kg,
    "LBMJANMA": _compute_janmahasatian_kg,
    "IBW": _compute_ideal_kg,
}

SUV_TYPES: Final = tuple(_NORMS_KG)
"""Values of SUVType (0054,1006) with a norm in kg."""


def compute_norm_kg(suv_type: str, *, weight_kg: float, height_cm: float, sex: str) -> float:
    """Return the mass in kg to which an SUV of this type is normalised.

    Args:
        sex: 'M', 'F', or 'O', which takes the mean of both.

    Source: lean body mass of James 1976 (men with 128) and of Janmahasatian et al. 2005 (Clin Pharmacokinet 44:1051),
        ideal body weight of Sugawara et al. 1999 (Radiology 213:521); the mean for 'O' as in the IBSI manual.
    """
    norm = _NORMS_KG[suv_type]
    sexes = {"M": (True,), "F": (False,), "O": (True, False)}[sex]
    return sum(norm(weight_kg, height_cm, male) for male in sexes) / len(sexes)


def compute_body_surface_m2(*, weight_kg: float, height_cm: float) -> float:
    """Return the body surface, BSA = 0.007184 H^0.725 W^0.425.

    Source: Du Bois and Du Bois 1916 (Arch Intern Med 17:863).
    """
    return float(0.007184 * height_cm**0.725 * weight_kg**0.425)
