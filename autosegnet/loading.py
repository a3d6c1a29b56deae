"""Loads the study that the user names: PET and CT are files or DICOM folders, the PET in SUV or in Bq/ml."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from autosegnet.errors import InputError, UsageError, format_path
from autosegnet.io import read_image
from autosegnet.io.decoded import Nonfinite
from autosegnet.io.folders import refuse_archive
from autosegnet.io.nifti_forms import Form
from autosegnet.io.small_files import read_json, require_object
from autosegnet.scan import ScanFacts
from autosegnet.study import AIR_HU, Study, check_study
from autosegnet.suv import Conversion, StatedFacts, convert_sidecar, weigh_activity
from autosegnet.suv.tracer import doubt_tracer
from autosegnet.suv_check import check_suv

if TYPE_CHECKING:
    import SimpleITK as sitk

    from autosegnet.dicom.choice import Chooser
    from autosegnet.dicom.header import Header
    from autosegnet.dicom.pet import DicomSource
    from autosegnet.dicom.series import Series

log = logging.getLogger(__name__)

_OF_DICOM = ("same_frame", "attenuation_corrected")


@dataclass(frozen=True, slots=True, kw_only=True)
class InputOptions:
    """Say how to read a study if its files alone do not.

    Args:
        pet_series: SeriesInstanceUID of the PET, or its end, if a folder holds several.
        ct_series: SeriesInstanceUID of the CT, or its end, if a folder holds several.
        mode: how SUV is derived: "qiba" or "tcia-compat".
        facts: what you state instead of header or sidecar.
        pet_unit: "suv" or "bqml", for a PET that is a file.
        pet_sidecar: PET-BIDS JSON of a PET file in Bq/ml.
        nifti_form: which of the sform and the qform of a NIfTI file counts if both are set and differ.
        nonfinite: "air" reads voxels of files that are NaN or infinite as air, SUV 0 and -1024 HU.
        expected_tracer: the folds' tracer, "" for any. Another tracer causes a warning.
    """

    pet_series: str = ""
    ct_series: str = ""
    mode: str = "qiba"
    facts: StatedFacts = field(default_factory=StatedFacts)
    pet_unit: str = "suv"
    pet_sidecar: Path | None = None
    nifti_form: Form = "both"
    nonfinite: Nonfinite = "refuse"
    expected_tracer: str = ""


@dataclass(frozen=True, slots=True)
class LoadedStudy:
    """A study, and how its SUV was derived.

    Args:
        conversion: None if the PET was stored as SUV.
        source: None if the PET is not DICOM.
        scan: how the PET was made, as far as the files say.
    """

    study: Study
    conversion: Conversion | None = None
    source: DicomSource | None = None
    scan: ScanFacts = field(default_factory=ScanFacts)


def load_study(*, pet: Path, ct: Path, options: InputOptions | None = None) -> LoadedStudy:
    """Return the study in two files or folders, checked; one folder may hold both series.

    Raises:
        InputError: it cannot be read, paired, converted or trusted.
        UsageError: options contradict each other or the kind of input.
    """
    options = options or InputOptions()
    pet_is_folder, ct_is_folder = (_is_folder(path) for path in (pet, ct))
    check_options(options, pet_is_folder=pet_is_folder, ct_is_folder=ct_is_folder)
    if not pet_is_folder:
        return _load_pet_file(pet, ct, options, ct_is_folder=ct_is_folder)

    from autosegnet.dicom.choice import choose_pet
    from autosegnet.dicom.objects import find_headers
    from autosegnet.dicom.series import sort_series

    headers = find_headers(pet)
    found = sort_series(headers)
    chosen = choose_pet(found, _choose(options))
    if not ct_is_folder:
        return _load_dicom_pet(chosen, (_read_file(ct, AIR_HU, options), ""), options)
    in_ct_folder = found if ct.resolve() == pet.resolve() else sort_series(find_headers(ct, known=headers))
    return _load_dicom_pet(chosen, _read_ct(in_ct_folder, chosen, options), options)


def load_pet(pet: Path, options: InputOptions | None = None) -> LoadedStudy:
    """Return a PET without a CT, for measuring. The CT of its study is air, and the two were not judged together.

    Args:
        pet: file or DICOM folder.
        options: how to read it.

    Raises:
        InputError: it cannot be read or converted, or is not in SUV.
        UsageError: options contradict each other or the kind of input.
    """
    from autosegnet.dicom.pet import describe_scan, read_dicom_pet

    options = options or InputOptions()
    pet_is_folder = _is_folder(pet)
    check_options(options, pet_is_folder=pet_is_folder, ct_is_folder=False)
    if not pet_is_folder:
        image, conversion = _read_pet_file(pet, options)
        check_suv(image)
        return LoadedStudy(Study(image, _make_air(image)), conversion, None, describe_scan(conversion, image))
    from autosegnet.dicom.choice import choose_pet
    from autosegnet.dicom.series import gather_series

    chosen = choose_pet(gather_series(pet), _choose(options))
    read = read_dicom_pet(chosen, mode=options.mode, facts=options.facts, expected_tracer=options.expected_tracer)
    log_conversion(read.conversion)
    check_suv(read.image)
    return LoadedStudy(Study(read.image, _make_air(read.image)), read.conversion, read.source, read.scan)


def _make_air(pet: sitk.Image) -> sitk.Image:
    """Return a CT of one voxel of air at the PET's origin. Beyond a CT everything is read as air."""
    import numpy as np

    from autosegnet.geometry import Grid, make_image

    return make_image(np.full((1, 1, 1), AIR_HU, np.float32), replace(Grid.from_image(pet), size=(1, 1, 1)))


def load_dicom(headers: Iterable[Header], options: InputOptions) -> LoadedStudy:
    """Return the study of DICOM objects, whose PET and CT are chosen as in a folder that holds both; checked.

    Args:
        headers: in the order of their paths.
        options: how to read them.

    Raises:
        InputError: it cannot be read, paired, converted or trusted.
    """
    from autosegnet.dicom.choice import choose_pet
    from autosegnet.dicom.series import sort_series

    found = sort_series(headers)
    pet = choose_pet(found, _choose(options))
    return _load_dicom_pet(pet, _read_ct(found, pet, options), options)


def log_conversion(conversion: Conversion) -> None:
    """Log the rule, the factor and every warning."""
    low, high = min(conversion.factors), max(conversion.factors)
    log.info("SUV: %s; factor %s", conversion.rule, f"{low:.6g}" if low == high else f"{low:.6g} to {high:.6g}")
    for warning in conversion.warnings:
        log.warning("SUV: %s", warning)


def _choose(options: InputOptions) -> Chooser:
    from autosegnet.dicom.choice import Chooser

    return Chooser(pet_uid=options.pet_series, ct_uid=options.ct_series, facts=options.facts)


def _is_folder(path: Path) -> bool:
    """Return whether a path is a folder.

    Raises:
        InputError: the system does not say, or the path is an archive's.
    """
    try:
        is_folder = path.is_dir()
        if not is_folder:
            path.stat()
    except FileNotFoundError:
        return False  # the reader says what is missing
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a valid file name"
        raise InputError(f"cannot read {format_path(path)}: {reason}") from error
    refuse_archive(path)
    return is_folder


def _load_pet_file(pet: Path, ct: Path, options: InputOptions, *, ct_is_folder: bool) -> LoadedStudy:
    with ThreadPoolExecutor(1, "reader") as pool:  # decompressing releases the interpreter lock, so two threads help
        # A DICOM folder is read in this thread, which collects the warnings for the study.
        reading = None if ct_is_folder else pool.submit(copy_context().run, _read_file, ct, AIR_HU, options)
        image, conversion = _read_pet_file(pet, options)
        ct_image, ct_text = (reading.result(), "") if reading else _read_ct_folder(ct, image, options)
    from autosegnet.dicom.pet import describe_scan

    scan = replace(describe_scan(conversion, image), ct=ct_text)
    return LoadedStudy(check_study(pet=image, ct=ct_image), conversion, None, scan)


def _load_dicom_pet(pet: Series, ct: tuple[sitk.Image, str], options: InputOptions) -> LoadedStudy:
    from autosegnet.dicom.pet import read_dicom_pet

    loaded = read_dicom_pet(pet, mode=options.mode, facts=options.facts, expected_tracer=options.expected_tracer)
    log_conversion(loaded.conversion)
    stated = loaded.scan.stated
    if options.facts.same_frame:
        stated += (f"that PET and CT lie in one frame was stated by {options.facts.name_way('same_frame')}",)
    ct_image, ct_text = ct
    scan = replace(loaded.scan, ct=ct_text, stated=stated)
    return LoadedStudy(check_study(pet=loaded.image, ct=ct_image), loaded.conversion, loaded.source, scan)


def check_options(options: InputOptions, *, pet_is_folder: bool, ct_is_folder: bool) -> None:
    """Refuse options that contradict each other or the kind of input.

    Raises:
        UsageError: options contradict each other; the message names them.
    """
    facts = options.facts
    if pet_is_folder:
        if options.pet_unit != "suv" or options.pet_sidecar is not None:
            raise UsageError("--pet-unit and --pet-sidecar are for a PET file; DICOM states its unit itself")
    else:
        if options.pet_series or options.mode != "qiba":
            raise UsageError(f"{facts.name_way('pet_series')} and --suv-mode are for a PET in DICOM, and it is a file")
        if (options.pet_unit == "bqml") != (options.pet_sidecar is not None):
            raise UsageError("--pet-unit bqml and --pet-sidecar FILE.json belong together; give both or neither")
        unused = [n for n in facts.list_given() if options.pet_unit == "suv" or n in _OF_DICOM or n == "height_cm"]
        if unused:
            kind = "in SUV" if options.pet_unit == "suv" else "with a sidecar"
            raise UsageError(f"{facts.name_way(unused[0])} cannot be used with a PET file {kind}")
    if options.ct_series and not ct_is_folder:
        raise UsageError(f"{facts.name_way('ct_series')} is for a CT in DICOM, and it is a file")


def _read_pet_file(path: Path, options: InputOptions) -> tuple[sitk.Image, Conversion | None]:
    if options.pet_sidecar is None:
        return _read_file(path, 0.0, options), None
    from autosegnet.geometry import view_voxels

    facts = options.facts
    conversion = convert_sidecar(_read_sidecar(options.pet_sidecar), facts=facts)
    image = _scale(_read_file(path, 0.0, options), conversion.factors[0])
    voxel_ml = math.prod(image.GetSpacing()) / 1000.0
    conversion = weigh_activity(conversion, view_voxels(image), voxel_ml=voxel_ml, facts=facts)
    doubts = doubt_tracer(conversion.tracer, conversion.nuclide, expected=options.expected_tracer)
    conversion = replace(conversion, warnings=(*doubts, *conversion.warnings))
    log_conversion(conversion)
    return image, conversion


def _read_file(path: Path, air: float, options: InputOptions) -> sitk.Image:
    return read_image(path, form=options.nifti_form, air=air if options.nonfinite == "air" else None)


def _scale(image: sitk.Image, factor: float) -> sitk.Image:
    """Return the image x factor as float32, multiplied in float64."""
    import numpy as np

    from autosegnet.geometry import Grid, make_image, view_voxels

    stored = view_voxels(image)
    values = np.empty(stored.shape, np.float32)
    for z, plane in enumerate(stored):
        values[z] = plane.astype(np.float64) * factor
    return make_image(values, Grid.from_image(image))


def _read_sidecar(path: Path) -> dict[str, object]:
    return read_json(path, require_object, what="the sidecar", expected="names and values as in PET-BIDS")


def _read_ct_folder(folder: Path, pet: sitk.Image, options: InputOptions) -> tuple[sitk.Image, str]:
    from autosegnet.dicom.choice import choose_ct
    from autosegnet.dicom.listing import describe_ct
    from autosegnet.dicom.pet import read_dicom_ct
    from autosegnet.dicom.series import gather_series
    from autosegnet.geometry import Grid

    chosen = choose_ct(gather_series(folder), _choose(options), pet_grid=Grid.from_image(pet))
    return read_dicom_ct(chosen), describe_ct(chosen)


def _read_ct(found: list[Series], pet: Series, options: InputOptions) -> tuple[sitk.Image, str]:
    """Return the CT of a PET in DICOM, and what a report says of it."""
    from autosegnet.dicom.choice import choose_ct
    from autosegnet.dicom.listing import describe_ct
    from autosegnet.dicom.pet import read_dicom_ct

    chosen = choose_ct(found, _choose(options), pet=pet)
    return read_dicom_ct(chosen), describe_ct(chosen)
