"""Masks of every kind give the same figures; what cannot be measured is refused; results are those of `predict`."""

import csv
import io
import json

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from body_phantom import GRID, NAMES, ball, body_phantom
from dicom_phantoms import write_image

from autosegnet import __main__
from autosegnet.errors import InputError, UsageError
from autosegnet.geometry import Grid, is_part_of, is_same_set, make_image, view_voxels
from autosegnet.io import write_image as write_file
from autosegnet.label_files import read_lesion_mask, read_organ_labels
from autosegnet.loading import load_pet


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with PET, CT, organ map and a mask of two lesions as files, and PET and CT as DICOM."""
    place, body = tmp_path_factory.mktemp("study"), body_phantom()
    values = np.maximum(view_voxels(ball((70, 50, 480), 18.0)), 2 * view_voxels(ball((0, 0, 700), 14.0)))
    for name, image in (("pet", body.pet), ("ct", body.ct), ("mask", make_image(values.astype(np.uint8), GRID))):
        write_file(image, place / f"{name}.nii.gz")
    write_file(body.organs.labels, place / "organs.mha")
    (place / "names.json").write_text(json.dumps(NAMES))
    write_image(body.pet, place / "dicom" / "pet", kind="PET", slope=0.01)
    write_image(body.ct, place / "dicom" / "ct", kind="CT", slope=1.0, intercept=-1024.0)
    return place


def measure(monkeypatch, folder, *words) -> int:
    files = ("--pet", folder / "pet.nii.gz", "--ct", folder / "ct.nii.gz")
    return run(monkeypatch, *(() if "--pet" in words else files), *words)


def run(monkeypatch, *words) -> int:
    monkeypatch.setattr("sys.argv", ["autosegnet", "measure", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        __main__.main()
    return int(ended.value.code or 0)


def rows_of(report):
    return list(csv.DictReader(io.StringIO((report / "lesions.csv").read_text())))


def test_a_mask_gives_table_report_and_mask(folder, tmp_path, monkeypatch) -> None:
    report, output = tmp_path / "report", tmp_path / "mask.nii.gz"
    words = ("--mask", folder / "mask.nii.gz", "--report", report, "--output", output)
    organs = ("--organs", folder / "organs.mha", "--organ-table", folder / "names.json", "--title", "Case 1")
    assert measure(monkeypatch, folder, *words, *organs, "--patient-size", "70", "170", "f") == 0
    kidney, chest = rows_of(report)
    assert (kidney["site"], kidney["side"], kidney["maybe_physiological"]) == ("kidney", "left", "kidney (100% inside)")
    assert chest["site"] == "chest, between the lungs"
    assert float(chest["tumour_to_liver_ratio"]) > 0
    assert float(chest["sul_janma_max_g_per_ml"]) > 0
    page = (report / "report.html").read_text()
    assert "<title>Case 1</title>" in page
    assert "no network was run" in page
    np.testing.assert_array_equal(
        view_voxels(sitk.ReadImage(str(output))), view_voxels(sitk.ReadImage(str(folder / "mask.nii.gz")))
    )


def test_flagged_lesions_are_left_out_on_request_and_told(folder, tmp_path, monkeypatch, capfd) -> None:
    report = tmp_path / "report"
    organs = ("--organs", folder / "organs.mha", "--organ-table", folder / "names.json", "--drop-flagged")
    assert measure(monkeypatch, folder, "--mask", folder / "mask.nii.gz", "--report", report, *organs) == 0
    assert len(rows_of(report)) == 1
    assert "left out: 1 lesion," in capfd.readouterr().err
    assert "Left out on request" in (report / "report.html").read_text()


def test_dicom_results_of_a_mask_read_back_as_the_same_mask(folder, tmp_path, monkeypatch) -> None:
    made = {kind: tmp_path / f"{kind}.dcm" for kind in ("dicom-seg", "dicom-sr", "rtstruct")}
    dicom = ("--pet", folder / "dicom" / "pet", "--ct", folder / "dicom" / "ct")
    words = [word for kind, path in made.items() for word in (f"--{kind}", path)]
    assert run(monkeypatch, *dicom, "--mask", folder / "mask.nii.gz", *words) == 0
    expected = view_voxels(sitk.ReadImage(str(folder / "mask.nii.gz"))) > 0
    for kind in ("dicom-seg", "rtstruct"):
        found = read_lesion_mask(made[kind], GRID)
        np.testing.assert_array_equal(view_voxels(found) > 0, expected)
    assert read_organ_labels(made["dicom-seg"]).names == {1: "Lesions"}


def test_the_structured_report_tells_site_doubt_and_reference(folder, tmp_path, monkeypatch) -> None:
    report = tmp_path / "sr.dcm"
    words = ("--pet", folder / "dicom" / "pet", "--ct", folder / "dicom" / "ct", "--mask", folder / "mask.nii.gz")
    organs = ("--organs", folder / "organs.mha", "--organ-table", folder / "names.json")
    assert run(monkeypatch, *words, *organs, "--dicom-sr", report) == 0
    texts = " ".join(str(item.TextValue) for item in pydicom.dcmread(report).ContentSequence if "TextValue" in item)
    for told in ("Reference, liver: SUVmean", "may be physiological uptake: kidney", "chest, between the lungs"):
        assert told in texts


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--mask", "mask.nii.gz"), 2),
        (("--mask", "mask.nii.gz", "--report", "r", "--drop-flagged"), 2),
        (("--mask", "mask.nii.gz", "--report", "r", "--organ-table", "moose"), 2),
        (("--mask", "mask.nii.gz", "--report", "r", "--patient-size", "1000", "1", "X"), 2),
        (("--mask", "mask.nii.gz", "--report", "r", "--min-volume", "-1"), 2),
        (("--mask", "absent.nii.gz", "--report", "r"), 3),
        (("--mask", "mask.nii.gz", "--report", "r", "--label", "9"), 3),
        (("--mask", "mask.nii.gz", "--report", "r", "--organs", "organs.mha"), 3),
    ],
)
def test_what_cannot_be_meant_is_refused(folder, tmp_path, monkeypatch, words, code) -> None:
    places = {"mask.nii.gz": folder, "absent.nii.gz": folder, "organs.mha": folder, "r": tmp_path}
    assert measure(monkeypatch, folder, *(places[w] / w if w in places else w for w in words)) == code
    assert not (tmp_path / "r" / "report.html").exists()


def test_a_pet_alone_is_enough(folder, tmp_path, monkeypatch) -> None:
    report = tmp_path / "report"
    assert (
        run(monkeypatch, "--pet", folder / "dicom" / "pet", "--mask", folder / "mask.nii.gz", "--report", report) == 0
    )
    kidney, chest = rows_of(report)
    assert (kidney["site"], chest["site"], chest["tumour_to_liver_ratio"]) == ("", "", "")
    assert float(chest["suv_mean_g_per_ml"]) > 0


def test_no_input_is_replaced(folder, tmp_path, monkeypatch) -> None:
    mask = folder / "mask.nii.gz"
    assert measure(monkeypatch, folder, "--mask", mask, "--output", mask) == 2
    assert measure(monkeypatch, folder, "--mask", mask, "--output", folder / "pet.nii.gz") == 2


def test_each_label_is_a_lesion_or_chosen_by_its_number(folder, tmp_path, monkeypatch) -> None:
    words = ("--mask", folder / "mask.nii.gz", "--report", tmp_path, "--labelled")
    assert measure(monkeypatch, folder, *words) == 0
    assert [row["label"] for row in rows_of(tmp_path)] == ["1", "2"]
    chosen = read_lesion_mask(folder / "mask.nii.gz", GRID, labels=["2"])
    assert set(np.unique(view_voxels(chosen)).tolist()) == {0, 2}


@pytest.mark.parametrize(("labels", "kind"), [((300, 7), np.uint16), ((255, 7), np.uint8)])
def test_the_mask_as_measured_keeps_its_labels(folder, tmp_path, monkeypatch, labels, kind) -> None:
    values = sum(label * view_voxels(ball((70, 50, z), 12.0)).astype(np.uint16)
                 for label, z in zip(labels, (480, 700), strict=True))  # fmt: skip
    write_file(make_image(values, GRID), tmp_path / "labels.mha")
    rows = []
    for mask in ("labels.mha", "output.nii.gz"):
        words = ("--mask", tmp_path / mask, "--labelled", "--report", tmp_path / f"{mask}.report")
        output = ("--output", tmp_path / "output.nii.gz") if mask == "labels.mha" else ()
        assert measure(monkeypatch, folder, *words, *output) == 0
        rows.append([(row["label"], row["volume_ml"]) for row in rows_of(tmp_path / f"{mask}.report")])
    assert rows[0] == rows[1]
    assert {label for label, _ in rows[0]} == set(map(str, labels))
    written = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "output.nii.gz")))
    np.testing.assert_array_equal(written, values)
    assert written.dtype == kind


# --- files of labels -------------------------------------------------------------------------------------------------


def test_a_mask_stored_in_another_order_of_axes_or_as_a_part_is_the_same(tmp_path) -> None:
    mask = ball((0, 0, 700), 20.0)
    flipped = sitk.Flip(sitk.PermuteAxes(mask, (2, 0, 1)), (True, False, True))
    part = sitk.RegionOfInterest(mask, (40, 30, 60), (10, 5, 90))
    for image in (flipped, part):
        write_file(image, tmp_path / "m.mha")
        np.testing.assert_array_equal(view_voxels(read_lesion_mask(tmp_path / "m.mha", GRID)), view_voxels(mask))


def test_a_mask_on_another_grid_is_refused_unless_the_nearest_voxels_are_wanted(tmp_path) -> None:
    fine = Grid((144, 92, 180), (3.0, 3.0, 6.0), (-214.0, -136.0, 0.0), GRID.direction)
    write_file(make_image(np.ones(fine.size[::-1], np.uint8), fine), tmp_path / "m.mha")
    with pytest.raises(InputError, match="--resample-mask"):
        read_lesion_mask(tmp_path / "m.mha", GRID)
    assert view_voxels(read_lesion_mask(tmp_path / "m.mha", GRID, resample=True)).all()


def test_grids_are_compared_as_sets_of_voxel_centres() -> None:
    other = Grid.from_image(sitk.Flip(sitk.PermuteAxes(ball((0, 0, 700), 9.0), (1, 2, 0)), (True, True, False)))
    assert is_same_set(other, GRID)
    assert is_part_of(GRID.crop(((1, 5), (0, 3), (2, 9))), GRID)
    assert not is_part_of(Grid(GRID.size, GRID.spacing_mm, (-212.0, -135.0, 0.0), GRID.direction), GRID)


def test_names_of_organs_come_from_a_nifti_s_own_table_or_a_file(tmp_path) -> None:
    image = nibabel.Nifti1Image(np.full((3, 3, 3), 5, np.uint8), np.eye(4))
    table = '<CaretExtension><LabelTable><Label Key="5" Red="1">liver &amp; more</Label></LabelTable></CaretExtension>'
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension(0, table.encode()))
    nibabel.save(image, tmp_path / "o.nii.gz")
    assert read_organ_labels(tmp_path / "o.nii.gz").names == {5: "liver & more"}
    assert read_organ_labels(tmp_path / "o.nii.gz", "totalsegmentator").names[52] == "aorta"
    for content in ('{"5": "liver"}', '{"labels": {"background": 0, "liver": 5}}'):
        (tmp_path / "t.json").write_text(content)
        assert read_organ_labels(tmp_path / "o.nii.gz", str(tmp_path / "t.json")).names[5] == "liver"
    with pytest.raises(UsageError, match="neither totalsegmentator"):
        read_organ_labels(tmp_path / "o.nii.gz", "something")


def test_an_organ_map_without_names_says_how_to_name_them(folder) -> None:
    with pytest.raises(InputError, match="--organ-table totalsegmentator"):
        read_organ_labels(folder / "organs.mha")


def test_a_real_structure_set_gives_the_mask_that_others_made_of_it(real_data, tmp_path) -> None:
    import tarfile

    from autosegnet.io import read_mask

    archive = real_data / "sts_dicom" / "STS_002.tar.xz"
    if not archive.is_file():
        pytest.skip("no sts_dicom in the real data")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")
    truth = read_mask(real_data / "sts" / "STS_002" / "SEG.nii.gz")
    (regions,) = (tmp_path / "STS_002" / "PET" / "mask").glob("*.dcm")
    np.testing.assert_array_equal(
        view_voxels(read_lesion_mask(regions, Grid.from_image(truth))) > 0, view_voxels(truth) > 0
    )


def test_a_mask_and_an_organ_map_with_nan_are_read_if_asked(tmp_path) -> None:
    values = np.full((4, 4, 4), np.nan, np.float32)
    values[1:3] = 5
    image = sitk.GetImageFromArray(values)
    sitk.WriteImage(image, str(tmp_path / "m.mha"))
    with pytest.raises(InputError, match="--nonfinite air"):
        read_lesion_mask(tmp_path / "m.mha", Grid.from_image(image))
    mask = read_lesion_mask(tmp_path / "m.mha", Grid.from_image(image), nonfinite="air")
    np.testing.assert_array_equal(view_voxels(mask), np.nan_to_num(values))
    organs = read_organ_labels(tmp_path / "m.mha", "totalsegmentator", nonfinite="air")
    np.testing.assert_array_equal(view_voxels(organs.labels), np.nan_to_num(values))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda suv: suv * 5000, "looks like Bq/ml"),
        (lambda suv: suv * 0 - 1, "PET is constant"),
        (lambda suv: suv - suv.max(), "no voxel above 0|1st percentile"),
    ],
)
def test_a_pet_alone_is_refused_if_it_cannot_be_in_suv(folder, tmp_path, change, expected) -> None:
    pet = sitk.ReadImage(str(folder / "pet.nii.gz"))
    write_file(make_image(change(view_voxels(pet)).astype(np.float32), Grid.from_image(pet)), tmp_path / "pet.nii.gz")
    with pytest.raises(InputError, match=expected):
        load_pet(tmp_path / "pet.nii.gz")


def test_a_viewers_page_is_written_alone_and_without_a_ct(folder, tmp_path, monkeypatch) -> None:
    page = tmp_path / "viewer.html"
    words = ("--mask", folder / "mask.nii.gz", "--viewer", page)
    assert run(monkeypatch, "--pet", folder / "pet.nii.gz", *words) == 0
    text = page.read_text()
    assert 'id="volume-pet"' in text
    assert 'id="volume-ct"' not in text
    assert text.count("data-lesion=") == 2
    assert measure(monkeypatch, folder, *words) == 0
    assert 'id="volume-ct"' in page.read_text()
