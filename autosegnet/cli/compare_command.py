"""`autosegnet compare`: two studies of one patient, and what changed between them."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from autosegnet.cli.lesion_options import parse_size
from autosegnet.cli.options import add_engine_arguments
from autosegnet.errors import UsageError

if TYPE_CHECKING:
    from autosegnet.comparison import VisitFiles
    from autosegnet.segmenter import Segmenter

log = logging.getLogger(__name__)

_DATES = ("baseline", "followup")


def add_compare_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `autosegnet compare`."""
    for name in _DATES:
        shown = "FOLLOW-UP" if name == "followup" else "BASELINE"
        parser.add_argument(
            name,
            type=Path,
            metavar=shown,
            help="folder of one study (DICOM, or PET and CT files), or a result of predict --result",
        )
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder for comparison.html, tables, JSON and transform",
    )
    parser.add_argument(
        "--save-aligned",
        action="store_true",
        help="also write PET, CT and lesions of the baseline on the follow-up's grid",
    )
    parser.add_argument("--title", default="", help="title of the page; without one, the page names nobody")
    for name in _DATES:
        group = parser.add_argument_group(name.replace("followup", "follow-up"))
        group.add_argument(
            f"--{name}-mask", type=Path, metavar="FILE", help="lesions: .nii.gz, .mha, SEG or RTSTRUCT; else segmented"
        )
        group.add_argument(f"--{name}-organs", type=Path, metavar="FILE", help="organ map: sites, liver, blood pool")
        group.add_argument(
            f"--{name}-size", nargs=3, metavar=("KG", "CM", "SEX"), help="weight, height and M or F, for SUL"
        )
    group = parser.add_argument_group("lesions and checks")
    group.add_argument("--organ-table", default="", metavar="NAME|JSON", help="names of the organ maps' labels")
    group.add_argument("--labelled", action="store_true", help="each label of the masks is one lesion")
    group.add_argument(
        "--resample-mask", action="store_true", help="take masks on another grid: the nearest voxel counts"
    )
    group.add_argument("--different-ids", action="store_true", help="it is one patient, although the headers name two")
    group.add_argument(
        "--any-order", action="store_true", help="keep the order, although the dates are the other way round"
    )
    group.add_argument(
        "--accept-doubtful",
        action="store_true",
        help="continue although the registration fails its checks; the page says so",
    )
    add_engine_arguments(parser)


def run_compare(args: argparse.Namespace) -> None:
    """Compare two studies and write all outputs, or none."""
    from autosegnet.comparison.compare import compare_visits
    from autosegnet.comparison.comparison_files import COMPARISON_PAGE, is_comparison_file, save_comparison
    from autosegnet.comparison.comparison_words import summarise
    from autosegnet.comparison.visits import open_visit
    from autosegnet.io import probe_output
    from autosegnet.io.places import OutputFolder, check_outputs, remove_older

    files = [_collect_files(args, name) for name in _DATES]
    output = {"--output": OutputFolder(args.output, is_comparison_file)}
    inputs = {"BASELINE": args.baseline, "FOLLOW-UP": args.followup, "--baseline-mask": args.baseline_mask,
              "--followup-mask": args.followup_mask, "--baseline-organs": args.baseline_organs,
              "--followup-organs": args.followup_organs}  # fmt: skip
    check_outputs(output, inputs=inputs)
    probe_output(args.output / COMPARISON_PAGE)
    remove_older(output)
    opened: list[Segmenter] = []

    def open_segmenter() -> Segmenter:
        from autosegnet.segmenter import Segmenter

        if not opened:
            opened.append(Segmenter(args.weights, device=args.device, fast=args.fast, precision=args.precision))
        return opened[0]

    baseline, followup = (open_visit(one, open_segmenter) for one in files)
    found = compare_visits(
        baseline,
        followup,
        different_ids=args.different_ids,
        any_order=args.any_order,
        accept_doubtful=args.accept_doubtful,
    )
    save_comparison(found, args.output, title=args.title, aligned=args.save_aligned)
    log.info("%s", summarise(found))
    log.info("comparison: %s", args.output / COMPARISON_PAGE)


def _collect_files(args: argparse.Namespace, name: str) -> VisitFiles:
    from autosegnet.comparison import VisitFiles
    from autosegnet.label_files import read_organ_labels

    organs, size = getattr(args, f"{name}_organs"), getattr(args, f"{name}_size")
    if args.organ_table and args.baseline_organs is None and args.followup_organs is None:
        raise UsageError("--organ-table names the labels of --baseline-organs and --followup-organs, both missing")
    return VisitFiles(
        folder=getattr(args, name),
        mask=getattr(args, f"{name}_mask"),
        organs=None if organs is None else read_organ_labels(organs, args.organ_table),
        size=None if size is None else parse_size(size, option=f"--{name}-size"),
        labelled=args.labelled,
        resample_mask=args.resample_mask,
    )
