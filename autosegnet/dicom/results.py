"""Makes the DICOM results that a person asked for."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import SimpleITK as sitk
    from pydicom import Dataset

    from autosegnet.dicom.pet import DicomSource
    from autosegnet.dicom.source_references import Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class DicomResults:
    """Where results go; None for one that is not wanted.

    Args:
        per_lesion: a segment a lesion, instead of one in all.
    """

    segmentation: Path | None = None
    report: Path | None = None
    structure_set: Path | None = None
    per_lesion: bool = False

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files to be written."""
        return tuple(p for p in (self.segmentation, self.report, self.structure_set) if p is not None)


def encoded_results(mask: sitk.Image, suv: sitk.Image, source: DicomSource, results: DicomResults) -> dict[Path, bytes]:
    """The wanted results of a mask, as the bytes of their files.

    Args:
        mask: on the PET's grid, whose z axis runs along `source.files`.
        suv: the PET.

    Raises:
        InputError: a file of the PET is gone.
    """
    from autosegnet.dicom.source_references import open_origin

    made = _made(mask, suv, open_origin(source), results)
    return {path: _encoded(dataset) for path, dataset in made.items()}


def _made(mask: sitk.Image, suv: sitk.Image, origin: Origin, results: DicomResults) -> dict[Path, Dataset]:
    from pydicom.uid import generate_uid

    from autosegnet.geometry import Grid
    from autosegnet.lesions import measure_lesions, number_lesions

    labels, count = number_lesions(mask)
    uids = tuple(str(generate_uid()) for _ in range(count))
    made: dict[Path, Dataset] = {}
    if results.segmentation is not None:
        from autosegnet.dicom.segmentation import segmentation

        spacing_mm = float(mask.GetSpacing()[2])
        made[results.segmentation] = segmentation(
            labels, origin, tracking_uids=uids, per_lesion=results.per_lesion, spacing_mm=spacing_mm
        )
    if results.report is not None:
        from autosegnet.dicom.structured_report import measurement_report

        made[results.report] = measurement_report(
            measure_lesions(mask, suv),
            origin,
            tracking_uids=uids,
            slice_of=lambda lesion: mask.TransformPhysicalPointToIndex(lesion.suv_max_mm)[2],
        )
    if results.structure_set is not None:
        from autosegnet.dicom.rtstruct import structure_set

        made[results.structure_set] = structure_set(labels, count, origin, Grid.of(mask))
    return made


def _encoded(dataset: Dataset) -> bytes:
    from autosegnet.dicom.header import quiet

    buffer = io.BytesIO()
    with quiet():
        dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
