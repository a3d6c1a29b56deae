"""DICOM in: the PET of a series as SUV, the CT of another as HU, and what DICOM results need to know of the PET."""

import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from autosegnet.dicom.header import Header
from autosegnet.dicom.kinds import ATTENUATION
from autosegnet.dicom.pet_attributes import read_pet_header
from autosegnet.dicom.series import Series
from autosegnet.dicom.stack import Stack
from autosegnet.dicom.volume import read_ct_image, read_pet_image
from autosegnet.errors import InputError
from autosegnet.geometry import view_voxels
from autosegnet.scan import ScanFacts
from autosegnet.suv import Conversion, StatedFacts, convert, weigh_activity
from autosegnet.suv.tracer import doubt_tracer

if TYPE_CHECKING:
    import SimpleITK


@dataclass(frozen=True, slots=True)
class DicomSource:
    """Where a PET came from.

    Args:
        headers: of the slices, in the order of the image's z axis.
        study_uid, frame_uid: StudyInstanceUID and FrameOfReferenceUID, '' if the PET lacks one.
    """

    headers: tuple[Header, ...]
    study_uid: str
    frame_uid: str

    @property
    def files(self) -> tuple[Path, ...]:
        """Return the slices' files in the order of `headers`."""
        return tuple(header.path for header in self.headers)


@dataclass(frozen=True, slots=True)
class DicomPet:
    """A PET read from DICOM.

    Args:
        image: SUV (g/ml), float32.
    """

    image: "SimpleITK.Image"
    conversion: Conversion
    source: DicomSource
    scan: ScanFacts


def read_dicom_pet(
    series: Series, *, mode: str = "qiba", facts: StatedFacts | None = None, expected_tracer: str = ""
) -> DicomPet:
    """Return the PET of a series in SUV.

    Args:
        mode: one of `suv.MODES`.
        facts: what the user states instead of the header.
        expected_tracer: the folds' tracer, "" for any. Another tracer causes a warning.

    Raises:
        InputError: the series forms no volume, or its header allows no SUV, or the SUV cannot be true.
    """
    facts = facts or StatedFacts()
    stacked = _require_stack(series)
    conversion = convert(read_pet_header(stacked.headers), mode=mode, facts=facts)
    image = read_pet_image(stacked, conversion.factors)
    voxel_ml = math.prod(image.GetSpacing()) / 1000.0
    conversion = weigh_activity(conversion, view_voxels(image), voxel_ml=voxel_ml, facts=facts)
    doubts = [*series.verdict.doubts, *doubt_tracer(conversion.tracer, conversion.nuclide, expected=expected_tracer)]
    stated = list(conversion.stated)
    if series.verdict.waived_by == ATTENUATION:
        stated.append(f"that the PET is corrected for attenuation was stated by {facts.name_way(ATTENUATION)}")
        doubts.append(stated[-1])
    conversion = replace(conversion, warnings=(*dict.fromkeys([*doubts, *conversion.warnings]),), stated=tuple(stated))
    source = DicomSource(stacked.headers, series.study_uid, series.frame_uid)
    return DicomPet(image, conversion, source, describe_scan(conversion, image, stacked.headers[0]))


def read_dicom_ct(series: Series) -> "SimpleITK.Image":
    """Return the CT of a series in HU.

    Raises:
        InputError: the series forms no volume.
    """
    return read_ct_image(_require_stack(series))


def _require_stack(series: Series) -> Stack:
    if series.stacked is None:
        raise InputError(f"cannot use the {series.summary}")
    return series.stacked


def describe_scan(conversion: Conversion | None, pet: "SimpleITK.Image", first: Header | None = None) -> ScanFacts:
    """Return what is known of a scan.

    Args:
        conversion: of the PET; None if it was given in SUV.
        first: a header of the PET; None if it is no DICOM.
    """
    figures = {} if conversion is None else conversion.figures
    uptake_s, dose_bq = figures.get("uptake_s"), figures.get("dose_bq")
    x, y, z = pet.GetSpacing()
    return ScanFacts(
        uptake_min=None if uptake_s is None else uptake_s / 60.0,
        dose_mbq=None if dose_bq is None else dose_bq / 1e6,
        weight_kg=figures.get("weight_kg"),
        height_cm=figures.get("height_cm"),
        sex=sex if first is not None and (sex := first.read_text("PatientSex").upper()) in ("M", "F", "O") else "",
        tracer="" if conversion is None or conversion.tracer == "another" else conversion.tracer,
        nuclide="" if conversion is None else conversion.nuclide,
        scanner=_join(first, "Manufacturer", "ManufacturerModelName"),
        reconstruction=_join(first, "ReconstructionMethod", "ConvolutionKernel"),
        voxel_mm=(x, y, z),
        seen_fraction=figures.get("seen_fraction_of_dose"),
        stated=() if conversion is None else conversion.stated,
        warnings=() if conversion is None else conversion.warnings,
    )


def _join(header: Header | None, *keywords: str) -> str:
    """Return attributes of the device as one text of plain characters."""
    texts = [] if header is None else [header.read_text(keyword) for keyword in keywords]
    return ", ".join(re.sub(r"[^A-Za-z0-9 .,+\-_/()]", " ", text)[:64].strip() for text in texts if text)
