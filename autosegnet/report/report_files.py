"""The files of a report, by name."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Final

from autosegnet.lesions import LesionTable, csv_text, json_text, number_lesions
from autosegnet.report.draw import png
from autosegnet.report.fusion import fusion_pictures
from autosegnet.report.page import Pictures, Provenance, page
from autosegnet.report.projection import projection_pictures
from autosegnet.study import Study

if TYPE_CHECKING:
    import SimpleITK as sitk

REPORT_PAGE: Final = "report.html"

SHOWN: Final = 30
"""Lesions that get a row and a picture in the page; two printed pages hold no more. The tables hold all."""


_OF_A_REPORT: Final = re.compile(r"lesion_\d+\.png|mip_(coronal|sagittal)\.png|lesions\.(csv|json)|report\.html")


def is_report_file(name: str) -> bool:
    """Return whether a file of this name is one of a report."""
    return _OF_A_REPORT.fullmatch(name) is not None


def remove_outdated(folder: Path, current: Collection[str]) -> None:
    """Remove the files of an earlier report that are none of the current one's; there may be no such folder."""
    for path in folder.glob("*"):
        if is_report_file(path.name) and path.name not in current:
            path.unlink(missing_ok=True)


def report_files(case: Study, mask: sitk.Image, table: LesionTable, provenance: Provenance) -> dict[str, bytes | str]:
    """The content of every file of a report: the page, its pictures, the tables.

    Args:
        case: PET in SUV, and CT in HU on any grid.
        mask: of the lesions, on the PET's grid.
        table: the mask's, as `measure_lesions` makes it.
        provenance: what made the mask.
    """
    labels, _ = number_lesions(mask)
    shown = table.lesions[:SHOWN]
    coronal, sagittal = projection_pictures(case.pet, labels, shown, table.lesions)
    fusion = {lesion.number: png(picture) for lesion, picture in fusion_pictures(case, labels, shown)}
    widths = (coronal.width, sagittal.width)
    pictures = Pictures(png(coronal), png(sagittal), widths, coronal.height, fusion)
    return {
        "lesions.csv": csv_text(table),
        "lesions.json": json_text(table),
        "mip_coronal.png": pictures.coronal,
        "mip_sagittal.png": pictures.sagittal,
        **{f"lesion_{number}.png": picture for number, picture in fusion.items()},
        REPORT_PAGE: page(table, shown, pictures, provenance),
    }
