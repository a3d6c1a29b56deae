"""The balance of activity: what a PET shows cannot be more than was injected."""

from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from autosegnet.suv.conversion import Conversion
from autosegnet.suv.plausibility import admit, judge_balance
from autosegnet.suv.stated import StatedFacts

_SAMPLES: Final = 500_000
_OF_HOT: Final = 0.05  # share of the 99.5th percentile above which there is tracer


def weigh_activity(
    conversion: Conversion, suv: NDArray[np.float32], *, voxel_ml: float, facts: StatedFacts
) -> Conversion:
    """Judge the balance of activity of a PET, and return its conversion with the result.

    The sum of SUV x volume over 1000 W is the activity in view over the injected activity, both at one time, because
    SUV = C 1000 W / D. Without a weight there is no balance.

    Args:
        suv: (z, y, x) SUV, g/ml.
        voxel_ml: volume of a voxel.
        facts: as of the conversion.

    Raises:
        InputError: the PET holds more activity than was injected.
    """
    weight_kg = conversion.figures.get("weight_kg")
    if weight_kg is None:
        return conversion
    fraction = sum(float(plane.sum(dtype=np.float64)) for plane in suv) * voxel_ml / (1000.0 * weight_kg)
    warnings = list(conversion.warnings)
    ways = ", ".join(facts.name_way(name) for name in ("dose_mbq", "weight_kg", "injection_time", "scan_time"))
    findings = judge_balance(fraction, _mean_tissue_suv(suv), ways=ways, can_refuse=conversion.is_from_activity)
    admit(findings, warnings.append)
    figures = {**conversion.figures, "seen_fraction_of_dose": fraction}
    return replace(conversion, figures=figures, warnings=tuple(warnings))


def _mean_tissue_suv(suv: NDArray[Any]) -> float:
    stride = max(1, round((suv.size / _SAMPLES) ** (1 / 3)))
    sample = suv[::stride, ::stride, ::stride]
    hot = float(np.percentile(sample, 99.5))
    tissue = sample[sample > _OF_HOT * hot]
    return float(tissue.mean(dtype=np.float64)) if hot > 0 and tissue.size else 1.0
