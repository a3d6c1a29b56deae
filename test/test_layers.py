"""Imports go one way only, and heavy packages wait until they are used."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# What each module may import from us (docs/explanation/architecture.md: one idea each, no way back up).
MAY_IMPORT = {
    "__init__": set(),
    "errors": set(),
    "geometry": set(),
    "lesions": {"errors", "geometry", "lesions"},
    "report": {"geometry", "study", "lesions", "report"},
    "recipe": {"errors"},
    "study": {"errors", "geometry"},
    "io": {"errors", "study", "suv", "io", "warned"},
    "preprocess": {"recipe", "study", "geometry"},
    "network": {"errors", "recipe"},
    "weights": {"errors", "recipe", "network", "io"},
    "warned": set(),
    "engines": {"errors", "recipe", "network", "weights", "engines", "warned"},
    "predict": {"recipe", "engines", "errors"},
    "postprocess": {"recipe", "geometry"},
    "evaluate": {"errors", "io", "geometry", "lesions", "evaluate"},
    "timelimit": {"recipe", "engines", "predict"},
    "pipeline": {"study", "recipe", "geometry", "preprocess", "engines", "predict", "postprocess", "timelimit"},
    "challenge": {"errors", "io"},
    "suv": {"errors", "study", "suv"},
    "dicom_out": {"geometry", "io", "lesions", "errors", "dicom_out"},
    "cohort": {"errors", "io", "cohort"},
    "cores": set(),
    "records": {"errors", "report"},
    "inputs": {"errors", "io", "study", "geometry", "suv"},
}
AT_THE_TOP = {"__main__", "commands", "console", "serve"}  # serve reports the end of a job as console does


def ours(path: Path) -> set[str]:
    """The modules of autosegnet that a file imports, by their first name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "autosegnet" and parts[1] != "__version__":
                found.add(parts[1])
    return found


def module_of(path: Path) -> str:
    return path.relative_to(ROOT / "autosegnet").with_suffix("").parts[0]


FILES = sorted((ROOT / "autosegnet").rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_follow_the_table(path: Path) -> None:
    module = module_of(path)
    if module not in AT_THE_TOP:
        assert ours(path) <= MAY_IMPORT[module]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_only_geometry_takes_views_of_images(path: Path) -> None:
    """SimpleITK's views do not keep their image alive; `geometry.voxels` does. io looks at images it is given."""
    if module_of(path) not in {"geometry", "io"}:
        assert "GetArrayViewFromImage" not in path.read_text()


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_module_imports_both_torch_and_simpleitk(path: Path) -> None:
    tree = ast.parse(path.read_text())
    names = {a.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    assert not {"torch", "SimpleITK"} <= names


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_in_the_package_imports_evalutils_or_benchmarks(path: Path) -> None:
    text = path.read_text()
    for package in ("evalutils", "benchmarks"):  # a comment may name the script behind a figure
        assert f"import {package}" not in text
        assert f"from {package}" not in text


def test_the_command_line_starts_without_heavy_packages() -> None:
    code = "import autosegnet.__main__, sys; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert not {"torch", "monai", "SimpleITK", "nibabel", "scipy", "openvino", "pydicom"} & set(loaded.split())
