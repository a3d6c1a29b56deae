"""Which studies are found below a folder, and what they are called."""

import hashlib
import logging
from pathlib import Path

import pytest
from dicom_phantoms import write_series
from pydicom.uid import generate_uid

from autosegnet.batch.find import CohortStudy, find_studies
from autosegnet.errors import InputError
from autosegnet.evaluation import find_masks


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return root


def studies(root: Path) -> list[CohortStudy]:
    return find_studies(root, leave_out=root / "out")


def found(root: Path) -> dict[str, list[str]]:
    """Return PET and CT of each sound study."""
    return {s.case: [str(p.relative_to(root)) for p in s.files] for s in studies(root) if not s.fault}


def faults(root: Path) -> dict[str, str]:
    return {s.case: s.fault for s in studies(root) if s.fault}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["p/s/SUV.nii.gz", "p/s/CTres.nii.gz", "p/s/CT.nii.gz", "p/s/SEG.nii.gz", "p/s/PET.nii.gz"],
         {"p_s": ["p/s/SUV.nii.gz", "p/s/CTres.nii.gz"]}),
        (["p/s/SUV.nii.gz", "p/s/CT.nii.gz"], {"p_s": ["p/s/SUV.nii.gz", "p/s/CT.nii.gz"]}),
        (["SUV.mha", "CTres.mha"], {"cohort": ["SUV.mha", "CTres.mha"]}),
        (["imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz", "labelsTr/a.nii.gz", "imagesTs/b_c_0000.nii.gz",
          "imagesTs/b_c_0001.nii.gz", "dataset.json"],
         {"a": ["imagesTr/a_0001.nii.gz", "imagesTr/a_0000.nii.gz"],
          "b_c": ["imagesTs/b_c_0001.nii.gz", "imagesTs/b_c_0000.nii.gz"]}),
        (["a_0000.mha", "a_0001.nii"], {"a": ["a_0001.nii", "a_0000.mha"]}),
        (["D1/imagesTr/a_0000.nii.gz", "D1/imagesTr/a_0001.nii.gz"],
         {"D1_a": ["D1/imagesTr/a_0001.nii.gz", "D1/imagesTr/a_0000.nii.gz"]}),
        (["images/pet/x.mha", "images/ct/y.mha"], {"y": ["images/pet/x.mha", "images/ct/y.mha"]}),
        (["j/images/pet/x.mha", "j/images/ct/y.mha", "k/images/pet/x.mha", "k/images/ct/y.mha"],
         {"j": ["j/images/pet/x.mha", "j/images/ct/y.mha"], "k": ["k/images/pet/x.mha", "k/images/ct/y.mha"]}),
        (["images/pet/u.mha", "images/ct/u.mha", "images/pet/v.mha", "images/ct/v.nii.gz"],
         {"u": ["images/pet/u.mha", "images/ct/u.mha"], "v": ["images/pet/v.mha", "images/ct/v.nii.gz"]}),
        (["imagesTr/CHUM-001__PT.nii.gz", "imagesTr/CHUM-001__CT.nii.gz", "labelsTr/CHUM-001.nii.gz"],
         {"CHUM-001": ["imagesTr/CHUM-001__PT.nii.gz", "imagesTr/CHUM-001__CT.nii.gz"]}),
        (["images/P1_20110502_PT.nii", "images/P1_20110502_CT.nii", "images/P2_pt.nii", "images/P2_ct.nii"],
         {"P1_20110502": ["images/P1_20110502_PT.nii", "images/P1_20110502_CT.nii"],
          "P2": ["images/P2_pt.nii", "images/P2_ct.nii"]}),
        (["a_PET.nii", "a_CT.nii", "atlas.nii"], {"a": ["a_PET.nii", "a_CT.nii"]}),
        (["S1/PT_S1.nii.gz", "S1/CT_S1.nii.gz", "S2/PT_x.nii", "S2/CT_y.nii"],
         {"S1": ["S1/PT_S1.nii.gz", "S1/CT_S1.nii.gz"], "S2": ["S2/PT_x.nii", "S2/CT_y.nii"]}),
        (["PT_u.nii", "CT_u.nii", "PT_v.nii", "CT_v.nii"],
         {"u": ["PT_u.nii", "CT_u.nii"], "v": ["PT_v.nii", "CT_v.nii"]}),
        (["sub-1/ses-1/pet/sub-1_ses-1_pet.nii.gz", "sub-1/ses-1/ct/sub-1_ses-1_ct.nii.gz",
          "sub-1/ses-1/pet/sub-1_ses-1_pet.json", "derivatives/x/sub-1/ses-1/pet/sub-1_ses-1_pet.nii.gz"],
         {"sub-1_ses-1": ["sub-1/ses-1/pet/sub-1_ses-1_pet.nii.gz", "sub-1/ses-1/ct/sub-1_ses-1_ct.nii.gz"]}),
        (["d/sub-2/pet/sub-2_trc-FDG_rec-a_pet.nii", "d/sub-2/pet/sub-2_trc-FDG_rec-b_pet.nii",
          "d/sub-2/anat/sub-2_ct.nii"],
         {"d_sub-2_trc-FDG_rec-a": ["d/sub-2/pet/sub-2_trc-FDG_rec-a_pet.nii", "d/sub-2/anat/sub-2_ct.nii"],
          "d_sub-2_trc-FDG_rec-b": ["d/sub-2/pet/sub-2_trc-FDG_rec-b_pet.nii", "d/sub-2/anat/sub-2_ct.nii"]}),
        (["P/S/suv.nii.gz", "P/S/ctres.nii.gz", "P/S/seg.nii.gz"], {"P_S": ["P/S/suv.nii.gz", "P/S/ctres.nii.gz"]}),
        ([".a/SUV.nii", ".a/CT.nii", "b/SUV.nii", "b/CT.nii", "b/._CT.nii.gz"], {"b": ["b/SUV.nii", "b/CT.nii"]}),
        (["out/p/SUV.nii", "out/p/CT.nii", "b/SUV.nii", "b/CT.nii"], {"b": ["b/SUV.nii", "b/CT.nii"]}),
    ],
)  # fmt: skip
def test_studies_of_every_layout_are_found(tmp_path: Path, files: list[str], expected: dict[str, list[str]]) -> None:
    root = touch(tmp_path / "cohort", *files)
    assert found(root) == expected
    assert not faults(root)


@pytest.mark.parametrize(
    ("files", "case", "fault"),
    [
        (["p/s/SUV.nii.gz"], "p_s", "no CTres or CT; found SUV"),
        (["p/s/CTres.nii.gz", "p/s/PET.nii.gz"], "p_s", "no SUV; found CTres, PET"),
        (["p/CT.nii.gz", "p/SUV.nii.gz", "p/SUV.nii"], "p", "several files called SUV"),
        (["imagesTr/a_0000.nii.gz"], "a", "no PET (a_0001); found a_0000.nii.gz"),
        (["imagesTs/a_0001.nii.gz"], "a", "no CT (a_0000)"),
        (["images/pet/x.mha"], "x", "no CT (one in images/ct); found x.mha"),
        (["j/images/ct/x.mha"], "j", "no PET (an image in images/pet)"),
        (["images/pet/a.mha", "images/pet/b.mha", "images/ct/a.mha"], "b", "no CT (in images/ct); found b.mha"),
        (["a_PT.nii", "a_CT.nii", "b_CT.nii"], "b", "no PET (b_PT); found b_CT.nii"),
        (["a_PT.nii"], "a", "no CT (a_CT)"),
        (["s/PT_s.nii"], "s", "no CT (CT_…); found PT_s.nii"),
        (["sub-1/pet/sub-1_pet.nii"], "sub-1", "no CT (…_ct of the same subject and session)"),
        (
            ["sub-1/pet/sub-1_pet.nii", "sub-1/ct/sub-1_run-1_ct.nii", "sub-1/ct/sub-1_run-2_ct.nii"],
            "sub-1",
            "2 CT images",
        ),
        (["a/b_c/SUV.nii", "a/b_c/CT.nii", "a_b/c/SUV.nii", "a_b/c/CT.nii"], "a_b_c", "2 studies have this name"),
        (["SEG/SUV.nii", "SEG/CT.nii"], "SEG", "would find no other mask"),
        ([f"{'x' * 120}/{'y' * 120}/{n}.nii" for n in ("SUV", "CT")], "x" * 40, "too long"),
    ],
)
def test_what_cannot_be_segmented_is_named_with_its_reason(
    tmp_path: Path, files: list[str], case: str, fault: str
) -> None:
    touch(tmp_path, *files)
    assert list(faults(tmp_path)) == [case]
    assert fault in faults(tmp_path)[case]


@pytest.mark.parametrize(
    "files",
    [
        ["p/s/SUV.nii.gz", "p/s/CTres.nii.gz", "p/s/SEG.nii.gz", "p/t u/SUV.mha", "p/t u/CT.mha", "p/t u/SEG.mha"],
        ["imagesTr/a.b_0000.nii.gz", "imagesTr/a.b_0001.nii.gz", "labelsTr/a.b.nii.gz"],
        ["imagesTr/a_0000.nii", "imagesTr/a_0001.nii", "labelsTr/a.nii", "imagesTs/b_0000.nii", "imagesTs/b_0001.nii",
         "labelsTs/b.nii"],
        ["D1/imagesTr/a_0000.nii", "D1/imagesTr/a_0001.nii", "D1/labelsTr/a.nii", "p/s/SUV.nii", "p/s/CT.nii",
         "p/s/SEG.nii"],
        ["SUV.nii.gz", "CTres.nii.gz", "SEG.nii.gz"],
    ],
)  # fmt: skip
def test_cases_are_called_as_evaluate_calls_their_truths(tmp_path: Path, files: list[str]) -> None:
    touch(tmp_path, *files)
    assert list(found(tmp_path)) == list(find_masks(tmp_path))


LISTED = {"one": ["a/x.nii", "b/y.nii"], "two": ["a/x2.nii", "b/y2.nii"]}


def test_a_table_lists_studies_wherever_they_lie(tmp_path: Path) -> None:
    touch(tmp_path, *(name for names in LISTED.values() for name in names))
    lines = [f"{case},{pet},{tmp_path / ct},negative" for case, (pet, ct) in LISTED.items()]
    (tmp_path / "list.csv").write_text(
        "\n".join(["Case,PET,CT,cohort", *lines, "gone,a/x.nii,nowhere.nii,", "half,,b/y.nii,"])
    )
    listed = {study.case: study for study in find_studies(tmp_path / "list.csv", leave_out=tmp_path)}
    sound = {c: [str(p.relative_to(tmp_path)) for p in s.files] for c, s in listed.items() if not s.fault}
    assert sound == LISTED
    assert "nowhere.nii" in listed["gone"].fault
    assert listed["half"].fault == "column pet is empty; expected a file or folder"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case,pet\na,b\n", "no column ct"),
        ("case,pet,ct\n", "lists no study"),
        ("case,pet,ct\na,b,c\na,b,c\n", "case a appears 2 times"),
        ("case,pet,ct\n../a,b,c\n", "expected a name that can be a file's"),
        ("case,pet,ct\na,b,c,d\n", "4 cells in line 2"),
    ],
)
def test_a_table_that_cannot_be_trusted_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        find_studies(tmp_path / "list.csv", leave_out=tmp_path)


@pytest.mark.parametrize(
    ("globs", "expected"),
    [
        (("?/p*.nii", "?/c*.nii"), {"s": ["s/pa.nii", "s/cb.nii"], "t": ["t/pa.nii", "t/cb.nii"]}),
        (
            ("flat/p_*.nii", "flat/c_*.nii"),
            {"flat_p_1": ["flat/p_1.nii", "flat/c_1.nii"], "flat_p_2": ["flat/p_2.nii", "flat/c_2.nii"]},
        ),
        (("x/**/P.NII", "y/**/c.nii"), {"x_1_p": ["x/1/p.nii", "y/1/c.nii"], "x_2_p": ["x/2/p.nii", "y/2/c.nii"]}),
    ],
)
def test_patterns_find_studies_in_no_known_layout(tmp_path: Path, globs, expected: dict[str, list[str]]) -> None:
    touch(tmp_path, "s/pa.nii", "s/cb.nii", "t/pa.nii", "t/cb.nii", "flat/p_1.nii", "flat/p_2.nii",
          "flat/c_1.nii", "flat/c_2.nii", "x/1/p.nii", "y/1/c.nii", "x/2/p.nii", "y/2/c.nii")  # fmt: skip
    studies = find_studies(tmp_path, leave_out=tmp_path / "out", globs=globs)
    assert {s.case: [str(p.relative_to(tmp_path)) for p in s.files] for s in studies} == expected


def test_a_pattern_that_finds_two_ct_images_makes_a_fault(tmp_path: Path) -> None:
    touch(tmp_path, "s/p.nii", "s/c1.nii", "s/c2.nii")
    (study,) = find_studies(tmp_path, leave_out=tmp_path / "out", globs=("*/p.nii", "*/c?.nii"))
    assert "no CT image for p.nii by --ct-glob" in study.fault


def test_linked_folders_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/s/SUV.nii", "elsewhere/s/CT.nii")
    root = tmp_path / "cohort"
    root.mkdir()
    (root / "p").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "up").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "root").symlink_to(root)
    assert list(found(root)) == ["p_s"]


def test_a_file_that_cannot_be_read_beside_images_is_no_study(tmp_path: Path) -> None:
    touch(tmp_path, "p/SUV.nii", "p/CT.nii")
    (tmp_path / "p" / "notes.txt").symlink_to("gone")
    (tmp_path / "q").symlink_to("gone, too")
    assert list(found(tmp_path)) == ["p"]
    assert list(faults(tmp_path)) == [tmp_path.name]


def test_images_in_no_layout_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "p/SUV.nii", "p/CT.nii", "p/SEG.nii", "q/head.nii.gz", "labelsTr/a.nii.gz")
    with caplog.at_level(logging.WARNING, "autosegnet.batch.find"):
        assert list(found(tmp_path)) == ["p"]
    assert "ignored 1 image in no known layout: q/head.nii.gz" in caplog.text


def test_a_folder_without_a_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found no study in"):
        studies(touch(tmp_path, "a.txt"))
    with pytest.raises(InputError, match="found no folder"):
        studies(tmp_path / "absent")


def dicom(folder: Path, *, kind: str, study: str = "") -> None:
    def edit(dataset, k):
        if study:
            dataset.StudyInstanceUID = study
        dataset.SeriesInstanceUID = generate_uid(entropy_srcs=[kind, study])

    write_series(folder, kind=kind, edit=edit)


def test_a_dicom_study_is_called_after_the_folder_that_holds_it(tmp_path: Path) -> None:
    for folder in ("p/one/PT", "p/two/series/x"):
        dicom(tmp_path / folder, kind="PET", study=f"1.2.{len(folder)}")
    dicom(tmp_path / "p/one/CT", kind="CT", study="1.2.8")
    dicom(tmp_path / "p/two/other", kind="CT", study="1.2.14")
    touch(tmp_path, "p/one/readme.txt", "DICOMDIR", "p/one/CT/notes")
    cases = {s.case: s for s in studies(tmp_path)}
    assert list(cases) == ["p_one", "p_two"]
    assert not any(s.fault for s in cases.values())
    assert {part.folder.name for part in cases["p_two"].dicom} == {"x", "other"}
    assert len(cases["p_one"].files) == 8


def test_dicom_studies_mixed_in_one_folder_are_told_apart(tmp_path: Path) -> None:
    for uid in ("1.2.3", "1.2.4"):
        for kind in ("PET", "CT"):
            dicom(tmp_path / "dump" / uid / kind, kind=kind, study=uid)
    flat = tmp_path / "cohort" / "dump"
    flat.mkdir(parents=True)
    for k, path in enumerate(sorted((tmp_path / "dump").rglob("*.dcm"))):
        path.rename(flat / f"{k}.dcm")
    digests = [hashlib.sha256(uid.encode()).hexdigest()[:8] for uid in ("1.2.3", "1.2.4")]
    cases = studies(tmp_path / "cohort")
    assert [s.case for s in cases] == sorted(f"dump_{digest}" for digest in digests)
    assert [len(s.files) for s in cases] == [8, 8]


def test_half_a_dicom_study_and_a_damaged_one_have_faults(tmp_path: Path) -> None:
    dicom(tmp_path / "a" / "PT", kind="PET", study="1.2.3")
    dicom(tmp_path / "b" / "CT", kind="CT", study="1.2.4")
    for kind in ("PET", "CT"):
        dicom(tmp_path / "c", kind=kind, study="1.2.5")
    cut = tmp_path / "c" / "PET001.dcm"
    cut.write_bytes(cut.read_bytes()[:200])
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "x.dcm").write_bytes(b"no DICOM")
    assert list(faults(tmp_path)) == ["a_PT", "b_CT", "c", "d"]
    for case, fault in {"a_PT": "no CT series", "b_CT": "no PET series", "c": "damaged", "d": "not DICOM"}.items():
        assert fault in faults(tmp_path)[case]


def test_a_slice_cut_before_its_header_is_a_fault_of_its_study(tmp_path: Path) -> None:
    for kind in ("PET", "CT"):
        dicom(tmp_path / "a" / kind, kind=kind)
    (tmp_path / "a" / "LOCKFILE").write_bytes(b"")
    assert not faults(tmp_path)
    (tmp_path / "a" / "CT" / "IM0005").write_bytes(b"")
    assert faults(tmp_path)["a"].startswith("found a file among DICOM objects that is cut before its header: IM0005")


def test_objects_that_are_no_images_make_no_study(tmp_path: Path) -> None:
    def as_structure_set(dataset, k):
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.481.3"
        dataset.Modality = "RTSTRUCT"

    write_series(tmp_path / "rs", edit=as_structure_set, slices=1)
    touch(tmp_path, "p/SUV.nii", "p/CT.nii")
    assert [s.case for s in studies(tmp_path)] == ["p"]


def test_the_present_folder_may_be_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = touch(tmp_path / "cohort", "p/SUV.nii", "p/CT.nii")
    for kind in ("PET", "CT"):
        dicom(root / kind, kind=kind, study="1.2.3")
    monkeypatch.chdir(root)
    assert [study.case for study in find_studies(Path(), leave_out=Path("out"))] == ["cohort", "p"]
