"""The command line of the training code: `autosegnet-train COMMAND …` or `python -m autosegnet_training COMMAND …`.

Each sub-command adds its own parser; this module only dispatches and turns errors into exit codes.
"""

import argparse
import logging
import sys
from collections.abc import Sequence

from autosegnet.errors import AutosegnetError
from autosegnet_training.simulate import command as simulate_command


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all sub-commands."""
    parser = argparse.ArgumentParser(prog="autosegnet-train", description=__doc__.split("\n", 1)[0])
    commands = parser.add_subparsers(dest="command", required=True)
    simulate_command.add_arguments(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub-command and return its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    chosen = build_parser().parse_args(arguments)
    try:
        chosen.run(chosen)
    except AutosegnetError as error:
        sys.stderr.write(f"autosegnet-train: error: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
