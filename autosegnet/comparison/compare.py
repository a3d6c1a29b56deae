"""Compares two visits of one patient: registration, matching, figures, suggestion."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from autosegnet.comparison.body_image import prepare_body
from autosegnet.comparison.changes import LesionChange, compare_bodies, find_changes
from autosegnet.comparison.comparison_result import Comparison
from autosegnet.comparison.identity import check_identity, count_days
from autosegnet.comparison.matching import NumberedMask, link_lesions
from autosegnet.comparison.percist import suggest_percist
from autosegnet.comparison.registration import register
from autosegnet.comparison.registration_check import RegistrationCheck, check_registration
from autosegnet.comparison.scan_doubts import list_doubts
from autosegnet.comparison.visits import Visit, VisitFiles, open_visit
from autosegnet.comparison.warp import Warp
from autosegnet.errors import InputError, format_numbers
from autosegnet.geometry import Grid, make_image, view_voxels
from autosegnet.lesions import LesionTable, number_lesions
from autosegnet.lesions.response import suggest_body_deauville

if TYPE_CHECKING:
    from autosegnet.segmenter import Segmenter

log = logging.getLogger(__name__)


def compare_studies(
    baseline: str | os.PathLike[str] | VisitFiles,
    followup: str | os.PathLike[str] | VisitFiles,
    *,
    segmenter: Segmenter | None = None,
    different_ids: bool = False,
    any_order: bool = False,
    accept_doubtful: bool = False,
) -> Comparison:
    """Compare two studies of one patient.

    Args:
        baseline: a folder with one study or with a result of `predict --result`, or `VisitFiles`.
        followup: likewise, of the later date.
        segmenter: makes the masks that are missing; None opens the weights as the command line does, if one is.
        different_ids: take both for one patient although headers differ.
        any_order: keep the order although dates say otherwise.
        accept_doubtful: go on after a registration that fails its checks; the result says so.

    Raises:
        InputError: a study cannot be read, is of another patient, or the registration fails.
        WeightsError: a mask is missing, and the weights for it are, too.
    """
    open_segmenter = partial(_open_segmenter, segmenter, [])
    first, second = (
        open_visit(one if isinstance(one, VisitFiles) else VisitFiles(folder=Path(one)), open_segmenter)
        for one in (baseline, followup)
    )
    return compare_visits(
        first, second, different_ids=different_ids, any_order=any_order, accept_doubtful=accept_doubtful
    )


def _open_segmenter(given: Segmenter | None, opened: list[Segmenter]) -> Segmenter:
    """Return the segmenter that was given, or one that is opened once."""
    from autosegnet.segmenter import Segmenter

    if given is not None:
        return given
    if not opened:
        opened.append(Segmenter())
    return opened[0]


def compare_visits(
    baseline: Visit,
    followup: Visit,
    *,
    different_ids: bool = False,
    any_order: bool = False,
    accept_doubtful: bool = False,
    tell: Callable[[str], None] = log.warning,
) -> Comparison:
    """Compare two visits of one patient.

    Args:
        baseline, followup: with their lesions.
        different_ids, any_order, accept_doubtful: as for `compare_studies`.
        tell: called with every warning.

    Raises:
        InputError: they are of two patients, or the registration fails.
    """
    warnings = check_identity(baseline, followup, different_ids=different_ids, any_order=any_order)
    warp, check = align(baseline, followup, accept_doubtful=accept_doubtful)
    warnings += [f"Accepted by --accept-doubtful: {fault}" for fault in check.faults]
    matched = link_lesions(_number(baseline), _number(followup), warp)
    changes = find_changes(baseline.table, followup.table, matched)
    warnings += _tell_unseen(changes)
    unseen = [change for change in changes if not change.is_imaged_twice]
    common = (
        _measure_common(baseline, [number for change in unseen for number in change.baseline.lesions]),
        _measure_common(followup, [number for change in unseen for number in change.followup.lesions]),
    )
    first, second = baseline.loaded.scan, followup.loaded.scan
    doubts = list_doubts(first, second, baseline.table, followup.table)
    for line in (*warnings, *doubts):
        tell(line)
    return Comparison(
        baseline,
        followup,
        warp,
        check,
        matched,
        changes,
        compare_bodies(*common),
        suggest_percist(changes, baseline.table, followup.table),
        (_score(baseline.table), _score(followup.table)),
        doubts,
        tuple(warnings),
        count_days(baseline, followup),
    )


def align(baseline: Visit, followup: Visit, *, accept_doubtful: bool = False) -> tuple[Warp, RegistrationCheck]:
    """Return the warp between the CTs of two visits, and its figures.

    Raises:
        InputError: the registration fails its checks.
    """
    fixed, moving = prepare_body(followup.loaded.study.ct), prepare_body(baseline.loaded.study.ct)
    try:
        warp = register(fixed, moving)
    except RuntimeError as error:  # ITK: no overlap is left
        last = str(error).strip().splitlines()[-1]
        raise InputError(
            f"the CTs of baseline and follow-up cannot be registered ({last}); expected one patient"
        ) from error
    check = check_registration(fixed, moving, warp)
    log.info(
        "registration: bodies %.3f, likeness %.3f, landmarks %s mm",
        check.body_dice, check.likeness,
        "-" if check.landmark_mm is None else f"{check.landmark_mm:.0f}",
    )  # fmt: skip
    if check.faults and not accept_doubtful:
        raise InputError(
            f"baseline and follow-up do not register: {' '.join(check.faults)} Expected two examinations of one "
            "patient; if they are, look at the result with --accept-doubtful"
        )
    return warp, check


def _number(visit: Visit) -> NumberedMask:
    labels, n = number_lesions(visit.mask, labelled=visit.table.labelled)
    return NumberedMask(labels, n, Grid.from_image(visit.mask))


def _score(table: LesionTable) -> str:
    return suggest_body_deauville(table.lesions, table.fdg_references)


def _tell_unseen(changes: tuple[LesionChange, ...]) -> list[str]:
    lines = []
    for fate, date in (("not imaged at follow-up", "follow-up"), ("not imaged at baseline", "baseline")):
        numbers = [change.number for change in changes if change.fate == fate]
        if numbers:
            lines.append(
                f"The {date} does not show the place of {format_numbers(numbers, 'lesion')}: neither new nor vanished, "
                "and not in the figures of the whole body."
            )
    cut = [change.number for change in changes if change.is_cut and change.is_imaged_twice]
    if cut:
        lines.append(f"The field of view of one date may cut {format_numbers(cut, 'lesion')}.")
    return lines


def _measure_common(visit: Visit, unseen: list[int]) -> LesionTable:
    """Return the figures of a visit's lesions without those that the other date does not cover."""
    if not unseen:
        return visit.table
    labels, _ = number_lesions(visit.mask, labelled=visit.table.labelled)
    values = np.where(np.isin(labels, unseen), 0, view_voxels(visit.mask))
    return visit.measure(make_image(values.astype(view_voxels(visit.mask).dtype), Grid.from_image(visit.mask)))
