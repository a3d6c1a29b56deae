"""Masks of two folders, matched by the name of the case, measured and written as a CSV.

The name of a case is its place below the folder: `<case>.mha`, `.nii` or `.nii.gz` is `<case>`;
`<patient>/<study>/SEG.nii.gz`, as in the autoPET data, is `<patient>_<study>`, and so is `<patient>/<study>.mha`.
A SEG directly in the folder is called after the folder. `labelsTr` and `labelsTs` of nnU-Net are no part of a name.
Parts are joined by "_" and not by "/", so that a flat folder of predictions can carry the same names.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

from autosegnet.errors import InputError, format_list, format_path
from autosegnet.evaluation.case_result import (
    CaseFiles,
    CaseResult,
    EvaluationOptions,
    evaluate_case,
    list_columns,
    make_row,
)
from autosegnet.evaluation.metrics import CaseMetrics, Convention
from autosegnet.io import IMAGE_SUFFIXES, strip_suffix
from autosegnet.io.folders import name_case, walk_folders
from autosegnet.io.layout_names import LABEL_FOLDERS, MASK_STEM, TREE_PET
from autosegnet.io.tables import format_table_csv
from autosegnet.runtime.distribute import run
from autosegnet.runtime.work import Apply, Lost
from autosegnet.runtime.workers import Workers


def evaluate_folders(prediction: Path, truth: Path, *, convention: Convention = "autopet2") -> dict[str, CaseMetrics]:
    """Return DSC, FPV, FNV, volumes and counts of every case, in the order of their names.

    Args:
        prediction: folder as `find_masks` takes it.
        truth: the same; the two may be laid out differently.
        convention: score of a truth without lesions.

    Raises:
        InputError: the folders do not hold the same cases, or a case cannot be measured
    """
    results = evaluate_cases([prediction], truth, options=EvaluationOptions(convention=convention))
    table = {}
    for case, result in results.items():
        if result.metrics is None:
            raise InputError(f"case {format_path(case)}: {result.error}")
        table[case] = result.metrics
    return table


def evaluate_cases(
    predictions: Sequence[Path],
    truth: Path,
    *,
    pet: Path | None = None,
    options: EvaluationOptions | None = None,
    workers: Workers | None = None,
) -> dict[str, CaseResult]:
    """Return the result of every case, in the order of their names. A case that cannot be measured says why.

    Args:
        predictions: a folder, or a folder per interaction in their order.
        truth: folder of masks.
        pet: folder of PETs in SUV; None leaves uptake out.
        options: how to measure.
        workers: where cases are measured.
    Raises:
        InputError: the folders do not hold the same cases, or two images of one
    """
    truths = find_masks(truth)
    found = [find_masks(folder) for folder in predictions]
    for masks in found:
        _check_same_cases(masks, truths)
    pets = {} if pet is None else _find_pets(pet, truths)
    tasks = [
        CaseFiles(
            case=case,
            predictions=tuple(masks[case] for masks in found),
            truth=path,
            pet=pets.get(case),
            options=options or EvaluationOptions(),
        )
        for case, path in truths.items()
    ]
    results = {
        tasks[number].case: CaseResult(error=result.reason) if isinstance(result, Lost) else result
        for number, result in run(Apply(evaluate_case), tasks, workers=workers or Workers(), unit="case")
    }
    return {case: results[case] for case in truths}


def _find_pets(folder: Path, truths: Mapping[str, Path]) -> dict[str, Path]:
    """Return the PET of every case: `SUV` beside other images as in the autoPET data, or a flat folder."""
    paths = _list_images_below(folder)
    suv = [path for path in paths if strip_suffix(path).lower() == TREE_PET]
    pets = _name_cases(suv or paths, folder, what="PETs")
    missing = truths.keys() - pets.keys()
    if missing:
        raise InputError(
            f"{len(missing)} cases without a PET in {format_path(folder)}: {format_list([*missing])}; "
            "expected <case>.nii.gz, or SUV.nii.gz in a folder per case"
        )
    return pets


def find_masks(folder: Path) -> dict[str, Path]:
    """Return the masks below a folder by the name of their case, sorted.

    Args:
        folder: flat (`<case>.mha`, `.nii`, `.nii.gz`), the autoPET tree, or nnU-Net raw folders. Where any file is
            called SEG or lies in `labelsTr` or `labelsTs`, only such files count; hidden files and folders never do.
    Raises:
        InputError: no folder, no mask in it, or two masks for one case
    """
    if not os.path.isdir(folder):
        raise InputError(
            f"{format_path(folder)} is not a folder; expected one with masks ({', '.join(IMAGE_SUFFIXES)})"
        )
    paths = _list_images_below(folder)
    named = [p for p in paths if strip_suffix(p).lower() == MASK_STEM or _is_label(p, folder)]
    masks = _name_cases(named or paths, folder, what="masks")
    if not masks:
        raise InputError(f"no mask ({', '.join(IMAGE_SUFFIXES)}) below {format_path(folder)}; expected one per case")
    return dict(sorted(masks.items()))


def _name_cases(paths: Iterable[Path], root: Path, *, what: str) -> dict[str, Path]:
    """Return images by the name of their case, and refuse two of one case."""
    cases = dict[str, Path]()
    for path in paths:
        case = _derive_case_name(path, root)
        if case in cases:
            raise InputError(
                f"two {what} for case {format_path(case)}, expected one: {format_path(cases[case])} and "
                f"{format_path(path)}"
            )
        cases[case] = path
    return cases


def is_mask_file(name: str) -> bool:
    """Return whether a file of this name is read as a mask."""
    return name.lower().endswith(IMAGE_SUFFIXES)


def format_csv(table: Mapping[str, CaseMetrics]) -> str:
    """Return the cases as CSV with a heading, one per line; floats with all their digits, NaN as `nan`."""
    columns = [field.name for field in fields(CaseMetrics)]
    return _write_rows(
        columns, {case: dict(zip(columns, astuple(metrics), strict=True)) for case, metrics in table.items()}
    )


def format_results(results: Mapping[str, CaseResult], options: EvaluationOptions) -> str:
    """Return the results of cases as CSV, in the columns of `format_csv` and more."""
    with_pet = any(result.uptake is not None for result in results.values())
    steps = max((len(result.steps) for result in results.values()), default=1)
    columns = list_columns(options, with_pet=with_pet, steps=steps)
    return _write_rows(columns, {case: make_row(result, columns) for case, result in results.items()})


def _write_rows(columns: Sequence[str], rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a CSV of cases with a heading."""
    cells = ([case, *(row[name] for name in columns)] for case, row in rows.items())
    return format_table_csv(["case", *columns], cells)


def _list_images_below(root: Path) -> list[Path]:
    files = [folder / name for folder, names in walk_folders(root) for name in names]
    return sorted(path for path in files if path.name.lower().endswith(IMAGE_SUFFIXES))


def _derive_case_name(path: Path, root: Path) -> str:
    stem = strip_suffix(path)
    folders = tuple(name for name in _list_folders(path, root) if name.lower() not in LABEL_FOLDERS)
    return name_case(folders if stem.lower() in (MASK_STEM, TREE_PET) else (*folders, stem), root)


def _is_label(path: Path, root: Path) -> bool:
    return any(name.lower() in LABEL_FOLDERS for name in _list_folders(path, root))


def _list_folders(path: Path, root: Path) -> tuple[str, ...]:
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
