"""The command line: `autosegnet predict | batch | summarize | suv | evaluate | rank | weights`."""

from __future__ import annotations

import os
import sys

# Before numpy and scipy are imported: each would start a thread a core that nothing here gives work to.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from autosegnet import __version__
from autosegnet.cli.batch_command import add_batch_arguments, run_batch
from autosegnet.cli.evaluate_command import add_evaluate_arguments, add_rank_arguments, run_evaluate, run_rank
from autosegnet.cli.measure_command import add_measure_arguments, run_measure
from autosegnet.cli.options import Parser
from autosegnet.cli.predict_command import add_predict_arguments, run_predict
from autosegnet.cli.summarize_command import add_summarize_arguments, run_summarize
from autosegnet.cli.suv_command import add_suv_arguments, run_suv
from autosegnet.cli.weights_command import add_weights_arguments
from autosegnet.runtime.exit import run_program
from autosegnet.runtime.log import log_to


def main() -> None:
    """Run the command line and exit with the contract's code."""
    sys.exit(run_program(_run_command_line))


def _run_command_line() -> None:
    parser = Parser(prog="autosegnet", description="Lesion segmentation in whole-body FDG PET/CT.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, about, add_arguments, run in (
        ("predict", "segment the lesions of one study", add_predict_arguments, run_predict),
        ("batch", "segment every study below a folder, and resume", add_batch_arguments, run_batch),
        ("summarize", "tables and overview of what batches did in a folder", add_summarize_arguments, run_summarize),
        ("measure", "table, report and DICOM results of a mask that exists", add_measure_arguments, run_measure),
        ("suv", "PET of a DICOM folder in SUV, and how it was derived", add_suv_arguments, run_suv),
        ("evaluate", "DSC, FPV and FNV of masks against the truth", add_evaluate_arguments, run_evaluate),
        ("rank", "the challenge's ranking of several teams' metrics", add_rank_arguments, run_rank),
    ):
        command = commands.add_parser(name, help=about)
        add_arguments(command)
        command.set_defaults(run=run)
    add_weights_arguments(commands.add_parser("weights", help="verify, describe or import the folds"))
    args = parser.parse_args()
    log_to(sys.stderr)
    args.run(args)


if __name__ == "__main__":
    main()
