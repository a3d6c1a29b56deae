"""Every package is pinned to one version, and the lists say the same."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([0-9][A-Za-z0-9.!+]*)")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def pins(lines: list[str]) -> dict[str, str]:
    """Version by normalised name (PEP 503); anything but `name==version` fails."""
    found: dict[str, str] = {}
    for line in lines:
        match = PIN.fullmatch(line)
        assert match, f"{line!r} is not an exact pin"
        name = re.sub(r"[-_.]+", "-", match[1]).lower()
        assert name not in found, f"{name} is pinned twice"
        found[name] = match[2]
    return found


def compiled(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text().splitlines()
    return pins([line for line in lines if line and not line.startswith("#")])


EXTRAS = PROJECT["project"]["optional-dependencies"]


def requirements(lines: list[str]) -> dict[str, SpecifierSet]:
    return {canonicalize_name(r.name): r.specifier for r in map(Requirement, lines)}


def test_the_package_joins_other_environments() -> None:
    """It asks for ranges; only the lists of pins name one version each."""
    for name, versions in requirements(PROJECT["project"]["dependencies"]).items():
        assert str(versions), name
        assert not any(v.operator == "==" for v in versions), name


def test_build_tools_are_pinned() -> None:
    pins(PROJECT["build-system"]["requires"])


def check_within(edited: list[str], made: dict[str, str]) -> None:
    for name, versions in requirements(edited).items():
        assert versions.contains(made[name]), f"{name}=={made[name]} is not within {versions}"


def test_run_time_pins_lie_within_the_edited_ranges() -> None:
    made = compiled("requirements.txt")
    check_within(PROJECT["project"]["dependencies"] + EXTRAS["challenge"], made)
    assert made["torch"] == "2.13.0"  # others draw gigabytes


def test_development_pins_hold_all_others() -> None:
    made = compiled("requirements-dev.txt")
    assert compiled("requirements.txt").items() <= made.items()
    for extra in ("challenge", "dev", "docs", "train"):
        check_within(EXTRAS[extra], made)


def test_lists_name_no_other_source_of_packages() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        text = (ROOT / name).read_text()
        assert "://" not in text
        assert not re.search(r"^\s*-", text, re.M)


def test_no_package_that_reports_usage_is_pinned() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        assert not [package for package in compiled(name) if "telemetry" in package]


def hashed() -> dict[str, list[str]]:
    """Return the SHA-256 of the files of every package in the list with hashes, by `name==version`."""
    found: dict[str, list[str]] = {}
    lines = (ROOT / "requirements-hashes.txt").read_text().replace("\\\n", " ").splitlines()
    for block in [line for line in lines if line.strip() and not line.startswith("#")]:
        package, *hashes = block.split()
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", text) for text in hashes), package
        found[package] = hashes
    return found


def test_every_file_of_the_image_has_a_hash() -> None:
    without_torch = {name: version for name, version in compiled("requirements.txt").items() if name != "torch"}
    assert pins([*hashed()]) == without_torch
    assert all(hashed().values())


def test_the_image_runs_without_the_packages_that_it_leaves_out() -> None:
    """Such as what evalutils needs to make new projects."""
    blocked = f"""
import importlib.metadata, re, sys
kept = {sorted(compiled("requirements.txt"))!r}
for module, packages in importlib.metadata.packages_distributions().items():
    if not any(re.sub(r"[-_.]+", "-", package).lower() in kept for package in packages):
        sys.modules.setdefault(module, None)
import process, autosegnet.segmenter, autosegnet.report, autosegnet.dicom.results, autosegnet.model.openvino_engine
import autosegnet.__main__, autosegnet.model.torch_engine, waitress.server
"""
    subprocess.run([sys.executable, "-c", blocked], cwd=ROOT, check=True)


def test_an_open_pin_would_be_noticed() -> None:
    for line in ("numpy", "numpy>=2", "numpy==2.*", "numpy==2.4.6,<3", "numpy @ file:x"):
        with pytest.raises(AssertionError):
            pins([line])
