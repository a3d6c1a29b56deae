"""Imports go one way only, and heavy packages wait until they are used."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from autosegnet.__main__ import _COMMANDS

ROOT = Path(__file__).resolve().parents[1]

# The rooms of the package, and what each may import from the others (docs/explanation/architecture.md).
MAY_IMPORT = {
    "autosegnet": {"segmenter"},
    "errors": set(),
    "geometry": set(),
    "runtime": {"errors"},
    "alignment": {"geometry"},
    "judgement": {"alignment"},
    "suv_check": {"errors", "geometry"},
    "study": {"errors", "geometry", "alignment", "judgement", "suv_check"},
    "scan": set(),
    "io": {"errors", "geometry"},
    "suv": {"errors"},
    "lesions": {"errors", "geometry", "suv"},
    "dicom": {"errors", "geometry", "scan", "io", "suv", "lesions", "runtime"},
    "model": {"errors", "io", "runtime"},
    "interchange": {"errors", "geometry"},
    "label_files": {"errors", "geometry", "io", "dicom", "lesions"},
    "loading": {"errors", "geometry", "io", "dicom", "suv", "suv_check", "scan", "study"},
    "preprocess": {"corrections", "geometry", "study", "model"},
    "postprocess": {"geometry"},
    "corrections": {"errors", "geometry", "io", "lesions", "study"},
    "on_device": {"corrections", "geometry", "study", "model", "preprocess", "postprocess"},
    "pipeline": {"corrections", "geometry", "study", "model", "preprocess", "postprocess", "on_device"},
    "report": {"errors", "geometry", "scan", "study", "lesions"},
    "viewer": {"geometry", "study", "preprocess", "lesions", "report"},
    "result_files": {"errors", "io", "report"},
    "outputs": {
        "errors", "corrections", "geometry", "scan", "io", "lesions", "loading", "model", "report", "result_files",
        "viewer",
    },
    "segmenter": {
        "errors", "corrections", "geometry",
        "interchange", "io", "lesions", "loading", "model", "outputs", "pipeline", "report",
        "result_files", "runtime", "study",
    },
    "evaluation": {"errors", "geometry", "io", "lesions", "runtime", "suv_check"},
    "comparison": {
        "batch", "errors", "geometry", "io", "label_files", "lesions", "loading", "outputs", "report",
        "result_files", "runtime", "scan", "segmenter", "study", "suv",
    },
    "batch": {
        "errors", "geometry", "io", "dicom", "lesions", "loading", "model", "outputs", "pipeline", "report",
        "result_files", "runtime", "suv",
    },
    "cli": {
        "batch", "comparison", "dicom", "errors", "evaluation", "geometry", "io", "label_files", "lesions", "loading",
        "model", "outputs", "report", "result_files", "runtime", "segmenter", "suv",
    },
    "grandchallenge": {"errors", "corrections", "geometry", "study", "io", "model", "cli", "runtime"},
    "__main__": {"cli", "runtime"},
}  # fmt: skip


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part not in ("__init__", "resources"))


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def imported(path: Path, modules: set[str]) -> set[str]:
    """Return the modules among those given that a file imports, inside functions and for type checks, too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: imports are absolute"
            assert node.module
            names = [
                full if (full := f"{node.module}.{alias.name}") in modules else node.module for alias in node.names
            ]
        found |= {name for name in names if name in modules}
    return found - {module_name(path)}


FILES = sorted((ROOT / "autosegnet").rglob("*.py"))
OTHERS = sorted(
    path
    for package in ("autosegnet_training", "petct_simulator")
    for path in (ROOT / "resources" / package).rglob("*.py")
)
MODULES = {module_name(path): path for path in (*FILES, *OTHERS)}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_follow_the_table(path: Path) -> None:
    room = room_of(module_name(path))
    others = {room_of(module) for module in imported(path, set(MODULES)) if module != "autosegnet"} - {room}
    assert others <= MAY_IMPORT[room]


def test_no_module_imports_itself_through_others() -> None:
    """Inside packages, too."""
    names = set(MODULES)
    graph = {module: imported(path, names) - {"autosegnet"} for module, path in MODULES.items()}
    list(TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


def test_the_product_knows_nothing_of_training_or_simulation() -> None:
    for path in FILES:
        assert not {m for m in imported(path, set(MODULES)) if not m.startswith("autosegnet.") and m != "autosegnet"}


def test_the_simulator_knows_nothing_of_training() -> None:
    for module, path in MODULES.items():
        if module.startswith("petct_simulator"):
            assert not {m for m in imported(path, set(MODULES)) if m.startswith("autosegnet_training")}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_only_geometry_takes_views_of_images(path: Path) -> None:
    """SimpleITK's views do not keep their image alive; `geometry.view_voxels` does. io looks at images it is given."""
    if room_of(module_name(path)) not in {"geometry", "io"}:
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


def list_imports(command: str) -> set[str]:
    """Return the modules that are imported when a command's arguments are parsed."""
    code = f"import sys; from autosegnet.__main__ import _make_parser; _make_parser([{command!r}]); print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(ran.stdout.split())


@pytest.mark.parametrize("command", _COMMANDS)
def test_the_command_line_starts_without_heavy_packages(command: str) -> None:
    assert not {"torch", "monai", "SimpleITK", "nibabel", "scipy", "openvino", "pydicom"} & list_imports(command)


def test_a_command_starts_without_the_others() -> None:
    loaded = list_imports("predict")
    assert "autosegnet.cli.predict_command" in loaded
    assert not {f"autosegnet.cli.{module}" for module in ("batch_command", "evaluate_command")} & loaded
