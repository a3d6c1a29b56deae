"""What a scan may be: uptake, dose, weight and the balance of activity, in headers as they reach hospitals."""

import logging
from dataclasses import replace

import numpy as np
import pytest
from dicom_phantoms import SLICES, dose_of, write_series
from test_suv import HEADER, HOUR, SCAN

from autosegnet.dicom.choice import choose_pet
from autosegnet.dicom.pet import read_dicom_pet
from autosegnet.dicom.series import gather_series
from autosegnet.errors import InputError, UsageError
from autosegnet.suv import PetSlice, StatedFacts, convert
from autosegnet.suv.balance import weigh_activity
from autosegnet.suv.conversion import Conversion

UNDATED = {"injection_datetime": ""}


def read_pet(folder, **facts):
    return read_dicom_pet(choose_pet(gather_series(folder)), facts=StatedFacts(**facts))


# --- uptake ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["qiba", "tcia-compat"])
@pytest.mark.parametrize("correction", ["START", "NONE"])
@pytest.mark.parametrize(
    "changes",
    [
        {"injection_datetime": "20200301000000", "injection_time": "000000"},
        {"injection_datetime": "20200301000000", "injection_time": ""},
        {"injection_datetime": "", "injection_time": "000000.000000"},
    ],
    ids=["both", "date-time", "time"],
)
def test_an_injection_at_exactly_midnight_far_from_the_scan_is_a_removed_time(changes, correction, mode):
    with pytest.raises(InputError, match=r"is exactly midnight, .* removed.*--injection-time states it"):
        convert(replace(HEADER, decay_correction=correction, **changes), mode=mode)


def test_times_that_are_all_midnight_are_removed_times():
    zeroed = (replace(SCAN, acquisition_time="000000"),)
    with pytest.raises(InputError, match="exactly midnight"):
        convert(replace(HEADER, injection_datetime="", injection_time="000000", series_time="000000", slices=zeroed))


def test_a_date_time_that_lost_its_time_of_day_gives_way_to_the_time():
    done = convert(replace(HEADER, injection_datetime="20200301000000"))
    assert done.factors == pytest.approx((HOUR,), rel=1e-12)
    assert any("as if its time had been removed" in warning for warning in done.warnings)


def test_an_injection_near_midnight_is_believed():
    night = replace(
        HEADER, injection_datetime="20200301000000", injection_time="000000", series_time="010000",
        slices=(replace(SCAN, acquisition_time="010000"),),
    )  # fmt: skip
    assert convert(night).factors == pytest.approx((HOUR,), rel=1e-12)


@pytest.mark.parametrize("minutes", [0, 5, 300])
def test_an_unusual_uptake_is_told_loudly(minutes):
    clock = f"{11 - (minutes // 60):02d}{0:02d}00" if minutes % 60 == 0 else "105500"
    done = convert(replace(HEADER, injection_datetime="20200301" + clock, injection_time=clock))
    assert done.figures["uptake_s"] == 60 * minutes
    assert any(warning.startswith("uptake time: the injection") for warning in done.warnings)


@pytest.mark.parametrize("mode", ["qiba", "tcia-compat"])
def test_an_injection_after_the_scan_is_refused_in_every_mode(mode):
    late = replace(HEADER, injection_datetime="20200301110500", injection_time="110500")
    with pytest.raises(InputError, match="lies 5.0 min after the time to which the PET is corrected"):
        convert(late, mode=mode)


def test_an_injection_after_the_scan_is_refused_with_admin_too():
    with pytest.raises(InputError, match="after the time to which"):
        convert(replace(HEADER, decay_correction="ADMIN", injection_datetime="20200301113000", injection_time=""))


@pytest.mark.parametrize("hours", [13, 19])
def test_beyond_six_half_lives_the_injection_has_to_be_stated(hours):
    clock = f"{(11 - hours) % 24:02d}0000"
    day = "20200301" if hours <= 11 else "20200229"
    with pytest.raises(InputError, match="half-lives; .*--injection-time states it"):
        convert(replace(HEADER, injection_datetime=day + clock, injection_time=clock))


def test_days_of_a_nuclide_that_lives_for_days_are_usual():
    zr89 = replace(
        HEADER, half_life_s=282276.0, nuclide_code="C-168A4", injection_datetime="20200226110000", injection_time=""
    )
    assert convert(zr89).warnings == ()


def test_a_foreign_offset_from_utc_that_nothing_relates_is_told():
    done = convert(replace(HEADER, injection_datetime="20200301090000.00+0000", injection_time=""))
    assert any("has a UTC offset" in warning for warning in done.warnings)


# --- de-identified times ------------------------------------------------------------------------------------------


def test_without_any_date_the_times_of_day_are_of_one_day():
    scan = (replace(SCAN, acquisition_date=""),)
    done = convert(replace(HEADER, injection_datetime="", series_date="", slices=scan))
    assert done.factors == pytest.approx((HOUR,), rel=1e-12)
    assert "the scan has no dates: all times of day are assumed to be of one day" in done.warnings


def test_an_injection_with_a_date_is_taken_by_its_time_if_the_scan_has_none():
    scan = (replace(SCAN, acquisition_date=""),)
    done = convert(replace(HEADER, injection_datetime="19700305100000", series_date="", slices=scan))
    assert done.factors == pytest.approx((HOUR,), rel=1e-12)


def test_a_study_date_alone_dates_the_scan():
    scan = (replace(SCAN, acquisition_date=""),)
    done = convert(replace(HEADER, series_date="", study_date="20200301", slices=scan))
    assert done.factors == pytest.approx((HOUR,), rel=1e-12)


@pytest.mark.parametrize(
    ("injection", "scan"), [("10:00", ""), ("10:00:00", "11:00:00"), ("2020-03-01 10:00", ""), ("", "11:00")]
)
def test_stated_times_replace_those_of_the_header_and_are_told(injection, scan):
    wrong = {"injection_datetime": "20200101093000", "injection_time": "093000"} if injection else {}
    wrong |= {"series_time": "130000", "slices": (PetSlice(),)} if scan else {}
    done = convert(replace(HEADER, **wrong), facts=StatedFacts(injection_time=injection, scan_time=scan))
    assert done.factors == pytest.approx((HOUR,), rel=1e-12)
    assert len(done.stated) == bool(injection) + bool(scan)
    assert set(done.stated) <= set(done.warnings)
    assert done.describe()["stated"] == list(done.stated)


def test_a_stated_injection_with_a_date_is_refused_if_the_scan_has_none():
    header = replace(HEADER, series_date="", slices=(replace(SCAN, acquisition_date=""),))
    with pytest.raises(InputError, match="--injection-time has a date, .* state --scan-time with its date, too"):
        convert(header, facts=StatedFacts(injection_time="2020-03-01 10:00"))
    done = convert(header, facts=StatedFacts(injection_time="2020-03-01 10:00", scan_time="2020-03-01 11:00"))
    assert done.factors == pytest.approx((HOUR,), rel=1e-12)


@pytest.mark.parametrize(
    ("scan", "acquired", "injected"),
    [
        ("11:00", "20200301110000", "20200301100000"),
        ("23:50", "20200302000500", "20200301225000"),
        ("00:10", "20200301235500", "20200301231000"),
    ],
)
@pytest.mark.parametrize("correction", ["START", "ADMIN"])
def test_a_stated_scan_time_lies_near_the_acquisition_even_if_the_series_is_of_another_day(
    scan, acquired, injected, correction
):
    slices = (replace(SCAN, acquisition_date=acquired[:8], acquisition_time=acquired[8:]),)
    header = replace(HEADER, slices=slices, series_date="20200304", series_time="090000", decay_correction=correction)
    header = replace(header, injection_datetime=injected, injection_time=injected[8:])
    done = convert(header, facts=StatedFacts(scan_time=scan))
    assert done.figures["uptake_s"] == 3600.0


@pytest.mark.parametrize("text", ["ten", "25:00", "1000000", "2020-13-01 10:00"])
def test_a_stated_time_that_is_none_is_refused(text):
    with pytest.raises(UsageError, match="--injection-time is .* expected HH:MM"):
        convert(HEADER, facts=StatedFacts(injection_time=text))


@pytest.mark.parametrize("fact", [{"weight_kg": -1.0}, {"dose_mbq": float("nan")}, {"height_cm": 1e9}])
def test_a_stated_number_that_cannot_be_is_refused(fact):
    with pytest.raises(UsageError, match="expected more than 0"):
        StatedFacts(**fact)


def test_stated_scan_time_moves_every_slice_of_an_uncorrected_pet():
    slices = (SCAN, replace(SCAN, acquisition_time="110200"))
    plain = convert(replace(HEADER, decay_correction="NONE", slices=slices))
    moved = convert(
        replace(HEADER, decay_correction="NONE", slices=slices, injection_datetime="20200301090000"),
        facts=StatedFacts(injection_time="10:00", scan_time="11:00"),
    )
    assert moved.factors == pytest.approx(plain.factors, rel=1e-12)


# --- reference time ------------------------------------------------------------------------------------------------


def test_a_candidate_after_the_first_acquisition_is_none():
    placeholder = (replace(SCAN, frame_reference_time_ms=0.0, frame_duration_ms=1_200_000.0),)
    done = convert(replace(HEADER, series_time="114500", slices=placeholder))
    assert done.factors == pytest.approx((HOUR,), rel=1e-12)
    assert "earliest acquisition" in done.rule


def test_a_series_time_before_the_scan_is_outvoted_by_three_witnesses():
    done = convert(
        replace(HEADER, manufacturer="GE MEDICAL SYSTEMS", series_time="104000", ge_scan_start="20200301110000.00",
                slices=(replace(SCAN, frame_reference_time_ms=0.0),))
    )  # fmt: skip
    assert done.factors == pytest.approx((HOUR,), rel=1e-12)
    assert any("used GE scan start; others: series time -1200 s" in warning for warning in done.warnings)


def test_a_removed_series_time_is_outvoted_by_the_acquisition_alone():
    done = convert(replace(HEADER, series_time="000000", slices=(replace(SCAN, frame_reference_time_ms=None),)))
    assert done.factors == pytest.approx((HOUR,), rel=1e-12)


# --- dose, weight, balance ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dose", [0.3, 300_000.0, 3e14], ids=["GBq", "kBq", "mBq"])
def test_a_dose_that_nobody_gets_is_refused(dose):
    with pytest.raises(InputError, match=r"RadionuclideTotalDose \(0018,1074\) is .* expected 1 to 50000 MBq"):
        convert(replace(HEADER, dose=dose))


def test_a_small_dose_is_told():
    assert any("which is unusual" in warning for warning in convert(replace(HEADER, dose=9.46)).warnings)


@pytest.mark.parametrize("weight", [700.0, 0.07, 401.0])
def test_a_weight_that_nobody_has_is_refused_and_can_be_stated(weight):
    with pytest.raises(InputError, match=r"PatientWeight .* expected 1 to 400 kg"):
        convert(replace(HEADER, weight_kg=weight))
    stated = convert(replace(HEADER, weight_kg=weight), facts=StatedFacts(weight_kg=70.0))
    assert stated.factors == pytest.approx((HOUR,))


def weigh(suv, *, is_from_activity=True, weight_kg=70.0):
    voxels = np.full((10, 10, 10), suv, np.float32)
    conversion = Conversion((1.0,), "qiba", "", figures={"weight_kg": weight_kg}, is_from_activity=is_from_activity)
    return weigh_activity(conversion, voxels, voxel_ml=35.0, facts=StatedFacts())  # 35 l in 1000 voxels


def test_the_balance_of_a_plausible_scan_is_kept():
    assert weigh(1.0).figures["seen_fraction_of_dose"] == pytest.approx(0.5)
    assert weigh(1.0).warnings == ()


def test_more_activity_than_was_injected_is_refused():
    with pytest.raises(InputError, match="the PET holds 1.25 times the injected activity.*--dose-mbq"):
        weigh(2.5)


def test_an_suv_that_the_scanner_derived_is_doubted_at_most():
    (warning,) = weigh(2.5, is_from_activity=False).warnings
    assert "1.25 times the injected activity" in warning


def test_too_little_activity_is_told():
    (warning,) = weigh(0.05).warnings
    assert "its mean SUV where there is tracer is 0.05" in warning


def test_a_dose_in_mci_is_found_by_the_balance(tmp_path):
    """9.46 mCi of 350 MBq read as MBq: 37 times the SUV, and more activity in view than was injected."""

    def edit(dataset, k):
        dose_of(dataset).RadionuclideTotalDose = "9.46"
        dataset.PixelSpacing, dataset.RescaleSlope = [20, 20], "60"
        dataset.ImagePositionPatient = [0, 0, 20 * k]

    with pytest.raises(InputError, match="times the injected activity"):
        read_pet(write_series(tmp_path, edit=edit))


# --- values are asked for only if a rule needs them, and compared as values ----------


def overwrite(folder, tag, old, new):
    """Replace bytes of an attribute in every file, which pydicom would not write."""
    assert len(old) == len(new)
    for path in folder.iterdir():
        data = path.read_bytes()
        assert tag + old in data
        path.write_bytes(data.replace(tag + old, tag + new))


WEIGHT = b"\x10\x00\x30\x10DS"
SIZE = b"\x10\x00\x20\x10DS"


def test_a_height_that_no_rule_needs_stops_nothing(tmp_path):
    folder = write_series(tmp_path)
    overwrite(folder, SIZE, b"\x04\x001.75", b"\x04\x001,75")
    done = read_pet(folder).conversion
    assert done.factors == pytest.approx((HOUR,) * SLICES)
    assert "height_cm" not in done.figures


def test_a_weight_that_is_no_number_can_be_stated(tmp_path):
    folder = write_series(tmp_path)
    overwrite(folder, WEIGHT, b"\x02\x0070", b"\x02\x007,")
    with pytest.raises(InputError, match=r"PatientWeight \(0010,1030\) is not a number.*--weight-kg states it"):
        read_pet(folder)
    assert read_pet(folder, weight_kg=70.0).conversion.factors == pytest.approx((HOUR,) * SLICES)


@pytest.mark.parametrize("text", [b"1_0 ", b"inf ", b"nan ", b"0x10", b"1 0 "])
def test_numbers_that_only_python_reads_are_refused(tmp_path, text):
    folder = write_series(tmp_path, edit=lambda dataset, k: setattr(dataset, "RescaleSlope", "2.00"))
    overwrite(folder, b"\x28\x00\x53\x10DS", b"\x04\x002.00", b"\x04\x00" + text)
    with pytest.raises(InputError, match=r"RescaleSlope \(0028,1053\) is (not a number|damaged)"):
        read_pet(folder)


def alternating(keyword, values):
    def edit(dataset, k):
        setattr(dataset, keyword, values[k % 2])

    return edit


@pytest.mark.parametrize(
    "edit",
    [
        alternating("SeriesTime", ["110000", "110000.0"]),
        alternating("SeriesTime", ["110000", "1100"]),
        alternating("PixelSpacing", [["4", "2"], ["4.0", "2.00"]]),
        alternating("PatientSize", ["1.75", "1.7500001"]),
        alternating("PatientWeight", ["70", "70.0"]),
    ],
)
def test_one_value_in_two_spellings_is_one_value(tmp_path, edit):
    assert read_pet(write_series(tmp_path, edit=edit)).conversion.factors == pytest.approx((HOUR,) * SLICES)


def test_equal_radiopharmaceutical_items_count_once(tmp_path):
    from pydicom.sequence import Sequence

    def twice(dataset, k):
        dataset.RadiopharmaceuticalInformationSequence = Sequence([dose_of(dataset), dose_of(dataset)])

    assert read_pet(write_series(tmp_path, edit=twice)).conversion.factors == pytest.approx((HOUR,) * SLICES)


def test_suv_prints_stated_facts_and_logs_warnings(tmp_path, caplog):
    from autosegnet.loading import log_conversion

    folder = write_series(tmp_path, edit=lambda dataset, k: delattr(dataset, "PatientWeight"))
    with caplog.at_level(logging.INFO):
        log_conversion(read_pet(folder, weight_kg=70.0).conversion)
    assert "weight 70 kg was stated by --weight-kg" in caplog.text
