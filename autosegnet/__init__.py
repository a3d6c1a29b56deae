"""Lesion segmentation in whole-body FDG PET/CT with a five-fold 3D residual U-Net."""

__version__ = "0.1.0"
