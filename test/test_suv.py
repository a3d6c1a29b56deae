"""SUV: the decision table against closed forms written here on their own, and every refusal."""

import json
import math
import random
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from autosegnet.errors import InputError
from autosegnet.suv import PetHeader, PetSlice, StatedFacts, convert, convert_sidecar
from autosegnet.suv.body_size import compute_norm_kg
from autosegnet.suv.dates import read_datetime, read_time
from autosegnet.suv.nuclides import HALF_LIVES_S, find_by_code, find_in_text

SCAN = PetSlice(
    acquisition_date="20200301", acquisition_time="110000", frame_reference_time_ms=60000.0, frame_duration_ms=120000.0
)
HEADER = PetHeader(
    units="BQML",
    decay_correction="START",
    weight_kg=70.0,
    height_m=1.75,
    sex="F",
    dose=3e8,
    half_life_s=6586.2,
    injection_datetime="20200301100000",
    injection_time="100000",
    series_date="20200301",
    series_time="110000",
    slices=(SCAN,),
)
HOUR = 1000.0 * 70.0 / (3e8 * 2.0 ** (-3600.0 / 6586.2))


def only(header: PetHeader, **changes) -> float:
    """Return the one factor of a header with changes."""
    factors = set(convert(replace(header, **changes)).factors)
    assert len(factors) == 1
    return factors.pop()


# --- generated headers -------------------------------------------------------------------------------------------


def tm(moment: datetime, rng: random.Random) -> str:
    """Return the moment's time of day in one of the shapes TM has; the moment must lie on a whole second or finer."""
    forms = [moment.strftime("%H%M%S.%f")]
    if moment.microsecond == 0:
        forms += [moment.strftime("%H%M%S"), moment.strftime("%H%M%S.0"), moment.strftime("%H:%M:%S")]
        if moment.second == 0:
            forms.append(moment.strftime("%H%M"))
            if moment.minute == 0:
                forms.append(moment.strftime("%H"))
    return rng.choice(forms)


def dt(moment: datetime, rng: random.Random, offset_h: int | None) -> tuple[str, str]:
    """Return the moment as DT, perhaps in another zone, and the series' own offset from UTC."""
    plain = moment.strftime("%Y%m%d%H%M%S.%f") if moment.microsecond else moment.strftime("%Y%m%d%H%M%S")
    if offset_h is None:
        return plain, ""
    if rng.random() < 0.5:
        return plain, f"{offset_h:+03d}00"
    elsewhere = rng.randint(-11, 12)
    moved = moment + timedelta(hours=elsewhere - offset_h)
    return moved.strftime("%Y%m%d%H%M%S.%f") + f"{elsewhere:+03d}00", f"{offset_h:+03d}00"


def generated(rng: random.Random) -> tuple[PetHeader, list[float]]:
    """Return a header and the SUV factors of its slices, derived from the same physics on its own."""
    nuclide_name = rng.choice(["F-18", "Ga-68", "C-11", "Cu-64", "Zr-89"])
    code = {"F-18": "C-111A1", "Ga-68": "C-131A3", "C-11": "C-105A1", "Cu-64": "C-127A2", "Zr-89": "C-168A4"}
    seconds = {"F-18": 6586.2, "Ga-68": 4062.6, "C-11": 1221.84, "Cu-64": 45721.44, "Zr-89": 282276.0}[nuclide_name]
    stated = rng.random() < 0.7
    half_life = seconds * rng.uniform(0.99, 1.01) if stated else seconds
    weight, dose = round(rng.uniform(3, 200), 1), round(rng.uniform(2e7, 9e8))
    start = datetime(2020, 2, 28) + timedelta(
        days=rng.randint(0, 3), seconds=rng.choice([rng.randint(0, 86399), 3600 * rng.randint(0, 23), 900])
    )
    if rng.random() < 0.3:
        start += timedelta(microseconds=rng.randint(1, 999999))
    uptake = rng.randint(60, min(10000, int(5.9 * half_life)))  # 6 half-lives without a date are refused
    given = start - timedelta(seconds=uptake)
    offset = rng.choice([None, None, 0, 2, -5])
    given_dt, utc = dt(given, rng, offset)
    layout = rng.choice(["both", "datetime", "time"])
    beds, duration = rng.randint(1, 4), rng.uniform(30, 400)
    acquired = [start + timedelta(seconds=round(bed * duration)) for bed in range(beds)]
    decay = math.log(2) / half_life
    average = math.log(decay * duration / (1 - math.exp(-decay * duration))) / decay
    correction = rng.choice(["START", "START", "ADMIN", "NONE"])
    series, manufacturer, ge = start, "SIEMENS", ""
    reference_after = [(moment - start).total_seconds() + average for moment in acquired]
    times = rng.choice(["series", "ge", "frame", "earliest", "series"])
    if correction == "START" and times != "series":
        series = acquired[-1] + timedelta(seconds=rng.randint(1, 4000))  # derived later
        if times == "ge":
            manufacturer, ge = "GE MEDICAL SYSTEMS", start.strftime("%Y%m%d%H%M%S.%f")
        if times == "earliest":
            reference_after = [None] * beds
    slices = tuple(
        PetSlice(
            acquisition_date=moment.strftime("%Y%m%d"),
            acquisition_time=tm(moment, rng),
            frame_reference_time_ms=None if after is None else after * 1000,
            frame_duration_ms=duration * 1000,
        )
        for moment, after in zip(acquired, reference_after, strict=True)
    )
    in_mbq = rng.random() < 0.1
    header = PetHeader(
        units="BQML",
        decay_correction=correction,
        manufacturer=manufacturer,
        weight_kg=weight,
        dose=dose / 1e6 if in_mbq else dose,
        half_life_s=half_life if stated else None,
        nuclide_code=code[nuclide_name],
        injection_datetime=given_dt if layout != "time" else "",
        injection_time=tm(given, rng) if layout != "datetime" else "",
        series_date=series.strftime("%Y%m%d"),
        series_time=tm(series, rng),
        utc_offset=utc,
        ge_scan_start=ge,
        slices=slices,
    )
    per_dose = weight * 1000 / dose
    if correction == "ADMIN":
        factors = [per_dose] * beds
    elif correction == "START":
        factors = [per_dose * math.exp(decay * (start - given).total_seconds())] * beds
    else:  # the mean of e^(-lambda t) over each frame, inverted
        since = [(moment - given).total_seconds() for moment in acquired]
        means = [(math.exp(-decay * s) - math.exp(-decay * (s + duration))) / (decay * duration) for s in since]
        factors = [per_dose / mean for mean in means]
    return with_units(header, factors, rng)


def with_units(header: PetHeader, factors: list[float], rng: random.Random) -> tuple[PetHeader, list[float]]:
    """Return the header in other units of the same SUV."""
    units = rng.choice(["BQML", "BQML", "BQML", "activity", "counts", "GML", "LBM", "IBW", "JANMA", "CM2ML"])
    weight, height, male = header.weight_kg, round(rng.uniform(1.2, 2.1), 2), rng.random() < 0.5
    assert weight is not None
    header = replace(header, height_m=height, sex="M" if male else "F")
    cm, many = height * 100, len(factors)
    lean = 1.1 * weight - 128 * weight**2 / cm**2 if male else 1.07 * weight - 148 * weight**2 / cm**2
    if units == "activity":
        scale = rng.uniform(0.01, 5)
        return replace(header, units="CNTS", philips_activity_factor=scale), [scale * f for f in factors]
    if units == "counts":
        return replace(header, units="CNTS", philips_suv_factor=3e-4), [3e-4] * many
    if units == "GML":
        return replace(header, units="GML", suv_type=rng.choice(["", "BW"])), [1.0] * many
    if units == "LBM" and lean > 0:
        return replace(header, units="GML", suv_type=rng.choice(["LBM", "LBMJAMES128"])), [weight / lean] * many
    if units == "IBW":
        ideal = 48.0 + 1.06 * (cm - 152) if male else 45.5 + 0.91 * (cm - 152)
        return replace(header, units="GML", suv_type="IBW"), [weight / ideal] * many
    if units == "JANMA":
        bmi = weight / height**2
        lean = 9270 * weight / (6680 + 216 * bmi if male else 8780 + 244 * bmi)
        return replace(header, units="GML", suv_type="LBMJANMA"), [weight / lean] * many
    if units == "CM2ML":
        square_metres = 0.007184 * math.exp(0.725 * math.log(cm) + 0.425 * math.log(weight))
        return replace(header, units="CM2ML"), [weight / (10 * square_metres)] * many
    return header, factors


def test_thousands_of_headers_agree_with_the_closed_form():
    rng = random.Random(20180)
    for _ in range(6000):
        header, expected = generated(rng)
        assert convert(header).factors == pytest.approx(expected, rel=1e-6), header


# --- times -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("09", 32400),
        ("0930", 34200),
        ("093015", 34215),
        ("093015.25", 34215.25),
        ("09:30:15", 34215),
        ("093015.1234567", 34215.123456),
    ],
)
def test_time_of_day_has_two_four_or_six_digits_and_a_fraction(text, seconds):
    clock = read_time(text, "series_time")
    assert clock is not None
    assert clock.hour * 3600 + clock.minute * 60 + clock.second + clock.microsecond / 1e6 == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["9", "093", "2500", "0960", "noon", "-1", "093015,5"])
def test_what_is_no_time_of_day_is_refused(text):
    with pytest.raises(InputError, match=r"SeriesTime \(0008,0031\) is not a time of day"):
        read_time(text, "series_time")


def test_datetime_is_moved_to_the_clock_of_the_series():
    assert read_datetime("20200301233000+0100", "injection_datetime", utc_offset="-0500") == datetime(
        2020, 3, 1, 17, 30
    )
    assert read_datetime("20200301233000+0100", "injection_datetime") == datetime(2020, 3, 1, 23, 30)


def test_start_time_alone_after_the_scan_lies_on_the_day_before():
    over_midnight = replace(
        HEADER, injection_datetime="", injection_time="233000", series_time="003000",
        slices=(replace(SCAN, acquisition_time="003000"),),
    )  # fmt: skip
    assert only(over_midnight) == pytest.approx(HOUR, rel=1e-12)


@pytest.mark.parametrize(
    "changes",
    [
        {"injection_time": "110030"},
        {"series_time": "000000", "slices": (replace(SCAN, acquisition_time="000000"),)},
        {"decay_correction": "NONE", "injection_time": "110030"},
    ],
    ids=["after the scan's start", "time blanked", "not corrected"],
)
def test_start_time_alone_is_not_moved_back_a_day_where_it_cannot_be_true(changes):
    with pytest.raises(InputError, match=r"RadiopharmaceuticalStartTime \(0018,1072\), .* without a date") as refused:
        convert(replace(HEADER, **{"injection_datetime": "", **changes}))
    assert "2020" not in str(refused.value)


@pytest.mark.parametrize("dated", [False, True], ids=["series' date", "date-time"])
def test_slices_after_midnight_without_a_date_are_no_earlier_than_those_before(dated):
    clocks = {"235000": "20200301", "235500": "20200301", "000000": "20200302", "000500": "20200302"}
    slices = tuple(
        PetSlice(acquisition_time=clock, acquisition_datetime=day + clock if dated else "", frame_duration_ms=120000.0)
        for clock, day in clocks.items()
    )
    over_midnight = replace(
        HEADER, injection_datetime="", injection_time="225000", series_time="235000", slices=slices
    )  # fmt: skip
    assert only(over_midnight) == pytest.approx(HOUR, rel=1e-12)
    decay, duration_s = math.log(2) / 6586.2, 120.0
    in_frame = decay * duration_s / -math.expm1(-decay * duration_s)
    expected = [HOUR * 2 ** (300 * k / 6586.2) * in_frame for k in range(4)]
    assert convert(replace(over_midnight, decay_correction="NONE")).factors == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("moment", "clock", "utc_offset", "factor"),
    [
        ("20200301090000+0000", "100000", "", 1),
        ("20200301043000-0530", "100000", "", 1),
        ("20200301233000+1330", "100000", "", 1),
        ("20200301090000+0000", "100000", "+0100", 1),
        ("20200301090000+0000", "", "", 2 ** (3600 / 6586.2)),
        ("20200301095830+0000", "100000", "", 2 ** (90 / 6586.2)),  # no time zone: two clocks
        ("20200301090000", "100000", "", 2 ** (3600 / 6586.2)),
    ],
)
def test_time_of_day_tells_the_zone_of_a_date_time_where_the_file_does_not(moment, clock, utc_offset, factor):
    header = replace(HEADER, injection_datetime=moment, injection_time=clock, utc_offset=utc_offset)
    assert only(header) == pytest.approx(HOUR * factor, rel=1e-9)


def test_series_derived_later_gives_way_to_the_scan_start():
    later = replace(HEADER, series_time="150000", slices=(replace(SCAN, frame_reference_time_ms=None),))
    assert only(later, ge_scan_start="20200301110000") == pytest.approx(HOUR, rel=1e-12)
    assert only(later, siemens_scan_start="20200301110000.0") == pytest.approx(HOUR, rel=1e-12)
    assert only(later) == pytest.approx(HOUR, rel=1e-12)


def test_ge_counts_frame_reference_time_to_the_beginning_of_the_frame():
    later = replace(HEADER, series_time="150000", manufacturer="GE MEDICAL SYSTEMS")
    bed = replace(SCAN, acquisition_time="111000", frame_reference_time_ms=600000.0, frame_duration_ms=180000.0)
    assert only(later, slices=(bed,)) == pytest.approx(HOUR, rel=1e-12)


def test_reference_times_a_minute_apart_are_reported_with_the_one_used():
    alone = (replace(SCAN, frame_reference_time_ms=None),)
    used = convert(replace(HEADER, series_time="105000", slices=alone))
    assert used.factors[0] == pytest.approx(HOUR * 2 ** (-600 / 6586.2))
    assert any("differ by more than 60 s; used series time" in warning for warning in used.warnings)
    assert not convert(HEADER).warnings


def test_five_minutes_of_clock_error_are_three_percent():
    assert only(HEADER, injection_datetime="20200301095500") / HOUR - 1 == pytest.approx(0.032, abs=0.001)


@pytest.mark.parametrize("moment", ["20200301120000", "20200227100000", "19990301100000"])
def test_injection_after_the_scan_or_days_before_is_refused(moment):
    with pytest.raises(InputError, match=r"RadiopharmaceuticalStartDateTime \(0018,1078\), lies"):
        convert(replace(HEADER, injection_datetime=moment))


@pytest.mark.parametrize(
    ("changes", "mode", "fact"),
    [
        ({"injection_datetime": "20200227100000"}, "qiba", "injection_time"),
        ({"slices": (PetSlice(),)}, "tcia-compat", "scan_time"),
        ({"series_time": "", "slices": (PetSlice(),)}, "qiba", "scan_time"),
        ({"weight_kg": 700.0}, "qiba", "weight_kg"),
        ({"weight_kg": None, "faults": {"weight_kg": "PatientWeight is not a number"}}, "qiba", "weight_kg"),
        ({"dose": 1e15}, "qiba", "dose_mbq"),
        ({"units": "CM2ML", "height_m": 175.0}, "qiba", "height_cm"),
    ],
)
def test_advice_names_what_states_the_fact_in_this_command(changes, mode, fact):
    header = replace(HEADER, **changes)
    with pytest.raises(InputError, match=f"--{fact.replace('_', '-')} states it"):
        convert(header, mode=mode)
    with pytest.raises(InputError, match=f"column {fact} of --studies states it"):
        convert(header, mode=mode, facts=StatedFacts(way="table"))


# --- tcia-compat -------------------------------------------------------------------------------------------------


def test_tcia_compat_takes_times_of_day_of_the_first_file():
    last_bed = replace(SCAN, acquisition_time="112000.00")
    header = replace(HEADER, slices=(SCAN, last_bed), first=1, injection_datetime="19990101000000")
    done = convert(header, mode="tcia-compat")
    assert done.factors == pytest.approx((70000 / (3e8 * 0.5 ** (4800 / 6586.2)),) * 2, rel=1e-12)
    # The last bed's time instead of the series' own is 13 % of the SUV after 20 min.
    assert done.factors[0] / HOUR - 1 == pytest.approx(0.135, abs=0.001)


def test_tcia_compat_changes_nothing_but_activities():
    header = replace(HEADER, units="GML")
    assert convert(header, mode="tcia-compat").factors == (1.0,)


# --- the other rows ----------------------------------------------------------------------------------------------


def test_a_decay_correction_taken_for_the_other_is_32_or_46_percent():
    as_admin, as_start = only(HEADER, decay_correction="ADMIN"), only(HEADER)
    page = (Path(__file__).resolve().parents[1] / "docs" / "explanation" / "suv.md").read_text()
    for row, factor in (
        ("START, converted as ADMIN", as_admin / as_start),
        ("ADMIN, converted as START", as_start / as_admin),
    ):
        told = f"| corrected to {row}, 60 min after injection | {factor - 1:+.1%} |"
        assert told.replace("-", "−").replace("%", " %") in page


def test_claims_about_decay_that_contradict_each_other_are_reported():
    assert convert(replace(HEADER, corrected="DECY\\ATTN")).warnings == ()
    assert "contradicts it" in convert(replace(HEADER, corrected="ATTN")).warnings[0]
    assert "contradicts it" in convert(replace(HEADER, corrected="DECY\\ATTN", decay_correction="NONE")).warnings[0]


def test_private_factors_of_philips_are_checked_against_each_other():
    counts = replace(HEADER, units="CNTS", philips_suv_factor=HOUR * 2, philips_activity_factor=2.0)
    assert convert(counts).warnings == ()
    off = convert(replace(counts, philips_activity_factor=2.1))
    assert off.factors == (HOUR * 2,)
    assert "would give 1.050 times" in off.warnings[0]


def test_zero_suv_factor_of_philips_leaves_the_activity_factor():
    assert only(HEADER, units="CNTS", philips_suv_factor=0.0, philips_activity_factor=3.0) == pytest.approx(3 * HOUR)


def test_norms_of_other_sex_are_the_mean_of_both():
    body = {"weight_kg": 70.0, "height_cm": 175.0}
    for suv_type in ("LBMJAMES128", "LBMJANMA", "IBW"):
        both = [compute_norm_kg(suv_type, sex=sex, **body) for sex in ("M", "F")]
        assert compute_norm_kg(suv_type, sex="O", **body) == pytest.approx(sum(both) / 2)


def test_lean_body_masses_are_the_published_ones():
    # 1.10 * 80 - 128 * (80 / 180)^2 = 62.7160; 9270 * 80 / (6680 + 216 * 80 / 1.8^2) = 741600 / 12013.333 = 61.7314.
    assert compute_norm_kg("LBMJAMES128", weight_kg=80.0, height_cm=180.0, sex="M") == pytest.approx(62.7160, abs=1e-4)
    assert compute_norm_kg("LBMJANMA", weight_kg=80.0, height_cm=180.0, sex="M") == pytest.approx(61.7314, abs=1e-4)


def test_nuclides_are_known_by_code_and_by_meaning():
    assert (
        find_by_code("77004003")
        == find_in_text("^18^Fluorine")
        == find_in_text("18F")
        == find_in_text("F-18")
        == "F-18"
    )
    assert find_in_text("[18F]FDG") == find_in_text("F18-FDG") == find_in_text("Fluorodeoxyglucose F^18^") == "F-18"
    assert find_in_text("Ga-68 PSMA-11") == "Ga-68"
    assert find_in_text("11C-choline") == "C-11"
    assert find_in_text("99mTc MDP") == "Tc-99m"
    assert find_in_text("Solution") is find_in_text("PSMA-11") is find_in_text("PSMA-1007") is None
    assert HALF_LIVES_S["F-18"] == 6586.2


def test_weight_given_replaces_the_one_in_the_header():
    done = convert(replace(HEADER, weight_kg=None), facts=StatedFacts(weight_kg=35.0))
    assert done.factors == pytest.approx((HOUR / 2,))
    assert any("--weight-kg" in warning for warning in done.warnings)


REFUSED = {
    "units missing": ({"units": ""}, r"Units \(0054,1001\) is missing"),
    "units": ({"units": "PROPCNTS"}, r"Units \(0054,1001\) is 'PROPCNTS'"),
    "no weight": ({"weight_kg": None}, r"PatientWeight \(0010,1030\) is missing"),
    "weight 0": ({"weight_kg": 0.0}, r"PatientWeight \(0010,1030\) is 0 kg"),
    "grams": ({"weight_kg": 70000.0}, r"PatientWeight .* 70000 kg; .*grams"),
    "nan": ({"weight_kg": math.nan}, r"PatientWeight"),
    "no dose": ({"dose": None}, r"RadionuclideTotalDose \(0018,1074\) is missing"),
    "dose": ({"dose": -1.0}, r"RadionuclideTotalDose \(0018,1074\) is -1"),
    "no injection": ({"injection_datetime": "", "injection_time": ""}, r"RadiopharmaceuticalStartTime \(0018,1072\)"),
    "no half-life": ({"half_life_s": None}, r"RadionuclideHalfLife \(0018,1075\) is missing"),
    "no decay": ({"decay_correction": ""}, r"DecayCorrection \(0054,1102\) is missing"),
    "decay": ({"decay_correction": "SOMETIMES"}, r"DecayCorrection \(0054,1102\) is 'SOMETIMES'"),
    "no scan time": ({"series_time": "", "slices": (PetSlice(),)}, r"SeriesTime .* and AcquisitionTime"),
    "no duration": (
        {"decay_correction": "NONE", "slices": (replace(SCAN, frame_duration_ms=None),)},
        r"ActualFrameDuration \(0018,1242\) is missing",
    ),
    "counts": ({"units": "CNTS"}, r"Units .* CNTS without Philips"),
    "SUV type": ({"units": "GML", "suv_type": "BSA"}, r"SUVType \(0054,1006\) is 'BSA'"),
    "SUV type of areas": ({"units": "CM2ML", "suv_type": "BW"}, r"SUVType \(0054,1006\) is 'BW'"),
    "no height": ({"units": "CM2ML", "height_m": None}, r"PatientSize \(0010,1020\) is missing"),
    "height in cm": ({"units": "CM2ML", "height_m": 175.0}, r"PatientSize .* 175 m; .*cm"),
    "no sex": ({"units": "GML", "suv_type": "IBW", "sex": ""}, r"PatientSex \(0010,0040\) is missing"),
    "sex": ({"units": "GML", "suv_type": "IBW", "sex": "X"}, r"PatientSex \(0010,0040\) is not M, F or O"),
    "no lean body": ({"units": "GML", "suv_type": "LBM", "weight_kg": 300.0}, r"the LBM of 300 kg and 175 cm"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_allows_no_suv_is_refused_by_name_and_tag(case):
    changes, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        convert(replace(HEADER, **changes))


# --- the record --------------------------------------------------------------------------------------------------


def test_record_is_json_that_gives_the_factor_again_and_no_date():
    record = json.loads(json.dumps(convert(HEADER).describe()))
    figures = record["figures"]
    again = 1000 * figures["weight_kg"] / figures["dose_bq"] * 2 ** (figures["uptake_s"] / figures["half_life_s"])
    assert record["factor"] == pytest.approx(again, rel=1e-12)
    assert record["tags"]["RadionuclideTotalDose (0018,1074)"] == 3e8
    assert record["times"]["injection"] == "day +0 10:00:00"
    assert "2020" not in json.dumps(record)


@pytest.mark.parametrize("correction", ["START", "NONE"])
@pytest.mark.parametrize("date", ["2020-03-", "202003", "unknown", "20200399"])
def test_a_malformed_date_that_no_rule_needed_is_refused_without_being_quoted(correction, date):
    unread = PetSlice(acquisition_date=date, acquisition_datetime="20200301110200", frame_duration_ms=120000.0)
    ones = {"slices": (SCAN, unread), "decay_correction": correction}
    with pytest.raises(InputError, match=r"AcquisitionDate \(0008,0022\) is not a date; expected YYYYMMDD$"):
        convert(replace(HEADER, **ones))
    moments = {"slices": (SCAN, replace(SCAN, acquisition_datetime=date), replace(unread, acquisition_date=""))}
    with pytest.raises(InputError, match=r"AcquisitionDateTime \(0008,002A\) is not a date; expected YYYYMMDD$"):
        convert(replace(HEADER, decay_correction=correction, **moments))


def test_days_are_counted_from_the_reference_time():
    derived = replace(HEADER, series_date="20210301", slices=(replace(SCAN, frame_reference_time_ms=None),))
    assert convert(derived).times == {
        "injection": "day +0 10:00:00",
        "reference": "day +0 11:00:00",
        "reference: earliest acquisition": "day +0 11:00:00",
        "reference: series time": "day +365 11:00:00",  # derived a year later
    }


def test_record_lists_factors_where_slices_differ():
    undecayed = replace(HEADER, decay_correction="NONE", slices=(SCAN, replace(SCAN, acquisition_time="110200")))
    first, second = convert(undecayed).describe()["factor"]
    assert second / first == pytest.approx(2 ** (120 / 6586.2), rel=1e-12)


def test_number_beyond_float_in_a_sidecar_is_refused_by_name():
    with pytest.raises(InputError, match="InjectedRadioactivity is not a number"):
        convert_sidecar({"InjectedRadioactivity": 10**400})
