"""The formula behind autoPET's training data: times of day of the first file, whatever DecayCorrection says."""

from datetime import date, datetime, time

from autosegnet.errors import InputError
from autosegnet.suv.conversion import Ledger
from autosegnet.suv.dates import count_seconds_of_day, read_datetime, read_stated_moment, read_time
from autosegnet.suv.patient import read_dose_bq, read_half_life_s, read_weight_kg
from autosegnet.suv.pet_header import name_field
from autosegnet.suv.plausibility import UptakeTime, judge_uptake


def convert_as_autopet(ledger: Ledger) -> tuple[tuple[float, ...], str]:
    """Return factors and rule: 1000 W / (D 0.5^((t_acq - t_adm) / T)), with the times of day of the first file.

    Source: `calculate_suv_factor` in tcia_dicom_to_nifti.py of github.com/lab-midas/TCIA_processing.
    """
    acquired, given = _read_clocks(ledger)
    per_dose = 1000.0 * read_weight_kg(ledger) / read_dose_bq(ledger)
    half_life_s = read_half_life_s(ledger)
    uptake_s = count_seconds_of_day(acquired) - count_seconds_of_day(given)
    ledger.figures["uptake_s"] = uptake_s
    ledger.warn("tcia-compat: acquisition time of the first file, no dates, decay correction to the scan's start")
    ledger.judge(
        judge_uptake(
            UptakeTime(
                seconds=uptake_s,
                half_life_s=half_life_s,
                source="by times of day, as tcia-compat takes them",
                way=ledger.facts.name_way("injection_time"),
                is_stated=bool(ledger.facts.injection_time or ledger.facts.scan_time),
                injected=datetime.combine(date(1900, 1, 1), given),
                reference=datetime.combine(date(1900, 1, 1), acquired),
            )
        )
    )
    if ledger.read_text("decay_correction").upper() != "START":
        ledger.warn(f"tcia-compat: {name_field('decay_correction')} is not START, which this formula ignores")
    factor = per_dose / 0.5 ** (uptake_s / half_life_s)
    rule = "BQML, tcia-compat: 1000 W / (D 0.5^((t_acq - t_adm) / T)), times of day"
    return (factor,) * len(ledger.header.slices), rule


def _read_clocks(ledger: Ledger) -> tuple[time, time]:
    """Return the times of day of the first file's acquisition and of the injection."""
    facts, header = ledger.facts, ledger.header
    acquired = read_time(ledger.read_text("acquisition_time", header.slices[header.first]), "acquisition_time")
    given = read_time(ledger.read_text("injection_time"), "injection_time")
    if given is None:
        moment = read_datetime(ledger.read_text("injection_datetime"), "injection_datetime")
        given = None if moment is None else moment.time()
    if facts.scan_time:
        _, acquired = read_stated_moment(facts.scan_time, facts.name_way("scan_time"))
        ledger.state(f"scan time {acquired:%H:%M:%S} was stated by {facts.name_way('scan_time')}")
    if facts.injection_time:
        _, given = read_stated_moment(facts.injection_time, facts.name_way("injection_time"))
        ledger.state(f"injection time {given:%H:%M:%S} was stated by {facts.name_way('injection_time')}")
    for moment_of, field, fact in (
        (acquired, "acquisition_time", "scan_time"),
        (given, "injection_time", "injection_time"),
    ):
        if moment_of is None:
            way = facts.name_way(fact)
            raise InputError(f"{name_field(field)} is missing; SUV mode tcia-compat needs it ({way} states it)")
    assert acquired is not None
    assert given is not None
    return acquired, given
