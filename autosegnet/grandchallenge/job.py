"""The arguments of process.py, and what they choose. The platform gives none: an image sets environment variables."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Sequence
from pathlib import Path

from autosegnet import __version__
from autosegnet.cli.options import NIFTI_FORMS, NONFINITE, Parser, add_engine_arguments, add_file_arguments
from autosegnet.errors import UsageError
from autosegnet.grandchallenge.server import PORT
from autosegnet.grandchallenge.sockets import DEFAULT_EDITION, find_edition
from autosegnet.grandchallenge.time_limit import TimeLimit


def parse_job(*, prog: str, about: str | None, words: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the arguments of the entry point.

    Raises:
        UsageError: an argument or an environment variable is invalid.
    """
    parser = Parser(prog=prog, description=about)
    _add_arguments(parser)
    args = parser.parse_args(words)
    find_edition(args.edition)
    _check_choice("AUTOSEGNET_NIFTI_FORM", args.nifti_form, NIFTI_FORMS)
    _check_choice("AUTOSEGNET_NONFINITE", args.nonfinite, NONFINITE)
    if args.degrade and args.time_limit is None:
        raise UsageError("--degrade needs --time-limit: the seconds that a job may take")
    return args


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument(
        "--input", type=Path, default=Path("/input"), help="folder of the job's input sockets (default: %(default)s)"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("/output"), help="folder of the job's output sockets (default: %(default)s)"
    )
    parser.add_argument(
        "--edition",
        default=os.environ.get("AUTOSEGNET_EDITION") or DEFAULT_EDITION,
        help="autopet1 to autopet5 (default: $AUTOSEGNET_EDITION, else autopet2)",
    )
    parser.add_argument(
        "--api", choices=["exec", "invoke"], default="exec", help="one job, or an HTTP server (default: %(default)s)"
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address that the server listens on; 0.0.0.0: every one, as the image does (default: %(default)s)",
    )
    parser.add_argument("--port", type=_parse_port, default=PORT, help="of the server (default: %(default)s)")
    parser.add_argument(
        "--time-limit",
        type=_parse_seconds,
        metavar="SECONDS",
        default=os.environ.get("AUTOSEGNET_TIME_LIMIT") or None,
        help="warn if a job is estimated to take longer (default: $AUTOSEGNET_TIME_LIMIT, else none)",
    )
    parser.add_argument(
        "--degrade",
        action="store_true",
        default=os.environ.get("AUTOSEGNET_DEGRADE", "0") not in ("", "0"),
        help="then run the fast mode, or fewer folds; log and results.json say so (default: $AUTOSEGNET_DEGRADE)",
    )
    add_file_arguments(parser)
    parser.set_defaults(
        nifti_form=os.environ.get("AUTOSEGNET_NIFTI_FORM") or NIFTI_FORMS[0],
        nonfinite=os.environ.get("AUTOSEGNET_NONFINITE") or NONFINITE[0],
    )
    add_engine_arguments(parser)


def start_time_limit(args: argparse.Namespace) -> TimeLimit | None:
    """Return the time limit of a job that begins now; None if none was asked for."""
    return None if args.time_limit is None else TimeLimit(args.time_limit, degrade=args.degrade)


def _check_choice(variable: str, value: str, choices: Sequence[str]) -> None:
    """Refuse what argparse does not check: a default that an environment variable gave."""
    if value not in choices:
        raise UsageError(f"${variable} is {value!r}; expected {', '.join(choices)}")


def _parse_port(text: str) -> int:
    port = int(text) if text.isdecimal() and len(text) <= 5 else -1
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"port is {text!r}; expected 0 to 65535")
    return port


def _parse_seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"time limit is {text!r}; expected a positive number of seconds")
    return seconds
