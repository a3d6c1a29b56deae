"""The lesions' figures as a DICOM measurement report: TID 1500, with a group (TID 1501) for the body and each lesion.

Source: DICOM PS3.16 TID 1500 and 1501, CID 218, 7464, 7466 and 7469.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from autosegnet import __version__
from autosegnet.dicom.header import quiet
from autosegnet.dicom.segmentation import NAME, SERIES_NUMBER
from autosegnet.dicom.source_references import Origin, copy_patient_and_study, lean_copies

if TYPE_CHECKING:
    from pydicom import Dataset

    from autosegnet.lesions import BodyFigures, Lesion, LesionTable

_DEVICE_UID = "2.25.311695176761309527867074830372048780180"
"""Of this software, a UUID drawn once."""


def measurement_report(
    table: LesionTable, origin: Origin, *, tracking_uids: tuple[str, ...], slice_of: Callable[[Lesion], int]
) -> Dataset:
    """The measurement report of a table of lesions; one without lesion reports none, and volume 0.

    Args:
        tracking_uids: of the lesions, in the order of their numbers.
        slice_of: which slice shows a lesion at its hottest; the lesion's group refers to it.
    """
    import highdicom as hd
    from pydicom.sr.codedict import codes

    sources = lean_copies(origin)
    with quiet():
        device = hd.sr.DeviceObserverIdentifyingAttributes(
            uid=_DEVICE_UID, name=NAME, manufacturer_name=NAME, model_name=f"{NAME} {__version__}"
        )
        groups = [_body(table.body)]
        for lesion, uid in zip(table.lesions, tracking_uids, strict=True):
            groups.append(_lesion(lesion, uid, hottest=sources[slice_of(lesion)]))
        content = hd.sr.MeasurementReport(
            observation_context=hd.sr.ObservationContext(
                observer_device_context=hd.sr.ObserverContext(
                    observer_type=codes.DCM.Device, observer_identifying_attributes=device
                )
            ),
            procedure_reported=codes.cid100.PETCTFDGImagingOfWholeBody,
            imaging_measurements=groups,
            title=codes.cid7021.PETMeasurementReport,
        )
        made = hd.sr.ComprehensiveSR(
            evidence=sources,
            content=content[0],
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


def _number(name: Any, value: float, unit: Any, derivation: Any = None) -> Any:
    import highdicom as hd

    return hd.sr.Measurement(name=name, value=float(f"{value:.10g}"), unit=unit, derivation=derivation)


def _algorithm() -> Any:
    import highdicom as hd

    return hd.sr.AlgorithmIdentification(name=NAME, version=__version__)


def _lesion(lesion: Lesion, uid: str, *, hottest: Dataset) -> Any:
    import highdicom as hd
    from pydicom.sr.codedict import codes

    suv, of = codes.DCM.Suvbw, codes.cid7464
    g_per_ml, ml, gram = _units()
    return hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(uid=uid, identifier=f"Lesion {lesion.number}"),
        finding_type=codes.SCT.Lesion,
        algorithm_id=_algorithm(),
        source_images=[hd.sr.SourceImageForMeasurementGroup.from_source_image(hottest)],
        measurements=[
            _number(codes.SCT.Volume, lesion.volume_ml, ml),
            _number(suv, lesion.suv_max, g_per_ml, of.Maximum),
            _number(suv, lesion.suv_mean, g_per_ml, of.Mean),
            _number(suv, lesion.suv_peak, g_per_ml, of.PeakValueWithinROI),
            _number(codes.DCM.TotalLesionGlycolysis, lesion.tlg_g, gram),
        ],
    )


def _body(body: BodyFigures) -> Any:
    import highdicom as hd
    from pydicom.sr.codedict import codes

    g_per_ml, ml, gram = _units()
    figures = [
        _number(codes.SCT.NumberOfLesions, body.lesions, codes.UCUM.NoUnits),
        _number(codes.SCT.Volume, body.tmtv_ml, ml, codes.cid7464.Total),
        _number(codes.DCM.TotalLesionGlycolysis, body.tlg_g, gram, codes.cid7464.Total),
    ]
    if body.suv_max is not None:
        figures.append(_number(codes.DCM.Suvbw, body.suv_max, g_per_ml, codes.cid7464.Maximum))
    return hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(uid=hd.UID(), identifier="All lesions"),
        finding_type=codes.SCT.Lesion,
        finding_sites=[hd.sr.FindingSite(anatomic_location=codes.SCT.EntireBody)],
        algorithm_id=_algorithm(),
        measurements=figures,
    )


def _units() -> tuple[Any, Any, Any]:
    from pydicom.sr.codedict import codes
    from pydicom.sr.coding import Code

    return codes.UCUM.StandardizedUptakeValueBodyWeight, Code("ml", "UCUM", "milliliter"), Code("g", "UCUM", "gram")
