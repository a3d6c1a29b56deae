"""The lesions' figures as a DICOM measurement report: TID 1500, with a group for the body and each lesion: TID 1501,
or TID 1411 if the report refers to a segment.

Source: DICOM PS3.16 TID 1500, 1501 and 1411, CID 218, 7464, 7466 and 7469.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from autosegnet import __version__
from autosegnet.dicom.header import keep_quiet
from autosegnet.dicom.segmentation import NAME, SERIES_NUMBER
from autosegnet.dicom.source_references import Origin, copy_patient_and_study, make_lean_copies

if TYPE_CHECKING:
    from pydicom import Dataset

    from autosegnet.lesions import BodyFigures, Lesion, LesionTable

_DEVICE_UID = "2.25.311695176761309527867074830372048780180"
"""Of this software, a UUID drawn once."""


def make_measurement_report(
    table: LesionTable,
    origin: Origin,
    *,
    tracking_uids: tuple[str, ...],
    slice_of: Callable[[Lesion], int],
    segmentation: Dataset | None = None,
) -> Dataset:
    """Return the measurement report of a table of lesions; one without lesion reports none, and volume 0.

    Args:
        tracking_uids: of the lesions, in the order of their numbers.
        slice_of: which slice shows a lesion at its hottest; the lesion's group refers to it.
        segmentation: of the same lesions; the report refers to its segments.
    """
    import highdicom as hd

    sources = make_lean_copies(origin)
    with keep_quiet():
        groups = [_make_body(table.body, segmentation)]
        for lesion, uid in zip(table.lesions, tracking_uids, strict=True):
            groups.append(_make_lesion(lesion, uid, hottest=sources[slice_of(lesion)], segmentation=segmentation))
        made = hd.sr.ComprehensiveSR(
            evidence=[*sources, *([] if segmentation is None else [segmentation])],
            content=_make_content(groups, origin, table),
            series_instance_uid=hd.UID(),
            series_number=SERIES_NUMBER + 1,
            sop_instance_uid=hd.UID(),
            instance_number=1,
            manufacturer=NAME,
            is_complete=True,
            is_final=False,
            is_verified=False,
            series_description="autosegnet lesion figures",
        )
    copy_patient_and_study(origin, made)
    return made


def _make_content(groups: list[Any], origin: Origin, table: LesionTable) -> Any:
    """Return the report's tree; what was stated by the user and what is doubtful stand in it as comments."""
    import highdicom as hd
    from pydicom.sr.codedict import codes

    device = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=_DEVICE_UID, name=NAME, manufacturer_name=NAME, model_name=f"{NAME} {__version__}"
    )
    context = hd.sr.ObservationContext(
        observer_device_context=hd.sr.ObserverContext(
            observer_type=codes.DCM.Device, observer_identifying_attributes=device
        )
    )
    is_fdg = origin.scan.tracer == "FDG"
    content = hd.sr.MeasurementReport(
        observation_context=context,
        procedure_reported=codes.cid100.PETCTFDGImagingOfWholeBody if is_fdg else codes.cid100.PETWholeBody,
        imaging_measurements=groups,
        title=codes.cid7021.PETMeasurementReport,
    )[0]
    for text in _list_comments(origin, table):
        content.ContentSequence.append(
            hd.sr.TextContentItem(
                name=codes.DCM.Comment, value=text, relationship_type=hd.sr.RelationshipTypeValues.CONTAINS
            )
        )
    return content


def _list_comments(origin: Origin, table: LesionTable) -> list[str]:
    scan = origin.scan
    tracer = f"Tracer: {scan.tracer or 'not known from the header'}; nuclide: {scan.nuclide or 'not known'}"
    stated = [f"Stated by the user: {text}" for text in scan.stated]
    warnings = [f"Warning: {text}" for text in scan.warnings if text not in scan.stated]
    return [tracer, *stated, *warnings, *_list_findings(table)]


def _list_findings(table: LesionTable) -> list[str]:
    """Return what standard codes do not carry: references, sites, doubts, and what was left out."""
    lines = [
        f"Reference, {reference.organ}: SUVmean {reference.suv_mean:.2f}, SD {reference.suv_sd:.2f}; {reference.source}"
        for reference in (table.references.liver, table.references.blood)
        if reference is not None
    ]
    for lesion in table.lesions:
        site = ", ".join(part for part in (lesion.site.name, lesion.site.side) if part)
        doubt = f"; may be physiological uptake: {lesion.site.flag}" if lesion.site.flag else ""
        border = "; at the border of the PET, may be cut" if lesion.touches_border else ""
        if site or doubt or border:
            lines.append(f"Lesion {lesion.number}: {site or 'site not known'}{doubt}{border}")
    lines += [
        f"Left out on request: {left.lesions} lesions, {left.volume_ml:.2f} ml, {left.reason}"
        for left in table.left_out
    ]
    return lines


def _number(name: Any, value: float, unit: Any, derivation: Any = None) -> Any:
    import highdicom as hd

    return hd.sr.Measurement(name=name, value=float(f"{value:.10g}"), unit=unit, derivation=derivation)


def _describe_algorithm() -> Any:
    import highdicom as hd

    return hd.sr.AlgorithmIdentification(name=NAME, version=__version__)


def _make_lesion(lesion: Lesion, uid: str, *, hottest: Dataset, segmentation: Dataset | None) -> Any:
    import highdicom as hd
    from pydicom.sr.codedict import codes

    suv, of = codes.DCM.Suvbw, codes.cid7464
    g_per_ml, ml, gram = _list_units()
    tracking = hd.sr.TrackingIdentifier(uid=uid, identifier=f"Lesion {lesion.number}")
    measurements = [
        _number(codes.SCT.Volume, lesion.volume_ml, ml),
        _number(suv, lesion.suv_max, g_per_ml, of.Maximum),
        _number(suv, lesion.suv_mean, g_per_ml, of.Mean),
        _number(suv, lesion.suv_peak, g_per_ml, of.PeakValueWithinROI),
        _number(codes.DCM.TotalLesionGlycolysis, lesion.tlg_g, gram),
    ]
    if segmentation is not None and _has_segment_per_lesion(segmentation):
        return hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
            tracking_identifier=tracking,
            referenced_segment=_refer_to(segmentation, lesion.number),
            finding_type=codes.SCT.Lesion,
            algorithm_id=_describe_algorithm(),
            measurements=measurements,
        )
    return hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=tracking,
        finding_type=codes.SCT.Lesion,
        algorithm_id=_describe_algorithm(),
        source_images=[hd.sr.SourceImageForMeasurementGroup.from_source_image(hottest)],
        measurements=measurements,
    )


def _make_body(body: BodyFigures, segmentation: Dataset | None) -> Any:
    import highdicom as hd
    from pydicom.sr.codedict import codes

    g_per_ml, ml, gram = _list_units()
    figures = [
        _number(codes.SCT.NumberOfLesions, body.lesions, codes.UCUM.NoUnits),
        _number(codes.SCT.Volume, body.tmtv_ml, ml, codes.cid7464.Total),
        _number(codes.DCM.TotalLesionGlycolysis, body.tlg_g, gram, codes.cid7464.Total),
    ]
    if body.suv_max is not None:
        figures.append(_number(codes.DCM.Suvbw, body.suv_max, g_per_ml, codes.cid7464.Maximum))
    tracking = hd.sr.TrackingIdentifier(uid=hd.UID(), identifier="All lesions")
    sites = [hd.sr.FindingSite(anatomic_location=codes.SCT.EntireBody)]
    if segmentation is not None and body.lesions and not _has_segment_per_lesion(segmentation):
        return hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
            tracking_identifier=tracking,
            referenced_segment=_refer_to(segmentation, 1),
            finding_type=codes.SCT.Lesion,
            finding_sites=sites,
            algorithm_id=_describe_algorithm(),
            measurements=figures,
        )
    return hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=tracking,
        finding_type=codes.SCT.Lesion,
        finding_sites=sites,
        algorithm_id=_describe_algorithm(),
        measurements=figures,
    )


def _has_segment_per_lesion(segmentation: Dataset) -> bool:
    return "TrackingUID" in segmentation.SegmentSequence[0]


def _refer_to(segmentation: Dataset, number: int) -> Any:
    import highdicom as hd

    series = segmentation.ReferencedSeriesSequence[0].SeriesInstanceUID
    return hd.sr.ReferencedSegment(
        sop_class_uid=segmentation.SOPClassUID,
        sop_instance_uid=segmentation.SOPInstanceUID,
        segment_number=number,
        source_series=hd.sr.SourceSeriesForSegmentation(series),
    )


def _list_units() -> tuple[Any, Any, Any]:
    from pydicom.sr.codedict import codes
    from pydicom.sr.coding import Code

    return codes.UCUM.StandardizedUptakeValueBodyWeight, Code("ml", "UCUM", "milliliter"), Code("g", "UCUM", "gram")
