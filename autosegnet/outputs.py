"""The outputs of `predict` and `batch`: the report, and files that are written all or not at all."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from autosegnet import __version__
from autosegnet.errors import escape, format_count
from autosegnet.result_files import find_pages_of, is_page_file, is_result_file, remove_unwritten

if TYPE_CHECKING:
    import SimpleITK as sitk

    from autosegnet.corrections import Clicks
    from autosegnet.lesions import BodySize, Context, LesionTable, OrganLabels
    from autosegnet.loading import LoadedStudy
    from autosegnet.model.engine import Engine
    from autosegnet.model.weights import Weights
    from autosegnet.report import Provenance
    from autosegnet.scan import ScanFacts

log = logging.getLogger(__name__)


def describe_origin(loaded: LoadedStudy, engine: Engine, weights: Weights, warnings: list[str]) -> Provenance:
    """Return the provenance of a study's mask."""
    from autosegnet.model.weights import digest
    from autosegnet.report import Provenance

    return Provenance(
        software=f"autosegnet {__version__}",
        engine=engine.name + weights.recipe.mode,
        weights=digest(weights),
        description=escape(weights.recipe.description),
        suv=describe_suv(loaded),
        warnings=tuple(warnings),
        made=datetime.now().astimezone(),
        scan=describe_scan_rows(loaded.scan),
    )


def make_report(
    mask: sitk.Image, loaded: LoadedStudy, made_by: Provenance, table: LesionTable, *, title: str = ""
) -> dict[str, bytes | str]:
    """Return the files of the report, by name.

    Args:
        mask: on the PET's grid.
        loaded: the study.
        made_by: the mask's provenance.
        table: the mask's figures.
        title: of the page; '' names nobody.
    """
    from autosegnet.report import report_files

    return report_files(loaded.study, mask, table, made_by, title=title)


def make_viewer(
    mask: sitk.Image,
    loaded: LoadedStudy,
    made_by: Provenance,
    table: LesionTable,
    *,
    with_ct: bool = True,
    probability: sitk.Image | None = None,
    clicks: Clicks | None = None,
    title: str = "",
) -> str:
    """Return the viewer's page.

    Args:
        mask: on the PET's grid.
        loaded: the study.
        made_by: the mask's provenance.
        table: the mask's figures.
        with_ct: whether the study has a CT.
        probability: of lesion, to be shown, too.
        clicks: by which the mask was corrected, so that a reader can add to them.
        title: of the page; '' names nobody.
    """
    from autosegnet.geometry import Grid
    from autosegnet.viewer import make_viewer_page

    tumor, background = ((), ()) if clicks is None else clicks.find_voxels(Grid.from_image(loaded.study.pet))
    return make_viewer_page(
        loaded.study,
        mask,
        table,
        made_by,
        with_ct=with_ct,
        probability=probability,
        clicks={"tumor": tumor, "background": background},
        title=title,
    )


def make_context(
    loaded: LoadedStudy,
    *,
    organs: OrganLabels | None = None,
    probability: sitk.Image | None = None,
    uncertainty: sitk.Image | None = None,
    size: BodySize | None = None,
) -> Context:
    """Return what is known of a study besides mask and PET.

    Args:
        loaded: the study.
        organs: an organ map of the patient.
        probability: of lesion.
        uncertainty: standard deviation of the folds' probabilities.
        size: of the patient, if the user states it.
    """
    from autosegnet.lesions import BodySize, Context

    scan = loaded.scan
    return Context(
        ct=loaded.study.ct,
        organs=organs,
        probability=probability,
        disagreement=uncertainty,
        size=size or BodySize(scan.weight_kg, scan.height_cm, scan.sex),
        tracer=loaded.conversion.tracer if loaded.conversion is not None else scan.tracer,
        nuclide=scan.nuclide,
    )


def write_results(
    files: Mapping[Path, sitk.Image | str | bytes],
    report: Path | None,
    pages: Mapping[str, bytes | str],
    *,
    mask: Path | None = None,
    result: Path | None = None,
    swept: Collection[Path] = (),
) -> None:
    """Write the report and then the other files in their order, all or none.

    Then remove files of an earlier run from the folders of the report and of the result, and pages that show a mask
    which is no longer there.

    Args:
        report: folder of the pages, None if there are none.
        mask: that is among the files and may replace another; None if no mask is written.
        result: folder that belongs to this result alone, None if there is none.
        swept: as for `io.atomic.write_files`.

    Raises:
        OutputError: one of them cannot be written, or removed.
    """
    from autosegnet.io import write_all
    from autosegnet.io.places import remove_file

    reported = {} if report is None else {report / name: content for name, content in pages.items()}
    everything = {**reported, **files}
    outdated = [] if mask is None else find_pages_of(mask, {path.parent for path in everything})
    write_all(everything, swept=swept)
    for folder, belongs in ((report, is_page_file), (result, is_result_file)):
        if folder is not None:
            remove_unwritten(folder, belongs, everything)
    for page in outdated:
        if page not in everything and page.exists():
            remove_file(page)


def describe_scan_rows(scan: ScanFacts) -> tuple[tuple[str, str], ...]:
    """Return how a PET was made, as names and values; unknown facts are left out."""
    voxel = scan.voxel_mm and " x ".join(f"{edge:.4g}" for edge in scan.voxel_mm)
    rows = (
        ("Tracer", " ".join(part for part in (scan.nuclide, scan.tracer) if part)),
        ("Uptake time", scan.uptake_min and f"{scan.uptake_min:.0f} min"),
        ("Dose", scan.dose_mbq and f"{scan.dose_mbq:.0f} MBq"),
        ("Scanner", scan.scanner),
        ("Reconstruction", scan.reconstruction),
        ("Voxel", voxel and f"{voxel} mm"),
        ("CT", scan.ct),
        ("Stated by the user", " ".join(scan.stated)),
    )
    return tuple((name, str(value)) for name, value in rows if value)


def describe_suv(loaded: LoadedStudy) -> tuple[str, ...]:
    """Return how SUV was derived, in lines."""
    judged = loaded.study.judgement
    amount: tuple[str, ...] = ()
    if judged is not None:
        fat = "" if judged.fat_suv is None else f"; median SUV {judged.fat_suv:.2f} in fat"
        amount = (f"Mean SUV {judged.mean_suv:.2f} over {judged.body_l:.1f} l of imaged tissue{fat}.",)
    if loaded.conversion is None:
        return ("The PET was given in SUV (body weight, g/ml); nothing was converted.", *amount)
    low, high = min(loaded.conversion.factors), max(loaded.conversion.factors)
    factor = f"{low:.6g}" if low == high else f"{low:.6g} to {high:.6g}"
    rule, scale = (
        f"Rule: {loaded.conversion.rule}.",
        f"Factor from the stored unit to SUV (body weight, g/ml): {factor}.",
    )
    return (rule, scale, *amount)


def log_lesions(mask: sitk.Image) -> None:
    """Log how many lesions a mask holds, and their volume."""
    from autosegnet.geometry import find_occupied_box, view_voxels
    from autosegnet.lesions import label_lesions, measure_volumes_ml

    whole = view_voxels(mask)
    labels, count = label_lesions(whole[find_occupied_box(whole)])
    volume_ml = float(measure_volumes_ml(labels, count, spacing_mm=mask.GetSpacing()).sum())
    log.info("%s, %.2f ml", format_count(count, "lesion"), volume_ml)
