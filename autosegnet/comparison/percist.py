"""A response that the figures suggest by PERCIST 1.0, with its reasons.

Wahl et al. 2009, doi:10.2967/jnumed.108.057307; O, Lodge and Wahl 2016, doi:10.1148/radiol.2016142043. SUL by
Janmahasatian, as the second advises. A reader decides: only a reader tells tumour from anything else that is hot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from autosegnet.comparison.changes import LesionChange, find_percent
from autosegnet.errors import format_numbers
from autosegnet.lesions import LesionTable
from autosegnet.lesions.response import find_percist_threshold_suv

LEAST_PERCENT: Final = 30.0
LEAST_SUL: Final = 0.8
LEAST_TLG_PERCENT: Final = 75.0
_ROUNDING: Final = 1e-9  # a fall from 6.0 to 4.2 is one of 30 %


@dataclass(frozen=True, slots=True)
class PercistSuggestion:
    """What PERCIST suggests.

    Args:
        response: 'CMR', 'PMR', 'SMD', 'PMD', or '' if nothing can be suggested.
        reasons: why, a sentence each.
        target: number of the change with the hottest lesion at baseline; None if there is none.
        sul_peak_baseline, sul_peak_followup: of the hottest lesion of each date, not always the same lesion.
        threshold_sul: from which a lesion is measurable at baseline; None without a reference.
    """

    response: str
    reasons: tuple[str, ...]
    target: int | None = None
    sul_peak_baseline: float | None = None
    sul_peak_followup: float | None = None
    threshold_sul: float | None = None

    @property
    def percent(self) -> float | None:
        """Return the change of SULpeak in percent."""
        return find_percent(self.sul_peak_baseline, self.sul_peak_followup)


def suggest_percist(changes: Sequence[LesionChange], baseline: LesionTable, followup: LesionTable) -> PercistSuggestion:
    """Return what PERCIST suggests of the changes.

    A change does not count if, on a date, every lesion of it may be physiological.

    Args:
        changes: of all lesions.
        baseline, followup: with references and the body's size.
    """
    if not (baseline.is_fdg and followup.is_fdg):
        return PercistSuggestion("", ("PERCIST is for FDG, and a header names another tracer or nuclide.",))
    seen = [c for c in changes if c.is_imaged_twice and not c.is_doubtful]
    threshold = _find_threshold_sul(baseline)
    before = max((c.baseline.sul_peak for c in seen if c.baseline.sul_peak is not None), default=None)
    after = max((c.followup.sul_peak for c in seen if c.followup.sul_peak is not None), default=None)
    target = next((c.number for c in seen if before is not None and c.baseline.sul_peak == before), None)
    response, reasons = _judge(seen, before, after, threshold, _list_unseen(changes))
    if response and target is not None and threshold is None:
        reasons += (
            "No liver and no blood pool was measured at baseline, so it is not known whether the hottest lesion was "
            "measurable.",
        )
    doubtful = [c.number for c in changes if c.is_imaged_twice and c.is_doubtful]
    if doubtful:
        reasons += (f"Not counted, because uptake may be physiological: {format_numbers(doubtful, 'lesion')}.",)
    return PercistSuggestion(response, reasons, target, before, after, threshold)


def _find_threshold_sul(table: LesionTable) -> float | None:
    threshold, factor = find_percist_threshold_suv(table.fdg_references), table.lean_factors.get("janma")
    return None if threshold is None or factor is None else threshold * factor


def _list_unseen(changes: Sequence[LesionChange]) -> list[int]:
    return [c.number for c in changes if c.fate == "not imaged at follow-up"]


def _judge(
    seen: Sequence[LesionChange],
    before: float | None,
    after: float | None,
    threshold: float | None,
    unseen: Sequence[int],
) -> tuple[str, tuple[str, ...]]:
    """Return the response and its reasons."""
    new = [c for c in seen if c.fate == "new"]
    if new:
        told = ", ".join(f"{c.number} ({c.followup.volume_ml:.2g} ml)" for c in new)
        return "PMD", (f"New: {told}, if a reader takes it for tumour.",)
    old = [c for c in seen if c.baseline.lesions]
    if not old:
        return "", ("There is no lesion at baseline that counts, in the region that both dates show.",)
    if all(not c.followup.lesions for c in old):
        if unseen:
            return "", (
                f"Every lesion that both dates show is gone, but the follow-up does not show "
                f"{format_numbers(unseen, 'lesion')}.",
            )
        return "CMR", ("No lesion is left at follow-up.",)
    if before is None or after is None:
        return "", ("SUL needs weight, height and sex of the patient on both dates.",)
    if threshold is not None and before < threshold:
        return "", (
            f"The hottest lesion at baseline is not measurable: its SULpeak is {before:.2f}, and {threshold:.2f} is "
            "needed.",
        )
    return _weigh(old, before, after)


def _weigh(old: Sequence[LesionChange], before: float, after: float) -> tuple[str, tuple[str, ...]]:
    percent, by = 100.0 * (after - before) / before, after - before
    told = f"SULpeak of the hottest lesion {before:.2f} to {after:.2f}, {percent:+.0f} %."
    if percent >= LEAST_PERCENT - _ROUNDING and by >= LEAST_SUL - _ROUNDING:
        return "PMD", (told,)
    grown = [c.number for c in old if _has_progressed(c)]
    if grown:
        return "PMD", (
            told,
            f"A rise of 30 % and 0.8 of SULpeak, or of 75 % of TLG without a fall of SULpeak: "
            f"{format_numbers(grown, 'lesion')}.",
        )
    if percent <= -LEAST_PERCENT + _ROUNDING and by <= -LEAST_SUL + _ROUNDING:
        return "PMR", (told,)
    return "SMD", (told, "That is neither a rise nor a fall by both 30 % and 0.8.")


def _has_progressed(change: LesionChange) -> bool:
    before, after = change.baseline.sul_peak, change.followup.sul_peak
    if before is None or after is None:
        return False
    tlg = find_percent(change.baseline.tlg_g, change.followup.tlg_g)
    rose = after - before >= LEAST_SUL - _ROUNDING and after >= (1 + LEAST_PERCENT / 100) * before - _ROUNDING
    return rose or (tlg is not None and tlg >= LEAST_TLG_PERCENT and after >= before)
