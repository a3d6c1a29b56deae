"""Whether two visits are of one patient and in order, as far as their headers say. No message repeats an identity."""

from __future__ import annotations

import numpy as np

from autosegnet.comparison.visits import Visit
from autosegnet.errors import InputError
from autosegnet.geometry import view_voxels

_IDENTITY = {"PatientID": "(0010,0020)", "PatientBirthDate": "(0010,0030)"}


def check_identity(
    baseline: Visit, followup: Visit, *, different_ids: bool = False, any_order: bool = False
) -> list[str]:
    """Return what a reader must know of identity and order, a sentence each.

    Args:
        baseline, followup: the visits.
        different_ids: take them for one patient although headers differ.
        any_order: take the baseline for the earlier one although dates say otherwise.

    Raises:
        InputError: the headers name two patients, or the follow-up was made before the baseline.
    """
    doubts = []
    for name, tag in _IDENTITY.items():
        a, b = baseline.read_header(name), followup.read_header(name)
        if a and b and a != b:
            said = f"{name} {tag} of baseline and follow-up differ"
            if not different_ids:
                raise InputError(f"{said}; expected one patient. If it is one, say so with --different-ids")
            doubts.append(f"{said}; that it is one patient was stated by --different-ids.")
    sexes = {visit.loaded.scan.sex for visit in (baseline, followup)} - {"", "O"}
    if len(sexes) == 2:
        if not different_ids:
            raise InputError(
                "PatientSex (0010,0040) is M on one date and F on the other; expected one patient. If it is one, say "
                "so with --different-ids"
            )
        doubts.append("PatientSex differs; that it is one patient was stated by --different-ids.")
    return [*doubts, *_check_order(baseline, followup, any_order=any_order)]


def count_days(baseline: Visit, followup: Visit) -> int | None:
    """Return the days from baseline to follow-up; None if a date is not known."""
    first, second = baseline.day, followup.day
    return None if first is None or second is None else (second - first).days


def _is_same_pet(baseline: Visit, followup: Visit) -> bool:
    first, second = (view_voxels(visit.loaded.study.pet) for visit in (baseline, followup))
    return np.array_equal(first, second)


def _check_order(baseline: Visit, followup: Visit, *, any_order: bool) -> list[str]:
    uid = baseline.read_header("StudyInstanceUID")
    days = count_days(baseline, followup)
    if (uid and uid == followup.read_header("StudyInstanceUID")) or (not days and _is_same_pet(baseline, followup)):
        return ["Baseline and follow-up are the same study."]
    if days is None or days >= 0:
        return ["Baseline and follow-up were made on the same day."] if days == 0 else []
    said = f"the follow-up was made {-days} days before the baseline"
    if not any_order:
        raise InputError(f"{said}; swap the two, or keep this order with --any-order")
    return [f"{said[0].upper()}{said[1:]}; the order was kept by --any-order."]
