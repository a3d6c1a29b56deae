"""What the files say about how a PET was made: values for reports and results, none of which identifies a patient."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanFacts:
    """What is known of a scan; None or '' if its files do not say.

    Args:
        uptake_min: from the injection to the time to which the PET is corrected.
        dose_mbq: activity at the injection.
        weight_kg, height_cm: of the patient.
        sex: "M", "F", "O" or "".
        tracer: "FDG", "PSMA" and the like if the header names one that is known, else "".
        nuclide: as "F-18".
        scanner: manufacturer and model.
        reconstruction: method and kernel of the PET.
        voxel_mm: of the PET, along x, y, z of its grid.
        seen_fraction: activity in the field of view over the activity injected, both at the same time.
        ct: number, slices, voxel size and kernel of the CT that was taken.
        stated: facts that the user stated instead of the files, a sentence each.
        warnings: what is doubtful about the scan, a sentence each; the log has the same.
    """

    uptake_min: float | None = None
    dose_mbq: float | None = None
    weight_kg: float | None = None
    height_cm: float | None = None
    sex: str = ""
    tracer: str = ""
    nuclide: str = ""
    scanner: str = ""
    reconstruction: str = ""
    voxel_mm: tuple[float, float, float] | None = None
    seen_fraction: float | None = None
    ct: str = ""
    stated: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
