"""The documents build into a site that is whole, needs no network, and says what the programs say."""

import importlib.util
import re
import statistics
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from autosegnet.model.recipe import Fold, Recipe

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
OF_OTHERS = {"docs/spec.md"}  # a document of git-lfs
MANUAL = sorted(path for part in ("get-started", "how-to", "reference") for path in (DOCS / part).glob("*.md"))

needs_mkdocs = pytest.mark.skipif(
    importlib.util.find_spec("mkdocs") is None, reason='mkdocs is not installed: pip install ".[docs]"'
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the built site; a warning of mkdocs is a failure."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@needs_mkdocs
def test_every_page_is_in_the_navigation(site: Path) -> None:
    home = (site / "index.html").read_text(encoding="utf-8")
    for page in DOCS.rglob("*.md"):
        name = page.relative_to(DOCS).with_suffix(".html").as_posix()
        assert f'href="{name}"' in home, f"{name} is missing from the nav of mkdocs.yml"


@needs_mkdocs
def test_pages_fetch_nothing_from_elsewhere(site: Path) -> None:
    fetched = re.compile(r'<(?:script|img|iframe|source)\b[^>]*\bsrc="https?:|<link\b[^>]*\bhref="https?:|@import')
    for page in site.rglob("*.html"):
        assert not fetched.search(page.read_text(encoding="utf-8")), page


@needs_mkdocs
def test_the_reference_holds_the_help_of_every_command(site: Path) -> None:
    page = (DOCS / "reference" / "cli.md").read_text(encoding="utf-8")
    for program in ("autosegnet", "autosegnet-train", "autosegnet weights"):
        marks = set(re.findall(rf"^<!-- help: {program} ([a-z-]+) -->$", page, re.M))
        module, *arguments = program.replace("-train", "_training").split()
        command = [sys.executable, "-m", module, *arguments, "--help"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert marks == set(re.findall(r"^    ([a-z-]+)(?:  |$)", done.stdout, re.M)), program
    built = (site / "reference" / "cli.html").read_text(encoding="utf-8")
    assert "help:" not in built
    assert "--dicom-seg-segments" in built


def test_the_reference_explains_every_entry_of_a_recipe() -> None:
    page = (DOCS / "reference" / "recipe.md").read_text(encoding="utf-8")
    for field in (*fields(Recipe), *fields(Fold)):
        assert f"| `{field.name}` |" in page or f"`{field.name}` | a list" in page, field.name


def test_the_architecture_names_every_module_and_package() -> None:
    page = (DOCS / "explanation" / "architecture.md").read_text(encoding="utf-8")
    for path in (ROOT / "autosegnet").iterdir():
        if not path.name.startswith("_") and (path.suffix == ".py" or (path / "__init__.py").exists()):
            assert f"`{path.stem}`" in page, path.name


def read_sentences(path: Path) -> list[str]:
    """Return the sentences of a page's paragraphs and lists: no code, tables or headings."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    lines = [line for line in text.splitlines() if not line.lstrip().startswith(("|", "#", "!", "<", "*Sim"))]
    paragraphs = re.split(r"\n\s*\n|\n\s*(?:[-*]|\d+\.) ", "\n".join(lines))
    return [s for p in paragraphs for s in re.split(r"(?<=[.:!?])\s+", " ".join(p.split())) if len(s.split()) > 2]


def test_the_sentences_of_the_manual_are_short() -> None:
    lengths = [len(sentence.split()) for page in MANUAL for sentence in read_sentences(page)]
    assert statistics.median(lengths) <= 15


def test_links_from_other_files_lead_to_documents() -> None:
    for path in [ROOT / "README.md", ROOT / "weights" / "README.md", *ROOT.glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_code_names_only_documents_that_exist() -> None:
    for folder in ("autosegnet", "resources", "benchmarks", "test"):
        for path in (ROOT / folder).rglob("*.py"):
            for name in re.findall(r"docs/[\w/-]+\.(?:md|csv|png)", path.read_text(encoding="utf-8")):
                assert name in OF_OTHERS or (ROOT / name).is_file(), f"{path.name}: {name}"
