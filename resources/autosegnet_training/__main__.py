"""The command line of the training code: `autosegnet-train COMMAND …` or `python -m autosegnet_training COMMAND …`.

Each sub-command adds its own parser; this module only dispatches and turns errors into exit codes.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from importlib import import_module

from autosegnet import __version__
from autosegnet.cli.options import Parser
from autosegnet.runtime.exit import run_program
from autosegnet.runtime.log import LogLines
from petct_simulator import label_volumes, pairs_command, simulate_command

# Their modules import torch or read images, and are imported only for the command that was given.
COMMANDS = {
    "index": "list the cases of a data folder, with cohort, patient and fold",
    "prepare": "turn cases into arrays for training",
    "train": "train one fold; repeat the command to continue after an interruption",
    "cross-validate": "evaluate trained folds on their validation cases, and compare them with thresholds",
    "starter": "train five starter folds in a given time, from label volumes and real crops",
    "average": "write the mean of sets of folds, each trained further from the one before, as a folder of weights",
    "export": "write trained folds as a folder of weights",
}


def build_parser(chosen: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of all sub-commands; of those in `COMMANDS`, only the chosen one has its arguments."""
    description = "Train, evaluate and export the folds, and simulate studies."
    epilog = "autosegnet-train COMMAND --help explains a command."
    parser: argparse.ArgumentParser = Parser(prog="autosegnet-train", description=description, epilog=epilog)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, what in COMMANDS.items():
        if name == chosen:
            import_module(f"autosegnet_training.{name.replace('-', '_')}").add_arguments(commands)
        else:
            commands.add_parser(name, help=what)
    simulate_command.add_arguments(commands)
    label_volumes.add_arguments(commands)
    pairs_command.add_arguments(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub-command and return its exit code, as `autosegnet.runtime.exit.run_program` defines them."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    return run_program(lambda: _run_command_line(given))


def _run_command_line(arguments: list[str]) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogLines("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    args = build_parser(arguments[0] if arguments else None).parse_args(arguments)
    args.run(args)


if __name__ == "__main__":
    sys.exit(main())
