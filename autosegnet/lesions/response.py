"""Suggestions from lesions and reference uptake: Deauville score and PERCIST's threshold. A reader decides.

Deauville: Barrington et al. 2014, doi:10.1200/JCO.2013.53.5229 (score 4 above the highest SUV of the liver, 5 above
twice that). PERCIST: Wahl et al. 2009, doi:10.2967/jnumed.108.057307.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from autosegnet.lesions.figures import Lesion
from autosegnet.lesions.references import References

_MARKEDLY: Final = 2.0


def suggest_deauville(lesion: Lesion, references: References) -> str:
    """Return the suggested Deauville score of a lesion: '2' to '5', '2-3', or '' if nothing can be said.

    Score 1, no uptake above the background, cannot be derived from the figures of a lesion.
    """
    liver, blood = references.liver, references.blood
    if liver is None:
        return ""
    if lesion.suv_max > _MARKEDLY * liver.suv_max:
        return "5"
    if lesion.suv_max > liver.suv_max:
        return "4"
    if blood is None:
        return "2-3"
    return "3" if lesion.suv_max > blood.suv_max else "2"


def suggest_body_deauville(lesions: Sequence[Lesion], references: References) -> str:
    """Return the highest suggested score of the lesions that are not doubtful; '' if there is none."""
    return max((suggest_deauville(lesion, references) for lesion in lesions if not lesion.site.flag), default="")


def find_percist_threshold_suv(references: References) -> float | None:
    """Return the SUVpeak from which a lesion is measurable by PERCIST at baseline; None without a reference.

    1.5 x the liver's mean + 2 SD, or, without a liver, 2 x the blood pool's mean + 2 SD. PERCIST states it in SUL:
    both sides of the comparison have the same factor.
    """
    liver, blood = references.liver, references.blood
    if liver is not None:
        return 1.5 * liver.suv_mean + 2 * liver.suv_sd
    return 2.0 * blood.suv_mean + 2 * blood.suv_sd if blood is not None else None


def count_measurable(lesions: Sequence[Lesion], references: References) -> int | None:
    """Return how many lesions reach PERCIST's threshold and are not doubtful; None without a reference."""
    threshold = find_percist_threshold_suv(references)
    if threshold is None:
        return None
    return sum(lesion.suv_peak >= threshold and not lesion.site.flag for lesion in lesions)
