"""DICOM: PET and CT in, and results of a mask out."""
