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


def run_summarize(args: argparse.Namespace) -> None:
    """Write summary.csv, tables/ and overview.html into the folder.

    Raises:
        InputError: no batch wrote there.
        OutputError: something cannot be written.
    """
    from autosegnet.batch.overview import OVERVIEW
    from autosegnet.batch.whole_cohort import read_cohort, write_cohort

    rows = read_cohort(args.output)
    write_cohort(args.output, rows)
    log.info("%d studies: open %s", len(rows), format_path(args.output / OVERVIEW))
