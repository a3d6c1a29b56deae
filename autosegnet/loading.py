"""The study that a person names: each of PET and CT a file or a folder of DICOM, the PET in SUV or in Bq/ml."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from autosegnet.errors import InputError, UsageError, format_path
from autosegnet.io import read_image
from autosegnet.io.nifti_forms import Form
from autosegnet.scan import ScanFacts
from autosegnet.study import AIR_HU, Study, check_study
from autosegnet.suv import Conversion, convert_sidecar

if TYPE_CHECKING:
    import SimpleITK as sitk

    from autosegnet.dicom.pet import DicomSource
    from autosegnet.dicom.series import Series

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class InputOptions:
    """Say how to read a study if its files alone do not.

    Args:
        pet_series: SeriesInstanceUID of the PET, or its end, if a folder holds several.
        ct_series: SeriesInstanceUID of the CT, likewise.
        mode: how SUV is derived: "qiba" or "tcia-compat".
        weight_kg: replaces the weight of the header or sidecar.
        pet_unit: "suv" or "bqml", for a PET that is a file.
        pet_sidecar: PET-BIDS JSON of a PET file in Bq/ml.
        nifti_form: which of the sform and the qform of a NIfTI file counts if both are set and differ.
        nonfinite: "air" reads voxels of files that are NaN or infinite as air, SUV 0 and -1024 HU.
    """

    pet_series: str = ""
    ct_series: str = ""
    mode: str = "qiba"
    weight_kg: float | None = None
    pet_unit: str = "suv"
    pet_sidecar: Path | None = None
    nifti_form: Form = "both"
    nonfinite: Literal["refuse", "air"] = "refuse"


@dataclass(frozen=True, slots=True)
class LoadedStudy:
    """A study with how its SUV came about.

    Args:
        conversion: None where the PET was stored as SUV.
        source: None where the PET is no DICOM.
        scan: how the PET was made, as far as the files say.
    """

    study: Study
    conversion: Conversion | None = None
    source: DicomSource | None = None
    scan: ScanFacts = field(default_factory=ScanFacts)


def load_study(*, pet: Path, ct: Path, options: InputOptions | None = None) -> LoadedStudy:
    """The study in two files or folders, checked; one folder may hold both series.

    Raises:
        InputError: it cannot be read, paired, converted or believed.
        UsageError: options that contradict each other or the kind of input.
    """
    options = options or InputOptions()
    _check_options(pet, ct, options)
    if not pet.is_dir():
        with ThreadPoolExecutor(1, "reader") as pool:  # to decompress leaves the interpreter to the other thread
            # What a reader of DICOM warns of is kept for the study by this thread.
            reading = None if ct.is_dir() else pool.submit(copy_context().run, _read_file, ct, AIR_HU, options)
            image, conversion = _pet_from_file(pet, options)
            ct_image = _ct_from_folder(ct, None, options) if reading is None else reading.result()
        return LoadedStudy(check_study(pet=image, ct=ct_image), conversion, None, scan_facts(conversion, image))

    from autosegnet.dicom.series import choose_pet, series_in

    found = series_in(pet)
    chosen = choose_pet(found, uid=options.pet_series)
    if not ct.is_dir():
        ct_image = _read_file(ct, AIR_HU, options)
    else:
        in_ct_folder = found if ct.resolve() == pet.resolve() else series_in(ct)
        ct_image = _ct_of(in_ct_folder, chosen, options)
    return _from_dicom(chosen, ct_image, options)


def load_dicom(files: Sequence[Path], options: InputOptions) -> LoadedStudy:
    """The study in DICOM files, whose PET and CT are chosen as in a folder that holds both; checked.

    Raises:
        InputError: it cannot be read, paired, converted or believed.
    """
    from autosegnet.dicom.objects import read_header
    from autosegnet.dicom.series import choose_pet, series_of

    found = series_of(read_header(path) for path in files)
    pet = choose_pet(found, uid=options.pet_series)
    return _from_dicom(pet, _ct_of(found, pet, options), options)


def log_conversion(conversion: Conversion) -> None:
    """Logs the rule, the factor and every warning."""
    low, high = min(conversion.factors), max(conversion.factors)
    log.info("SUV: %s; factor %s", conversion.rule, f"{low:.6g}" if low == high else f"{low:.6g} to {high:.6g}")
    for warning in conversion.warnings:
        log.warning("SUV: %s", warning)


def _from_dicom(pet: Series, ct: sitk.Image, options: InputOptions) -> LoadedStudy:
    from autosegnet.dicom.pet import read_dicom_pet

    loaded = read_dicom_pet(pet, mode=options.mode, weight_kg=options.weight_kg)
    log_conversion(loaded.conversion)
    scan = scan_facts(loaded.conversion, loaded.image)
    return LoadedStudy(check_study(pet=loaded.image, ct=ct), loaded.conversion, loaded.source, scan)


def scan_facts(conversion: Conversion | None, pet: sitk.Image) -> ScanFacts:
    """Return what is known of a scan from the conversion of its PET and the PET itself."""
    figures = {} if conversion is None else conversion.figures
    uptake_s, dose_bq = figures.get("uptake_s"), figures.get("dose_bq")
    x, y, z = pet.GetSpacing()
    return ScanFacts(
        uptake_min=None if uptake_s is None else uptake_s / 60.0,
        dose_mbq=None if dose_bq is None else dose_bq / 1e6,
        weight_kg=figures.get("weight_kg"),
        voxel_mm=(x, y, z),
        warnings=() if conversion is None else conversion.warnings,
    )


def _check_options(pet: Path, ct: Path, options: InputOptions) -> None:
    if pet.is_dir():
        if options.pet_unit != "suv" or options.pet_sidecar is not None:
            raise UsageError("--pet-unit and --pet-sidecar are for a PET file; DICOM states its unit itself")
    else:
        if options.pet_series or options.mode != "qiba":
            raise UsageError("--pet-series and --suv-mode are for a PET in DICOM; --pet is a file")
        if (options.pet_unit == "bqml") != (options.pet_sidecar is not None):
            raise UsageError("--pet-unit bqml and --pet-sidecar FILE.json belong together; give both or neither")
        if options.weight_kg is not None and options.pet_unit == "suv":
            raise UsageError("--weight-kg has no use for a PET file in SUV")
    if options.ct_series and not ct.is_dir():
        raise UsageError("--ct-series is for a CT in DICOM; --ct is a file")


def _pet_from_file(path: Path, options: InputOptions) -> tuple[sitk.Image, Conversion | None]:
    if options.pet_sidecar is None:
        return _read_file(path, 0.0, options), None
    conversion = convert_sidecar(_read_sidecar(options.pet_sidecar), weight_kg=options.weight_kg)
    log_conversion(conversion)
    return _scaled(_read_file(path, 0.0, options), conversion.factors[0]), conversion


def _read_file(path: Path, air: float, options: InputOptions) -> sitk.Image:
    return read_image(path, form=options.nifti_form, air=air if options.nonfinite == "air" else None)


def _scaled(image: sitk.Image, factor: float) -> sitk.Image:
    """The image x factor as float32, multiplied in float64."""
    import numpy as np

    from autosegnet.geometry import Grid, image_on, voxels

    stored = voxels(image)
    values = np.empty(stored.shape, np.float32)
    for z, plane in enumerate(stored):
        values[z] = plane.astype(np.float64) * factor
    return image_on(values, Grid.of(image))


def _read_sidecar(path: Path) -> dict[str, object]:
    try:
        sidecar = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not JSON"
        raise InputError(f"cannot read the sidecar {format_path(path)}: {reason}") from error
    if not isinstance(sidecar, dict):
        raise InputError(f"the sidecar {format_path(path)} is no JSON object; expected names and values as in PET-BIDS")
    return sidecar


def _ct_from_folder(folder: Path, pet: Series | None, options: InputOptions) -> sitk.Image:
    from autosegnet.dicom.series import series_in

    return _ct_of(series_in(folder), pet, options)


def _ct_of(found: list[Series], pet: Series | None, options: InputOptions) -> sitk.Image:
    from autosegnet.dicom.pet import read_dicom_ct
    from autosegnet.dicom.series import choose_ct

    return read_dicom_ct(choose_ct(found, uid=options.ct_series, pet=pet))
