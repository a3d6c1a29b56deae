"""Masks of two folders, matched by the name of the case, measured and written as a CSV.

The name of a case is its place below the folder: `<case>.mha`, `.nii` or `.nii.gz` is `<case>`;
`<patient>/<study>/SEG.nii.gz`, as in the autoPET data, is `<patient>_<study>`; `<patient>/<study>.mha` is so, too.
A SEG directly in the folder is called after the folder. `labelsTr` and `labelsTs` of nnU-Net are no part of a name.
Parts are joined by "_" and not by "/", so that a flat folder of predictions can carry the same names.
"""

import csv
from collections.abc import Mapping
from dataclasses import astuple, fields
from io import StringIO
from pathlib import Path

from tqdm import tqdm

from autosegnet.errors import InputError, format_list, format_path
from autosegnet.evaluation.metrics import CaseMetrics, Convention, measure
from autosegnet.io import image_stem, read_mask
from autosegnet.io.folders import case_of, folders_below

SUFFIXES = (".mha", ".nii", ".nii.gz")
MASK_STEM = (
    "SEG"  # beside SUV and CTres in the autoPET data (github.com/lab-midas/TCIA_processing, tcia_dicom_to_nifti.py)
)
NNUNET_LABELS = {"labelsTr", "labelsTs"}  # beside imagesTr and imagesTs in an nnU-Net raw folder


def evaluate_folders(prediction: Path, truth: Path, *, convention: Convention = "autopet2") -> dict[str, CaseMetrics]:
    """Return the metrics of every case, ordered by name.

    Args:
        prediction: folder of masks, as `find_masks` takes it.
        truth: folder of masks; its layout may differ.
        convention: the DSC of a case without lesions: 0 (autopet2) or NaN (autopet3).

    Raises:
        InputError: the folders hold different cases, or a case cannot be measured.
    """
    predictions, truths = find_masks(prediction), find_masks(truth)
    _check_same_cases(predictions, truths)
    return {
        case: _measure_files(predictions[case], truths[case], case=case, convention=convention)
        for case in tqdm(truths, desc="evaluate", unit="case", disable=None)  # None: silent unless on a terminal
    }


def find_masks(folder: Path) -> dict[str, Path]:
    """The masks below a folder by the name of their case, sorted.

    Args:
        folder: flat (`<case>.mha`, `.nii`, `.nii.gz`), the autoPET tree, or nnU-Net raw folders. Where any file is
            called SEG or lies in `labelsTr` or `labelsTs`, only such files count; hidden files and folders never do.
    Raises:
        InputError: no folder, no mask in it, or two masks for one case
    """
    if not folder.is_dir():
        raise InputError(f"{format_path(folder)} is not a folder; expected one with masks ({', '.join(SUFFIXES)})")
    paths = _images_below(folder)
    named = [p for p in paths if image_stem(p) == MASK_STEM or NNUNET_LABELS & {*_folders(p, folder)}]
    masks: dict[str, Path] = {}
    for path in named or paths:
        case = _case_name(path, folder)
        if case in masks:
            raise InputError(
                f"two masks for case {format_path(case)}, expected one: "
                f"{format_path(masks[case])} and {format_path(path)}"
            )
        masks[case] = path
    if not masks:
        raise InputError(f"no mask ({', '.join(SUFFIXES)}) below {format_path(folder)}; expected one per case")
    return dict(sorted(masks.items()))


def format_csv(table: Mapping[str, CaseMetrics]) -> str:
    """The cases as CSV with a heading, one a line; floats with all their digits, NaN as `nan`."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["case", *(field.name for field in fields(CaseMetrics))])
    writer.writerows([case, *astuple(metrics)] for case, metrics in table.items())
    return text.getvalue()


def _images_below(root: Path) -> list[Path]:
    files = [folder / name for folder, names in folders_below(root) for name in names]
    return sorted(path for path in files if path.name.lower().endswith(SUFFIXES))


def _case_name(path: Path, root: Path) -> str:
    stem = image_stem(path)
    folders = tuple(name for name in _folders(path, root) if name not in NNUNET_LABELS)
    return case_of(folders if stem == MASK_STEM else (*folders, stem), root)


def _folders(path: Path, root: Path) -> tuple[str, ...]:
    return path.relative_to(root).parent.parts


def _check_same_cases(predictions: Mapping[str, Path], truths: Mapping[str, Path]) -> None:
    without_prediction, without_truth = truths.keys() - predictions.keys(), predictions.keys() - truths.keys()
    problems = []
    if without_prediction:
        problems.append(f"{len(without_prediction)} without a prediction: {format_list([*without_prediction])}")
    if without_truth:
        problems.append(f"{len(without_truth)} without a truth: {format_list([*without_truth])}")
    if problems:
        raise InputError(f"cases {'; '.join(problems)}; expected the same cases in both folders")


def _measure_files(prediction: Path, truth: Path, *, case: str, convention: Convention) -> CaseMetrics:
    masks = read_mask(prediction), read_mask(truth)
    try:
        return measure(*masks, convention=convention)
    except InputError as error:
        raise InputError(
            f"case {format_path(case)}: {error} ({format_path(prediction)}, {format_path(truth)})"
        ) from error
