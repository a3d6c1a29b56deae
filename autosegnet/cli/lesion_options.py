"""The options of `predict` and `measure` on lesions: what is reported of them, and which are left out."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from autosegnet.errors import UsageError, format_count

if TYPE_CHECKING:
    from autosegnet.lesions import BodySize, LesionTable, OrganLabels, Selection

log = logging.getLogger(__name__)


def add_lesion_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options on lesions and the report."""
    group = parser.add_argument_group("lesions and report")
    group.add_argument(
        "--organs", type=Path, metavar="FILE",
        help="organ map of the same patient (TotalSegmentator, MOOSE, DICOM SEG), on any grid: for sites, liver and "
        "blood pool, and for lesions that may be physiological",
    )  # fmt: skip
    group.add_argument(
        "--organ-table", default="", metavar="NAME|JSON",
        help="names of its labels, if the file has none: totalsegmentator, totalsegmentator-v1, moose, autopet3, or a "
        "JSON file",
    )  # fmt: skip
    group.add_argument(
        "--drop-flagged", action="store_true",
        help="leave out lesions that lie mostly in an organ that takes up FDG in health; mask and report say so",
    )  # fmt: skip
    group.add_argument(
        "--min-volume", type=float, default=0.0, metavar="ML", help="leave out smaller lesions (default: 0, none)"
    )
    group.add_argument(
        "--viewer", type=Path, metavar="FILE.html",
        help="also write a page to look through PET, CT and lesions and to click corrections; it works offline",
    )  # fmt: skip
    group.add_argument(
        "--title", default="", help="title of the report and the viewer's page; without it, they name nobody"
    )
    group.add_argument(
        "--patient-size", nargs=3, metavar=("KG", "CM", "SEX"),
        help="weight, height and M or F, for SUL and SDmax, if the header does not say",
    )  # fmt: skip


def check_lesion_arguments(args: argparse.Namespace) -> None:
    """Refuse options that make no sense, before anything is read.

    Raises:
        UsageError: an option makes no sense; the message names it.
    """
    if args.organ_table and args.organs is None:
        raise UsageError("--organ-table needs --organs FILE")
    if args.drop_flagged and args.organs is None:
        raise UsageError("--drop-flagged needs --organs FILE")
    if not args.min_volume >= 0:
        raise UsageError(f"--min-volume is {args.min_volume:g} ml; expected 0 or more")
    collect_size(args)


def collect_size(args: argparse.Namespace) -> BodySize | None:
    """Return the size of the patient that the options state; None without the option."""
    return None if args.patient_size is None else parse_size(args.patient_size, option="--patient-size")


def parse_size(words: Sequence[str], *, option: str) -> BodySize:
    """Return the size of a patient in the words of an option: kg, cm, and M, F or O.

    Raises:
        UsageError: they are no size.
    """
    from autosegnet.lesions import BodySize

    try:
        weight_kg, height_cm = (float(value) for value in words[:2])
    except ValueError:
        weight_kg = height_cm = 0.0
    sex = words[2].upper()
    if not 1 < weight_kg < 500 or not 30 < height_cm < 260 or sex not in ("M", "F", "O"):
        raise UsageError(f"{option} is {' '.join(words)}; expected kg, cm and M or F, as in 75 172 F")
    return BodySize(weight_kg, height_cm, sex)


def read_organs(args: argparse.Namespace) -> OrganLabels | None:
    """Return the organ map that the options name; None without the option."""
    if args.organs is None:
        return None
    from autosegnet.label_files import read_organ_labels

    return read_organ_labels(args.organs, args.organ_table, form=args.nifti_form, nonfinite=args.nonfinite)


def collect_selection(args: argparse.Namespace) -> Selection:
    """Return which lesions are left out."""
    from autosegnet.lesions import Selection

    return Selection(
        min_volume_ml=args.min_volume, drop_flagged=args.drop_flagged, labelled=getattr(args, "labelled", False)
    )


def log_selection(table: LesionTable) -> None:
    """Log what was left out, what is doubtful, and a liver out of range."""
    from autosegnet.lesions.references import warn_of_liver

    for left in table.left_out:
        log.info("left out: %s, %.2f ml, %s", format_count(left.lesions, "lesion"), left.volume_ml, left.reason)
    for lesion in table.lesions:
        if lesion.site.flag:
            log.info("lesion %d may be physiological: %s", lesion.number, lesion.site.flag)
    doubt = warn_of_liver(table.references.liver) if table.is_fdg else ""
    if doubt:
        log.warning("%s", doubt)
