"""What the time from the injection to the moment that decay is counted to may be, in a header as in a sidecar."""

from typing import Final

_LONGEST_S: Final = 86400.0  # of nuclides that live for minutes or hours; of others, the half-lives below
_LONGEST_HALF_LIVES: Final = 10.0
_MOST_HALF_LIVES: Final = 100.0  # 1e-30 of the activity: no PET, and beyond it floats run over


def uptake_fault(uptake_s: float, half_life_s: float) -> str:
    """Where an injection lies that cannot be true, seen from the moment that decay is counted to; or ''.

    Args:
        uptake_s: from the injection to that moment.
    """
    if uptake_s < 0:
        return f"{-uptake_s / 60:.1f} min after the time to which the PET is corrected"
    if uptake_s > min(max(_LONGEST_S, _LONGEST_HALF_LIVES * half_life_s), _MOST_HALF_LIVES * half_life_s):
        return f"{uptake_s / 86400:.1f} days before it, which is {uptake_s / half_life_s:.0f} half-lives"
    return ""


def uptake_doubt(uptake_s: float, half_life_s: float) -> str:
    """What a person should look at in an uptake time without fault, or ''."""
    if uptake_s > _LONGEST_HALF_LIVES * half_life_s:
        return f"the injection lies {uptake_s / half_life_s:.0f} half-lives before the scan"
    return ""
