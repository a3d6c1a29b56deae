"""The few exception types that end a run, each with the exit code of the command line.

Every message is one line that says what was found, what was expected, and where.
"""

from typing import ClassVar


class AutosegnetError(Exception):
    """A run that cannot go on for a reason outside the program."""

    exit_code: ClassVar[int] = 1


class UsageError(AutosegnetError):
    """The command line or the environment asks for something that does not exist."""

    exit_code = 2


class InputError(AutosegnetError):
    """A study, a mask or a table that cannot be trusted."""

    exit_code = 3


class WeightsError(AutosegnetError):
    """Folds or a recipe that are missing, altered or of another network."""

    exit_code = 4


class OutputError(AutosegnetError):
    """A result that cannot be written."""

    exit_code = 5
