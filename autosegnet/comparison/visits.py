"""One date of a patient: the study, its lesions, and what tells whose it is; from a folder of either kind."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from autosegnet.batch.find import find_studies
from autosegnet.comparison.result_folder import StudyFiles, read_study_file
from autosegnet.errors import InputError, format_list, format_path
from autosegnet.geometry import Grid
from autosegnet.label_files import read_lesion_mask, read_organ_labels
from autosegnet.lesions import BodySize, LesionTable, OrganLabels, measure_lesions
from autosegnet.loading import InputOptions, LoadedStudy, load_study
from autosegnet.outputs import make_context
from autosegnet.result_files import MASK_FILE
from autosegnet.runtime.log import keep_study_warnings

if TYPE_CHECKING:
    import SimpleITK as sitk

    from autosegnet.segmenter import Segmenter

log = logging.getLogger(__name__)

OpenSegmenter = Callable[[], "Segmenter"]
"""Opens the weights, and is called only if a study has no mask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitFiles:
    """What a person gives of one date.

    Args:
        folder: with one study (DICOM, or PET and CT files), or a result of `predict --result`.
        mask: of the lesions, on the PET's grid; None takes the result's, or segments the study.
        organs: organ map of that date.
        size: of the patient on that date, if the files do not say.
        labelled: each label of the mask is one lesion.
        resample_mask: take a mask on another grid, each voxel from the nearest one.
        options: how the files are to be read.

    A result folder brings options, organ map and size of its own; an organ map or size that is given here counts more.
    """

    folder: Path
    mask: Path | None = None
    organs: OrganLabels | None = None
    size: BodySize | None = None
    labelled: bool = False
    resample_mask: bool = False
    options: InputOptions = field(default_factory=InputOptions)


@dataclass(frozen=True, slots=True)
class Visit:
    """One date of a patient.

    Args:
        loaded: the study.
        mask: of the lesions, on the PET's grid.
        table: its figures.
        mask_source: where the mask comes from, for a reader.
        warnings: of the study, a sentence each.
        organs, size: as given.
    """

    loaded: LoadedStudy
    mask: sitk.Image
    table: LesionTable
    mask_source: str = "given"
    warnings: tuple[str, ...] = ()
    organs: OrganLabels | None = None
    size: BodySize | None = None

    @property
    def day(self) -> date | None:
        """Return the day of the examination; None if no DICOM header says it."""
        text = self.read_header("StudyDate") or self.read_header("SeriesDate")
        try:
            return datetime.strptime(text[:8], "%Y%m%d").date()  # noqa: DTZ007 (a day has no time zone)
        except ValueError:
            return None

    def read_header(self, name: str) -> str:
        """Return an attribute of the PET's first slice; '' if it lacks it, or is no DICOM."""
        source = self.loaded.source
        return "" if source is None else source.headers[0].read_text(name).strip()

    def measure(self, mask: sitk.Image) -> LesionTable:
        """Return the figures of another mask of the same study, labelled as this one."""
        context = make_context(self.loaded, organs=self.organs, size=self.size)
        return measure_lesions(mask, self.loaded.study.pet, context, labelled=self.table.labelled)


def open_visit(files: VisitFiles, open_segmenter: OpenSegmenter) -> Visit:
    """Return the visit in a folder.

    Raises:
        InputError: there is not exactly one study, or study or mask cannot be read.
        WeightsError: there is no mask, and no weights to make one.
    """
    files, result = _follow_result(files)
    with keep_study_warnings() as warnings:
        loaded = _load(files, result)
    path = files.mask
    if path is not None:
        grid = Grid.from_image(loaded.study.pet)
        mask = read_lesion_mask(path, grid, labelled=files.labelled, resample=files.resample_mask)
        source = "the mask was given"
    else:
        found = open_segmenter().segment_loaded(loaded, warnings=tuple(warnings))
        mask, source = found.mask, f"segmented by {found.provenance.engine}, weights {found.provenance.weights[:12]}"
        warnings = list(found.warnings)
    context = make_context(loaded, organs=files.organs, size=files.size)
    table = measure_lesions(mask, loaded.study.pet, context, labelled=files.labelled)
    return Visit(loaded, mask, table, source, tuple(warnings), files.organs, files.size)


def _follow_result(files: VisitFiles) -> tuple[VisitFiles, StudyFiles | None]:
    """Return what is given with what a result folder adds, and where its study lies; None for a study's folder."""
    if not files.folder.is_dir():
        raise InputError(f"found no folder at {format_path(files.folder)}; expected a study or a result of predict")
    known = read_study_file(files.folder)
    if known is None:
        return files, None
    mask, organs = files.mask or files.folder / MASK_FILE, files.organs
    if files.mask is None and not mask.is_file():
        raise InputError(f"{format_path(files.folder)} holds a study.json and no {MASK_FILE}; run predict again")
    if organs is None and known.organs is not None:
        organs = read_organ_labels(
            known.organs, known.organ_table, form=known.options.nifti_form, nonfinite=known.options.nonfinite
        )
    return replace(files, mask=mask, organs=organs, size=files.size or known.size), known


def _load(files: VisitFiles, result: StudyFiles | None) -> LoadedStudy:
    if result is not None:
        return load_study(pet=result.pet, ct=result.ct, options=result.options)
    studies = find_studies(files.folder, leave_out=files.folder / ".none")
    if len(studies) > 1:
        names = format_list([study.case for study in studies])
        raise InputError(f"{format_path(files.folder)} holds {len(studies)} studies ({names}); name the folder of one")
    (study,) = studies
    if study.fault:
        raise InputError(f"{format_path(files.folder)}: {study.fault}")
    options = replace(files.options, pet_series=study.pet_series, ct_series=study.ct_series)
    if study.dicom:
        return load_study(pet=files.folder, ct=files.folder, options=options)
    if study.pet is None or study.ct is None:
        missing = "PET" if study.pet is None else "CT"
        raise InputError(f"found no {missing} in {format_path(files.folder)}; expected PET and CT of one examination")
    return load_study(pet=study.pet, ct=study.ct, options=options)
