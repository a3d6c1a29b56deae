"""Thresholds on 41 real PET studies (Vallières et al. 2015, doi:10.7937/K9/TCIA.2015.7GO2GSKS) score as known."""

import json
import os
from pathlib import Path

import pytest
import SimpleITK

from autosegnet.evaluation import evaluate_folders, find_spread

STUDIES = Path(os.environ.get("AUTOSEGNET_DATA", Path(__file__).parents[1] / ".." / "shared" / "data")) / "sts"

pytestmark = pytest.mark.skipif(
    not (STUDIES / "boxes.json").is_file(), reason="the real studies are not here; set AUTOSEGNET_DATA to their folder"
)


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    """Return the lesion masks cropped to the boxes in which the thresholds were scored."""
    folder = tmp_path_factory.mktemp("truth")
    for case, box in boxes().items():
        mask = cropped(STUDIES / case / "SEG.nii.gz", box) > 0
        SimpleITK.WriteImage(mask, str(folder / f"{case}.mha"))
    return folder


def boxes():
    return json.loads((STUDIES / "boxes.json").read_text())


def cropped(path, box):
    (x0, x1), (y0, y1), (z0, z1) = box
    return SimpleITK.ReadImage(str(path))[x0:x1, y0:y1, z0:z1]


# Mean DSC measured independently of this code, as handed over with the studies (README of the data).
@pytest.mark.parametrize(("threshold_suv", "dsc"), [(1.75, 0.641), (2.0, 0.627), (2.5, 0.575), (4.0, 0.406)])
def test_a_threshold_scores_the_known_mean_dsc(tmp_path, truth, threshold_suv, dsc):
    for case, box in boxes().items():
        mask = cropped(STUDIES / case / "SUV.nii.gz", box) > threshold_suv
        SimpleITK.WriteImage(mask, str(tmp_path / f"{case}.mha"))
    table = evaluate_folders(tmp_path, truth)
    assert len(table) == 41
    assert find_spread(case.dsc for case in table.values()).mean == pytest.approx(dsc, abs=0.0005)


def test_the_folder_of_real_studies_evaluated_against_itself_is_perfect():
    table = evaluate_folders(STUDIES, STUDIES)
    assert {case.dsc for case in table.values()} == {1.0}
    assert table["STS_044"].n_truth_lesions == 2
