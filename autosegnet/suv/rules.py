"""The decision table: which rule turns a PET's values into SUV, and what its factor is.

With C = stored value x RescaleSlope, W kg, D Bq, T half-life in s, lambda = ln 2 / T:  SUVbw = C f.
"""

import math
from typing import Final

from autosegnet.errors import InputError
from autosegnet.suv.body_size import SUV_TYPES, body_surface_m2, norm_kg
from autosegnet.suv.conversion import COMPAT_OPTION, MODES, Conversion, Ledger
from autosegnet.suv.dates import read_datetime, read_time, seconds_of_day
from autosegnet.suv.patient import (
    printable,
    read_dose_bq,
    read_duration_s,
    read_half_life_s,
    read_height_cm,
    read_sex,
    read_weight_kg,
)
from autosegnet.suv.pet_header import PetHeader, named
from autosegnet.suv.reference_time import acquisition, earliest_acquisition, injection, start_reference

_AGREEMENT: Final = 0.02  # of the two private factors of Philips


def convert(header: PetHeader, *, mode: str = "qiba", weight_kg: float | None = None) -> Conversion:
    """The factors that turn a PET into SUV (body weight, g/ml), and how they were derived.

    Args:
        header: of one series.
        mode: `qiba`, or `tcia-compat` for the formula behind autoPET's training data, which differs for Bq/ml only.
        weight_kg: what to use instead of PatientWeight.

    Raises:
        InputError: what the rule needs is missing, contradictory or absurd, or there is no rule for the units.
    """
    assert mode in MODES
    assert header.slices
    ledger = Ledger(header)
    units = ledger.text("units").upper()
    if units == "BQML":
        factors, rule = _from_activity(ledger, mode, weight_kg)
    elif units == "CNTS":
        factors, rule = _from_counts(ledger, mode, weight_kg)
    elif units == "GML":
        factors, rule = _from_suv(ledger, weight_kg)
    elif units == "CM2ML":
        factors, rule = _from_body_surface(ledger, weight_kg)
    else:
        found = f"is {printable(units)!r}" if units else "is missing"
        raise InputError(f"{named('units')} {found}; SUV can be derived from BQML, CNTS (Philips), GML and CM2ML")
    return ledger.close(factors, mode=mode, rule=rule)


def _from_activity(ledger: Ledger, mode: str, weight_kg: float | None) -> tuple[tuple[float, ...], str]:
    if mode == "tcia-compat":
        return _as_autopet(ledger, weight_kg)
    correction = ledger.text("decay_correction").upper()
    if correction not in ("START", "ADMIN", "NONE"):
        found = f"is {printable(correction)!r}" if correction else "is missing"
        raise InputError(f"{named('decay_correction')} {found}; expected START, ADMIN or NONE")
    _check_decay_claims(ledger, correction)
    per_dose = 1000.0 * read_weight_kg(ledger, weight_kg) / read_dose_bq(ledger)
    slices = ledger.header.slices
    if correction == "ADMIN":
        return (per_dose,) * len(slices), "BQML, ADMIN: 1000 W / D"
    half_life_s = read_half_life_s(ledger)
    if correction == "NONE":
        return _undecayed(ledger, per_dose, half_life_s), (
            "BQML, NONE: 1000 W / D e^(l (t_acq - t_adm)) l d / (1 - e^(-l d)), l = ln 2 / T, a slice each"
        )
    reference, chosen = start_reference(ledger, half_life_s=half_life_s)
    given = injection(ledger, reference=reference, half_life_s=half_life_s)
    ledger.times["reference"] = reference
    factor = per_dose * 2.0 ** ((reference - given).total_seconds() / half_life_s)
    return (factor,) * len(slices), f"BQML, START: 1000 W / (D 2^(-(t_ref - t_adm) / T)), t_ref from {chosen}"


def _check_decay_claims(ledger: Ledger, correction: str) -> None:
    claims = ledger.text("corrected").upper().split("\\")
    if claims != [""] and ("DECY" in claims) == (correction == "NONE"):
        ledger.warn(
            f"{named('decay_correction')} is {correction}, but {named('corrected')} says otherwise; the former holds"
        )


def _undecayed(ledger: Ledger, per_dose: float, half_life_s: float) -> tuple[float, ...]:
    earliest = earliest_acquisition(ledger)
    if earliest is None:
        raise InputError(f"{named('acquisition_time')} is missing; SUV with DecayCorrection NONE needs it")
    given = injection(ledger, reference=earliest[0], half_life_s=half_life_s)
    ledger.times["reference"] = earliest[0]
    decay = math.log(2.0) / half_life_s
    factors = []
    for part in ledger.header.slices:
        acquired, duration_s = acquisition(ledger, part), read_duration_s(ledger, part)
        if acquired is None:
            raise InputError(f"{named('acquisition_time')} is missing in a slice; DecayCorrection NONE needs it in all")
        waited = math.exp(decay * (acquired - given).total_seconds())
        factors.append(per_dose * waited * decay * duration_s / -math.expm1(-decay * duration_s))
    return tuple(factors)


def _as_autopet(ledger: Ledger, weight_kg: float | None) -> tuple[tuple[float, ...], str]:
    """1000 W / (D 0.5^((t_acq - t_adm) / T)), with the times of day of the first file.

    Source: `calculate_suv_factor` in tcia_dicom_to_nifti.py of github.com/lab-midas/TCIA_processing.
    """
    header = ledger.header
    acquired = read_time(ledger.text("acquisition_time", header.slices[header.first]), "acquisition_time")
    given = read_time(ledger.text("injection_time"), "injection_time")
    if given is None:
        moment = read_datetime(ledger.text("injection_datetime"), "injection_datetime")
        given = None if moment is None else moment.time()
    if acquired is None or given is None:
        missing = named("acquisition_time" if acquired is None else "injection_time")
        raise InputError(f"{missing} is missing; {COMPAT_OPTION} needs it")
    per_dose = 1000.0 * read_weight_kg(ledger, weight_kg) / read_dose_bq(ledger)
    half_life_s = read_half_life_s(ledger)
    uptake_s = seconds_of_day(acquired) - seconds_of_day(given)
    ledger.figures["uptake_s"] = uptake_s
    ledger.warn("tcia-compat: acquisition time of the first file, no dates, decay correction to the scan's start")
    if uptake_s < 0:
        ledger.warn("tcia-compat: the injection's time of day is after the scan's, which this formula cannot know")
    if ledger.text("decay_correction").upper() != "START":
        ledger.warn(f"tcia-compat: {named('decay_correction')} is not START, which this formula ignores")
    factor = per_dose / 0.5 ** (uptake_s / half_life_s)
    return (factor,) * len(header.slices), "BQML, tcia-compat: 1000 W / (D 0.5^((t_acq - t_adm) / T)), times of day"


def _from_counts(ledger: Ledger, mode: str, weight_kg: float | None) -> tuple[tuple[float, ...], str]:
    to_suv, to_activity = ledger.number("philips_suv_factor"), ledger.number("philips_activity_factor")
    has_suv, has_activity = bool(to_suv and to_suv > 0), bool(to_activity and to_activity > 0)
    if has_suv and to_suv is not None:
        if has_activity and to_activity is not None:
            _cross_check(ledger, to_suv, to_activity)
        _warn_of_unused_weight(ledger, weight_kg)
        return (to_suv,) * len(ledger.header.slices), f"CNTS: {named('philips_suv_factor')}"
    if has_activity and to_activity is not None:
        factors, rule = _from_activity(ledger, mode, weight_kg)
        return tuple(to_activity * f for f in factors), f"CNTS: {named('philips_activity_factor')}, then {rule}"
    raise InputError(
        f"{named('units')} is CNTS without {named('philips_suv_factor')} or {named('philips_activity_factor')}; "
        "counts need one of them, positive"
    )


def _cross_check(ledger: Ledger, to_suv: float, to_activity: float) -> None:
    other = Ledger(ledger.header)
    try:
        factors, _ = _from_activity(other, "qiba", None)
    except InputError:
        ledger.warn(f"{named('philips_suv_factor')} could not be checked against {named('philips_activity_factor')}")
        return
    ratio = to_activity * factors[0] / to_suv
    ledger.figures["activity_route_over_suv_route"] = ratio
    if abs(ratio - 1.0) > _AGREEMENT:
        ledger.warn(
            f"{named('philips_suv_factor')} used; {named('philips_activity_factor')} would give {ratio:.3f} times"
        )


def _from_suv(ledger: Ledger, weight_kg: float | None) -> tuple[tuple[float, ...], str]:
    suv_type = ledger.text("suv_type").upper() or "BW"
    count = len(ledger.header.slices)
    if suv_type == "BW":
        _warn_of_unused_weight(ledger, weight_kg)
        return (1.0,) * count, "GML, BW: already SUV (body weight)"
    if suv_type not in SUV_TYPES:
        raise InputError(
            f"{named('suv_type')} is {printable(suv_type)!r} with Units GML; expected BW, {', '.join(SUV_TYPES)}"
        )
    weight, height_cm, sex = read_weight_kg(ledger, weight_kg), read_height_cm(ledger), read_sex(ledger)
    norm = norm_kg(suv_type, weight_kg=weight, height_cm=height_cm, sex=sex)
    if not norm > 0:
        raise InputError(f"the {suv_type} of {weight:g} kg and {height_cm:g} cm is {norm:.1f} kg; expected more than 0")
    ledger.figures["norm_kg"] = norm
    if suv_type == "LBM":
        ledger.warn("SUVType LBM does not name its formula; James with 128 was used (some systems use 120 for men)")
    return (weight / norm,) * count, f"GML, {suv_type}: W / norm"


def _from_body_surface(ledger: Ledger, weight_kg: float | None) -> tuple[tuple[float, ...], str]:
    suv_type = ledger.text("suv_type").upper() or "BSA"
    if suv_type != "BSA":
        raise InputError(f"{named('suv_type')} is {printable(suv_type)!r} with Units CM2ML; expected BSA")
    weight, height_cm = read_weight_kg(ledger, weight_kg), read_height_cm(ledger)
    area = body_surface_m2(weight_kg=weight, height_cm=height_cm)
    ledger.figures["body_surface_m2"] = area
    return (weight / (10.0 * area),) * len(ledger.header.slices), "CM2ML, BSA: W / (10 BSA)"


def _warn_of_unused_weight(ledger: Ledger, weight_kg: float | None) -> None:
    if weight_kg is not None:
        ledger.warn("--weight-kg was not used: the scanner has already divided by the weight it knew")
