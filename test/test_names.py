"""No module and no public name of the product, the training or the simulator appears twice."""

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("autosegnet", "resources/autosegnet_training", "resources/petct_simulator")
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
# What every module or command has by convention.
CONVENTIONAL = {"log", "main", "run", "add_arguments", "T", "T_co", "R"}


def public_names(path: Path) -> set[str]:
    """Return the public names that a file defines at its top level."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return {name for name in names if not name.startswith("_")} - CONVENTIONAL


def find_repeated(places: dict[str, list[str]]) -> dict[str, list[str]]:
    return {name: found for name, found in places.items() if len(found) > 1}


def test_no_public_name_appears_twice() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in FILES:
        for name in public_names(path):
            places[name].append(str(path.relative_to(ROOT)))
    assert not find_repeated(places)


def test_no_module_name_appears_twice() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in FILES:
        if path.stem not in ("__init__", "__main__"):
            places[path.stem].append(str(path.relative_to(ROOT)))
    assert not find_repeated(places)
