"""A mask as a DICOM Segmentation on the PET's frames.

Source: DICOM PS3.3 A.51; codes of PS3.16 CID 7150 and 7159.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autosegnet import __version__
from autosegnet.dicom.header import keep_quiet
from autosegnet.dicom.source_references import Origin, copy_patient_and_study, make_lean_copies

if TYPE_CHECKING:
    from pydicom import Dataset

SERIES_NUMBER = 9001
"""Beyond the numbers that scanners give; structure set and report follow it."""

NAME = "autosegnet"


_COLOUR_CIELAB = (53.0, 80.0, 67.0)
"""Red, as most viewers show lesions."""


def make_segmentation(
    labels: NDArray[Any], origin: Origin, *, tracking_uids: tuple[str, ...], per_lesion: bool
) -> Dataset:
    """Return the Segmentation of a mask, with one segment in all or one per lesion.

    A mask without lesion gives one segment, empty in every frame, because a Segmentation needs at least one.

    Args:
        labels: (z, y, x), 0 outside, 1 to n in the lesions; z as the origin's headers.
        tracking_uids: of the lesions, in the order of their numbers.
        per_lesion: whether each lesion is a segment.
    """
    import highdicom as hd

    split = per_lesion and bool(tracking_uids)
    sources = make_lean_copies(origin)
    with keep_quiet():
        made = hd.seg.Segmentation(
            source_images=sources,
            pixel_array=labels.astype(np.uint16) if split else (labels > 0).astype(np.uint8),
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=_describe_segments(tracking_uids if split else ()),
            series_instance_uid=hd.UID(),
            series_number=SERIES_NUMBER,
            sop_instance_uid=hd.UID(),
            instance_number=1,
            manufacturer=NAME,
            manufacturer_model_name=NAME,
            software_versions=__version__,
            device_serial_number="none",
            content_label="LESIONS",
            content_description=origin.description,
            series_description="autosegnet lesions",
            pixel_measures=hd.PixelMeasuresSequence(
                pixel_spacing=list(sources[0].PixelSpacing),
                slice_thickness=sources[0].SliceThickness,
                spacing_between_slices=round(origin.spacing_mm, 6),
            ),
        )
    copy_patient_and_study(origin, made)
    return made


def _describe_segments(tracking_uids: tuple[str, ...]) -> list[Any]:
    import highdicom as hd
    from pydicom.sr.codedict import codes

    algorithm = hd.AlgorithmIdentificationSequence(
        name=NAME, family=codes.DCM.ArtificialIntelligence, version=__version__
    )

    def describe_segment(number: int, label: str, uid: str | None) -> Any:
        return hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=label,
            segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
            segmented_property_type=codes.SCT.Lesion,
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=algorithm,
            tracking_uid=uid,
            tracking_id=label if uid else None,
            display_color=hd.color.CIELabColor(*_COLOUR_CIELAB),
        )

    if not tracking_uids:
        return [describe_segment(1, "Lesions", None)]
    return [describe_segment(k, f"Lesion {k}", uid) for k, uid in enumerate(tracking_uids, start=1)]
