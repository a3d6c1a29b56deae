"""The arguments of process.py. The platform gives none, so an image sets them by environment variables."""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path

from autosegnet import challenge, console
from autosegnet.errors import UsageError
from autosegnet.serve import PORT
from autosegnet.timelimit import TimeLimit


def add_job_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of process.py."""
    parser.add_argument("--input", type=Path, default=Path("/input"), help="folder of the job's input sockets")
    parser.add_argument("--output", type=Path, default=Path("/output"), help="folder of the job's output sockets")
    parser.add_argument(
        "--edition",
        default=os.environ.get("AUTOSEGNET_EDITION") or challenge.DEFAULT_EDITION,
        help="autopet1 to autopet5 (default: $AUTOSEGNET_EDITION, else autopet2)",
    )
    parser.add_argument(
        "--api", choices=["exec", "invoke"], default="exec", help="one job, or an HTTP server (default: %(default)s)"
    )
    parser.add_argument("--port", type=int, default=PORT, help="of the server (default: %(default)s)")
    parser.add_argument(
        "--time-limit",
        type=_seconds,
        metavar="SECONDS",
        default=os.environ.get("AUTOSEGNET_TIME_LIMIT") or None,
        help="warn where a job is estimated to take longer (default: $AUTOSEGNET_TIME_LIMIT, else none)",
    )
    parser.add_argument(
        "--degrade",
        action="store_true",
        default=os.environ.get("AUTOSEGNET_DEGRADE", "0") not in ("", "0"),
        help="then run fewer folds, and say so in the log and in results.json (default: $AUTOSEGNET_DEGRADE)",
    )
    console.add_engine_arguments(parser)


def time_limit(args: argparse.Namespace) -> TimeLimit | None:
    """The time limit of a job that begins now; None where none was asked for.

    Raises:
        UsageError: --degrade without a limit to keep.
    """
    if args.time_limit is not None:
        return TimeLimit(args.time_limit, degrade=args.degrade)
    if args.degrade:
        raise UsageError("--degrade needs --time-limit: the seconds that a job may take")
    return None


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"time limit is {text!r}; expected a positive number of seconds")
    return seconds
