"""The page of a report: one self-contained HTML file for screen and paper, with or without scripts.

Its policy lets the page load nothing, and run only its own script, which is named by its hash.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from importlib.resources import files
from typing import Any

from autosegnet.lesions import Lesion, LesionTable
from autosegnet.report.annotate import SUV_BLACK
from autosegnet.report.page_tables import (
    MORE_COLUMNS,
    choose_columns,
    describe_body,
    describe_patient,
    describe_references,
    describe_rest,
    describe_suggestions,
    explain_references,
    format_row,
    format_suv,
    format_volume,
    list_warnings,
)
from autosegnet.report.projection import SUV_WIDEST


@dataclass(frozen=True, slots=True)
class Provenance:
    """The provenance of a mask. Nothing here names a patient or a path.

    Args:
        software: name and version.
        engine: software and device of the network.
        weights: digest of the folds.
        description: first sentence of their model card.
        suv: how SUV was derived, in lines.
        warnings: what the reader must know about the study, one line each.
        made: when the report was made.
        scan: how the PET was made, as names and values.
        clicks: a description of the clicks that corrected the mask; '' without clicks.
    """

    software: str
    engine: str
    weights: str
    description: str
    suv: tuple[str, ...]
    warnings: tuple[str, ...]
    made: datetime
    scan: tuple[tuple[str, str], ...] = ()
    clicks: str = ""


@dataclass(frozen=True, slots=True)
class Layers:
    """PNG files of one size that lie over each other.

    Args:
        name: of the view, or its direction in degrees.
        base: the PET.
        overlay: layer over it.
    """

    name: str
    base: bytes
    overlay: bytes


@dataclass(frozen=True, slots=True)
class AxialLayers:
    """PNG files of an axial slice.

    Args:
        name: as in `fusion.AxialPictures`.
        ct, hot, pet, contour: as in `fusion.AxialPictures`.
    """

    name: str
    ct: bytes
    hot: bytes
    pet: bytes
    contour: bytes


@dataclass(frozen=True, slots=True)
class Pictures:
    """All pictures of a page.

    Args:
        projections: coronal and sagittal, of one height and one scale.
        turned: the same body from all sides.
        slices: of each shown lesion, in their order.
        regions: of the references that were measured, likewise.
        height_and_widths: of both projections, and of each, in pixels.
    """

    projections: tuple[Layers, Layers]
    turned: tuple[Layers, ...]
    slices: tuple[AxialLayers, ...]
    regions: tuple[AxialLayers, ...]
    height_and_widths: tuple[int, int, int]


def make_page(
    table: LesionTable,
    shown: Sequence[Lesion],
    pictures: Pictures,
    provenance: Provenance,
    *,
    mask_digest: str,
    title: str = "",
) -> str:
    """Return the text of `report.html`.

    Args:
        table: all lesions.
        shown: those with a row and a picture, the first of the table.
        pictures: of those.
        provenance: of the mask.
        mask_digest: of the mask, as `digest_mask` returns it.
        title: of the page; '' names no patient.
    """
    from jinja2 import Environment
    from markupsafe import Markup

    texts = {name: (files("autosegnet.report") / f"page.{name}").read_text("utf-8") for name in ("html", "css", "js")}
    texts["css"] += _scale_projections(pictures)
    template = Environment(autoescape=True, trim_blocks=False).from_string(texts["html"])
    return template.render(
        mask_digest=mask_digest,
        style=Markup(texts["css"]),
        script=Markup(texts["js"]),
        style_hash=_hash_source(texts["css"]),
        script_hash=_hash_source(texts["js"]),
        facts=list_facts,
        title=title,
        widest=int(SUV_WIDEST),
        suv_black=int(SUV_BLACK),
        **_fill_pictures(pictures, shown, table),
        **_fill_tables(table, shown),
        warnings=[*list_warnings(table), *provenance.warnings],
        scan=[*describe_patient(table), *provenance.scan],
        suv=provenance.suv,
        software=provenance.software,
        engine=provenance.engine,
        clicks=provenance.clicks,
        weights=provenance.weights[:12],
        description=provenance.description or "not described",
        made=provenance.made.strftime("%Y-%m-%d %H:%M %Z").strip(),
    )


def _scale_projections(pictures: Pictures) -> str:
    """Return rules that show both projections at one scale, and at most 620 px or half a printed page high."""
    height, *widths = pictures.height_and_widths
    ratio = sum(widths) / height
    rules = [f".{view.name} {{ flex: {width} 1 0; }}" for view, width in zip(pictures.projections, widths, strict=True)]
    rules.append(f".mips {{ max-width: calc({ratio:.4f} * 620px); }}")
    rules.append(f"@media print {{ .mips {{ max-width: calc({ratio:.4f} * 106mm); }} }}")
    return "\n".join(rules) + "\n"


def _fill_pictures(pictures: Pictures, shown: Sequence[Lesion], table: LesionTable) -> dict[str, Any]:
    references = [found for found in (table.references.liver, table.references.blood) if found is not None]
    return {
        "projections": [_fill_layers(view) for view in pictures.projections],
        "turned": [_fill_layers(view) | {"degrees": view.name} for view in pictures.turned],
        "slices": [
            _fill_axial(axial)
            | {"number": m.number, "caption": f"{format_volume(m.volume_ml)} ml · SUV {format_suv(m.suv_max)}"}
            for axial, m in zip(pictures.slices, shown, strict=True)
        ],
        "regions": [
            _fill_axial(axial)
            | {"organ": found.organ.capitalize(), "caption": f"SUVmean {found.suv_mean:.2f}", "is_sure": found.sure}
            for axial, found in zip(pictures.regions, references, strict=True)
        ],
    }


def _fill_axial(axial: AxialLayers) -> dict[str, Any]:
    return {name: encode_source(getattr(axial, name)) for name in ("ct", "hot", "pet", "contour")}


def _fill_tables(table: LesionTable, shown: Sequence[Lesion]) -> dict[str, Any]:
    return {
        "body": describe_body(table),
        "references": describe_references(table),
        "reference_notes": explain_references(table),
        "suggestions": describe_suggestions(table),
        "columns": choose_columns(table),
        "more_columns": MORE_COLUMNS,
        "rows": [format_row(lesion, table) for lesion in shown],
        "rest": describe_rest(table, len(shown)),
        "labelled": table.labelled,
        "connectivity": table.connectivity,
        "peak": f"{table.peak_voxels} voxels, {table.peak_voxels * table.voxel_volume_ml:.2f} ml",
    }


def _fill_layers(layers: Layers) -> dict[str, str]:
    return {
        "name": layers.name,
        "base": encode_source(layers.base),
        "overlay": encode_source(layers.overlay),
    }


def list_facts(pairs: Sequence[tuple[str, str]]) -> Any:
    """Return a list of names and values; a value may end in a unit after a space that does not break."""
    from markupsafe import Markup

    item = Markup("<div><dt>{}</dt><dd>{}</dd></div>")
    return Markup("<dl>{}</dl>").format(Markup("").join(item.format(name, value) for name, value in pairs))


def encode_source(png: bytes) -> str:
    """Return a PNG file as the source of a picture in the page."""
    return "data:image/png;base64," + b64encode(png).decode("ascii")


def _hash_source(text: str) -> str:
    return "sha256-" + b64encode(sha256(text.encode("utf-8")).digest()).decode("ascii")
