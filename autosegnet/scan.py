"""How a PET was made, by its files: values for reports and results. None of them identifies a patient."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanFacts:
    """What is known of a scan; None or '' if its files do not say.

    Args:
        uptake_min: minutes from the injection to the time to which the PET is decay-corrected.
        dose_mbq: activity at the injection.
        weight_kg, height_cm: of the patient.
        sex: "M", "F", "O" or "".
        tracer: "FDG", "PSMA" and the like if the header names one that is known, else "".
        nuclide: as "F-18".
        scanner: manufacturer and model.
        reconstruction: method and kernel of the PET.
        voxel_mm: of the PET, along x, y, z of its grid.
        seen_fraction: activity in the field of view over the activity injected, both at the same time.
        ct: number, slices, voxel size and kernel of the chosen CT.
        stated: facts that the user stated instead of the files, one sentence each.
        warnings: doubts about the scan, one sentence each; the log has the same.
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
