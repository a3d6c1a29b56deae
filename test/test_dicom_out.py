"""DICOM out: results read back as the mask they were made from, keep the patient, and satisfy dciodvfy."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dicom_phantoms import write_image, write_series
from phantoms import phantom, rotation
from pydicom import dcmread
from test_contours import filled

from autosegnet.__main__ import _run_command_line
from autosegnet.dicom.choice import choose_pet
from autosegnet.dicom.pet import read_dicom_pet
from autosegnet.dicom.results import DicomResults, encode_results, try_results
from autosegnet.dicom.series import gather_series
from autosegnet.errors import InputError
from autosegnet.geometry import Grid, make_image, view_voxels
from autosegnet.io import read_mask, write_all
from autosegnet.lesions import measure_lesions, number_lesions
from autosegnet.loading import load_study
from autosegnet.runtime.exit import run_program

KINDS = ("segmentation", "report", "structure_set")


@pytest.fixture(scope="module", params=["straight", "oblique"])
def loaded(request, tmp_path_factory):
    """Return a study that was read from DICOM, on a straight and on an oblique grid."""
    direction = (1, 0, 0, 0, 1, 0, 0, 0, 1) if request.param == "straight" else rotation(degrees=(20.0, -35.0, 70.0))
    study = phantom(size=(20, 18, 16), spacing=(9.0, 8.0, 11.0), direction=direction)
    folder = tmp_path_factory.mktemp("dicom")
    write_image(study.pet, folder, kind="PET", slope=0.001)
    write_image(study.ct, folder, kind="CT", slope=1.0)
    return load_study(pet=folder, ct=folder)


def mask_of(loaded, *, suv=2.0):
    """Two lesions, one of them with a hole."""
    above = (view_voxels(loaded.study.pet) > suv).astype(np.uint8)
    if above.any():
        z, y, x = (int(round(v)) for v in np.mean(np.argwhere(above[:, :, 10:]), axis=0))
        above[z, y, x + 10] = 0
    return make_image(above, Grid.from_image(loaded.study.pet))


def write(loaded, mask, folder, *, kinds=KINDS, per_lesion=False):
    paths = {kind: folder / f"{kind}.dcm" for kind in kinds}
    results = DicomResults(**paths, per_lesion=per_lesion)
    write_all(encode_results(mask, loaded.study.pet, loaded.source, loaded.scan, results))
    return {kind: dcmread(path) for kind, path in paths.items()}


def read_segments(made, grid):
    """(z, y, x) segment numbers of a Segmentation, placed by the frames' own positions."""
    labels = np.zeros(grid.size[::-1], int)
    frames = made.pixel_array.reshape(-1, made.Rows, made.Columns)
    normal = np.reshape(grid.direction, (3, 3))[:, 2]
    for frame, groups in zip(frames, made.PerFrameFunctionalGroupsSequence, strict=True):
        position = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        z = (position - grid.origin_mm) @ normal / grid.spacing_mm[2]
        assert z == pytest.approx(round(z), abs=1e-3)
        np.testing.assert_allclose(position, grid.find_position_mm((0, 0, round(z))), atol=1e-3)
        shared = made.SharedFunctionalGroupsSequence[0]
        identification = (groups if "SegmentIdentificationSequence" in groups else shared).SegmentIdentificationSequence
        number = identification[0].ReferencedSegmentNumber
        assert not np.any(labels[round(z)][frame > 0])
        labels[round(z)][frame > 0] = number
    return labels


def test_segmentation_reads_back_bit_identical(loaded, tmp_path):
    mask = mask_of(loaded)
    made = write(loaded, mask, tmp_path, kinds=["segmentation"])["segmentation"]
    np.testing.assert_array_equal(read_segments(made, Grid.from_image(mask)), view_voxels(mask))
    assert made.FrameOfReferenceUID == loaded.source.frame_uid


def test_segmentation_has_a_segment_a_lesion_in_the_order_of_the_table(loaded, tmp_path):
    mask = mask_of(loaded)
    made = write(loaded, mask, tmp_path, kinds=["segmentation"], per_lesion=True)["segmentation"]
    labels, count = number_lesions(mask)
    assert count == 2
    assert [item.SegmentLabel for item in made.SegmentSequence] == ["Lesion 1", "Lesion 2"]
    np.testing.assert_array_equal(read_segments(made, Grid.from_image(mask)), labels)


def test_structure_set_filled_again_is_the_mask(loaded, tmp_path):
    mask = mask_of(loaded)
    made = write(loaded, mask, tmp_path, kinds=["structure_set"])["structure_set"]
    grid = Grid.from_image(mask)
    labels, _ = number_lesions(mask)
    found = np.zeros(labels.shape, int)
    for region in made.ROIContourSequence:
        for contour in region.ContourSequence:
            points = np.array(contour.ContourData, float).reshape(-1, 3)
            assert len(points) == contour.NumberOfContourPoints
            index = np.linalg.solve(grid.steps_mm, (points - grid.origin_mm).T).T
            z = round(index[0, 2])
            np.testing.assert_allclose(index[:, 2], z, atol=1e-4)
            uid = contour.ContourImageSequence[0].ReferencedSOPInstanceUID
            assert uid == dcmread(loaded.source.files[z], stop_before_pixels=True).SOPInstanceUID
            polygon = [(x + 0.5, y + 0.5) for x, y in index[:, :2].tolist()]
            found[z] += region.ReferencedROINumber * filled(polygon, labels.shape[1:])
    np.testing.assert_array_equal(found, labels)


def measured(made):
    """[(tracking identifier, {(concept, derivation): (value, unit)})] of a TID 1500 report."""
    container = next(
        i for i in made.ContentSequence if i.ConceptNameCodeSequence[0].CodeMeaning == "Imaging Measurements"
    )
    groups = []
    for group in container.ContentSequence:
        name = next(i.TextValue for i in group.ContentSequence if i.ValueType == "TEXT")
        values = {}
        for item in group.ContentSequence:
            if item.ValueType == "NUM":
                inner = item.get("ContentSequence", [])
                derivation = next((i.ConceptCodeSequence[0].CodeMeaning for i in inner if i.ValueType == "CODE"), "")
                value = item.MeasuredValueSequence[0]
                unit = value.MeasurementUnitsCodeSequence[0].CodeValue
                values[item.ConceptNameCodeSequence[0].CodeMeaning, derivation] = (float(value.NumericValue), unit)
        groups.append((name, values))
    return groups


def test_report_holds_the_figures_of_the_table(loaded, tmp_path):
    mask = mask_of(loaded)
    table = measure_lesions(mask, loaded.study.pet)
    made = write(loaded, mask, tmp_path, kinds=["report"])["report"]
    body, *lesions = measured(made)
    assert body[1]["Number of lesions (observable entity)", ""] == (2.0, "1")
    assert body[1]["Volume", "Total"] == (pytest.approx(table.body.tmtv_ml, rel=1e-9), "ml")
    hottest = view_voxels(loaded.study.pet) * view_voxels(mask)
    shown = dcmread(loaded.source.files[int(hottest.max(axis=(1, 2)).argmax())], stop_before_pixels=True)
    assert str(shown.SOPInstanceUID) in str(made.ContentSequence)
    for (name, values), lesion in zip(lesions, table.lesions, strict=True):
        assert name == f"Lesion {lesion.number}"
        assert values["Volume", ""] == (pytest.approx(lesion.volume_ml, rel=1e-9), "ml")
        assert values["SUVbw", "Maximum"] == (pytest.approx(lesion.suv_max, rel=1e-9), "g/ml{SUVbw}")
        assert values["SUVbw", "Mean"][0] == pytest.approx(lesion.suv_mean, rel=1e-9)
        assert values["Total Lesion Glycolysis", ""] == (pytest.approx(lesion.tlg_g, rel=1e-9), "g")


def test_lesions_carry_the_same_tracking_uid_in_segmentation_and_report(loaded, tmp_path):
    made = write(loaded, mask_of(loaded), tmp_path, kinds=["segmentation", "report"], per_lesion=True)
    of_segments = [item.TrackingUID for item in made["segmentation"].SegmentSequence]
    text = str(made["report"])
    assert len(set(of_segments)) == 2
    assert all(uid in text for uid in of_segments)


def test_empty_mask_gives_empty_results(loaded, tmp_path):
    mask = mask_of(loaded, suv=1000.0)
    made = write(loaded, mask, tmp_path, per_lesion=True)
    assert not made["segmentation"].pixel_array.any()
    assert len(made["segmentation"].SegmentSequence) == 1
    assert [name for name, _ in measured(made["report"])] == ["All lesions"]
    assert measured(made["report"])[0][1]["Volume", "Total"][0] == 0.0
    assert ["ContourSequence" in region for region in made["structure_set"].ROIContourSequence] == [False]


def marked(dataset, k):
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.PatientName, dataset.PatientID, dataset.PatientSex = "Müller^Jörg", "CANARY 7", "M"
    dataset.OtherPatientIDs = ["A", "B"]
    dataset.NumberOfSlices = 4
    del dataset.PatientBirthDate
    del dataset.AccessionNumber
    del dataset.StudyID


def test_patient_module_is_kept_and_what_is_missing_is_empty(tmp_path):
    write_series(tmp_path / "in", edit=marked)
    pet = read_dicom_pet(choose_pet(gather_series(tmp_path / "in")))
    mask = make_image(
        (view_voxels(pet.image) > np.median(view_voxels(pet.image))).astype(np.uint8), Grid.from_image(pet.image)
    )
    paths = {kind: tmp_path / f"{kind}.dcm" for kind in KINDS}
    write_all(encode_results(mask, pet.image, pet.source, pet.scan, DicomResults(**paths)))
    for path in paths.values():
        made = dcmread(path)
        assert str(made.PatientName) == "Müller^Jörg"
        assert (made.PatientID, made.PatientSex, list(made.OtherPatientIDs)) == ("CANARY 7", "M", ["A", "B"])
        for keyword in ("PatientBirthDate", "AccessionNumber", "StudyID"):
            assert keyword in made
            assert not made[keyword].value
        assert made.StudyInstanceUID == pet.source.study_uid
        assert made.StudyDate == "20200301"
        errors(path)


def errors(path):
    """Fail if dciodvfy finds an error; skip nothing, because callers that only validate skip themselves."""
    if shutil.which("dciodvfy"):
        done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
        found = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]
        assert not found


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="no dciodvfy (Debian's dicom3tools)")
@pytest.mark.parametrize(("suv", "per_lesion"), [(2.0, False), (2.0, True), (1000.0, True)])
def test_dciodvfy_finds_no_error(loaded, tmp_path, suv, per_lesion):
    kinds = KINDS if per_lesion else ["segmentation"]
    write(loaded, mask_of(loaded, suv=suv), tmp_path, kinds=kinds, per_lesion=per_lesion)
    for kind in kinds:
        errors(tmp_path / f"{kind}.dcm")


def run(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["autosegnet", *map(str, words)])
    return run_program(_run_command_line)


def test_predict_takes_a_folder_of_dicom_and_writes_every_result(loaded, tmp_path, tiny_weights, monkeypatch, capfd):
    folder = loaded.source.files[0].parent
    paths = {name: tmp_path / f"out{name}.dcm" for name in ("--dicom-seg", "--dicom-sr", "--rtstruct")}
    options = [word for name, path in paths.items() for word in (name, path)]
    output = tmp_path / "mask.nii.gz"
    words = ["predict", "--pet", folder, "--ct", folder, "--output", output, "--weights", tiny_weights.folder]
    words += ["--device", "cpu", "--report", tmp_path / "report"]
    assert run(monkeypatch, *words, *options) == 0, capfd.readouterr().err
    made = read_segments(dcmread(paths["--dicom-seg"]), Grid.from_image(loaded.study.pet))
    np.testing.assert_array_equal(made, view_voxels(read_mask(output)))
    told = "".join(capfd.readouterr())
    assert "GML, BW" in told
    # The patient is in the DICOM results, and nowhere else.
    assert all(dcmread(path).PatientName == "Doe^J" for path in paths.values())
    files = [output, *(path for path in (tmp_path / "report").rglob("*") if path.is_file())]
    everything = told.encode() + b"".join(path.read_bytes() for path in files)
    assert len(files) > 3
    assert not [mark for mark in (b"Doe^J", b"19500101", b"20200301", b"2020-03-01") if mark in everything]


def test_dicom_results_need_a_pet_in_dicom(tmp_path, monkeypatch, capfd):
    words = ["predict", "--pet", "a.mha", "--ct", "b.mha", "--output", tmp_path / "m.mha", "--dicom-seg"]
    assert run(monkeypatch, *words, tmp_path / "s.dcm") == 2
    assert "need a PET in DICOM" in capfd.readouterr().err.splitlines()[-1]
    assert run(monkeypatch, *words[:-1], "--dicom-seg-segments", "per-lesion") == 2


def lacking(source, folder, keyword, *, emptied=False):
    """Return a copy of a series without an attribute, or with an empty one."""
    folder.mkdir()
    for path in source.files:
        dataset = dcmread(path)
        setattr(dataset, keyword, None)
        if not emptied:
            delattr(dataset, keyword)
        dataset.save_as(folder / path.name)
    return folder


@pytest.mark.parametrize("emptied", [False, True], ids=["missing", "empty"])
@pytest.mark.parametrize(
    ("keyword", "tag"), [("StudyInstanceUID", "(0020,000D)"), ("FrameOfReferenceUID", "(0020,0052)")]
)
def test_a_pet_that_results_cannot_belong_to_is_refused_before_anything_is_computed(
    loaded, tmp_path, tiny_weights, monkeypatch, capfd, keyword, tag, emptied
):
    def computed(*_, **__):
        raise AssertionError("computed")

    monkeypatch.setattr("autosegnet.pipeline.segment_study", computed)
    pet = lacking(loaded.source, tmp_path / "pet", keyword, emptied=emptied)
    ct = loaded.study.ct
    write_all({tmp_path / "ct.mha": make_image(view_voxels(ct).astype(np.float32), Grid.from_image(ct))})
    words = ["predict", "--pet", pet, "--ct", tmp_path / "ct.mha", "--output", tmp_path / "m.mha"]
    words += ["--weights", tiny_weights.folder, "--device", "cpu"]
    for option in ("--dicom-seg", "--dicom-sr", "--rtstruct"):
        assert run(monkeypatch, *words, option, tmp_path / "result.dcm") == 3
        assert f"{keyword} {tag} is missing in the PET series" in capfd.readouterr().err.splitlines()[-1]


def test_a_pet_without_modality_is_one(loaded, tmp_path):
    pet = lacking(loaded.source, tmp_path / "pet", "Modality")
    source = read_dicom_pet(choose_pet(gather_series(pet))).source
    write(replace(loaded, source=source), mask_of(loaded), tmp_path)


def test_outputs_need_different_files(loaded, tmp_path, monkeypatch, capfd):
    folder, output = loaded.source.files[0].parent, tmp_path / "m.mha"
    words = ["predict", "--pet", folder, "--ct", folder, "--output", output, "--rtstruct", output]
    assert run(monkeypatch, *words) == 2
    assert "name the same file" in capfd.readouterr().err.splitlines()[-1]


def test_no_output_has_the_place_of_a_slice(loaded, tmp_path, monkeypatch, capfd):
    slice_file = loaded.source.files[0]
    before = slice_file.read_bytes()
    folder, output = slice_file.parent, tmp_path / "m.mha"
    words = ["predict", "--pet", folder, "--ct", folder, "--output", output, "--rtstruct", slice_file]
    assert run(monkeypatch, *words) == 2
    assert "a file in the folder of --pet" in capfd.readouterr().err.splitlines()[-1]
    assert slice_file.read_bytes() == before


# --- what results say, and what they leave out -----------------------------------------------------------------------


def texts(made):
    """Return every text of a report's tree."""
    return [str(item.TextValue) for item in made.ContentSequence if "TextValue" in item]


@pytest.mark.parametrize(
    ("tracer", "procedure", "description"),
    [
        ("FDG", "443271005", "FDG PET/CT lesions, not reviewed by a person"),
        ("PSMA", "44139-4", "PSMA PET/CT lesions, not reviewed by a person"),
        ("", "44139-4", "PET/CT lesions, not reviewed by a person"),
    ],
)
def test_results_say_fdg_only_if_the_header_does(loaded, tmp_path, tracer, procedure, description):
    scan = replace(loaded.scan, tracer=tracer, warnings=("odd", "weight 1 kg"), stated=("weight 1 kg",))
    made = write(replace(loaded, scan=scan), mask_of(loaded), tmp_path)
    assert made["segmentation"].ContentDescription == made["structure_set"].StructureSetDescription == description
    codes = [
        item.ConceptCodeSequence[0].CodeValue for item in made["report"].ContentSequence if item.ValueType == "CODE"
    ]
    assert procedure in codes
    assert texts(made["report"])[-2:] == ["Stated by the user: weight 1 kg", "Warning: odd"]
    assert ("FDG" in str(made["report"])) == (tracer == "FDG")


def referenced_segments(made):
    """Return (SOPInstanceUID, number) of the segments that each group of a report refers to."""
    groups = next(item for item in made.ContentSequence if item.ValueType == "CONTAINER").ContentSequence
    images = [
        [item.ReferencedSOPSequence[0] for item in g.ContentSequence if item.ValueType == "IMAGE"] for g in groups
    ]
    return [
        [(i.ReferencedSOPInstanceUID, i.ReferencedSegmentNumber) for i in of_group if "ReferencedSegmentNumber" in i]
        for of_group in images
    ]


def test_a_report_refers_to_the_segments_of_its_lesions(loaded, tmp_path):
    made = write(loaded, mask_of(loaded), tmp_path, per_lesion=True)
    uid = made["segmentation"].SOPInstanceUID
    assert referenced_segments(made["report"]) == [[], [(uid, 1)], [(uid, 2)]]


def test_a_report_refers_to_the_one_segment_of_all(loaded, tmp_path):
    made = write(loaded, mask_of(loaded), tmp_path)
    assert referenced_segments(made["report"]) == [[(made["segmentation"].SOPInstanceUID, 1)], [], []]
    alone = write(loaded, mask_of(loaded), tmp_path, kinds=["report"])
    assert referenced_segments(alone["report"]) == [[], [], []]


def test_segments_have_a_colour_and_slices_a_thickness(loaded, tmp_path):
    pet = lacking(loaded.source, tmp_path / "pet", "SliceThickness")
    source = read_dicom_pet(choose_pet(gather_series(pet))).source
    made = write(replace(loaded, source=source), mask_of(loaded), tmp_path)["segmentation"]
    assert made.SegmentSequence[0].RecommendedDisplayCIELabValue
    measures = made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert measures.SliceThickness == pytest.approx(loaded.study.pet.GetSpacing()[2])
    errors(tmp_path / "segmentation.dcm")


def test_anonymous_results_hold_the_studys_uid_and_no_patient(loaded, tmp_path):
    paths = {kind: tmp_path / f"{kind}.dcm" for kind in KINDS}
    results = DicomResults(**paths, is_anonymous=True)
    write_all(encode_results(mask_of(loaded), loaded.study.pet, loaded.source, loaded.scan, results))
    for path in paths.values():
        made = dcmread(path)
        assert made.StudyInstanceUID == loaded.source.study_uid
        assert made.PatientIdentityRemoved == "YES"
        assert not [k for k in ("PatientName", "PatientID", "PatientBirthDate", "StudyDate", "StudyID") if made.get(k)]
        assert "Doe" not in str(made)
        errors(path)


@pytest.mark.parametrize("thickness", [b"nan ", b"thin", b"3\\3 "])
def test_a_thickness_that_is_no_number_makes_no_results_fail(loaded, tmp_path, thickness):
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    folder = tmp_path / "pet"
    folder.mkdir()
    for path in loaded.source.files:
        dataset = dcmread(path)
        tag = Tag(0x0018, 0x0050)
        dataset[tag] = RawDataElement(tag, "DS", 4, thickness, 0, False, True)
        dataset.save_as(folder / path.name)
    pet = read_dicom_pet(choose_pet(gather_series(folder)))
    try_results(pet.image, pet.source, pet.scan, DicomResults(segmentation=tmp_path / "seg.dcm"))


def test_a_header_that_allows_no_results_is_refused_before_anything_is_computed(loaded, monkeypatch):
    def fail(*_):
        raise ValueError("DOE^JOHN")

    monkeypatch.setattr("autosegnet.dicom.source_references._make_lean", fail)
    with pytest.raises(InputError, match="DICOM results cannot be made from the PET's header") as error:
        try_results(loaded.study.pet, loaded.source, loaded.scan, DicomResults(segmentation=Path("seg.dcm")))
    assert "DOE" not in str(error.value)
