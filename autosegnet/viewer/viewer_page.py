"""The viewer's page: one HTML file with the study, NiiVue and our scripts in it, which loads nothing else.

Its policy lets the page run only these scripts, which are named by their hashes. The volumes lie in it as text.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from zlib_ng import zlib_ng

from autosegnet.geometry import Grid
from autosegnet.lesions import LesionTable, number_lesions
from autosegnet.report import Provenance, digest_mask
from autosegnet.report.page import list_facts
from autosegnet.report.page_tables import choose_columns, describe_body, format_row, list_warnings
from autosegnet.study import Study
from autosegnet.viewer.shown_volumes import ShownVolume, choose_shown_grid, encode_volumes, is_coarser

if TYPE_CHECKING:
    import SimpleITK as sitk

NIIVUE_VERSION: Final = "0.69.0"

_SCRIPTS: Final = (
    "niivue/niivue.umd.js", "volumes.js", "planes.js", "projection.js", "marks.js", "viewer.js",
)  # fmt: skip
_LEVEL: Final = 6  # of compression; a higher one takes longer and saves little
_GZIP: Final = 31  # as zlib's wbits
_KEYS: Final = (
    ("N, P", "next, previous lesion"),
    ("M", "lesions on or off"),
    ("F, S, C, R", "PET/CT, PET, CT, probability"),
    ("1, 2, 3, 4", "all planes, axial, coronal, sagittal"),
    ("Arrows, Page Up, Page Down", "one voxel to a side, front or back, up or down"),
    ("Wheel; Ctrl and wheel", "next slice; zoom"),
    ("+, −, 0", "zoom; right button drags"),
    ("T, B, Escape", "click tumour, background, or only look"),
    ("U", "undo the last click"),
)


def make_viewer_page(
    study: Study,
    mask: sitk.Image,
    table: LesionTable,
    provenance: Provenance,
    *,
    with_ct: bool = True,
    probability: sitk.Image | None = None,
    clicks: Mapping[str, Sequence[tuple[int, int, int]]] | None = None,
    title: str = "",
) -> str:
    """Return the text of the page.

    Args:
        study: PET in SUV, and CT in HU on any grid.
        mask: of the lesions, on the PET's grid.
        table: the mask's, as `measure_lesions` makes it.
        provenance: of the mask.
        with_ct: whether the study has a CT.
        probability: of lesion, on the PET's grid; None leaves it out.
        clicks: voxels (x, y, z) of the PET that a reader marked, by "tumor" and "background".
        title: of the page; '' names nobody.
    """
    from jinja2 import Environment
    from markupsafe import Markup

    labels, _ = number_lesions(mask, labelled=table.labelled)
    shown = choose_shown_grid(study, labels)
    volumes = tuple(encode_volumes(study, labels, shown, with_ct=with_ct, probability=probability))
    scripts = [_read_text(name) for name in _SCRIPTS]
    style = _read_text("viewer.css")
    facts = _describe_study(study, shown, volumes, table, clicks or {})
    template = Environment(autoescape=True).from_string(_read_text("viewer.html"))
    return template.render(
        mask_digest=digest_mask(mask),
        style=Markup(style),
        style_hash=_hash_source(style),
        scripts=[Markup(script) for script in scripts],
        script_hashes=[_hash_source(script) for script in scripts],
        study=Markup(json.dumps(facts, allow_nan=False).replace("<", "\\u003c")),
        volumes=list(_pack(volumes)),
        facts=list_facts,
        title=title,
        columns=choose_columns(table),
        rows=[format_row(lesion, table) for lesion in table.lesions],
        body=describe_body(table),
        warnings=[*list_warnings(table), *provenance.warnings],
        images=list(_describe_images(Grid.from_image(study.pet), shown, volumes)),
        keys=_KEYS,
        scan=provenance.scan,
        suv=provenance.suv,
        software=provenance.software,
        engine=provenance.engine,
        clicks=provenance.clicks,
        weights=provenance.weights[:12],
        description=provenance.description or "not described",
        made=provenance.made.strftime("%Y-%m-%d %H:%M %Z").strip(),
        niivue_version=NIIVUE_VERSION,
        licences=_read_text("niivue/LICENSES.txt"),
    )


def _describe_study(
    study: Study,
    shown: Grid,
    volumes: Iterable[ShownVolume],
    table: LesionTable,
    clicks: Mapping[str, Sequence[tuple[int, int, int]]],
) -> dict[str, Any]:
    """Return what the scripts need to know."""
    extent_mm = [count * step for count, step in zip(shown.size, shown.spacing_mm, strict=True)]
    return {
        "shown": _describe_grid(shown),
        "pet": _describe_grid(Grid.from_image(study.pet)),
        "spacing_mm": shown.spacing_mm,
        "extent_mm": extent_mm,
        "volumes": {v.name: {"type": v.dtype, "slope": v.slope, "intercept": v.intercept} for v in volumes},
        "lesions": [{"number": lesion.number, "position_mm": lesion.suv_max_mm} for lesion in table.lesions],
        "clicks": {name: list(points) for name, points in clicks.items()},
    }


def _describe_grid(grid: Grid) -> dict[str, Any]:
    steps = grid.steps_mm
    inverse = np.linalg.inv(steps)
    return {"size": grid.size, "origin": grid.origin_mm, "steps": steps.tolist(), "inverse": inverse.tolist()}


def _describe_images(pet: Grid, shown: Grid, volumes: Sequence[ShownVolume]) -> Iterator[str]:
    """Yield sentences on how what is shown differs from the files."""
    times, voxel = (" × ".join(f"{value:.4g}" for value in values) for values in (shown.size, shown.spacing_mm))
    if is_coarser(shown, pet):
        yield (
            f"The PET is shown on a coarser grid than its own, {times} voxels of {voxel} mm, because it is large. "
            "Values under the crosshair are interpolated."
        )
    else:
        yield f"The PET is shown on its own grid, without the air around the body: {times} voxels of {voxel} mm."
    if any(volume.name == "ct" for volume in volumes):
        yield "The CT is shown on the grid of the PET, often coarser than its own, between −1024 and 3071 HU."
    (suv,) = (volume for volume in volumes if volume.name == "pet")
    yield f"SUV (body weight, g/ml) in steps of {suv.slope:.2g}. The table is measured in the files, not in this page."
    yield "The patient's right is on the left of coronal and axial planes; the patient faces left on sagittal ones."
    yield "A lesion is shown at its hottest voxel. Positions are L, P, S in mm; voxels are those of the whole PET."


def _pack(volumes: Iterable[ShownVolume]) -> Iterator[tuple[str, str]]:
    for volume in volumes:
        packer = zlib_ng.compressobj(_LEVEL, wbits=_GZIP)
        yield volume.name, b64encode(packer.compress(volume.nifti) + packer.flush()).decode("ascii")


def _read_text(name: str) -> str:
    return files("autosegnet.viewer").joinpath(name).read_text("utf-8")


def _hash_source(text: str) -> str:
    return "sha256-" + b64encode(sha256(text.encode("utf-8")).digest()).decode("ascii")
