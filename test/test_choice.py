"""Series as a hospital's export has them: what is put aside, what is split, which CT is taken, what stops nothing."""

import copy
import logging
import struct

import numpy as np
import pytest
from dicom_phantoms import (
    CT_SERIES,
    PET_SERIES,
    SLICES,
    STEP_MM,
    ct_slice,
    pet_slice,
    stored,
    write_series,
)
from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEGLSLossless,
    MediaStorageDirectoryStorage,
    generate_uid,
)

from autosegnet.dicom import parse
from autosegnet.dicom.choice import Chooser, choose_ct, choose_pet
from autosegnet.dicom.kernels import is_sharp
from autosegnet.dicom.parse import find_header
from autosegnet.dicom.pet import read_dicom_ct, read_dicom_pet
from autosegnet.dicom.series import gather_series
from autosegnet.errors import InputError
from autosegnet.geometry import view_voxels
from autosegnet.runtime.log import keep_study_warnings
from autosegnet.suv import StatedFacts

KEY_OBJECT = "1.2.840.10008.5.1.4.1.1.88.59"


def series_uid(n):
    return f"1.2.826.0.1.3680043.8.498.{n}"


def write_ct(folder, n, **attributes):
    """Return a CT of its own series with other attributes."""

    def edit(dataset, k):
        dataset.SeriesInstanceUID = series_uid(n)
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value(k) if callable(value) else value)

    return write_series(folder, kind="CT", edit=edit)


def write_one(folder, dataset, name="extra.dcm"):
    folder.mkdir(parents=True, exist_ok=True)
    dataset.save_as(folder / name, enforce_file_format=True)


def pair(folder, **chooser):
    """Return the PET and the CT of a folder."""
    found, asked = gather_series(folder), Chooser(**chooser)
    pet = choose_pet(found, asked)
    return pet, choose_ct(found, asked, pet=pet)


@pytest.fixture
def study(tmp_path):
    write_series(tmp_path / "pet")
    write_series(tmp_path / "ct", kind="CT")
    return tmp_path


# --- images that are no slices ------------------------------------------------------------------------------------


def scout(**attributes):
    dataset = ct_slice(0)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


@pytest.mark.parametrize(
    "image",
    [
        scout(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
        scout(),
        scout(ImageOrientationPatient=None, ImagePositionPatient=None),
        scout(SOPClassUID="1.2.840.10008.5.1.4.1.1.7"),
    ],
    ids=["localizer", "scout without a name", "page without a place", "capture"],
)
def test_an_image_among_the_slices_that_is_none_is_put_aside_alone(study, image, caplog):
    write_one(study / "ct", image)
    with caplog.at_level(logging.INFO):
        _, ct = pair(study)
    assert len(ct.headers) == SLICES
    assert "1 image of the CT number 2" in caplog.text


@pytest.mark.parametrize(
    "attributes",
    [
        {"ImagePositionPatient": [-10, -20, 100]},
        {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
        {"ImagePositionPatient": None},
    ],
    ids=["bolus tracking", "localizers", "pages"],
)
def test_a_series_that_is_no_stack_is_no_candidate(study, attributes):
    write_ct(study / "other", 9, **attributes)
    _, ct = pair(study)
    assert ct.uid == CT_SERIES


def test_a_class_that_was_anonymised_is_named(tmp_path):
    def edit(dataset, k):
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.3.5703841015643452503"

    write_series(tmp_path, edit=edit)
    with pytest.raises(InputError, match=r"PET number 3.*SOPClassUID \(0008,0016\) is missing, unknown"):
        choose_pet(gather_series(tmp_path))


@pytest.mark.parametrize("sop_class", ["1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.20", "1.2.3"])
@pytest.mark.parametrize("k", [0, SLICES - 1])
def test_a_slice_whose_class_is_not_that_of_its_series_is_not_lost_in_silence(study, sop_class, k):
    path = sorted((study / "ct").iterdir())[k]
    damaged = dcmread(path)
    damaged.SOPClassUID = sop_class
    damaged.save_as(path)
    with pytest.raises(InputError, match=r"mixed kinds of objects, SOPClassUID \(0008,0016\)"):
        pair(study)


def test_a_pet_in_units_that_cannot_become_suv_is_put_aside(study):
    def counts(dataset, k):
        dataset.SeriesInstanceUID, dataset.Units = series_uid(8), "PROPCNTS"

    write_series(study / "counts", edit=counts)
    pet, _ = pair(study)
    assert pet.uid == PET_SERIES


def test_a_dynamic_series_of_one_frame_is_a_volume_with_a_warning(tmp_path):
    write_series(tmp_path, edit=lambda dataset, k: setattr(dataset, "SeriesType", ["DYNAMIC", "IMAGE"]))
    conversion = read_dicom_pet(choose_pet(gather_series(tmp_path))).conversion
    assert any("SeriesType (0054,1000) is DYNAMIC" in warning for warning in conversion.warnings)


def test_attenuation_correction_can_be_stated(tmp_path):
    write_series(tmp_path, edit=lambda dataset, k: setattr(dataset, "CorrectedImage", ""))
    facts = StatedFacts(attenuation_corrected=True)
    pet = read_dicom_pet(choose_pet(gather_series(tmp_path), Chooser(facts=facts)), facts=facts)
    assert pet.scan.stated == ("that the PET is corrected for attenuation was stated by --attenuation-corrected",)
    assert pet.scan.stated[0] in pet.conversion.warnings


def test_a_named_method_stands_for_an_empty_list_of_corrections(tmp_path):
    def edit(dataset, k):
        dataset.CorrectedImage, dataset.AttenuationCorrectionMethod = "", "measured,AC"

    write_series(tmp_path, edit=edit)
    conversion = read_dicom_pet(choose_pet(gather_series(tmp_path))).conversion
    assert any("CorrectedImage (0028,0051) is missing" in warning for warning in conversion.warnings)


# --- several CTs ------------------------------------------------------------------------------------------------------


def test_the_ct_that_covers_more_of_the_pet_is_taken(study, caplog):
    write_ct(study / "part", 9, ImagePositionPatient=lambda k: [-10, -20, 106 + STEP_MM * k])
    with caplog.at_level(logging.INFO):
        _, ct = pair(study)
    assert ct.uid == CT_SERIES
    assert "took the CT number 2" in caplog.text
    assert "covers 100% of the PET" in caplog.text
    assert "covers 50% of the PET" in caplog.text


def test_a_soft_kernel_is_taken_before_a_sharp_one(study):
    write_ct(study / "lung", 9, ConvolutionKernel="B70f")
    write_ct(study / "bone", 10, ConvolutionKernel=["Br59d", "3"])
    _, ct = pair(study)
    assert ct.uid == CT_SERIES


def test_the_spacing_nearest_to_the_pets_is_taken(study):
    write_ct(study / "thick", 9, ImagePositionPatient=lambda k: [-10, -20, 98.5 + 2 * STEP_MM * k])
    _, ct = pair(study)
    assert ct.uid == CT_SERIES


def test_cts_of_one_rank_are_an_error_that_tells_them_apart(study):
    write_ct(study / "twin", 9)
    with pytest.raises(
        InputError, match=r"several CT series: .*voxels 2 x 4 x 3 mm, 12 mm long, covers 100% of the PET"
    ):
        pair(study)
    assert pair(study, ct_uid=".498.9")[1].uid == series_uid(9)
    with pytest.raises(InputError, match="choose one with column ct_series of --studies"):
        pair(study, facts=StatedFacts(way="table"))


@pytest.mark.parametrize(
    ("kernel", "sharp"),
    [
        ("B30f", False), ("B70f", True), ("Br40d\\3", False), ("Bl64", True), ("STANDARD", False), ("BONEPLUS", True),
        ("LUNG", True), ("SOFT", False), ("FC18", False), ("FC51", True), ("FC30", True), ("B", False), ("YA", True),
        ("", False), ("UNHEARD OF", False),
    ],
)  # fmt: skip
def test_kernels_are_known_by_vendors_names(tmp_path, kernel, sharp):
    dataset = ct_slice(0)
    dataset.ConvolutionKernel = kernel.split("\\")
    write_one(tmp_path, dataset)
    assert is_sharp(find_header(tmp_path / "extra.dcm")) is sharp


def test_acquisitions_that_form_no_stack_together_are_judged_one_by_one(study):
    def later(dataset, k):
        dataset.AcquisitionNumber = "2"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.ImagePositionPatient = [-10, -20, 109.7 + STEP_MM * k]

    write_series(study / "ct" / "second", kind="CT", edit=later)
    _, ct = pair(study)
    assert len(ct.headers) == SLICES
    assert ct.part == 1


def test_acquisitions_of_one_place_are_told_apart_and_one_is_chosen(study):
    def again(dataset, k):
        dataset.AcquisitionNumber = "7"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()

    write_series(study / "ct" / "second", kind="CT", edit=again)
    with pytest.raises(
        InputError, match=f"slices of part 1, UID ...{CT_SERIES[-12:]}#1.* slices of acquisition 7, .*#2"
    ):
        pair(study)
    _, ct = pair(study, ct_uid=f"{CT_SERIES[-12:]}#2")
    assert ct.headers[0].read_text("AcquisitionNumber") == "7"


# --- frames of reference and studies ------------------------------------------------------------------------------


@pytest.mark.parametrize("uid", [None, "1.2.3.4"])
def test_one_frame_of_reference_can_be_stated(study, uid, caplog):
    for path in (study / "ct").iterdir():
        dataset = dcmread(path)
        dataset.FrameOfReferenceUID = uid
        dataset.save_as(path)
    with pytest.raises(InputError, match="--same-frame states it"):
        pair(study)
    _, ct = pair(study, facts=StatedFacts(same_frame=True))
    assert ct.uid == CT_SERIES
    assert "by --same-frame they lie in one frame" in caplog.text
    assert pair(study, ct_uid=CT_SERIES[-12:])[1].uid == CT_SERIES


def test_a_ct_of_another_frame_that_lies_elsewhere_is_refused(study):
    write_ct(study / "far", 9, FrameOfReferenceUID="1.2.3", ImagePositionPatient=lambda k: [500, 500, STEP_MM * k])
    with pytest.raises(InputError, match="it covers 0% of the PET"):
        pair(study, ct_uid=series_uid(9))


def test_baseline_and_follow_up_are_told_apart_by_days(tmp_path):
    def follow_up(dataset, k):
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.StudyDate = "1.2.3", "1.2.3.1", "20200601"

    write_series(tmp_path / "baseline")
    write_series(tmp_path / "later", edit=follow_up)
    with pytest.raises(InputError, match="of the first study; .* of a study 92 days after the first") as error:
        choose_pet(gather_series(tmp_path))
    assert "2020" not in str(error.value)


# --- files --------------------------------------------------------------------------------------------------------


def write_bare(dataset, path, *, lead=b"", implicit=True, little=True):
    """Return a dataset without preamble and meta information."""
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = little, implicit
    write_dataset(stream, Dataset({tag: element for tag, element in dataset.items() if tag.group != 2}))
    path.write_bytes(lead + stream.getvalue())


GROUP_LENGTH = struct.pack("<HHLL", 8, 0, 4, 0)
META_FIRST = b"\x02\x00\x10\x00UI\x12\x001.2.840.10008.1.2\0"


@pytest.mark.parametrize(
    ("lead", "implicit", "little", "first"),
    [
        (GROUP_LENGTH, True, True, None),
        (META_FIRST, True, True, None),
        (b"", True, True, "InstanceCreationDate"),
        (b"", False, True, "InstanceCreationDate"),
        (b"", False, False, "InstanceCreationDate"),
    ],
    ids=["group length", "group 2", "implicit", "explicit", "big endian"],
)
@pytest.mark.parametrize("whole", [0, 2], ids=["all", "some"])
def test_objects_without_preamble_are_known_by_any_first_element(tmp_path, lead, implicit, little, first, whole):
    expected = view_voxels(read_dicom_pet(choose_pet(gather_series(write_series(tmp_path / "whole")))).image)
    folder = tmp_path / "bare"
    folder.mkdir()
    for k in range(SLICES):
        dataset = copy.deepcopy(pet_slice(k))
        del dataset.NumberOfSlices
        if first:
            setattr(dataset, first, "20200301")
        if not little:
            dataset["PixelData"].VR = "OW"
            dataset.PixelData = stored(k).astype(">i2").tobytes()
        if k < whole:
            write_one(folder, pet_slice(k), f"{k}")
        else:
            write_bare(dataset, folder / f"{k}", lead=lead, implicit=implicit, little=little)
    np.testing.assert_array_equal(view_voxels(read_dicom_pet(choose_pet(gather_series(folder))).image), expected)


def directory(folder, name):
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.FileSetID = ""
    write_one(folder, dataset, name)


def key_object(folder, name):
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = KEY_OBJECT
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.4"
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.Modality = "KO"
    write_one(folder, dataset, name)


@pytest.mark.parametrize("name", ["DICOMDIR;1", "DICOMDIR.dcm", "DIRFILE", "LOCKFILE1"])
@pytest.mark.parametrize("make", [directory, key_object])
def test_what_cannot_be_a_slice_stops_nothing(study, make, name):
    make(study / "pet", name)
    whole = (study / "pet" / name).read_bytes()
    (study / "ct" / name).write_bytes(whole[:-3])  # cut, too
    (study / "pet" / "LOCKFILE").write_bytes(b"")
    pet, _ = pair(study)
    assert len(pet.headers) == SLICES


def test_a_file_of_the_size_of_its_neighbours_that_cannot_be_read_is_refused(tmp_path):
    write_series(tmp_path, edit=lambda dataset, k: setattr(dataset, "NumberOfSlices", None))
    path = tmp_path / "PET001.dcm"
    size = path.stat().st_size
    path.unlink()
    (tmp_path / "IM0004").write_bytes(b"\xff" * size)
    with pytest.raises(InputError, match="has the size of the DICOM files beside it: IM0004"):
        gather_series(tmp_path)


def test_the_report_hears_of_a_file_beside_the_slices_without_its_name(tmp_path, caplog):
    write_series(tmp_path, slices=5)
    size = (tmp_path / "PET001.dcm").stat().st_size
    for name in ("DOE_JANE_19500101.bak", "DOE_JANE_19500101.tmp"):
        (tmp_path / name).write_bytes(b"x" * size)
    with caplog.at_level(logging.INFO), keep_study_warnings() as warnings:
        gather_series(tmp_path)
    assert warnings == [
        "2 files beside the slices: of their size, but not DICOM. Is a slice damaged? The log gives the names"
    ]
    assert "DOE_JANE_19500101.bak" in caplog.text


def test_an_archive_is_to_be_unzipped(tmp_path):
    (tmp_path / "study.zip").write_bytes(b"PK\3\4")
    with pytest.raises(InputError, match="found an archive, study.zip; unzip it"):
        gather_series(tmp_path / "study.zip")
    with pytest.raises(InputError, match="no DICOM object.*unzip study.zip first"):
        gather_series(tmp_path)


def test_each_file_is_parsed_once(study, monkeypatch):
    parsed = []
    original = parse._read_header
    monkeypatch.setattr(parse, "_read_header", lambda path, *rest: parsed.append(path) or original(path, *rest))
    pet, ct = pair(study)
    read_dicom_pet(pet)
    read_dicom_ct(ct)
    assert len(parsed) == len(set(parsed)) == 2 * SLICES


# --- damage -------------------------------------------------------------------------------------------------------


def test_a_deflated_series_is_read_as_it_was(tmp_path):
    def deflate(dataset, k):
        dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian

    plain = read_dicom_pet(choose_pet(gather_series(write_series(tmp_path / "a")))).image
    packed = read_dicom_pet(choose_pet(gather_series(write_series(tmp_path / "b", edit=deflate)))).image
    np.testing.assert_array_equal(view_voxels(packed), view_voxels(plain))


def test_a_damaged_deflated_object_is_that_files_fault(tmp_path):
    def deflate(dataset, k):
        dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian

    path = write_series(tmp_path, edit=deflate) / "PET002.dcm"
    data = bytearray(path.read_bytes())
    data[-40:-10] = b"\xff" * 30
    path.write_bytes(data)
    with pytest.raises(InputError, match="PET002"):
        read_dicom_pet(choose_pet(gather_series(tmp_path)))


def test_what_a_deflated_object_becomes_is_bounded(tmp_path, monkeypatch):
    def deflate(dataset, k):
        dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian

    monkeypatch.setattr(parse, "_LARGEST_INFLATED", 500)
    write_series(tmp_path, edit=deflate)
    with pytest.raises(InputError, match="holds more than 500 bytes, which no slice has"):
        gather_series(tmp_path)


def test_a_frame_of_other_sides_than_rows_and_columns_is_refused(tmp_path):
    """Six rows of five, claimed to be five of six: as many pixels, and every one of them elsewhere."""

    def compress(dataset, k):
        dataset.PixelRepresentation = 0
        dataset.compress(JPEGLSLossless, generate_instance_uid=False)
        dataset.Rows, dataset.Columns = dataset.Columns, dataset.Rows

    series = choose_pet(gather_series(write_series(tmp_path, edit=compress)))
    with pytest.raises(InputError, match="the compressed frame has 6 rows and 5 columns, expected 5 and 6"):
        read_dicom_pet(series)


@pytest.mark.parametrize("keyword", ["NumberOfSlices", "InstanceNumber", "Rows"])
def test_a_whole_number_that_is_infinite_is_that_files_fault_if_it_is_needed(tmp_path, keyword):
    folder = write_series(tmp_path)
    dataset = dcmread(folder / "PET002.dcm")
    tag = dataset[keyword].tag
    del dataset[keyword]
    dataset[tag] = RawDataElement(tag, "IS", 4, b"inf ", 0, False, True)
    dataset.save_as(folder / "PET002.dcm")
    if keyword != "InstanceNumber":
        with pytest.raises(InputError, match=rf"{keyword} \(.*\) is damaged in PET002.dcm"):
            choose_pet(gather_series(folder))
    else:
        assert read_dicom_pet(choose_pet(gather_series(folder))).image.GetSize()[2] == SLICES


def compress_with_gdcm(path, syntax):
    gdcm = pytest.importorskip("gdcm")
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(path))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()


@pytest.mark.parametrize("syntax", ["JPEGLosslessProcess14", "JPEGLosslessProcess14_1"])
@pytest.mark.parametrize("kind", ["PET", "CT"])
def test_jpeg_lossless_is_read_as_it_was(tmp_path, kind, syntax):
    def read(folder):
        found = gather_series(folder)
        return read_dicom_pet(choose_pet(found)).image if kind == "PET" else read_dicom_ct(choose_ct(found))

    folder = write_series(tmp_path, kind=kind)
    plain = view_voxels(read(folder))
    for path in folder.iterdir():
        compress_with_gdcm(path, syntax)
    assert "1.2.840.10008.1.2.4." in str(dcmread(path).file_meta.TransferSyntaxUID)
    np.testing.assert_array_equal(view_voxels(read(folder)), plain)


def test_a_uid_that_holds_a_name_is_not_printed(tmp_path):
    def edit(dataset, k):
        dataset.SeriesInstanceUID, dataset.Units = "1.2.DOE^JOHN", "PROPCNTS"

    with pytest.warns(UserWarning, match="Invalid value"):
        write_series(tmp_path, edit=edit)
    with pytest.raises(InputError, match="UID that is none") as error:
        choose_pet(gather_series(tmp_path))
    assert "DOE" not in str(error.value)


def test_float_pixels_are_read(tmp_path):
    def as_floats(dataset, k):
        dataset.FloatPixelData = (stored(k).astype("<f4")).tobytes()
        del dataset.PixelData
        dataset.BitsAllocated = dataset.BitsStored = 32
        dataset.HighBit = 31

    plain = read_dicom_pet(choose_pet(gather_series(write_series(tmp_path / "a")))).image
    floats = read_dicom_pet(choose_pet(gather_series(write_series(tmp_path / "b", edit=as_floats)))).image
    np.testing.assert_array_equal(view_voxels(floats), view_voxels(plain))
