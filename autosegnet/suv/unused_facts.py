"""Notes facts of a header that the rule did not need: for the balance of activity, the tracer and the report."""

from contextlib import suppress

from autosegnet.errors import InputError
from autosegnet.suv.acquisition import read_earliest_acquisition
from autosegnet.suv.conversion import Ledger
from autosegnet.suv.injection import read_injection
from autosegnet.suv.patient import identify_tracer, read_dose_bq, read_height_cm, read_weight_kg
from autosegnet.suv.reference_time import find_start_reference, state_scan_time


def note_unused_height(ledger: Ledger) -> None:
    """Read the height for the report. A fault in it is not an error."""
    if ledger.facts.height_cm is None:
        other = Ledger(ledger.header, ledger.facts)
        with suppress(InputError):
            ledger.figures["height_cm"] = read_height_cm(other)
    else:
        read_height_cm(ledger)


def note_unused_facts(ledger: Ledger) -> None:
    """Read what the rule did not need, for the balance of activity and the report. A fault in it is not an error.

    The scanner has already divided by weight and dose, so those of the header have no effect.
    """
    other = Ledger(ledger.header, ledger.facts)
    half_life_s = identify_tracer(other, quietly=True)
    for warning in other.close((), mode="", rule="").warnings:
        ledger.warn(warning)
    ledger.tracer, ledger.nuclide = other.tracer, other.nuclide
    for read in (read_weight_kg, read_height_cm, read_dose_bq):
        with suppress(InputError):
            read(other)
    if half_life_s is not None:
        try:
            reference, _ = find_start_reference(other, half_life_s=half_life_s)
            read_injection(other, reference=reference, half_life_s=half_life_s)
        except InputError as error:
            if other.figures.pop("uptake_s", None) is not None:
                ledger.warn(f"{error}; it was not used, because the scanner derived the SUV")
    ledger.figures = {**other.figures, **ledger.figures}


def note_uptake_of_admin(ledger: Ledger) -> None:
    """Read tracer and uptake, which ADMIN does not need. An injection after the scan is still refused."""
    half_life_s = identify_tracer(ledger, quietly=True)
    earliest = read_earliest_acquisition(ledger)
    if half_life_s is None or earliest is None:
        return
    ledger.figures["half_life_s"] = half_life_s
    reference = state_scan_time(ledger, near=earliest[0]) or earliest[0]
    if ledger.read_text("injection_datetime") or ledger.read_text("injection_time") or ledger.facts.injection_time:
        ledger.times["reference"] = reference
        try:
            read_injection(ledger, reference=reference, half_life_s=half_life_s)
        except InputError as error:
            if ledger.figures.get("uptake_s", 0.0) < 0:
                raise
            ledger.warn(str(error))
