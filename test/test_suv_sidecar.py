"""Bq/ml with a sidecar: which times and half-lives are believed, as in a header."""

import pytest

from autosegnet.errors import InputError
from autosegnet.suv import StatedFacts, convert_sidecar

# TimeZero is the scan's start, an hour after the injection, as PET-BIDS has it for a whole-body PET.
SIDECAR = {
    "Units": "Bq/mL",
    "InjectedRadioactivity": 300,
    "InjectedRadioactivityUnits": "MBq",
    "TracerRadionuclide": "F18",
    "RadionuclideHalfLife": 6586.2,
    "InjectionStart": -3600,
    "ImageDecayCorrected": True,
    "ImageDecayCorrectionTime": 0,
    "PatientWeight": 70,
}
UNDECAYED = {"ImageDecayCorrected": False, "FrameTimesStart": [0], "FrameDuration": [120]}
HOUR = 1000.0 * 70.0 / (3e8 * 2.0 ** (-3600.0 / 6586.2))


def test_an_injection_before_the_scan_is_negative_from_its_start():
    done = convert_sidecar(SIDECAR)
    assert done.factors == pytest.approx((HOUR,), rel=1e-12)
    assert not done.warnings


@pytest.mark.parametrize("more", [{}, UNDECAYED], ids=["decay-corrected", "not"])
@pytest.mark.parametrize("given_s", [3600, 30, -90000], ids=["sign turned", "in the scan", "a day before"])
def test_an_injection_after_the_scans_start_or_a_day_before_is_refused(more, given_s):
    with pytest.raises(
        InputError, match="the injection, InjectionStart in the sidecar .seconds from TimeZero, less than 0 .* lies "
    ):
        convert_sidecar({**SIDECAR, **more, "InjectionStart": given_s})


def test_a_half_life_near_the_nuclides_is_told():
    (warning,) = convert_sidecar({**SIDECAR, "RadionuclideHalfLife": 7000}).warnings
    assert warning == "RadionuclideHalfLife in the sidecar is 7000 s, but F-18 has 6586.2 s"


def test_a_half_life_of_another_nuclide_is_refused():
    with pytest.raises(InputError, match="RadionuclideHalfLife in the sidecar is 4062.6 s, but F-18 has 6586.2 s"):
        convert_sidecar({**SIDECAR, "RadionuclideHalfLife": 4062.6})


def test_six_half_lives_before_the_scan_need_a_stated_injection():
    late = {**SIDECAR, "InjectionStart": -41000, "TimeZero": "12:00:00"}
    with pytest.raises(InputError, match="which is 6 half-lives"):
        convert_sidecar(late)
    stated = convert_sidecar(late, facts=StatedFacts(injection_time="00:36:40"))
    assert stated.factors == pytest.approx((HOUR * 2 ** (37400 / 6586.2),), rel=1e-12)
    assert stated.stated == ("injection time 00:36:40 was stated by --injection-time",)


def test_uptake_dose_and_weight_of_a_sidecar_are_judged_as_in_a_header():
    with pytest.raises(InputError, match="PatientWeight in the sidecar is 700 kg"):
        convert_sidecar({**SIDECAR, "PatientWeight": 700})
    with pytest.raises(InputError, match="InjectedRadioactivity in the sidecar is 0.3 MBq"):
        convert_sidecar({**SIDECAR, "InjectedRadioactivityUnits": "kBq"})
    (warning,) = convert_sidecar({**SIDECAR, "InjectionStart": -300}).warnings
    assert "uptake time" in warning
    stated = convert_sidecar({**SIDECAR, "PatientWeight": 700}, facts=StatedFacts(weight_kg=70.0, dose_mbq=300.0))
    assert stated.factors == pytest.approx((HOUR,), rel=1e-12)
    assert len(stated.stated) == 2


@pytest.mark.parametrize("more", [{}, UNDECAYED], ids=["decay-corrected", "not"])
@pytest.mark.parametrize(
    "absurd",
    [
        {"RadionuclideHalfLife": 109.77},  # in minutes, by mistake
        {"RadionuclideHalfLife": 1e-3, "TracerRadionuclide": ""},
        {"RadionuclideHalfLife": 5e-324, "TracerRadionuclide": ""},
        {"InjectionStart": -1e308},
        {"ImageDecayCorrectionTime": 1e300, "FrameTimesStart": [1e300]},
        {"FrameDuration": [1e300], "ImageDecayCorrectionTime": -1e300},
    ],
)
def test_what_no_float_holds_is_refused_as_input(more, absurd):
    with pytest.raises(InputError):
        convert_sidecar({**SIDECAR, **more, **absurd})


ZIRCONIUM = {"TracerRadionuclide": "Zr89", "RadionuclideHalfLife": 78.41 * 3600, "InjectedRadioactivity": 70}


@pytest.mark.parametrize("more", [{}, UNDECAYED], ids=["decay-corrected", "not"])
@pytest.mark.parametrize(
    ("injection", "scan", "hours"),
    [
        ("2024-01-01 10:00", "2024-01-04 11:00", 73.0),
        ("2024-01-04 10:00", "2024-01-04 11:00", 1.0),
        ("10:00", "2024-01-04 11:00", 1.0),
        ("23:30", "2024-01-04 00:30", 1.0),
        ("23:30", "00:30", 1.0),
        ("10:00", "", 1.0),
        ("23:00", "", 12.0),
        ("", "11:30", 73.5),
        ("", "23:30", 61.5),
    ],
)
def test_stated_times_lie_on_their_dates_else_where_a_header_puts_them(more, injection, scan, hours):
    """The sidecar has its scan at 11:00, 73 h after the injection."""
    sidecar = {**SIDECAR, **ZIRCONIUM, **more, "TimeZero": "11:00:00", "InjectionStart": -73 * 3600}
    done = convert_sidecar(sidecar, facts=StatedFacts(injection_time=injection, scan_time=scan))
    assert done.figures["uptake_s"] == pytest.approx(hours * 3600)
    assert any("assumed to be within 24 h" in w for w in done.warnings) == (injection in ("10:00", "23:00", "23:30"))


@pytest.mark.parametrize(("injection", "scan"), [("2024-01-01 23:30", "2024-01-02 00:30"), ("23:30", "00:30")])
def test_two_stated_times_need_no_time_zero_and_may_span_midnight(injection, scan):
    done = convert_sidecar(SIDECAR, facts=StatedFacts(injection_time=injection, scan_time=scan))
    assert done.factors == pytest.approx((HOUR,), rel=1e-12)


@pytest.mark.parametrize(
    ("injection", "scan", "message"),
    [
        ("2024-01-01 10:00", "11:00", "--injection-time has a date, .* state --scan-time with its date"),
        ("2024-01-01 10:00", "", "--injection-time has a date"),
        ("", "2024-01-01 11:00", "--scan-time has a date, .* state --injection-time with its date"),
        ("2024-01-04 12:00", "2024-01-04 11:00", "the injection, --injection-time, lies 60.0 min after"),
    ],
)
def test_a_date_that_nothing_can_be_compared_with_is_refused(injection, scan, message):
    sidecar = {**SIDECAR, **ZIRCONIUM, "TimeZero": "11:00:00"}
    with pytest.raises(InputError, match=message):
        convert_sidecar(sidecar, facts=StatedFacts(injection_time=injection, scan_time=scan))
