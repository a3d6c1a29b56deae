"""The table of cases, and finding cases in the layouts that people have."""

from dataclasses import replace
from pathlib import Path

import pytest
from training_phantoms import case_of, write_tree

from autosegnet.errors import InputError
from autosegnet_training.__main__ import main
from autosegnet_training.cases import parse_box, read_cases, split_fold, write_cases
from autosegnet_training.find_cases import add_cohorts, find_cases


def test_the_table_gives_the_cases_back(tmp_path: Path) -> None:
    boxed = replace(case_of(tmp_path, 1, fold=3), box=((0, 4), (2, 9), (1, 5)), repeat=4)
    elsewhere = replace(case_of(tmp_path, 2), pet=Path("/elsewhere/pet.nii.gz"))
    cases = [case_of(tmp_path, 0, fold=0), boxed, elsewhere]
    write_cases(cases, tmp_path / "cases.csv")
    assert read_cases(tmp_path / "cases.csv") == cases
    assert "patient0/study0/SUV.nii.gz" in (tmp_path / "cases.csv").read_text()


@pytest.mark.parametrize("text", ["1:2,3:4", "1:1,0:2,0:2", "a:b,0:1,0:1", "-1:2,0:1,0:1"])
def test_a_box_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="box"):
        parse_box(text, where="here")


@pytest.mark.parametrize(
    ("text", "message"),
    [("case,pet,ct\na,p,c\n", "column mask is missing"), ("case,pet,ct,mask\n../a,p,c,m\n", "without slashes"),
     ("case,pet,ct,mask\na,p,c,m\na,p,c,m\n", "appears twice"), ("case,pet,ct,mask\n", "lists no case"),
     ("case,pet,ct,mask,fold\na,p,c,m,x\n", "column fold"), ("case,pet,ct,mask,repeat\na,p,c,m,0\n", "column repeat")],
)  # fmt: skip
def test_a_table_that_cannot_be_trusted_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "cases.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_cases(tmp_path / "cases.csv")


def test_a_fold_needs_cases_on_both_sides(tmp_path: Path) -> None:
    cases = [case_of(tmp_path, k, fold=0) for k in range(2)]
    with pytest.raises(InputError, match="0 training and 2 validation"):
        split_fold(cases, 0)
    with pytest.raises(InputError, match="1 cases have no fold"):
        split_fold([*cases, case_of(tmp_path, 3)], 0)


def test_the_tree_of_tcia2nifti_is_found(tmp_path: Path) -> None:
    write_tree(tmp_path, 2)
    found = find_cases(tmp_path)
    assert [(c.name, c.patient) for c in found] == [("patient0_study0", "patient0"), ("patient1_study0", "patient1")]
    assert found[0].pet.name == "SUV.nii.gz"
    assert found[0].ct.name == "CTres.nii.gz"
    found[1].pet.unlink()
    with pytest.raises(InputError, match="no SUV"):
        find_cases(tmp_path)


def test_the_folders_of_nnunet_are_found(tmp_path: Path) -> None:
    for name in ("fdg_0a1b_2003-01-02", "psma_77_x", "other"):
        for folder, file in (("imagesTr", "_0000"), ("imagesTr", "_0001"), ("labelsTr", "")):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / f"{name}{file}.nii.gz").touch()
    found = find_cases(tmp_path)
    assert [(c.name, c.patient) for c in found] == [
        ("fdg_0a1b_2003-01-02", "0a1b"), ("other", "other"), ("psma_77_x", "77"),
    ]  # fmt: skip
    assert found[0].ct.name.endswith("_0000.nii.gz")
    assert found[0].pet.name.endswith("_0001.nii.gz")
    found[1].mask.unlink()
    with pytest.raises(InputError, match="lacks"):
        find_cases(tmp_path)


def test_the_table_of_simulated_studies_is_understood(tmp_path: Path) -> None:
    write_tree(tmp_path, 1)
    study = "patient0/study0"
    row = f"s,p,Melanoma,{study}/SUV.nii.gz,{study}/CTres.nii.gz,{study}/SEG.nii.gz,42"
    (tmp_path / "cases.csv").write_text(f"case,patient,cohort,suv,ct,seg,seed\n{row}\n")
    (case,) = find_cases(tmp_path / "cases.csv")
    assert (case.cohort, case.mask) == ("melanoma", tmp_path / study / "SEG.nii.gz")


def test_cohorts_come_from_the_data_sets_metadata(tmp_path: Path) -> None:
    cases = [case_of(tmp_path, 0), case_of(tmp_path, 1), replace(case_of(tmp_path, 2), patient="0a1b")]
    path = tmp_path / "metadata.csv"
    path.write_text(
        "Subject ID,File Location,diagnosis\n"
        "patient0,./FDG/patient0/study0/,LYMPHOMA\npatient0,./FDG/patient0/study1/,NEGATIVE\n"
        "patient1,./FDG/patient1/studyX/,MELANOMA\nPETCT_0a1b,./FDG/PETCT_0a1b/studyX/,NEGATIVE\n"
        "PETCT_0c,./FDG/PETCT_0c/day1/series,LYMPHOMA\nPETCT_0c,./FDG/PETCT_0c/day2/series,NEGATIVE\n"
    )
    challenge = [replace(case_of(tmp_path, 3), name=f"fdg_0c_day{k}", patient="0c") for k in (1, 2)]
    assert [c.cohort for c in add_cohorts(challenge, path)] == ["lymphoma", "negative"]
    assert [c.cohort for c in add_cohorts(cases, path)] == ["lymphoma", "melanoma", "negative"]
    with pytest.raises(InputError, match="no row for any of 1 cases, for example patient7_study0"):
        add_cohorts([case_of(tmp_path, 7)], path)
    with pytest.raises(InputError, match="lymphoma and negative"):
        add_cohorts([replace(cases[0], mask=tmp_path / "x" / "SEG.nii.gz")], path)


def test_the_challenges_archive_is_indexed_by_the_metadata_of_one_tracer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = ["fdg_0a_day1", "fdg_0b_day1", "psma_77_day1"]
    for name in names:
        for folder, file in (("imagesTr", "_0000"), ("imagesTr", "_0001"), ("labelsTr", "")):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / f"{name}{file}.nii.gz").touch()
    (tmp_path / "fdg.csv").write_text(
        "Subject ID,File Location,diagnosis\n"
        "PETCT_0a,./FDG/PETCT_0a/day1/,LYMPHOMA\nPETCT_0b,./FDG/PETCT_0b/day1/,NEGATIVE\n"
    )
    options = ["--metadata", str(tmp_path / "fdg.csv"), "--output", str(tmp_path / "cases.csv"), "--folds", "2"]
    assert main(["index", str(tmp_path), *options]) == 0
    assert [c.name for c in read_cases(tmp_path / "cases.csv")] == names[:2]
    assert any(
        "no row for 1 of 3 cases, for example psma_77_day1; they are left out" in line for line in caplog.messages
    )


def test_index_writes_folds_and_tells_negatives_from_the_masks(tmp_path: Path) -> None:
    write_tree(tmp_path / "data", 6, negative=2)
    boxes = ", ".join(f'"patient{k}_study0": [[0, 20], [0, 18], [0, 28]]' for k in range(6))
    (tmp_path / "boxes.json").write_text("{" + boxes + "}")
    options = ["--folds", "2", "--boxes", str(tmp_path / "boxes.json")]
    assert main(["index", str(tmp_path / "data"), "--output", str(tmp_path / "cases.csv"), *options]) == 0
    cases = read_cases(tmp_path / "cases.csv")
    assert [c.cohort for c in cases] == ["positive"] * 4 + ["negative"] * 2
    assert sorted(c.fold for c in cases if c.cohort == "negative") == [0, 1]
    assert cases[0].box == ((0, 20), (0, 18), (0, 28))


def test_a_command_that_fails_says_so_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["index", str(tmp_path), "--output", str(tmp_path / "cases.csv")]) == 3
    assert capsys.readouterr().err.splitlines()[-1].startswith("autosegnet: error: no mask (")
    assert main(["index"]) == 2
