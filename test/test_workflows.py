"""The workflows and the commit hooks call commands that exist, on every Python version that the package supports."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml", reason="PyYAML reads the workflows")

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ON_EVERY_RUNNER = {"bash", "chmod", "docker", "mkdir", "python", "test"}


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the content of a YAML file."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def list_commands(workflow: Path) -> list[list[str]]:
    """Return the words of every command that a workflow runs."""
    steps = [step for job in read_yaml(workflow)["jobs"].values() for step in job["steps"]]
    lines = [line for step in steps for line in step.get("run", "").replace("\\\n", " ").splitlines()]
    return [shlex.split(line) for line in lines if line.strip()]


def test_there_are_workflows_for_tests_documents_and_the_container() -> None:
    assert [path.stem for path in WORKFLOWS] == ["container", "docs", "tests"]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_calls_programs_and_files_that_exist(workflow: Path) -> None:
    commands = list_commands(workflow)
    assert commands
    for program, *arguments in commands:
        if program.startswith("./"):
            assert os.access(ROOT / program, os.X_OK), program
        elif program not in ON_EVERY_RUNNER:
            assert shutil.which(program), program
        for name in [program, *arguments]:
            if re.fullmatch(r"(?:\./)?[\w/.-]+\.(?:sh|txt|toml|py)", name):
                assert (ROOT / name).is_file(), name


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_gives_our_scripts_options_that_they_have(workflow: Path) -> None:
    for program, *arguments in list_commands(workflow):
        if program in {"./build.sh", "./export.sh"}:
            usage = subprocess.run([ROOT / program, "--help"], capture_output=True, text=True, check=True).stdout
            for option in arguments:
                assert option in usage, f"{program} {option}"


def test_the_tests_run_on_every_supported_python() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    first, end = re.match(r">=3\.(\d+),<3\.(\d+)$", project["requires-python"]).groups()
    matrix = read_yaml(ROOT / ".github" / "workflows" / "tests.yml")["jobs"]["tests"]["strategy"]["matrix"]
    assert matrix["python"] == [f"3.{minor}" for minor in range(int(first), int(end))]


def test_commit_hooks_fetch_nothing_and_call_programs_that_exist() -> None:
    for repository in read_yaml(ROOT / ".pre-commit-config.yaml")["repos"]:
        assert repository["repo"] == "local"
        for hook in repository["hooks"]:
            assert hook["language"] == "system"
            program, *arguments = shlex.split(hook["entry"])
            assert shutil.which(program), program
            for name in arguments:
                assert not name.endswith(".py") or (ROOT / name).is_file(), name


def test_pre_commit_understands_the_hooks(tmp_path: Path) -> None:
    pytest.importorskip("pre_commit", reason="pre-commit is not installed")
    command = [sys.executable, "-m", "pre_commit", "validate-config", ".pre-commit-config.yaml"]
    environment = {**os.environ, "PRE_COMMIT_HOME": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
