"""Tiny PET and CT series, made with pydicom, that tests bend one attribute at a time."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, PositronEmissionTomographyImageStorage, generate_uid

STUDY, FRAME = generate_uid(entropy_srcs=["study"]), generate_uid(entropy_srcs=["frame"])
PET_SERIES, CT_SERIES = generate_uid(entropy_srcs=["pet"]), generate_uid(entropy_srcs=["ct"])
ROWS, COLUMNS, SLICES, STEP_MM = 6, 5, 4, 3.0

Edit = Callable[[Dataset, int], None]


def _slice(k: int, *, kind: str) -> Dataset:
    dataset = Dataset()
    sop_class = PositronEmissionTomographyImageStorage if kind == "PET" else CTImageStorage
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = sop_class
    uid = generate_uid(entropy_srcs=[kind, str(k)])
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = uid
    dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = STUDY, FRAME
    dataset.SeriesInstanceUID = PET_SERIES if kind == "PET" else CT_SERIES
    dataset.Modality = "PT" if kind == "PET" else "CT"
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.SeriesNumber, dataset.InstanceNumber = "3" if kind == "PET" else "2", str(k + 1)
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate, dataset.PatientSex = "Doe^J", "1", "19500101", "F"
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = "20200301"
    dataset.StudyTime, dataset.SeriesTime, dataset.AcquisitionTime = "100000", "110000", "110000"
    dataset.StudyID, dataset.AccessionNumber, dataset.ReferringPhysicianName = "7", "", ""
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.ImagePositionPatient = [-10, -20, 100 + STEP_MM * k]
    dataset.PixelSpacing = [4, 2]
    dataset.SliceThickness = STEP_MM
    dataset.Rows, dataset.Columns = ROWS, COLUMNS
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 1
    dataset.PixelData = stored(k).astype("<i2").tobytes()
    return dataset


def stored(k: int) -> Any:
    """(rows, columns) of slice k: no two voxels alike."""
    return np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS) + 100 * (k + 1)


def pet_slice(k: int) -> Dataset:
    """Slice k of a PET in Bq/ml, START, F-18, 70 kg, 300 MBq an hour before, slopes that differ."""
    dataset = _slice(k, kind="PET")
    dataset.Units, dataset.DecayCorrection = "BQML", "START"
    dataset.CorrectedImage = ["DECY", "ATTN", "SCAT"]
    dataset.SeriesType = ["WHOLE BODY", "IMAGE"]
    dataset.NumberOfSlices = SLICES
    dataset.PatientWeight, dataset.PatientSize = "70", "1.75"
    dataset.RescaleSlope, dataset.RescaleIntercept = str(2.0 + k), "0"
    dataset.FrameReferenceTime, dataset.ActualFrameDuration = "60000", "120000"
    dose = Dataset()
    dose.RadionuclideTotalDose, dose.RadionuclideHalfLife = "300000000", "6586.2"
    dose.RadiopharmaceuticalStartTime = "100000"
    dose.RadiopharmaceuticalStartDateTime = "20200301100000"
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "C-111A1", "SRT", "^18^Fluorine"
    dose.RadionuclideCodeSequence = Sequence([code])
    dataset.RadiopharmaceuticalInformationSequence = Sequence([dose])
    return dataset


def ct_slice(k: int) -> Dataset:
    """Slice k of a CT in HU with the usual intercept."""
    dataset = _slice(k, kind="CT")
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.RescaleSlope, dataset.RescaleIntercept = "1", "-1024"
    return dataset


def nothing(dataset: Dataset, k: int) -> None:
    """Leave a slice as it is."""


def write_series(folder: Path, *, kind: str = "PET", edit: Edit = nothing, slices: int = SLICES) -> Path:
    """Write a series with one edit to each slice, the files named against their order along z."""
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(slices):
        dataset = copy.deepcopy(pet_slice(k) if kind == "PET" else ct_slice(k))
        edit(dataset, k)
        dataset.save_as(folder / f"{kind}{slices - k:03d}.dcm", enforce_file_format=True)
    return folder


def dose_of(dataset: Dataset) -> Dataset:
    """Return the radiopharmaceutical of a slice."""
    item: Dataset = dataset.RadiopharmaceuticalInformationSequence[0]
    return item


def write_image(image: Any, folder: Path, *, kind: str, slope: float, intercept: float = 0.0) -> Path:
    """Write an image as a series: PET in SUV (GML), or CT in HU; its axes may lie in any direction."""
    from autosegnet.geometry import Grid, view_voxels

    values, grid = view_voxels(image), Grid.from_image(image)
    axes = np.reshape(grid.direction, (3, 3))
    assert np.linalg.det(axes) > 0, "slices are stacked along the normal of a right-handed grid"

    def edit(dataset: Dataset, k: int) -> None:
        stored_values = np.rint((values[k] - intercept) / slope).astype("<i2")
        dataset.Rows, dataset.Columns = values.shape[1:]
        dataset.PixelData = stored_values.tobytes()
        dataset.PixelSpacing = [grid.spacing_mm[1], grid.spacing_mm[0]]
        dataset.SliceThickness = f"{grid.spacing_mm[2]:.6f}"
        dataset.ImageOrientationPatient = [f"{v:.12f}" for v in (*axes[:, 0], *axes[:, 1])]
        dataset.ImagePositionPatient = [f"{v:.9f}"[:16] for v in grid.find_position_mm((0, 0, k))]
        dataset.RescaleSlope, dataset.RescaleIntercept = f"{slope:g}", f"{intercept:g}"
        if kind == "PET":
            dataset.Units, dataset.NumberOfSlices = "GML", values.shape[0]

    return write_series(folder, kind=kind, edit=edit, slices=values.shape[0])
