"""What `predict` and `batch` make of a segmented study: its report, and files that are written all or not at all."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from autosegnet import __version__

if TYPE_CHECKING:
    import SimpleITK as sitk

    from autosegnet.lesions import LesionTable
    from autosegnet.loading import LoadedStudy
    from autosegnet.model.engine import Engine
    from autosegnet.model.weights import Weights
    from autosegnet.report import Provenance

log = logging.getLogger(__name__)


def provenance(loaded: LoadedStudy, engine: Engine, weights: Weights, warnings: list[str]) -> Provenance:
    """What made the mask of a study."""
    from autosegnet.model.weights import digest
    from autosegnet.report import Provenance

    return Provenance(
        software=f"autosegnet {__version__}",
        engine=engine.name + (", fast mode" if weights.recipe.passes == "slabs" else ""),
        weights=digest(weights),
        description=weights.recipe.description,
        suv=_suv_lines(loaded),
        warnings=tuple(warnings),
        made=datetime.now().astimezone(),
    )


def pages_of(
    mask: sitk.Image, loaded: LoadedStudy, made_by: Provenance, *, table: LesionTable | None = None
) -> dict[str, bytes | str]:
    """The files of the report, by name.

    Args:
        table: the mask's figures, where they are measured already.
    """
    from autosegnet.lesions import measure_lesions
    from autosegnet.report import report_files

    table = table or measure_lesions(mask, loaded.study.pet)
    return report_files(loaded.study, mask, table, made_by)


def write_results(
    files: Mapping[Path, sitk.Image | str | bytes],
    report: Path | None,
    pages: Mapping[str, bytes | str],
    *,
    swept: Collection[Path] = (),
) -> None:
    """Writes the report and then the other files in their order, all or none.

    Args:
        report: folder of the pages, None where there are none.
        swept: as for `io.atomic.write_files`.

    Raises:
        OutputError: one of them cannot be written.
    """
    from autosegnet.io import write_all
    from autosegnet.report import remove_outdated

    if report is None:
        write_all(files, swept=swept)
        return
    write_all({**{report / name: content for name, content in pages.items()}, **files}, swept=swept)
    remove_outdated(report, pages)


def _suv_lines(loaded: LoadedStudy) -> tuple[str, ...]:
    judged = loaded.study.judgement
    amount = () if judged is None else (f"Mean SUV {judged.mean_suv:.2f} over {judged.body_l:.1f} l of imaged tissue.",)
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
    """Logs how many lesions a mask holds, and their volume."""
    from autosegnet.geometry import occupied_box, voxels
    from autosegnet.lesions import label_lesions, lesion_volumes_ml

    whole = voxels(mask)
    labels, count = label_lesions(whole[occupied_box(whole)])
    volume_ml = float(lesion_volumes_ml(labels, count, spacing_mm=mask.GetSpacing()).sum())
    log.info("%d lesions, %.2f ml", count, volume_ml)
