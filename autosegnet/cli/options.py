"""The argument parser of all commands, and the options that several of them share."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final, NoReturn, get_args

from autosegnet.errors import UsageError
from autosegnet.io.decoded import Nonfinite
from autosegnet.io.nifti_forms import Form
from autosegnet.model.devices import DEVICES, PRECISIONS, choose_precision
from autosegnet.model.weights import Weights, open_weights

NIFTI_FORMS: Final[tuple[Form, ...]] = get_args(Form)
NONFINITE: Final[tuple[Nonfinite, ...]] = get_args(Nonfinite)


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors end the run like every other."""

    def error(self, message: str) -> NoReturn:
        """Print the usage, then raise UsageError."""
        self.print_usage(sys.stderr)
        raise UsageError(message)


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose weights and device."""
    group = parser.add_argument_group("network")
    group.add_argument(
        "--weights",
        type=Path,
        metavar="DIR",
        help="folder with recipe.json and folds (default: $AUTOSEGNET_WEIGHTS, /opt/ml/model, the bundled weights)",
    )
    group.add_argument(
        "--device",
        choices=DEVICES,
        default="auto",
        help="auto: cuda if there is one, else cpu; mps: Apple GPU; reference: plain torch, CPU (default: %(default)s)",
    )
    group.add_argument(
        "--fast",
        action="store_true",
        help="run a few large slabs instead of overlapping windows: faster, but the mask differs, on some bodies much",
    )
    group.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=PRECISIONS[0],
        help="of the arithmetic on a CPU; bfloat16 is faster and moves a few voxels at borders; auto: bfloat16 if the "
        "CPU has it (default: %(default)s)",
    )


def add_file_arguments(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add the options that say how image files are to be read if they leave a doubt."""
    parser.add_argument(
        "--nifti-form",
        choices=NIFTI_FORMS,
        default=NIFTI_FORMS[0],
        help="which one to believe in NIfTI files whose sform and qform differ (default: both, which refuses them)",
    )
    parser.add_argument(
        "--nonfinite",
        choices=NONFINITE,
        default=NONFINITE[0],
        help="how to read voxels that are NaN or infinite, which some programs write outside the field of view "
        "(default: refuse)",
    )


def choose_weights(args: argparse.Namespace) -> Weights:
    """Open the weights that the arguments choose, in the mode that they choose.

    Raises:
        WeightsError: see `open_weights`.
    """
    weights = open_weights(args.weights).use_precision(choose_precision(args.precision))
    return weights.use_fast_mode() if args.fast else weights
