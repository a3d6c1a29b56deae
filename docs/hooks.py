"""What mkdocs does besides its plugins: put the help texts of the programs into the reference of the command line.

A comment `<!-- help: PROGRAM ARGUMENTS -->` in a page becomes what that program prints for `--help`, so that the page
cannot differ from the program.
"""

import os
import re
import subprocess
import sys
from functools import cache
from typing import Any

PROGRAMS = {
    "autosegnet": ["-m", "autosegnet"],
    "autosegnet-train": ["-m", "autosegnet_training"],
    "process.py": ["process.py"],
}
MARK = re.compile(r"^<!-- help: (\S+)([^\n]*) -->$", re.M)


@cache
def read_help(program: str, arguments: str) -> str:
    """Return the help text of a program with its arguments."""
    command = [sys.executable, *PROGRAMS[program], *arguments.split(), "--help"]
    environment = {**os.environ, "COLUMNS": "82", "PYTHONPATH": os.pathsep.join([".", "resources"])}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return a page in which help texts stand where it asks for them; mkdocs calls this for every page."""
    return MARK.sub(lambda found: f"```text\n{read_help(found[1], found[2].strip())}```", markdown)
