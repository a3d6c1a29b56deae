"""Every package is pinned to one version, and the lists say the same."""

import re
import tomllib
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("extra", [None, *EXTRAS])
def test_the_edited_list_pins_exactly(extra: str | None) -> None:
    pins(PROJECT["project"]["dependencies"] if extra is None else EXTRAS[extra])


def test_build_tools_are_pinned() -> None:
    pins(PROJECT["build-system"]["requires"])


def test_run_time_pins_are_the_edited_ones() -> None:
    edited, made = pins(PROJECT["project"]["dependencies"]), compiled("requirements.txt")
    assert edited.items() <= made.items()


def test_development_pins_hold_all_others() -> None:
    made = compiled("requirements-dev.txt")
    assert compiled("requirements.txt").items() <= made.items()
    for extra in ("dev", "docs", "train"):
        assert pins(EXTRAS[extra]).items() <= made.items()


def test_lists_name_no_other_source_of_packages() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        text = (ROOT / name).read_text()
        assert "://" not in text
        assert not re.search(r"^\s*-", text, re.M)


def test_an_open_pin_would_be_noticed() -> None:
    for line in ("numpy", "numpy>=2", "numpy==2.*", "numpy==2.4.6,<3", "numpy @ file:x"):
        with pytest.raises(AssertionError):
            pins([line])
