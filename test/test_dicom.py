"""DICOM in: what a series becomes, how PET and CT are paired, and what is refused by name and tag."""

import logging
import random
import shutil
import sys

import numpy as np
import pytest
from dicom_phantoms import CT_SERIES, PET_SERIES, SLICES, STEP_MM, dose_of, pet_slice, stored, write_series
from pydicom import dcmread, dcmwrite
from pydicom.sequence import Sequence
from pydicom.uid import (
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from autosegnet.__main__ import _run_command_line
from autosegnet.dicom.choice import Chooser, choose_ct, choose_pet
from autosegnet.dicom.pet import read_dicom_ct, read_dicom_pet
from autosegnet.dicom.series import gather_series
from autosegnet.errors import InputError, UsageError
from autosegnet.geometry import view_voxels
from autosegnet.io import read_image, write_image
from autosegnet.loading import InputOptions, load_study
from autosegnet.runtime.exit import run_program
from autosegnet.suv import StatedFacts

OTHER = generate_uid()
HOUR = 1000.0 * 70.0 / (3e8 * 2.0 ** (-3600.0 / 6586.2))


def read_pet(folder, **options):
    return read_dicom_pet(choose_pet(gather_series(folder)), **options)


def setting(keyword, value):
    """Return an edit that sets one attribute of every slice."""

    def edit(dataset, k):
        setattr(dataset, keyword, value)

    return edit


def setting_in_one(keyword, value):
    """Return an edit that sets one attribute of the third slice alone."""

    def edit(dataset, k):
        if k == 2:
            setattr(dataset, keyword, value)

    return edit


# --- what a series becomes ---------------------------------------------------------------------------------------


def test_slices_are_sorted_along_the_normal_and_rescaled_one_by_one(tmp_path):
    pet = read_pet(write_series(tmp_path)).image
    expected = np.stack([stored(k) * (2.0 + k) * HOUR for k in range(SLICES)])
    np.testing.assert_allclose(view_voxels(pet), expected, rtol=2e-7)
    assert pet.GetOrigin() == (-10.0, -20.0, 100.0)
    assert pet.GetSpacing() == (2.0, 4.0, STEP_MM)


def test_oblique_series_keeps_its_cosines(tmp_path):
    c, s = np.cos(0.3), np.sin(0.3)

    def tilt(dataset, k):
        dataset.ImageOrientationPatient = [f"{v:.10f}" for v in (c, s, 0, 0, 0, -1)]  # coronal, rotated
        normal = np.cross([c, s, 0], [0, 0, -1])
        dataset.ImagePositionPatient = [f"{v:.6f}" for v in np.array([5.0, 6.0, 7.0]) - STEP_MM * k * normal]

    pet = read_pet(write_series(tmp_path, edit=tilt)).image
    direction = np.reshape(pet.GetDirection(), (3, 3))
    assert np.linalg.det(direction) == pytest.approx(1.0)
    np.testing.assert_allclose(direction[:, 0], [c, s, 0], atol=1e-9)
    # Stored against the normal: the last slice written is the first of the image.
    assert view_voxels(pet)[0, 0, 0] == pytest.approx(stored(SLICES - 1)[0, 0] * (2.0 + SLICES - 1) * HOUR, rel=1e-6)


def test_ct_is_int16_hu_unless_its_values_are_not(tmp_path):
    ct = read_dicom_ct(choose_ct(gather_series(write_series(tmp_path / "a", kind="CT"))))
    assert view_voxels(ct).dtype == np.int16
    np.testing.assert_array_equal(view_voxels(ct)[1], stored(1) - 1024)
    half = write_series(tmp_path / "b", kind="CT", edit=setting("RescaleSlope", "0.5"))
    assert view_voxels(read_dicom_ct(choose_ct(gather_series(half)))).dtype == np.float32


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_files_without_suffix_or_preamble_below_the_folder_are_read(tmp_path, syntax):
    expected = view_voxels(read_pet(write_series(tmp_path / "whole")).image)
    root = tmp_path / "root"
    (root / "deep" / "er").mkdir(parents=True)
    for path in sorted((tmp_path / "whole").iterdir()):
        dataset = dcmread(path)
        dataset.file_meta.clear()  # nothing but the dataset, as from before PS3.10
        dataset.preamble = None
        bare = root / "deep" / "er" / path.stem
        dcmwrite(bare, dataset, implicit_vr=syntax.is_implicit_VR, little_endian=True, enforce_file_format=False)
        assert bare.read_bytes()[:2] == b"\x08\x00"
    (root / "README").write_text("not DICOM")
    (root / "deep" / "er" / "README").write_text("not DICOM")
    (root / "deep" / "er" / "notes.txt").write_text("")
    (root / "LOCKFILE").write_text("")
    (root / "DICOMDIR").write_bytes(b"\0" * 200)
    (root / ".hidden.dcm").write_bytes(b"x")
    np.testing.assert_array_equal(view_voxels(read_pet(root).image), expected)


@pytest.mark.parametrize("name", ["IM0004", "1.2.840.4"])
@pytest.mark.parametrize("left", [0, 100, 131])
def test_a_last_slice_cut_before_its_header_is_refused_whatever_its_name(tmp_path, name, left):
    folder = write_series(tmp_path, edit=setting("NumberOfSlices", None))
    whole = (folder / "PET001.dcm").read_bytes()
    (folder / "PET001.dcm").unlink()
    assert len(choose_pet(gather_series(folder)).headers) == SLICES - 1
    (folder / name).write_bytes(whole[:left])
    with pytest.raises(InputError, match=f"cut before its header: {name}"):
        gather_series(folder)


@pytest.mark.parametrize("syntax", [JPEGLSLossless, RLELossless])
def test_lossless_compression_changes_nothing(tmp_path, syntax):
    def compress(dataset, k):
        dataset.PixelRepresentation = 0
        dataset.compress(syntax, generate_instance_uid=False)

    plain = read_pet(write_series(tmp_path / "a")).image
    packed = read_pet(write_series(tmp_path / "b", edit=compress)).image
    np.testing.assert_array_equal(view_voxels(packed), view_voxels(plain))


def test_private_factors_are_found_in_their_creators_block(tmp_path):
    def philips(dataset, k):
        dataset.Units = "CNTS"
        block = dataset.private_block(0x7053, "Philips PET Private Group", create=True)
        block.add_new(0x00, "DS", "0.0005")

    assert read_pet(write_series(tmp_path / "a", edit=philips)).conversion.factors == (0.0005,) * SLICES

    def of_another(dataset, k):
        dataset.Units = "CNTS"
        dataset.private_block(0x7053, "SOMEBODY ELSE", create=True).add_new(0x00, "DS", "0.0005")

    with pytest.raises(InputError, match=r"\(7053,1000\)"):
        read_pet(write_series(tmp_path / "b", edit=of_another))


@pytest.mark.parametrize("named", [True, False], ids=["with creator", "without"])
def test_private_factor_is_read_from_implicit_vr(tmp_path, named):
    def philips(dataset, k):
        dataset.Units = "CNTS"
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        if named:
            dataset.private_block(0x7053, "Philips PET Private Group", create=True).add_new(0x09, "DS", "2.5")
        else:
            dataset.add_new(0x70531009, "UN", b"2.5 ")

    conversion = read_pet(write_series(tmp_path, edit=philips)).conversion
    assert conversion.factors == pytest.approx((2.5 * HOUR,) * SLICES, rel=1e-12)


def test_scan_start_of_ge_is_used_where_the_series_is_later(tmp_path):
    def ge(dataset, k):
        dataset.SeriesTime, dataset.Manufacturer = "130000", "GE MEDICAL SYSTEMS"
        dataset.private_block(0x0009, "GEMS_PETD_01", create=True).add_new(0x0D, "DT", "20200301110000.00")

    done = read_pet(write_series(tmp_path, edit=ge)).conversion
    assert "GE scan start" in done.rule
    assert done.factors[0] == pytest.approx(HOUR, rel=1e-12)


# --- choosing and pairing ----------------------------------------------------------------------------------------


def test_study_in_one_folder_is_paired_and_localizers_are_put_aside(tmp_path):
    write_series(tmp_path / "1")
    write_series(tmp_path / "2", kind="CT")

    def localizer(dataset, k):
        dataset.SeriesInstanceUID = OTHER
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    write_series(tmp_path / "3", kind="CT", edit=localizer)
    found = gather_series(tmp_path)
    assert choose_ct(found, pet=choose_pet(found)).uid == CT_SERIES


def test_long_lists_of_series_are_cut(tmp_path):
    for n in range(10):
        write_series(tmp_path / str(n), edit=setting("SeriesInstanceUID", generate_uid()))
    with pytest.raises(InputError, match="and 2 more; choose one with --pet-series"):
        choose_pet(gather_series(tmp_path))


def test_missing_frames_of_reference_are_no_pair(tmp_path):
    write_series(tmp_path / "1", edit=without("FrameOfReferenceUID"))
    write_series(tmp_path / "2", kind="CT", edit=without("FrameOfReferenceUID"))
    found = gather_series(tmp_path)
    with pytest.raises(InputError, match=r"FrameOfReferenceUID \(0020,0052\) is missing"):
        choose_ct(found, pet=choose_pet(found))


def test_uncorrected_twin_is_put_aside_for_the_corrected_one(tmp_path):
    def uncorrected(dataset, k):
        dataset.SeriesInstanceUID, dataset.CorrectedImage = OTHER, ["DECY"]

    write_series(tmp_path / "1")
    write_series(tmp_path / "2", edit=uncorrected)
    assert choose_pet(gather_series(tmp_path)).uid == PET_SERIES


def test_several_series_are_listed_and_one_is_chosen_by_the_end_of_its_uid(tmp_path):
    other = generate_uid()

    def twin(dataset, k):
        dataset.SeriesInstanceUID, dataset.SeriesNumber = other, "8"

    write_series(tmp_path / "1")
    write_series(tmp_path / "2", edit=twin)
    found = gather_series(tmp_path)
    with pytest.raises(InputError, match="number 3, 4 slices.*number 8, 4 slices.*--pet-series") as error:
        choose_pet(found)
    assert other[-12:] in str(error.value)
    assert choose_pet(found, Chooser(pet_uid=other[-12:])).uid == other
    with pytest.raises(InputError, match="no PET series with the UID of --pet-series"):
        choose_pet(found, Chooser(pet_uid="1.2.3"))


@pytest.mark.parametrize("keyword", ["FrameOfReferenceUID", "StudyInstanceUID"])
def test_ct_of_another_frame_or_study_is_refused(tmp_path, keyword):
    write_series(tmp_path / "1")
    write_series(tmp_path / "2", kind="CT", edit=setting(keyword, generate_uid()))
    found = gather_series(tmp_path)
    with pytest.raises(InputError, match=keyword):
        choose_ct(found, pet=choose_pet(found))


# --- refusals ----------------------------------------------------------------------------------------------------


def moved(dataset, k):
    if k >= 2:
        dataset.ImagePositionPatient[2] += STEP_MM


def leaning(dataset, k):
    dataset.ImagePositionPatient[1] += 0.5 * k


def two_doses(dataset, k):
    other = dose_of(pet_slice(0))
    other.RadionuclideTotalDose = "200000000"
    dataset.RadiopharmaceuticalInformationSequence = Sequence([dose_of(dataset), other])


def two_frames(motion):
    """Return an edit that makes two time frames of two places."""

    def edit(dataset, k):
        dataset.SeriesType = [motion, "IMAGE"]
        dataset.ImagePositionPatient = [-10, -20, 100 + STEP_MM * (k // 2)]

    return edit


def without(keyword, *, dose=False):
    def edit(dataset, k):
        delattr(dose_of(dataset) if dose else dataset, keyword)

    return edit


def dated(dataset, k):
    del dose_of(dataset).RadiopharmaceuticalStartDateTime
    del dose_of(dataset).RadiopharmaceuticalStartTime


REFUSED = {
    "missing slice": (moved, r"slices are missing: 6.00 mm between slices 2 and 3 .*ImagePositionPatient"),
    "fewer than declared": (setting("NumberOfSlices", 7), r"slices missing: NumberOfSlices \(0054,0081\) is 7"),
    "two at one place": (setting("ImagePositionPatient", [0, 0, 0]), r"share a position with another slice"),
    "tilted stack": (leaning, r"from an even stack"),
    "mixed orientation": (setting_in_one("ImageOrientationPatient", [0, 1, 0, -1, 0, 0]), r"\(0020,0037\) differs"),
    "mixed spacing": (setting_in_one("PixelSpacing", [4, 4]), r"PixelSpacing \(0028,0030\) differs"),
    "mixed weight": (setting_in_one("PatientWeight", "71"), r"PatientWeight \(0010,1030\) differs"),
    "mixed units": (setting_in_one("Units", "GML"), r"Units \(0054,1001\) differs"),
    "dynamic": (two_frames("DYNAMIC"), r"dynamic series, SeriesType \(0054,1000\)"),
    "gated": (two_frames("GATED"), r"gated series, SeriesType \(0054,1000\)"),
    "projection": (setting("SeriesType", ["STATIC", "REPROJECTION"]), r"SeriesType \(0054,1000\) is REPROJECTION"),
    "MIP": (setting("ImageType", ["DERIVED", "SECONDARY", "MIP"]), r"ImageType \(0008,0008\) holds MIP"),
    "uncorrected": (setting("CorrectedImage", ["DECY", "SCAT"]), r"no ATTN in CorrectedImage \(0028,0051\)"),
    "corrections unknown": (without("CorrectedImage"), r"\(0028,0051\) is missing.*--attenuation-corrected"),
    "secondary capture": (setting("SOPClassUID", "1.2.840.10008.5.1.4.1.1.7"), r"secondary capture, SOPClassUID"),
    "enhanced": (setting("SOPClassUID", "1.2.840.10008.5.1.4.1.1.130"), r"enhanced PET .* SOPClassUID \(0008,0016\)"),
    "intercept": (setting("RescaleIntercept", "-5"), r"RescaleIntercept \(0028,1052\) is -5"),
    "no slope": (without("RescaleSlope"), r"RescaleSlope \(0028,1053\) is missing"),
    "no weight": (without("PatientWeight"), r"PatientWeight \(0010,1030\) is missing"),
    "no dose": (without("RadionuclideTotalDose", dose=True), r"RadionuclideTotalDose \(0018,1074\) is missing"),
    "no injection time": (dated, r"RadiopharmaceuticalStartDateTime \(0018,1078\) and .* missing"),
    "no radiopharmaceutical": (without("RadiopharmaceuticalInformationSequence"), r"RadionuclideTotalDose"),
    "two radiopharmaceuticals": (two_doses, r"RadiopharmaceuticalInformationSequence \(0054,0016\) has 2 items"),
    "colour": (setting("PhotometricInterpretation", "RGB"), r"PhotometricInterpretation \(0028,0004\) is not"),
    "pixels too short": (setting("PixelData", b"\0" * 10), r"PixelData \(7FE0,0010\) holds 10 bytes, expected 60"),
    "pixels too long": (setting("PixelData", b"\0" * 100), r"PixelData \(7FE0,0010\) holds 100 bytes, expected 60"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_series_that_is_no_single_corrected_volume_is_refused_by_name_and_tag(tmp_path, case):
    edit, message = REFUSED[case]
    write_series(tmp_path, edit=edit)
    with pytest.raises(InputError, match=message):
        read_pet(tmp_path)


def test_removed_slice_is_missed_even_at_the_end(tmp_path):
    write_series(tmp_path)
    (tmp_path / "PET001.dcm").unlink()
    with pytest.raises(InputError, match="slices missing"):
        read_pet(tmp_path)


def test_an_object_that_is_there_twice_counts_once(tmp_path):
    expected = view_voxels(read_pet(write_series(tmp_path / "a")).image)
    shutil.copytree(tmp_path / "a", tmp_path / "a" / "backup")
    np.testing.assert_array_equal(view_voxels(read_pet(tmp_path / "a").image), expected)


def test_two_slices_at_one_place_are_refused_if_they_differ(tmp_path):
    write_series(tmp_path)
    copy = dcmread(tmp_path / "PET002.dcm")
    copy.RescaleSlope = "9"
    copy.save_as(tmp_path / "copy.dcm")
    with pytest.raises(InputError, match="1 of the slices share a position with another slice"):
        read_pet(tmp_path)


@pytest.mark.parametrize("cut", [20, 160, 500, 1300, -10])
def test_cut_file_is_refused(tmp_path, cut):
    write_series(tmp_path)
    path = tmp_path / "PET002.dcm"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InputError):
        read_pet(tmp_path)


def test_damaged_files_are_read_or_refused_but_never_quoted(tmp_path):
    """A few of the mutations that were tried: bytes changed, removed and put in, anywhere in one file."""
    rng = random.Random(3)
    write_series(tmp_path)
    path = tmp_path / "PET002.dcm"
    whole = path.read_bytes()
    refusals = []
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(rng.choice([1, 2, 10])):
            at = rng.randrange(len(data))
            data[at : at + rng.choice([0, 1, 4])] = rng.randbytes(rng.choice([0, 1, 3]))
        path.write_bytes(data)
        try:
            read_pet(tmp_path)
        except InputError as error:
            refusals.append(error)
    assert len(refusals) > 30
    assert not [e for e in refusals if "Doe" in str(e) or e.__cause__ is not None]


def test_unreadable_compression_is_refused_by_its_name(tmp_path):
    def claim(dataset, k):
        dataset.file_meta.TransferSyntaxUID = HTJ2KLossless
        dataset.PixelData = b"\xfe\xff\x00\xe0\x00\x00\x00\x00\xfe\xff\x00\xe0\x04\x00\x00\x00\xff\xd8\xff\xd9"
        dataset["PixelData"].is_undefined_length = True

    with pytest.raises(InputError, match=r"TransferSyntaxUID \(0002,0010\) is High-Throughput JPEG 2000.*PET"):
        read_pet(write_series(tmp_path, edit=claim))


@pytest.mark.parametrize("claimed", [b"1.2.840.10008\\1.2.1", b"1.2.840.10008.1\\2.1"])
def test_damaged_uid_of_the_compression_is_refused(tmp_path, claimed):
    folder = write_series(tmp_path)
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.1", claimed, 1))
    with pytest.raises(InputError, match=r"TransferSyntaxUID \(0002,0010\) is damaged in PET"):
        read_pet(folder)


@pytest.mark.parametrize("files", [(), ("README",)])
def test_folder_without_dicom_is_refused(tmp_path, files):
    for name in files:
        (tmp_path / name).write_text("nothing")
    with pytest.raises(InputError, match="no DICOM object"):
        gather_series(tmp_path)
    with pytest.raises(InputError, match="found no folder"):
        gather_series(tmp_path / "absent")


# --- PHI ---------------------------------------------------------------------------------------------------------

CANARIES = ("KANARIENVOGEL", "ID4711CANARY", "19330330", "1933", "20200301", "2020-03-01", "ACC0815", "HOSPITALCANARY")


def marked(dataset, k):
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = CANARIES[0] + "^Tweety", CANARIES[1], CANARIES[2]
    dataset.AccessionNumber, dataset.InstitutionName = CANARIES[6], CANARIES[7]
    dataset.SeriesDescription = dataset.StudyDescription = CANARIES[0]
    dataset.PatientAge = CANARIES[0]  # of a form that pydicom warns of, quoting it


def no_weight(dataset, k):
    marked(dataset, k)
    dataset.PatientWeight = CANARIES[0]


def test_nothing_of_the_patient_gets_out(tmp_path, monkeypatch, capfd):
    logging.getLogger("pydicom").setLevel(logging.DEBUG)
    good, bad = tmp_path / "good", tmp_path / "bad"
    with pytest.warns(UserWarning, match="VR AS"):
        write_series(good, edit=marked)
    bad.mkdir()
    shutil.copytree(good, bad, dirs_exist_ok=True)
    for path in bad.iterdir():
        path.write_bytes(path.read_bytes().replace(b"DS\x02\x0070", b"DS\x02\x00x!"))
    capfd.readouterr()
    output = tmp_path / "suv.mha"
    monkeypatch.setattr(sys, "argv", ["autosegnet", "suv", str(good), "--output", str(output)])
    assert run_program(_run_command_line) == 0
    monkeypatch.setattr(sys, "argv", ["autosegnet", "suv", str(bad), "--output", str(tmp_path / "none.mha")])
    assert run_program(_run_command_line) == 3
    text = "".join(capfd.readouterr()) + output.read_bytes().decode("latin-1")
    assert "PatientWeight (0010,1030) is not a number" in text
    assert not [canary for canary in CANARIES if canary in text]
    assert not (tmp_path / "none.mha").exists()


# --- studies -----------------------------------------------------------------------------------------------------


def big(dataset, k):
    """Voxels like a body: half of them warm."""
    dataset.PixelData = (stored(k) + (4000 if dataset.Modality == "PT" else 700)).astype("<i2").tobytes()


def big_without_unit(dataset, k):
    big(dataset, k)
    dataset.Units = "GML"


def aired(dataset, k):
    values = stored(k) + 700
    values[0] = 0
    dataset.PixelData = values.astype("<i2").tobytes()


@pytest.fixture
def study(tmp_path):
    write_series(tmp_path / "study", edit=big)
    return write_series(tmp_path / "study", kind="CT", edit=aired)


def test_study_of_one_folder_is_loaded(study):
    loaded = load_study(pet=study, ct=study)
    assert loaded.conversion is not None
    assert loaded.source is not None
    assert [path.name for path in loaded.source.files] == [f"PET{k:03d}.dcm" for k in range(SLICES, 0, -1)]
    assert view_voxels(loaded.study.ct).min() == -1024


def test_sidecar_converts_what_dicom_would(study, tmp_path):
    of_dicom = load_study(pet=study, ct=study).study
    activity = read_pet(write_series(tmp_path / "same", edit=big_without_unit)).image  # as stored, in Bq/ml
    write_image(activity, tmp_path / "bqml.nii.gz")
    sidecar = tmp_path / "bqml.json"
    sidecar.write_text(
        '{"InjectedRadioactivity": 300, "InjectedRadioactivityUnits": "MBq", "TracerRadionuclide": "F18",'
        '"Units": "Bq/mL",'
        '"TimeZero": "10:00:00", "InjectionStart": 0, "ImageDecayCorrected": true, "ImageDecayCorrectionTime": 3600,'
        '"FrameTimesStart": [3600], "FrameDuration": [120], "PatientWeight": 70}'
    )
    options = InputOptions(pet_unit="bqml", pet_sidecar=sidecar)
    loaded = load_study(pet=tmp_path / "bqml.nii.gz", ct=study, options=options)
    np.testing.assert_allclose(view_voxels(loaded.study.pet), view_voxels(of_dicom.pet), rtol=1e-6)
    # The same image without the options is no SUV, and is not made one.
    with pytest.raises(InputError, match="looks like Bq/ml"):
        load_study(pet=tmp_path / "bqml.nii.gz", ct=study)


@pytest.mark.parametrize(
    "options",
    [
        {"pet_unit": "bqml"},
        {"pet_sidecar": "x.json"},
        {"pet_series": "1"},
        {"mode": "tcia-compat"},
        {"facts": StatedFacts(weight_kg=70.0)},
        {"ct_series": "1"},
    ],
)
def test_options_without_use_are_refused(tmp_path, options):
    with pytest.raises(UsageError):
        load_study(pet=tmp_path / "a.mha", ct=tmp_path / "b.mha", options=InputOptions(**options))


def test_suv_refuses_an_unknown_format_before_it_reads(study, tmp_path, monkeypatch, capsys):
    def must_not_run(*_):
        raise AssertionError("the work began")

    monkeypatch.setattr("autosegnet.dicom.series.gather_series", must_not_run)
    monkeypatch.setattr(sys, "argv", ["autosegnet", "suv", str(study), "--output", str(tmp_path / "suv.nrrd")])
    assert run_program(_run_command_line) == 2
    assert "unknown image format" in capsys.readouterr().err


def test_suv_writes_what_predict_would_see(study, tmp_path, monkeypatch, capsys):
    output = tmp_path / "suv.nii.gz"
    monkeypatch.setattr(sys, "argv", ["autosegnet", "suv", str(study), "--output", str(output)])
    assert run_program(_run_command_line) == 0
    assert '"factor": ' in capsys.readouterr().out
    np.testing.assert_array_equal(
        view_voxels(read_image(output)), view_voxels(load_study(pet=study, ct=study).study.pet)
    )
