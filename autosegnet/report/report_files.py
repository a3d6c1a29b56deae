"""The files of a report, by name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from autosegnet.lesions import LesionTable, format_lesions_csv, format_lesions_json, number_lesions
from autosegnet.report.draw import encode_png
from autosegnet.report.fusion import AxialPictures, make_axial_pictures, make_reference_pictures
from autosegnet.report.mask_digest import digest_mask
from autosegnet.report.page import AxialLayers, Layers, Pictures, Provenance, make_page
from autosegnet.report.projection import Projected, project
from autosegnet.report.rotation import TurnedView, turn_around
from autosegnet.study import Study

if TYPE_CHECKING:
    import SimpleITK as sitk

REPORT_PAGE: Final = "report.html"

SHOWN: Final = 30
"""Most lesions with a row and a picture in the page: as many as two printed pages hold. The tables hold all."""


_OF_A_REPORT: Final = re.compile(
    r"lesion_\d+\.png|reference_(liver|blood_pool)\.png|mip_(coronal|sagittal)\.png|lesions\.(csv|json)|report\.html"
)


def is_report_file(name: str) -> bool:
    """Return whether a file of this name belongs to a report."""
    return _OF_A_REPORT.fullmatch(name) is not None


def report_files(
    study: Study, mask: sitk.Image, table: LesionTable, provenance: Provenance, *, title: str = ""
) -> dict[str, bytes | str]:
    """Return the content of every file of a report: the page, its pictures, the tables.

    Args:
        study: PET in SUV, and CT in HU on any grid.
        mask: of the lesions, on the PET's grid.
        table: the mask's, as `measure_lesions` makes it.
        provenance: of the mask.
        title: of the page; '' names nobody.
    """
    labels, _ = number_lesions(mask, labelled=table.labelled)
    shown = table.lesions[:SHOWN]
    coronal, sagittal = project(study.pet, labels, shown, table.lesions)
    axial = list(make_axial_pictures(study, labels, shown))
    regions = list(make_reference_pictures(study, table.references))
    turned = turn_around(study.pet, labels, table.lesions)
    pictures = Pictures(
        (_encode_layers("coronal", coronal), _encode_layers("sagittal", sagittal)),
        tuple(_encode_layers(str(view.degrees), view) for view in turned),
        tuple(_encode_axial(slice_) for slice_ in axial),
        tuple(_encode_axial(slice_) for slice_ in regions),
        (coronal.whole.height, coronal.whole.width, sagittal.whole.width),
    )
    return {
        "lesions.csv": format_lesions_csv(table),
        "lesions.json": format_lesions_json(table),
        "mip_coronal.png": encode_png(coronal.whole),
        "mip_sagittal.png": encode_png(sagittal.whole),
        **{f"{slice_.name}.png": encode_png(slice_.fusion) for slice_ in (*axial, *regions)},
        REPORT_PAGE: make_page(table, shown, pictures, provenance, mask_digest=digest_mask(mask), title=title),
    }


def _encode_layers(name: str, view: Projected | TurnedView) -> Layers:
    return Layers(name, encode_png(view.base), encode_png(view.overlay))


def _encode_axial(axial: AxialPictures) -> AxialLayers:
    return AxialLayers(
        axial.name,
        *(encode_png(picture) for picture in (axial.ct, axial.hot, axial.pet, axial.contour)),
    )
