"""Keeps the outputs of a batch from replacing what it reads, by whatever link.

Of the files in OUTPUT, only links and files in linked folders can be something else; to look at those alone costs
nothing on resuming. If a list names the studies, they may lie in OUTPUT itself, so every file there is looked at.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from autosegnet.batch.found_study import CohortStudy
from autosegnet.batch.overview import OVERVIEW
from autosegnet.batch.record import Places
from autosegnet.io import IMAGE_SUFFIXES
from autosegnet.io.places import Output, OutputFolder, check_outputs
from autosegnet.result_files import is_page_file


def refuse_replacing(
    output: Path, summary: Path, studies: Sequence[CohortStudy], *, root: Path, others: Mapping[str, Path | None]
) -> None:
    """Refuse an OUTPUT in which a file is also an input, and would be replaced.

    Args:
        output: folder of the batch.
        summary: of this run.
        studies: of the cohort.
        root: INPUT, a folder or a list.
        others: that are read beside the studies, by what the user calls them.

    Raises:
        UsageError: naming the output and the input.
    """
    of_cohort = [summary, output / OVERVIEW, *(output / "tables").glob("*")]
    fixed = {_name(path, output): path for path in of_cohort}
    is_list = root.is_file()
    inputs = {"INPUT": root, **others} if is_list else others
    check_outputs(fixed, inputs=inputs)
    found = _list_of_studies(output, studies, links_only=not is_list)
    found.update((name, path) for name, path in fixed.items() if path.is_symlink())
    if found and is_list:
        inputs = {**inputs, **_name_files(studies)}
    elif found:
        inputs = {"INPUT": root, **inputs}
    check_outputs(found, inputs=inputs)


def _list_of_studies(output: Path, studies: Iterable[CohortStudy], *, links_only: bool) -> dict[str, Output]:
    """Return the outputs of studies that are there, by what they are called."""
    found: dict[str, Output] = {}
    for folder in (Places(output, "x").record, Places(output, "x").thumbnail, Places(output, "x").report):
        if folder.parent.is_symlink():
            found[_name(folder.parent, output)] = OutputFolder(folder.parent, lambda name: True)
    for study in studies:
        places = Places(output, study.case)
        files = [f"{output}/{study.case}{suffix}" for suffix in IMAGE_SUFFIXES]  # quicker than paths
        files += map(str, (places.record, places.thumbnail, *_list_report(places.report)))
        for file in filter(os.path.islink if links_only else os.path.exists, files):
            found[_name(Path(file), output)] = Path(file)
        if places.report.is_symlink():
            found[_name(places.report, output)] = OutputFolder(places.report, is_page_file)
    return found


def _list_report(folder: Path) -> Iterator[Path]:
    try:
        yield from (folder / name for name in os.listdir(folder) if is_page_file(name))
    except OSError:
        return


def _name(path: Path, output: Path) -> str:
    return f"OUTPUT/{path.relative_to(output)}"


def _name_files(studies: Iterable[CohortStudy]) -> dict[str, Path | None]:
    return {
        f"the {kind} of {study.case}": path
        for study in studies
        for kind, path in (("PET", study.pet), ("CT", study.ct))
        if path is not None
    }
