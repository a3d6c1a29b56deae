import argparse
import csv
import math
from io import StringIO

import numpy as np
import pytest
import SimpleITK

from autosegnet.cli.evaluate_command import add_evaluate_arguments, run_evaluate
from autosegnet.errors import InputError, OutputError
from autosegnet.evaluation import evaluate_folders, find_masks, format_csv, measure_masks


def write(path, mask, *, spacing=(2.0, 2.0, 3.0)):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = SimpleITK.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing(spacing)
    SimpleITK.WriteImage(image, str(path))


def masks(n, *, density=0.05):
    rng = np.random.default_rng(n)
    return [rng.random((6, 7, 8)) < density for _ in range(n)]


@pytest.mark.parametrize(
    ("truth_path", "prediction_path"),
    [
        ("{p}_{s}.nii.gz", "{p}_{s}.mha"),
        ("{p}_{s}.nii", "{p}_{s}.nii.gz"),
        ("labelsTr/{p}_{s}.nii.gz", "{p}_{s}.nii.gz"),
        ("{p}/{s}/SEG.nii.gz", "{p}_{s}.mha"),
        ("{p}/{s}/SEG.nii.gz", "{p}/{s}/SEG.nii.gz"),
        ("{p}/{s}/SEG.nii.gz", "{p}/{s}.mha"),
        ("FDG-PET-CT-Lesions/{p}/{s}/SEG.nii.gz", "FDG-PET-CT-Lesions/{p}/{s}/SEG.mha"),
    ],
)
def test_folders_match_in_every_layout(tmp_path, truth_path, prediction_path):
    truths, predictions = masks(2), masks(3)[1:]
    studies = [("PETCT_01", "01-01-2001-NA-PET-12345"), ("PETCT_01", "02-02-2002-NA-PET-54321")]
    for (p, s), truth, prediction in zip(studies, truths, predictions, strict=True):
        write(tmp_path / "truth" / truth_path.format(p=p, s=s), truth)
        write(tmp_path / "prediction" / prediction_path.format(p=p, s=s), prediction)
    table = evaluate_folders(tmp_path / "prediction", tmp_path / "truth", convention="autopet2")
    expected = [measure_masks(*pair, spacing_mm=(3.0, 2.0, 2.0)) for pair in zip(predictions, truths, strict=True)]
    assert [case.removeprefix("FDG-PET-CT-Lesions_") for case in table] == ["_".join(study) for study in studies]
    assert list(table.values()) == expected


def test_predictions_of_batch_match_a_single_study_and_both_parts_of_an_nnunet_folder(tmp_path):
    mask = masks(1)[0]
    for name in ("SUV", "CTres", "SEG"):
        write(tmp_path / "study" / f"{name}.nii.gz", mask)
    write(tmp_path / "of_study" / "study.nii.gz", mask)
    assert list(evaluate_folders(tmp_path / "of_study", tmp_path / "study")) == ["study"]
    for part, case in (("Tr", "a"), ("Ts", "b")):
        for name in (f"images{part}/{case}_0000", f"images{part}/{case}_0001", f"labels{part}/{case}"):
            write(tmp_path / "raw" / f"{name}.nii.gz", mask)
        write(tmp_path / "of_raw" / f"{case}.nii.gz", mask)
    assert list(evaluate_folders(tmp_path / "of_raw", tmp_path / "raw")) == ["a", "b"]


def test_beside_the_mask_images_of_the_study_do_not_count(tmp_path):
    for name in ("SUV", "CTres", "SEG"):
        write(tmp_path / "STS_001" / f"{name}.nii.gz", masks(1)[0])
    assert find_masks(tmp_path) == {"STS_001": tmp_path / "STS_001/SEG.nii.gz"}


def test_hidden_files_and_other_files_do_not_count(tmp_path):
    write(tmp_path / "a.mha", masks(1)[0])
    for name in ("._a.mha", "dataset.json", "a.npz"):
        (tmp_path / name).write_bytes(b"x")
    assert list(find_masks(tmp_path)) == ["a"]


def test_cases_in_linked_folders_count(tmp_path):
    write(tmp_path / "elsewhere" / "SEG.nii.gz", masks(1)[0])
    (tmp_path / "truth").mkdir()
    (tmp_path / "truth" / "a").symlink_to(tmp_path / "elsewhere")
    assert list(find_masks(tmp_path / "truth")) == ["a"]


def test_two_masks_for_one_case_are_refused(tmp_path):
    write(tmp_path / "a_b.mha", masks(1)[0])
    write(tmp_path / "a" / "b.nii.gz", masks(1)[0])
    with pytest.raises(InputError, match=r"two masks for case a_b, expected one: .*b\.nii\.gz and .*a_b\.mha"):
        find_masks(tmp_path)


def test_a_folder_without_masks_is_refused(tmp_path):
    with pytest.raises(InputError, match="no mask"):
        find_masks(tmp_path)
    with pytest.raises(InputError, match="is not a folder"):
        find_masks(tmp_path / "absent")


def test_missing_and_extra_cases_are_one_error_with_a_capped_list(tmp_path):
    mask = masks(1)[0]
    for number in range(25):
        write(tmp_path / "truth" / f"case_{number:02}.mha", mask)
    write(tmp_path / "prediction" / "case_00.mha", mask)
    write(tmp_path / "prediction" / "other.mha", mask)
    with pytest.raises(InputError) as error:
        evaluate_folders(tmp_path / "prediction", tmp_path / "truth")
    shown = ", ".join(f"case_{number:02}" for number in range(1, 9))
    assert str(error.value) == (
        f"cases 24 without a prediction: {shown} and 16 more; 1 without a truth: other; "
        "expected the same cases in both folders"
    )


def test_a_case_on_another_grid_is_named(tmp_path):
    write(tmp_path / "truth" / "a.mha", masks(1)[0])
    write(tmp_path / "prediction" / "a.mha", masks(1)[0], spacing=(2.0, 2.0, 2.0))
    with pytest.raises(InputError, match=r"^case a: .*spacing \(mm\) by 1; .*prediction/a\.mha.*truth/a\.mha"):
        evaluate_folders(tmp_path / "prediction", tmp_path / "truth")


def test_a_file_that_is_no_mask_is_refused(tmp_path):
    write(tmp_path / "truth" / "a.mha", masks(1)[0])
    write(tmp_path / "prediction" / "a.mha", masks(1)[0] * 3)
    with pytest.raises(InputError, match=r"a\.mha"):
        evaluate_folders(tmp_path / "prediction", tmp_path / "truth")


def test_the_csv_keeps_every_digit_and_nan():
    prediction, truth = masks(2)
    table = {
        "a": measure_masks(prediction, truth, spacing_mm=(2.0364, 2.0364, 3.0)),
        "b, c": measure_masks(prediction, truth & False, spacing_mm=(1.0, 1.0, 1.0), convention="autopet3"),
    }
    rows = {row["case"]: row for row in csv.DictReader(StringIO(format_csv(table)))}
    assert list(rows["a"])[:4] == ["case", "dsc", "fpv_ml", "fnv_ml"]
    for metric in ("dsc", "fpv_ml", "fnv_ml", "truth_volume_ml", "prediction_volume_ml"):
        assert float(rows["a"][metric]) == getattr(table["a"], metric)
    assert rows["b, c"]["dsc"] == "nan"
    assert math.isnan(float(rows["b, c"]["fnv_ml"]))


def arguments(*words):
    parser = argparse.ArgumentParser()
    add_evaluate_arguments(parser)
    return parser.parse_args([str(word) for word in words])


def test_the_command_writes_the_csv_and_prints_the_summary(tmp_path, capsys):
    write(tmp_path / "p" / "sick.mha", masks(1)[0])
    write(tmp_path / "t" / "sick.mha", masks(1)[0])
    write(tmp_path / "p" / "well.mha", masks(1)[0] * 0)
    write(tmp_path / "t" / "well.mha", masks(1)[0] * 0)
    output = tmp_path / "metrics.csv"
    words = ("--prediction", tmp_path / "p", "--truth", tmp_path / "t", "--output", output)
    run_evaluate(arguments(*words))
    printed = capsys.readouterr()
    assert printed.out.startswith("2 cases: 1 positive, 1 negative\n")
    assert "0.50 ± 0.71" in printed.out
    assert "as in autopet2" in printed.out
    assert printed.err == ""
    assert [line.split(",")[:2] for line in output.read_text().splitlines()[1:]] == [["sick", "1.0"], ["well", "0.0"]]
    run_evaluate(arguments(*words, "--convention", "autopet3"))
    assert output.read_text().splitlines()[2].startswith("well,nan,0.0,nan,")


def test_an_output_that_cannot_be_written_is_told_before_the_work(tmp_path):
    output = tmp_path / "file" / "metrics.csv"
    (tmp_path / "file").write_text("a file where a folder should be")
    with pytest.raises(OutputError):
        run_evaluate(arguments("--prediction", "absent", "--truth", "absent", "--output", output))
