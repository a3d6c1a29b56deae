"""One type says where voxels lie."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted(path for folder in ("autosegnet", "resources", "benchmarks") for path in (ROOT / folder).rglob("*.py"))


def fields_of(kind: ast.ClassDef) -> set[str]:
    """Return the names of a class's fields, without their unit."""
    names = {
        node.target.id for node in kind.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    return {name.removesuffix("_mm") for name in names}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_only_grid_holds_spacing_origin_and_direction_together(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef) and node.name != "Grid":
            assert len({"spacing", "origin", "direction"} & fields_of(node)) < 2, f"{node.name} should hold a Grid"


def test_a_grid_is_made_without_simpleitk() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from autosegnet.geometry import Grid; "
        "g = Grid((2, 3, 4), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1)); "
        "assert g.crop(((1, 2), (0, 3), (0, 4))).origin_mm == (1.0, 0.0, 0.0); assert 'SimpleITK' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
