"""The command line: `autosegnet predict | batch | summarize | measure | compare | suv | evaluate | rank | weights`."""

from __future__ import annotations

import os
import sys

# Before numpy and scipy are imported: each would start one thread per core, and nothing here gives them work.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from importlib import import_module

from autosegnet import __version__
from autosegnet.cli.options import Parser
from autosegnet.runtime.exit import run_program
from autosegnet.runtime.log import log_to

_COMMANDS = {
    "predict": (
        "predict_command",
        "segment the lesions of one study",
        "predict --pet SUV.nii.gz --ct CT.nii.gz --output mask.nii.gz --report report/",
    ),
    "batch": ("batch_command", "segment every study below a folder, and resume", "batch STUDIES/ MASKS/ --report"),
    "summarize": ("summarize_command", "make the tables and the overview of a batch's OUTPUT", "summarize MASKS/"),
    "measure": (
        "measure_command",
        "measure a mask that exists: table, report, DICOM results",
        "measure --mask mask.nii.gz --pet SUV.nii.gz --ct CT.nii.gz --report report/",
    ),
    "compare": (
        "compare_command",
        "compare two studies of one patient: matched lesions, change",
        "compare baseline/ followup/ --output comparison/",
    ),
    "suv": (
        "suv_command",
        "convert the PET of a DICOM folder to SUV, and print how",
        "suv DICOM/ --output suv.nii.gz",
    ),
    "evaluate": (
        "evaluate_command",
        "compare masks with the truth: DSC, FPV, FNV and more",
        "evaluate --prediction MASKS/ --truth LABELS/ --output metrics.csv",
    ),
    "rank": (
        "evaluate_command",
        "rank several teams by the challenge's rules",
        "rank --output ranking.csv ours=metrics.csv theirs=their_metrics.csv",
    ),
    "weights": ("weights_command", "verify, describe or import the folds", "weights verify"),
}
"""Each command's module, with `add_<command>_arguments` and `run_<command>`, what it does, and an example."""


def main() -> None:
    """Run the command line and exit with the contract's code."""
    sys.exit(run_program(_run_command_line))


def _run_command_line() -> None:
    parser = _make_parser(sys.argv[1:])
    args = parser.parse_args()
    if args.command is None:
        parser.error(f"no COMMAND; expected one of {', '.join(_COMMANDS)}; autosegnet --help explains them")
    log_to(sys.stderr)
    args.run(args)


def _make_parser(arguments: list[str]) -> Parser:
    """Return a parser that knows all commands, and the options of the one that is named; the others stay unimported."""
    parser = Parser(prog="autosegnet", description="Lesion segmentation in whole-body FDG PET/CT.")
    parser.add_argument("--version", action="version", version=__version__)
    parser.epilog = "autosegnet COMMAND --help explains a command."
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    named = next((argument for argument in arguments if not argument.startswith("-")), None)
    for name, (module, about, example) in _COMMANDS.items():
        described = f"{about[0].upper()}{about[1:]}."
        command = commands.add_parser(name, help=about, description=described, epilog=f"Example: autosegnet {example}")
        if name == named:
            of_command = import_module(f"autosegnet.cli.{module}")
            command.set_defaults(run=getattr(of_command, f"run_{name}", None))
            getattr(of_command, f"add_{name}_arguments")(command)
    return parser


if __name__ == "__main__":
    main()
