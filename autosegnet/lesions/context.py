"""What is known of a study besides its mask and PET: it gives lesions a site, a reference and a confidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from autosegnet.suv.body_size import compute_body_surface_m2, compute_norm_kg

if TYPE_CHECKING:
    import SimpleITK as sitk

    from autosegnet.lesions.organ_labels import OrganLabels

_LEAN_NORMS: Final = {"janma": "LBMJANMA", "james": "LBMJAMES128"}


@dataclass(frozen=True, slots=True)
class BodySize:
    """A patient's size, as far as it is known.

    Args:
        weight_kg: None if unknown.
        height_cm: None if unknown.
        sex: 'M', 'F', 'O' or ''.
    """

    weight_kg: float | None = None
    height_cm: float | None = None
    sex: str = ""

    @property
    def surface_m2(self) -> float | None:
        """Return the body surface (Du Bois); None if weight or height is unknown."""
        if not self.weight_kg or not self.height_cm:
            return None
        return compute_body_surface_m2(weight_kg=self.weight_kg, height_cm=self.height_cm)

    def compute_lean_factors(self) -> dict[str, float]:
        """Return the factors from SUV to SUL (kg of lean body mass per kg of weight) by the name of the formula.

        Empty if weight, height or sex is unknown. The formula of James falls below 0 for the heaviest patients, and is
        missing then.
        """
        if not self.weight_kg or not self.height_cm or self.sex not in ("M", "F", "O"):
            return {}
        size = {"weight_kg": self.weight_kg, "height_cm": self.height_cm}
        lean_kg = {name: compute_norm_kg(norm, sex=self.sex, **size) for name, norm in _LEAN_NORMS.items()}
        return {name: lean / self.weight_kg for name, lean in lean_kg.items() if lean > 0}


@dataclass(frozen=True, slots=True)
class Context:
    """What is known of a study besides its mask and PET. Everything may be missing.

    Args:
        ct: in HU, on any grid; landmarks come from it if there is no organ map.
        organs: an organ map of the patient.
        probability: of lesion, on the PET's grid.
        disagreement: standard deviation of the folds' probabilities, on the PET's grid.
        size: of the patient.
        tracer: as the header names it; '' if it says nothing.
        nuclide: as 'F-18'; '' if it is not known.
    """

    ct: sitk.Image | None = None
    organs: OrganLabels | None = None
    probability: sitk.Image | None = None
    disagreement: sitk.Image | None = None
    size: BodySize = BodySize()
    tracer: str = ""
    nuclide: str = ""

    @property
    def is_fdg(self) -> bool:
        """Return whether rules for FDG apply: they do, unless the header names another tracer or nuclide."""
        name = self.tracer.lower()
        may_be = not name or "fdg" in name or "deoxyglucose" in name
        return may_be and self.nuclide in ("", "F-18")
