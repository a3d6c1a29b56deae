"""What mkdocs does besides its plugins: put the help texts of the programs into the reference of the command line.

A comment `<!-- help: PROGRAM ARGUMENTS -->` in a page becomes what that program prints for `--help`, so that the page
cannot differ from the program.
"""

import json
import os
import re
import subprocess
import sys
from typing import Any

MARK = re.compile(r"^<!-- help: (\S+)([^\n]*) -->$", re.M)
STARTS = {
    "autosegnet": "runpy.run_module('autosegnet', run_name='__main__')",
    "autosegnet-train": "runpy.run_module('autosegnet_training', run_name='__main__')",
    "process.py": "runpy.run_path('process.py', run_name='__main__')",
}
# One process asks a program for all its help texts, because starting it takes longer than the help.
ASK = """
import contextlib, io, json, runpy, sys
texts = []
for arguments in json.loads(sys.stdin.read()):
    sys.argv = ["program", *arguments.split(), "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as text, contextlib.suppress(SystemExit):
        START
    texts.append(text.getvalue())
print(json.dumps(texts))
"""


def read_helps(program: str, asked: list[str]) -> dict[tuple[str, str], str]:
    """Return the help texts of a program by (program, arguments)."""
    environment = {**os.environ, "COLUMNS": "82", "PYTHONPATH": os.pathsep.join([".", "resources"])}
    command = [sys.executable, "-c", ASK.replace("START", STARTS[program])]
    done = subprocess.run(command, input=json.dumps(asked), env=environment, capture_output=True, text=True, check=True)
    return dict(zip([(program, arguments) for arguments in asked], json.loads(done.stdout), strict=True))


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return a page with the help texts that it asks for; mkdocs calls this for every page."""
    asked: dict[str, list[str]] = {}
    for program, arguments in MARK.findall(markdown):
        asked.setdefault(program, []).append(arguments.strip())
    texts = {key: text for program, of_it in asked.items() for key, text in read_helps(program, of_it).items()}
    return MARK.sub(lambda found: f"```text\n{texts[found[1], found[2].strip()]}```", markdown)
