"""What the documents tell people to type."""

import re
import shlex
from pathlib import Path

import pytest

from autosegnet_training.__main__ import build_parser

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("document", ["README.md", "docs/how-to/retrain.md", "docs/evidence/training-log.md"])
def test_the_commands_of_the_documents_are_understood(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8").replace("\\\n", " ")
    commands = re.findall(r"^autosegnet-train (.+)", text, flags=re.MULTILINE)
    assert commands
    for command in commands:
        given = shlex.split(command.replace("--fold K", "--fold 0"), comments=True)
        build_parser(given[0]).parse_args(given)
