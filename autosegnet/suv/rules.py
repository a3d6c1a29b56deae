"""The decision table: which rule turns a PET's values into SUV, and what its factor is.

With C = stored value x RescaleSlope, W kg, D Bq, T half-life in s, lambda = ln 2 / T:  SUVbw = C f.
"""

import math
from typing import Final

from autosegnet.errors import InputError
from autosegnet.suv.acquisition import read_acquisition, read_earliest_acquisition
from autosegnet.suv.body_size import SUV_TYPES, compute_body_surface_m2, compute_norm_kg
from autosegnet.suv.conversion import MODES, Conversion, Ledger
from autosegnet.suv.injection import read_injection
from autosegnet.suv.patient import (
    format_header_text,
    read_dose_bq,
    read_duration_s,
    read_half_life_s,
    read_height_cm,
    read_sex,
    read_weight_kg,
)
from autosegnet.suv.pet_header import PetHeader, name_field
from autosegnet.suv.reference_time import find_start_reference, state_scan_time
from autosegnet.suv.stated import StatedFacts
from autosegnet.suv.tcia_compat import convert_as_autopet
from autosegnet.suv.units import find_units_fault
from autosegnet.suv.unused_facts import note_unused_facts, note_unused_height, note_uptake_of_admin

_AGREEMENT: Final = 0.02  # relative difference of Philips' two private factors from which there is a warning


def convert(header: PetHeader, *, mode: str = "qiba", facts: StatedFacts | None = None) -> Conversion:
    """Return the factors that turn a PET into SUV (body weight, g/ml), and how they were derived.

    Args:
        header: of one series.
        mode: `qiba`, or `tcia-compat` for the formula behind autoPET's training data, which differs for Bq/ml only.
        facts: what the user states instead of the header.

    Raises:
        InputError: what the rule needs is missing, contradictory or cannot be true, or there is no rule for the units.
    """
    assert mode in MODES
    assert header.slices
    ledger = Ledger(header, facts or StatedFacts())
    units = ledger.read_text("units").upper()
    if units == "BQML":
        factors, rule = _from_activity(ledger, mode)
    elif units == "CNTS":
        factors, rule = _from_counts(ledger, mode)
    elif units == "GML":
        factors, rule = _from_suv(ledger)
    elif units == "CM2ML":
        factors, rule = _from_body_surface(ledger)
    else:
        raise InputError(find_units_fault(units, has_factor=False))
    if ledger.is_from_activity:
        note_unused_height(ledger)
    else:
        note_unused_facts(ledger)
    return ledger.close(factors, mode=mode, rule=rule)


def _from_activity(ledger: Ledger, mode: str) -> tuple[tuple[float, ...], str]:
    ledger.is_from_activity = True
    if mode == "tcia-compat":
        return convert_as_autopet(ledger)
    correction = ledger.read_text("decay_correction").upper()
    if correction not in ("START", "ADMIN", "NONE"):
        found = f"is {format_header_text(correction)!r}" if correction else "is missing"
        raise InputError(f"{name_field('decay_correction')} {found}; expected START, ADMIN or NONE")
    _check_decay_claims(ledger, correction)
    per_dose = 1000.0 * read_weight_kg(ledger) / read_dose_bq(ledger)
    slices = ledger.header.slices
    if correction == "ADMIN":
        note_uptake_of_admin(ledger)
        return (per_dose,) * len(slices), "BQML, ADMIN: 1000 W / D"
    half_life_s = read_half_life_s(ledger)
    if correction == "NONE":
        return _undo_decay(ledger, per_dose, half_life_s), (
            "BQML, NONE: 1000 W / D e^(l (t_acq - t_adm)) l d / (1 - e^(-l d)), l = ln 2 / T, for each slice"
        )
    reference, chosen = find_start_reference(ledger, half_life_s=half_life_s)
    given = read_injection(ledger, reference=reference, half_life_s=half_life_s)
    ledger.times["reference"] = reference
    factor = per_dose * 2.0 ** ((reference - given).total_seconds() / half_life_s)
    return (factor,) * len(slices), f"BQML, START: 1000 W / (D 2^(-(t_ref - t_adm) / T)), t_ref from {chosen}"


def _check_decay_claims(ledger: Ledger, correction: str) -> None:
    claims = ledger.read_text("corrected").upper().split("\\")
    if claims != [""] and ("DECY" in claims) == (correction == "NONE"):
        ledger.warn(
            f"{name_field('decay_correction')} is {correction}, but {name_field('corrected')} contradicts it; "
            "the former was used"
        )


def _undo_decay(ledger: Ledger, per_dose: float, half_life_s: float) -> tuple[float, ...]:
    earliest = read_earliest_acquisition(ledger)
    stated = state_scan_time(ledger, near=earliest[0] if earliest else None)
    first = stated or (earliest[0] if earliest else None)
    if first is None:
        raise InputError(
            f"{name_field('acquisition_time')} is missing; SUV with DecayCorrection NONE needs it "
            f"({ledger.facts.name_way('scan_time')} states it)"
        )
    given = read_injection(ledger, reference=first, half_life_s=half_life_s)
    ledger.times["reference"] = first
    decay = math.log(2.0) / half_life_s
    factors = []
    for part in ledger.header.slices:
        acquired, duration_s = read_acquisition(ledger, part), read_duration_s(ledger, part)
        if acquired is None and earliest is not None:
            missing = f"{name_field('acquisition_time')} is missing in a slice"
            raise InputError(f"{missing}; DecayCorrection NONE needs it in all")
        after_first_s = 0.0 if acquired is None or earliest is None else (acquired - earliest[0]).total_seconds()
        waited = math.exp(decay * ((first - given).total_seconds() + after_first_s))
        factors.append(per_dose * waited * decay * duration_s / -math.expm1(-decay * duration_s))
    return tuple(factors)


def _from_counts(ledger: Ledger, mode: str) -> tuple[tuple[float, ...], str]:
    to_suv, to_activity = ledger.number("philips_suv_factor"), ledger.number("philips_activity_factor")
    has_suv, has_activity = bool(to_suv and to_suv > 0), bool(to_activity and to_activity > 0)
    if has_suv and to_suv is not None:
        if has_activity and to_activity is not None:
            _cross_check(ledger, to_suv, to_activity)
        _warn_of_unused(ledger)
        return (to_suv,) * len(ledger.header.slices), f"CNTS: {name_field('philips_suv_factor')}"
    if has_activity and to_activity is not None:
        factors, rule = _from_activity(ledger, mode)
        return tuple(to_activity * f for f in factors), f"CNTS: {name_field('philips_activity_factor')}, then {rule}"
    raise InputError(find_units_fault("CNTS", has_factor=False))


def _cross_check(ledger: Ledger, to_suv: float, to_activity: float) -> None:
    other = Ledger(ledger.header, ledger.facts)
    try:
        factors, _ = _from_activity(other, "qiba")
    except InputError:
        ledger.warn(
            f"{name_field('philips_suv_factor')} could not be checked against {name_field('philips_activity_factor')}"
        )
        return
    ratio = to_activity * factors[0] / to_suv
    ledger.figures["activity_route_over_suv_route"] = ratio
    if abs(ratio - 1.0) > _AGREEMENT:
        ledger.warn(
            f"{name_field('philips_suv_factor')} used; {name_field('philips_activity_factor')} would give "
            f"{ratio:.3f} times"
        )


def _from_suv(ledger: Ledger) -> tuple[tuple[float, ...], str]:
    suv_type = ledger.read_text("suv_type").upper() or "BW"
    count = len(ledger.header.slices)
    if suv_type == "BW":
        _warn_of_unused(ledger)
        return (1.0,) * count, "GML, BW: already SUV (body weight)"
    if suv_type not in SUV_TYPES:
        raise InputError(
            f"{name_field('suv_type')} is {format_header_text(suv_type)!r} with Units GML; expected BW, "
            f"{', '.join(SUV_TYPES)}"
        )
    weight, height_cm, sex = read_weight_kg(ledger), read_height_cm(ledger), read_sex(ledger)
    norm = compute_norm_kg(suv_type, weight_kg=weight, height_cm=height_cm, sex=sex)
    if not norm > 0:
        raise InputError(f"the {suv_type} of {weight:g} kg and {height_cm:g} cm is {norm:.1f} kg; expected more than 0")
    ledger.figures["norm_kg"] = norm
    if suv_type == "LBM":
        ledger.warn("SUVType LBM does not name its formula; James with 128 was used (some systems use 120 for men)")
    return (weight / norm,) * count, f"GML, {suv_type}: W / norm"


def _from_body_surface(ledger: Ledger) -> tuple[tuple[float, ...], str]:
    suv_type = ledger.read_text("suv_type").upper() or "BSA"
    if suv_type != "BSA":
        raise InputError(f"{name_field('suv_type')} is {format_header_text(suv_type)!r} with Units CM2ML; expected BSA")
    weight, height_cm = read_weight_kg(ledger), read_height_cm(ledger)
    area = compute_body_surface_m2(weight_kg=weight, height_cm=height_cm)
    ledger.figures["body_surface_m2"] = area
    return (weight / (10.0 * area),) * len(ledger.header.slices), "CM2ML, BSA: W / (10 BSA)"


def _warn_of_unused(ledger: Ledger) -> None:
    facts = ledger.facts
    unused = [n for n in ("injection_time", "scan_time", "dose_mbq", "weight_kg", "height_cm") if getattr(facts, n)]
    for name in unused:
        ledger.warn(f"{facts.name_way(name)} was not used, because the scanner has already derived the SUV")
