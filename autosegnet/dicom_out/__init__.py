"""DICOM out: a mask and its figures as DICOM Segmentation, measurement report (SR) and structure set (RTSTRUCT).

Every object belongs to the study of the PET it was found in, keeps its patient and study attributes as they are, and
lies in its frame of reference. What the PET's files leave empty stays empty.
"""

from autosegnet.dicom_out.results import DicomResults, encoded_results

__all__ = ["DicomResults", "encoded_results"]
