"""What a batch has to do: for every study, whether it is done, cannot be done, or must be done and how."""

from __future__ import annotations

import argparse
import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autosegnet import __version__
from autosegnet.batch.found_study import CohortStudy
from autosegnet.batch.output_lock import Part
from autosegnet.batch.record import (
    DependsOn,
    Places,
    StudyRow,
    digest_input,
    make_failed_row,
    make_pending_row,
    read_finished_row,
    remove_recorded_results,
)
from autosegnet.batch.study_table import StudyEntry
from autosegnet.errors import InputError, UsageError, format_path
from autosegnet.io import strip_suffix
from autosegnet.io.layout_names import TREE_PET
from autosegnet.io.small_files import read_json
from autosegnet.loading import InputOptions, check_options
from autosegnet.model.recipe import Recipe, format_recipe
from autosegnet.report import REPORT_PAGE

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Task:
    """One study to be segmented.

    Args:
        mask: file to write.
        depends_on: what the mask depends on, for its record.
        report: whether to write a report.
        viewer: whether a viewer's page is wanted.
    """

    study: CohortStudy
    options: InputOptions
    mask: Path
    depends_on: DependsOn
    report: bool
    viewer: bool = False


def plan_studies(
    args: argparse.Namespace, studies: Sequence[CohortStudy], recipe: Recipe, entries: Mapping[str, StudyEntry]
) -> tuple[dict[str, StudyRow], list[Task]]:
    """Return the rows of all studies by case, and the tasks: the studies that are not done and can be.

    Args:
        args: of `autosegnet batch`.
        recipe: of the weights to be used.
        entries: of the table of studies, by case.

    Raises:
        OutputError: old results of a study that now fails cannot be removed.
    """
    weights = hashlib.sha256(
        format_recipe(recipe).encode()
    ).hexdigest()  # also of crop and fold weights, not only of the folds
    rows: dict[str, StudyRow] = {}
    tasks = []
    for study in studies:
        entry = entries.get(study.case, StudyEntry())
        standing = _check_study(args, study, entry, weights=weights, tracer=recipe.tracer)
        if isinstance(standing, Task):
            rows[study.case] = make_pending_row(study.case)
            tasks.append(standing)
        else:
            rows[study.case] = standing
    return rows, tasks


def choose_part(studies: Sequence[CohortStudy], part: Part) -> list[CohortStudy]:
    """Return the studies of a part of the cohort. A study's part depends only on its name."""
    if part.of == 1:
        return list(studies)
    return [study for study in studies if _hash(study.case) % part.of == part.number - 1]


def _hash(case: str) -> int:
    return int.from_bytes(hashlib.sha256(os.fsencode(case)).digest()[:8], "big")


def _check_study(
    args: argparse.Namespace, study: CohortStudy, entry: StudyEntry, *, weights: str, tracer: str
) -> Task | StudyRow:
    places = Places(args.output, study.case)
    try:
        task = _make_task(args, study, entry, weights=weights, tracer=tracer)
    except InputError as error:
        remove_recorded_results(places)
        return make_failed_row(study.case, str(error))
    try:
        before = "" if args.overwrite else read_finished_row(places, task.depends_on, is_mirror=args.output_is_mirror)
    except InputError as error:
        return make_failed_row(study.case, str(error))
    if isinstance(before, StudyRow):
        if args.report and not (places.report / REPORT_PAGE).exists():
            before = "it has no report"
        elif args.viewer and not places.viewer.exists():
            before = "it has no viewer's page"
        else:
            return before
    if before:
        log.info("%s is segmented again: %s", study.case, before)
    return task


def _make_task(args: argparse.Namespace, study: CohortStudy, entry: StudyEntry, *, weights: str, tracer: str) -> Task:
    if study.fault:
        raise InputError(study.fault)
    sidecar = _find_sidecar(study, args.pet_unit)
    options = InputOptions(
        pet_series=entry.pet_series or study.pet_series,
        ct_series=entry.ct_series or study.ct_series,
        facts=entry.facts,
        expected_tracer=tracer,
    )
    if study.pet is None or study.pet.is_dir():
        options, how = replace(options, mode=args.suv_mode), f"DICOM, SUV mode {args.suv_mode}"
        how += "".join(f", series {uid}" for uid in (study.pet_series, study.ct_series) if uid)
    else:
        unit = "suv" if sidecar is None else "bqml"
        options = replace(
            options, pet_unit=unit, pet_sidecar=sidecar, nifti_form=args.nifti_form, nonfinite=args.nonfinite
        )
        how = f"PET file in {unit}"
        how += "" if args.nifti_form == "both" else f", {args.nifti_form} of NIfTI"
        how += ", NaN as air" if args.nonfinite == "air" else ""
    try:
        check_options(options, pet_is_folder=_is_folder(study.pet), ct_is_folder=_is_folder(study.ct))
    except UsageError as error:
        raise InputError(str(error)) from error
    how += f", {said}" if (said := entry.describe()) else ""
    mask = args.output / f"{study.case}.{args.format or _choose_format(study)}"
    files = (*study.files, *([sidecar] if sidecar else []))
    depends_on: DependsOn = {
        "input": digest_input(files, args.input if args.input.is_dir() else args.input.parent),
        "reading": how,
        "weights": weights,
        "software": f"autosegnet {__version__}",
        "format": mask.name.removeprefix(study.case),
    }
    return Task(study, options, mask, depends_on, args.report, args.viewer)


def _is_folder(path: Path | None) -> bool:
    return path is None or path.is_dir()  # None: DICOM objects that were found


def _find_sidecar(study: CohortStudy, unit: str) -> Path | None:
    """Return the PET-BIDS sidecar of a PET in Bq/ml; a file called SUV holds SUV.

    Raises:
        InputError: the sidecar says Bq/ml, but `--pet-unit` is SUV.
    """
    if study.pet is None or study.pet.is_dir() or strip_suffix(study.pet).lower() == TREE_PET:
        return None
    sidecar = study.pet.with_name(f"{strip_suffix(study.pet)}.json")
    if unit == "bqml":
        return sidecar
    if sidecar.is_file() and _reads_as_bqml(sidecar):
        raise InputError(f"{format_path(sidecar.name)} says that the PET is in Bq/ml; expected SUV, or --pet-unit bqml")
    return None


def _reads_as_bqml(sidecar: Path) -> bool:
    units = read_json(sidecar, lambda value: value.get("Units"), what="the sidecar", expected="an object")
    return isinstance(units, str) and units.lower().replace(" ", "") in ("bq/ml", "bqml")


def _choose_format(study: CohortStudy) -> str:
    return "mha" if study.pet is not None and study.pet.name.lower().endswith(".mha") else "nii.gz"
