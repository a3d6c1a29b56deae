"""`autosegnet summarize`: makes the summary, the tables and the overview of a folder that batches wrote to."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from autosegnet.errors import format_path

log = logging.getLogger(__name__)


def add_summarize_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `autosegnet summarize`."""
    parser.add_argument("output", type=Path, metavar="OUTPUT", help="of `autosegnet batch`, also while it runs")
    parser.add_argument(
        "--bids", type=Path, metavar="DIR", help="also write the masks of BIDS studies as a derivative dataset"
    )


def run_summarize(args: argparse.Namespace) -> None:
    """Write summary.csv, tables/ and overview.html into the folder.

    Raises:
        InputError: no batch wrote there, or --bids finds no study of BIDS.
        OutputError: something cannot be written.
    """
    from autosegnet.batch.bids_derivatives import write_bids_derivatives
    from autosegnet.batch.overview import OVERVIEW
    from autosegnet.batch.whole_cohort import read_cohort, write_cohort

    rows = read_cohort(args.output)
    write_cohort(args.output, rows)
    if args.bids is not None:
        count = write_bids_derivatives(args.output, rows, args.bids)
        log.info("%d masks as BIDS derivatives in %s", count, format_path(args.bids))
    log.info("%d studies: open %s", len(rows), format_path(args.output / OVERVIEW))
